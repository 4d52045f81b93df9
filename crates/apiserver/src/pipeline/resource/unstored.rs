//! Resources that no store holds: reviews, tokens, statuses of components.

use super::{of_sub, read};
use crate::context::Target;
use crate::pipeline::input;
use crate::pipeline::negotiate::{self, Offer, Shape};
use crate::pipeline::output::{self, Presenter};
use crate::pipeline::route::Asked;
use crate::pipeline::table::TableOptions;
use crate::registry::options::WriteOptions;
use crate::server::body::{RequestBody, Response};
use crate::virtual_resource::{self, Ask};
use kaji_api::Status;

pub(super) async fn serve(
    mut asked: Asked<'_>,
    target: &Target,
    verb: &str,
    body: RequestBody,
) -> Result<Response, Status> {
    let format = asked.format(Offer::Objects)?;
    let media = asked.media();
    if verb == "create" {
        // Reviews and tokens have no rows.
        if matches!(format.shape, Shape::Table(_)) {
            return Err(negotiate::not_acceptable(Offer::Plain));
        }
        let options = WriteOptions::parse(&asked.query, "CreateOptions")?;
        asked.cx.dry_run = options.dry_run;
        let bytes = read(body).await?;
        let object = input::decode(of_sub(target)?, media?, &bytes, options.validation, &asked.cx.warnings)?;
        asked.cx.audit.request_object(&object, || object.clone());
        let answer = virtual_resource::create(ask(&asked, target), object).await?;
        return Ok(output::metadata_or_document(201, &answer, format));
    }
    let table = TableOptions::parse(&asked.query)?;
    let presenter = Presenter { row: target.resource.clone(), stored: target.resource.clone(), format, table };
    match verb {
        "get" => {
            let object = virtual_resource::get(ask(&asked, target)).await?;
            Ok(output::metadata_or_document(200, &object, format))
        }
        "list" => Ok(presenter.list_values(virtual_resource::list(ask(&asked, target)).await?)),
        _ => Err(Status::method_not_supported(&target.resource.group_resource(), verb)),
    }
}

fn ask<'a>(asked: &'a Asked<'a>, target: &'a Target) -> Ask<'a> {
    let info = &asked.info;
    Ask { api: asked.api, cx: &asked.cx, target, namespace: &info.namespace, name: &info.name }
}
