//! POST, PUT and PATCH.

use super::reading::sub_answer;
use super::{of_sub, read};
use crate::cache::Entry;
use crate::context::Target;
use crate::pipeline::negotiate::{self, Format, Offer};
use crate::pipeline::route::Asked;
use crate::pipeline::{apply, input, output, patch};
use crate::registry::options::WriteOptions;
use crate::registry::{self, Mode, Scope, convert};
use crate::row::Row;
use crate::server::body::{RequestBody, Response};
use crate::spans::event;
use crate::subresource;
use kaji_api::{Status, Value};
use std::sync::Arc;

pub(super) async fn create(mut asked: Asked<'_>, target: &Target, body: RequestBody) -> Result<Response, Status> {
    let format = asked.format(Offer::Objects)?;
    let options = WriteOptions::parse(&asked.query, "CreateOptions")?;
    asked.cx.dry_run = options.dry_run;
    if target.sub.is_some() || target.resource.plural == "bindings" {
        return Box::pin(create_sub(&asked, target, options, format, body)).await;
    }
    let scope = asked.scope(target)?;
    let presenter = asked.presenter(&scope, Offer::Objects)?;
    let object = asked.object(&scope, options, body).await?;
    let namespace = match scope.is_namespaces() {
        true => object.name().to_owned(),
        false => asked.info.namespace.clone(),
    };
    let name = object.name().to_owned();
    event("About to store object in database");
    let entry = scope.named(&namespace, &name).create(object).await?;
    event("Write to database call succeeded");
    Ok(presenter.object(201, &*scope.presented_one(entry).await?))
}

async fn create_sub(
    asked: &Asked<'_>,
    target: &Target,
    options: WriteOptions,
    format: Format,
    body: RequestBody,
) -> Result<Response, Status> {
    let media = asked.media()?;
    let bytes = read(body).await?;
    let object = input::decode(of_sub(target)?, media, &bytes, options.validation, &asked.cx.warnings)?;
    asked.cx.audit.request_object(&object, || object.clone());
    let pods = Target {
        resource: match target.resource.plural {
            "bindings" => Row::built_in("", "v1", "pods").expect("pods are built in"),
            _ => target.resource.clone(),
        },
        sub: target.sub,
    };
    let name = if asked.info.name.is_empty() { object.name() } else { &asked.info.name };
    let scope = Scope::new(asked.api, &asked.cx, &pods, &asked.info.namespace, name)
        .ok_or_else(|| Status::not_found(&target.resource.group_resource(), name))?;
    let kind = target.sub.map_or("binding", |s| s.name);
    let answer = subresource::create(&scope, kind, object.clone()).await?;
    Ok(output::document(201, &answer, format))
}

pub(super) async fn update(mut asked: Asked<'_>, target: &Target, body: RequestBody) -> Result<Response, Status> {
    let options = WriteOptions::parse(&asked.query, "UpdateOptions")?;
    asked.cx.dry_run = options.dry_run;
    let scope = asked.scope(target)?;
    let presenter = asked.presenter(&scope, Offer::Objects)?;
    if let Some(sub) = scope.sub.filter(|sub| sub.kind != scope.row.kind) {
        let media = asked.media()?;
        let bytes = read(body).await?;
        let object = input::decode(of_sub(target)?, media, &bytes, options.validation, &asked.cx.warnings)?;
        asked.cx.audit.request_object(&object, || object.clone());
        registry::check_name_on_url(&scope, &object)?;
        let entry = Box::pin(subresource::replace(&scope, sub.name, &|_| Ok(object.clone()))).await?;
        return sub_answer(&scope, &presenter, entry).await;
    }
    let mut object = asked.object(&scope, options, body).await?;
    registry::ensure_namespace(&scope, &mut object)?;
    registry::check_name_on_url(&scope, &object)?;
    event("About to store object in database");
    let (entry, created) = change(&scope, &|_| Ok(object.clone())).await?;
    event("Write to database call succeeded");
    Ok(presenter.object(if created { 201 } else { 200 }, &*scope.presented_one(entry).await?))
}

/// Runs an update by the rules of the subresource in the path.
pub(in crate::pipeline) async fn change(
    scope: &Scope<'_>,
    transform: registry::Transform<'_>,
) -> Result<(Arc<Entry>, bool), Status> {
    match scope.sub.map(|s| s.name) {
        None => scope.update(Mode::Main, transform).await,
        Some("status") => scope.update(Mode::Status, transform).await,
        Some(sub) => Box::pin(subresource::replace(scope, sub, transform)).await.map(|entry| (entry, false)),
    }
}

pub(super) async fn patch(mut asked: Asked<'_>, target: &Target, body: RequestBody) -> Result<Response, Status> {
    let kind = patch::Kind::of_content_type(asked.content_type())?;
    if kind == patch::Kind::Apply {
        return Box::pin(apply::serve(asked, target, body)).await;
    }
    if kind == patch::Kind::Strategic && target.resource.custom().is_some() {
        return Err(negotiate::unsupported(patch::TAKEN_BY_CUSTOM));
    }
    let options = WriteOptions::parse(&asked.query, "PatchOptions")?;
    asked.cx.dry_run = options.dry_run;
    let scope = asked.scope(target)?;
    let presenter = asked.presenter(&scope, Offer::Objects)?;
    let bytes = read(body).await?;
    asked.cx.audit.request_body(|| kaji_api::codec::parse_yaml(&bytes).ok());
    let patch = patch::Patch::parse(kind, &bytes, options.validation, asked.cx.warnings.clone())?;
    if let Some(sub) = scope.sub.filter(|sub| sub.kind != scope.row.kind) {
        let ty = of_sub(target)?.ty;
        let entry = Box::pin(subresource::replace(&scope, sub.name, &|view| patch.apply(ty, view))).await?;
        return sub_answer(&scope, &presenter, entry).await;
    }
    let ty = scope.row.ty();
    let transform = |old: &Value| {
        if old.is_null() {
            return Err(scope.not_found());
        }
        let mut shown = old.clone();
        convert::from_storage(&scope.row, &scope.stored, &mut shown)?;
        let mut patched = patch.apply(ty, &shown)?;
        registry::ensure_namespace(&scope, &mut patched)?;
        registry::check_name_on_url(&scope, &patched)?;
        convert::to_storage(&scope.row, &scope.stored, &mut patched)?;
        Ok(patched)
    };
    let (entry, created) = change(&scope, &transform).await?;
    event("Object stored in database");
    Ok(presenter.object(if created { 201 } else { 200 }, &*scope.presented_one(entry).await?))
}
