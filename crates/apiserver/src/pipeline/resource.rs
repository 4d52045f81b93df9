//! Requests to resources: each verb parsed, done by the registry, and answered.

use super::apply;
use super::fairness::WatchHold;
use super::input::{self, Expected};
use super::negotiate::{self, Format, Media, Offer, Shape};
use super::output::{self, ListHead, Presenter};
use super::route::Asked;
use super::table::TableOptions;
use super::{frames, patch};
use crate::config::gates;
use crate::context::{RequestInfo, Target};
use crate::registry::options::{DeleteOptions, ListOptions, WriteOptions};
use crate::registry::{self, Mode, Scope, Selection, convert};
use crate::row::Row;
use crate::server::body::{RequestBody, Response};
use crate::spans::{self, event, event_with, number};
use crate::subresource::{self, stream, stream::Connect};
use crate::virtual_resource::{self, Ask};
use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::CONTENT_TYPE;
use kaji_api::{Status, Value};

/// Answers a request to a resource that exists.
pub(super) async fn serve(asked: Asked<'_>, target: &Target, body: RequestBody) -> Result<Response, Status> {
    let verb = asked.info.verb.clone();
    // A proxy passes on every method, also OPTIONS, for which there is no verb.
    if target.sub.is_none_or(|sub| sub.name != "proxy") {
        check_verb(target, &verb)?;
    }
    let sub = asked.info.subresource.clone();
    let is_virtual = virtual_resource::handles(&target.resource, &sub);
    if !is_virtual && stream::handles(&sub) {
        return Box::pin(connect(asked, target, body)).await;
    }
    if !is_virtual && !sub.is_empty() && !subresource::handles(&sub) {
        return Ok(super::route::not_found());
    }
    deprecation(&asked, target);
    let span = spans::handler(|| span(&asked.info));
    spans::within(span, answer(asked, target, &verb, is_virtual, body)).await
}

/// The work of a verb. Each is as large as what it takes, not as what the largest of them takes.
fn answer<'a>(
    asked: Asked<'a>,
    target: &'a Target,
    verb: &'a str,
    is_virtual: bool,
    body: RequestBody,
) -> BoxFuture<'a, Result<Response, Status>> {
    match verb {
        _ if is_virtual => Box::pin(of_virtual(asked, target, verb, body)),
        "get" => Box::pin(get(asked, target)),
        "list" => Box::pin(list(asked, target)),
        "watch" => Box::pin(watch(asked, target)),
        "create" => Box::pin(create(asked, target, body)),
        "update" => Box::pin(update(asked, target, body)),
        "patch" => Box::pin(patch(asked, target, body)),
        "delete" => Box::pin(delete(asked, target, body)),
        "deletecollection" => Box::pin(delete_collection(asked, target, body)),
        _ => Box::pin(async { Err(Status::method_not_supported(&target.resource.group_resource(), verb)) }),
    }
}

/// The span that a verb's handler has; a watch has one while it shows what is there.
fn span(info: &RequestInfo) -> Option<&'static str> {
    match info.verb.as_str() {
        "get" => Some("Get"),
        "list" => Some("List"),
        "create" => Some("Create"),
        "update" => Some("Update"),
        "patch" => Some("Patch"),
        "delete" | "deletecollection" => Some("Delete"),
        _ => None,
    }
}

/// Tells users of a kind that is on its way out.
fn deprecation(asked: &Asked<'_>, target: &Target) {
    let text = match (target.resource.group, target.resource.plural) {
        ("", "componentstatuses") => "v1 ComponentStatus is deprecated in v1.19+",
        ("", "endpoints") => "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
        _ => return,
    };
    asked.cx.warnings.add(text);
    asked.cx.audit.annotate("k8s.io/deprecated", "true");
}

fn check_verb(target: &Target, verb: &str) -> Result<(), Status> {
    let verbs = target.sub.map_or(target.resource.verbs, |sub| sub.verbs);
    match verbs.contains(&verb) {
        true => Ok(()),
        false => Err(method_not_allowed()),
    }
}

/// 405 for a verb that the path doesn't take.
pub(super) fn method_not_allowed() -> Status {
    Status::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}

async fn connect(asked: Asked<'_>, target: &Target, body: RequestBody) -> Result<Response, Status> {
    let Asked { api, parts, info, query, cx } = asked;
    let (namespace, name) = (&info.namespace, &info.name);
    let connect = Connect { api, cx: &cx, target, namespace, name, rest: &info.rest, query: &query };
    stream::serve(connect, parts, body).await
}

