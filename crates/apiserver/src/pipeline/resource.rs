//! Requests to resources: each verb parsed, done by the registry, and answered.

mod deleting;
mod reading;
mod unstored;
mod writing;

pub(super) use reading::sub_answer;
pub(super) use writing::change;

use super::input::{self, Expected};
use super::negotiate::{self, Format, Media, Offer};
use super::output::Presenter;
use super::route::Asked;
use super::table::TableOptions;
use crate::context::{RequestInfo, Target};
use crate::registry::options::WriteOptions;
use crate::registry::{Scope, convert};
use crate::row::Row;
use crate::server::body::{RequestBody, Response};
use crate::spans::{self, event, event_with, number};
use crate::subresource::{self, stream, stream::Connect};
use crate::virtual_resource;
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
        _ if is_virtual => Box::pin(unstored::serve(asked, target, verb, body)),
        "get" => Box::pin(reading::get(asked, target)),
        "list" => Box::pin(reading::list(asked, target)),
        "watch" => Box::pin(reading::watch(asked, target)),
        "create" => Box::pin(writing::create(asked, target, body)),
        "update" => Box::pin(writing::update(asked, target, body)),
        "patch" => Box::pin(writing::patch(asked, target, body)),
        "delete" => Box::pin(deleting::delete(asked, target, body)),
        "deletecollection" => Box::pin(deleting::delete_collection(asked, target, body)),
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
