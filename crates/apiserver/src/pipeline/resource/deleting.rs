//! DELETE: of an object, or of many.

use super::read;
use super::reading::listed;
use crate::context::Target;
use crate::pipeline::input::Expected;
use crate::pipeline::negotiate::{Media, Offer};
use crate::pipeline::output;
use crate::pipeline::route::Asked;
use crate::registry::options::{DeleteOptions, ListOptions};
use crate::registry::{Deleted, Selection};
use crate::server::body::{RequestBody, Response};
use crate::spans::event;
use kaji_api::{Status, codec};

pub(super) async fn delete(mut asked: Asked<'_>, target: &Target, body: RequestBody) -> Result<Response, Status> {
    let options = options(&asked, body).await?;
    asked.cx.dry_run = options.dry_run;
    let scope = asked.scope(target)?;
    let presenter = asked.presenter(&scope, Offer::Objects)?;
    event("About to delete object from database");
    let deleted = scope.delete(&options).await?;
    event("Object deleted from database");
    let waits = !matches!(deleted, Deleted::Gone(_)) && options.orphan == Some(false);
    let code = if waits { 202 } else { 200 };
    Ok(match scope.deletion_answer(&deleted) {
        Some(status) => output::document(code, &status, presenter.format),
        None => presenter.object(code, &*scope.presented_one(deleted.entry().clone()).await?),
    })
}

pub(super) async fn delete_collection(
    mut asked: Asked<'_>,
    target: &Target,
    body: RequestBody,
) -> Result<Response, Status> {
    let options = options(&asked, body).await?;
    asked.cx.dry_run = options.dry_run;
    let scope = asked.scope(target)?;
    let presenter = asked.presenter(&scope, Offer::Objects)?;
    let list = ListOptions::parse(&asked.query, false)?;
    let selection = Selection::parse(&scope, &list)?;
    let found = scope.delete_collection(&list, &selection, &options).await?;
    listed(&scope, &presenter, found).await
}

async fn options(asked: &Asked<'_>, body: RequestBody) -> Result<DeleteOptions, Status> {
    let bytes = read(body).await?;
    if bytes.is_empty() {
        return DeleteOptions::from_query(&asked.query);
    }
    let media = asked.media()?;
    let value = match media {
        Media::Json => codec::parse_json(&bytes),
        Media::Yaml => codec::parse_yaml(&bytes),
        Media::Protobuf => {
            let expected =
                Expected::kind("", "v1", "DeleteOptions").or(Expected::kind("meta.k8s.io", "v1", "DeleteOptions"))?;
            codec::decode_protobuf(expected.ty, &bytes)
        }
    };
    let value = value.map_err(|e| Status::bad_request(e.to_string()))?;
    asked.cx.audit.request_body(|| Some(value.clone()));
    DeleteOptions::from_value(&value)
}