impl Asked<'_> {
    pub(super) fn scope(&self, target: &Target) -> Result<Scope<'_>, Status> {
        let scope = Scope::new(self.api, &self.cx, target, &self.info.namespace, &self.info.name);
        scope.ok_or_else(|| Status::not_found(&target.resource.group_resource(), &self.info.name))
    }

    fn format(&self, offer: Offer) -> Result<Format, Status> {
        negotiate::format(&self.parts.headers, &self.query, offer)
    }

    pub(super) fn presenter(&self, scope: &Scope<'_>, offer: Offer) -> Result<Presenter, Status> {
        let offer = if scope.row.custom().is_some() { offer.of_custom() } else { offer };
        let format = self.format(offer)?;
        let table = TableOptions::parse(&self.query)?;
        // Custom objects are converted before they are presented.
        let stored = if scope.row.custom().is_some() { scope.row.clone() } else { scope.stored.clone() };
        Ok(Presenter { row: scope.row.clone(), stored, format, table })
    }

    fn content_type(&self) -> Option<&str> {
        self.parts.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok())
    }

    fn media(&self) -> Result<Media, Status> {
        Media::of_content_type(self.content_type())
    }

    /// The body as an object of a resource, in its storage version.
    async fn object(&self, scope: &Scope<'_>, options: WriteOptions, body: RequestBody) -> Result<Value, Status> {
        let media = self.media()?;
        if media == Media::Protobuf && scope.row.custom().is_some() {
            return Err(negotiate::unsupported(negotiate::CUSTOM_NAMES));
        }
        let bytes = read(body).await?;
        event("About to convert to expected version");
        let mut object = input::decode(of_row(&scope.row), media, &bytes, options.validation, &self.cx.warnings)?;
        self.cx.audit.request_object(&object, || defaulted(scope, &object));
        convert::to_storage(&scope.row, &scope.stored, &mut object)?;
        event("Conversion done");
        Ok(object)
    }
}

/// A request's whole body.
async fn read(body: RequestBody) -> Result<Bytes, Status> {
    let bytes = input::read(body).await?;
    event_with("limitedReadBody succeeded", || vec![number("len", bytes.len())]);
    Ok(bytes)
}

/// An object as upstream records it: decoding sets defaults there.
fn defaulted(scope: &Scope<'_>, object: &Value) -> Value {
    let mut shown = object.clone();
    // Audit shows what there is to show; the request itself fails where a conversion does.
    let _ = convert::to_storage(&scope.row, &scope.stored, &mut shown);
    scope.default(&mut shown);
    let _ = convert::from_storage(&scope.row, &scope.stored, &mut shown);
    shown
}

fn of_row(row: &Row) -> Expected<'_> {
    Expected { group: row.group, version: row.version, kind: row.kind, ty: row.ty() }
}

fn of_sub(target: &Target) -> Result<Expected<'_>, Status> {
    match target.sub {
        Some(sub) => Expected::kind(sub.group, sub.version, sub.kind),
        None => Ok(of_row(&target.resource)),
    }
}

async fn get(asked: Asked<'_>, target: &Target) -> Result<Response, Status> {
    let scope = asked.scope(target)?;
    let presenter = asked.presenter(&scope, Offer::Objects)?;
    event("About to Get from storage");
    let entry = scope.get(asked.query.get("resourceVersion")).await?;
    match scope.sub {
        Some(_) => sub_answer(&scope, &presenter, entry).await,
        None => Ok(presenter.object(200, &*scope.presented_one(entry).await?)),
    }
}

async fn list(asked: Asked<'_>, target: &Target) -> Result<Response, Status> {
    let scope = asked.scope(target)?;
    let presenter = asked.presenter(&scope, Offer::Objects)?;
    let options = ListOptions::parse(&asked.query, false)?;
    let selection = Selection::parse(&scope, &options)?;
    let found = scope.list(&options, &selection).await?;
    listed(&scope, &presenter, found).await
}

async fn listed(scope: &Scope<'_>, presenter: &Presenter, listed: registry::Listed) -> Result<Response, Status> {
    let head = ListHead { revision: listed.revision, continue_: listed.continue_, remaining: listed.remaining };
    Ok(presenter.list(scope.presented(listed.entries, true).await?, &head))
}

async fn watch(asked: Asked<'_>, target: &Target) -> Result<Response, Status> {
    let scope = asked.scope(target)?;
    let presenter = asked.presenter(&scope, Offer::Stream)?;
    let options = ListOptions::parse(&asked.query, true)?;
    if !asked.api.config().gates.is_on(gates::WATCH_LIST) {
        options.check_without_initial_events()?;
    }
    let selection = Selection::parse(&scope, &options)?;
    let watcher = scope.watch(&options, selection).await?;
    let hold = WatchHold::of(&asked.parts.extensions);
    Ok(frames::respond(asked.api, watcher, presenter, hold))
}

async fn create(mut asked: Asked<'_>, target: &Target, body: RequestBody) -> Result<Response, Status> {
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

async fn update(mut asked: Asked<'_>, target: &Target, body: RequestBody) -> Result<Response, Status> {
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
pub(super) async fn change(
    scope: &Scope<'_>,
    transform: registry::Transform<'_>,
) -> Result<(std::sync::Arc<crate::cache::Entry>, bool), Status> {
    match scope.sub.map(|s| s.name) {
        None => scope.update(Mode::Main, transform).await,
        Some("status") => scope.update(Mode::Status, transform).await,
        Some(sub) => Box::pin(subresource::replace(scope, sub, transform)).await.map(|entry| (entry, false)),
    }
}

pub(super) async fn sub_answer(
    scope: &Scope<'_>,
    presenter: &Presenter,
    entry: std::sync::Arc<crate::cache::Entry>,
) -> Result<Response, Status> {
    let entry = scope.presented_one(entry).await?;
    match subresource::view(scope, &entry.decode())? {
        Some(view) => Ok(output::metadata_or_document(200, &view, presenter.format)),
        None => Ok(presenter.object(200, &entry)),
    }
}

async fn patch(mut asked: Asked<'_>, target: &Target, body: RequestBody) -> Result<Response, Status> {
    let kind = patch::Kind::of_content_type(asked.content_type())?;
    if kind == patch::Kind::Apply {
        return Box::pin(apply::serve(asked, target, body)).await;
    }
    if kind == patch::Kind::Strategic && target.resource.custom().is_some() {
        return Err(negotiate::unsupported(CUSTOM_PATCHES));
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

async fn delete_options(asked: &Asked<'_>, body: RequestBody) -> Result<DeleteOptions, Status> {
    let bytes: Bytes = read(body).await?;
    if bytes.is_empty() {
        return DeleteOptions::from_query(&asked.query);
    }
    let media = asked.media()?;
    let value = match media {
        Media::Json => kaji_api::codec::parse_json(&bytes),
        Media::Yaml => kaji_api::codec::parse_yaml(&bytes),
        Media::Protobuf => {
            let expected =
                Expected::kind("", "v1", "DeleteOptions").or(Expected::kind("meta.k8s.io", "v1", "DeleteOptions"))?;
            kaji_api::codec::decode_protobuf(expected.ty, &bytes)
        }
    };
    let value = value.map_err(|e| Status::bad_request(e.to_string()))?;
    asked.cx.audit.request_body(|| Some(value.clone()));
    DeleteOptions::from_value(&value)
}

async fn delete(mut asked: Asked<'_>, target: &Target, body: RequestBody) -> Result<Response, Status> {
    let options = delete_options(&asked, body).await?;
    asked.cx.dry_run = options.dry_run;
    let scope = asked.scope(target)?;
    let presenter = asked.presenter(&scope, Offer::Objects)?;
    event("About to delete object from database");
    let deleted = scope.delete(&options).await?;
    event("Object deleted from database");
    let waits = !matches!(deleted, registry::Deleted::Gone(_)) && options.orphan == Some(false);
    let code = if waits { 202 } else { 200 };
    Ok(match scope.deletion_answer(&deleted) {
        Some(status) => output::document(code, &status, presenter.format),
        None => presenter.object(code, &*scope.presented_one(deleted.entry().clone()).await?),
    })
}

async fn delete_collection(mut asked: Asked<'_>, target: &Target, body: RequestBody) -> Result<Response, Status> {
    let options = delete_options(&asked, body).await?;
    asked.cx.dry_run = options.dry_run;
    let scope = asked.scope(target)?;
    let presenter = asked.presenter(&scope, Offer::Objects)?;
    let list = ListOptions::parse(&asked.query, false)?;
    let selection = Selection::parse(&scope, &list)?;
    let found = scope.delete_collection(&list, &selection, &options).await?;
    listed(&scope, &presenter, found).await
}

async fn of_virtual(mut asked: Asked<'_>, target: &Target, verb: &str, body: RequestBody) -> Result<Response, Status> {
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

/// The patches that custom resources take.
const CUSTOM_PATCHES: &str = "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

/// The patches that are taken, for the text of a 415.
pub(super) fn unsupported_patch() -> Status {
    Status::unsupported_media_type(
        "the body of the request was in an unknown format - accepted media types include: \
         application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
         application/apply-patch+yaml",
    )
}
