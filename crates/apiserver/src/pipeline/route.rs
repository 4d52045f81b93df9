//! From what a request asks for to who answers it.

use super::deadline::Deadline;
use super::fairness::WatchHold;
use super::negotiate::{self, Format, Offer};
use super::{authenticate, health, info, output, resource, version};
use crate::aggregation;
use crate::context::{RequestContext, RequestInfo, Target, Warnings};
use crate::registry::options::Query;
use crate::server::Api;
use crate::server::body::{Request, RequestBody, Response};
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, USER_AGENT};
use http::request::Parts;
use kaji_api::{ResourceDef, Status, Value, value};
use std::sync::Arc;

const WARNING: HeaderName = HeaderName::from_static("warning");

/// One request, parsed as far as all handlers need it.
pub(super) struct Asked<'a> {
    pub(super) api: &'a Api,
    pub(super) parts: Parts,
    pub(super) info: Arc<RequestInfo>,
    pub(super) query: Query,
    pub(super) cx: RequestContext,
}

/// Answers a request that may be answered.
pub(super) async fn serve(api: &Api, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let info = info::of(&parts.extensions);
    let query = Query::parse(&info.query);
    let cx = context(&parts, &info, &query);
    if let Some(service) = api.aggregation().remote(api, &info.path) {
        // What a watch begins with is another server's work.
        if let Some(hold) = WatchHold::of(&parts.extensions) {
            hold.initialized();
        }
        return Box::pin(aggregation::proxy::serve(api, &service, &cx.user, &info, parts, body)).await;
    }
    let warnings = cx.warnings.clone();
    let plain = negotiate::format(&parts.headers, &query, Offer::Plain).unwrap_or(Format::JSON);
    let asked = Asked { api, parts, info, query, cx };
    let result = match asked.info.is_resource {
        true => of_resource(asked, body).await,
        false => Box::pin(elsewhere(&asked)).await,
    };
    let mut response = result.unwrap_or_else(|status| output::failure(&status, plain));
    warn(&mut response, &warnings);
    response
}

fn context(parts: &Parts, info: &Arc<RequestInfo>, query: &Query) -> RequestContext {
    let agent = parts.headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let manager = match query.get("fieldManager") {
        "" => of_agent(agent),
        manager => manager.to_owned(),
    };
    RequestContext {
        user: authenticate::of(&parts.extensions),
        info: info.clone(),
        dry_run: false,
        field_manager: manager,
        deadline: parts.extensions.get::<Deadline>().map(|d| d.0),
        warnings: parts.extensions.get::<Warnings>().cloned().unwrap_or_default(),
        audit: super::audit::of(&parts.extensions),
    }
}

/// The manager that a user agent stands for: what is before the first slash, as far as it may be a name.
fn of_agent(agent: &str) -> String {
    const LONGEST: usize = 128;
    let mut manager = String::new();
    let name = agent.split('/').next().unwrap_or_default();
    for c in name.chars().filter(|c| !c.is_control() && (*c == ' ' || !c.is_whitespace())) {
        if manager.len() + c.len_utf8() > LONGEST {
            break;
        }
        manager.push(c);
    }
    manager
}

fn warn(response: &mut Response, warnings: &Warnings) {
    for text in warnings.take() {
        let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{escaped}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

async fn of_resource(asked: Asked<'_>, body: RequestBody) -> Result<Response, Status> {
    let info = asked.info.clone();
    let row = asked.api.row(&info.group, &info.version, &info.resource);
    let Some(row) = row else { return Ok(not_found()) };
    let sub = match info.subresource.as_str() {
        "" => None,
        name => match row.subresource(name) {
            Some(sub) => Some(sub),
            None => return Ok(not_found()),
        },
    };
    if !fits(&row, &info) {
        return Err(resource::method_not_allowed());
    }
    resource::serve(asked, &Target { resource: row, sub }, body).await
}

/// Whether the verb goes with the shape of the path: one object or all, in a namespace or across.
fn fits(row: &ResourceDef, info: &RequestInfo) -> bool {
    let named = !info.name.is_empty();
    let collection = matches!(info.verb.as_str(), "list" | "watch");
    let placed = if row.namespaced {
        !info.namespace.is_empty() || collection
    } else {
        info.namespace.is_empty() || row.plural == "namespaces"
    };
    let counted = match info.verb.as_str() {
        "create" => named != info.subresource.is_empty(),
        "deletecollection" => !named,
        _ => named || collection,
    };
    placed && counted
}

/// What upstream says of paths it doesn't know.
pub(super) fn not_found() -> Response {
    output::text(404, "404 page not found\n")
}

async fn elsewhere(asked: &Asked<'_>) -> Result<Response, Status> {
    if !matches!(asked.info.verb.as_str(), "get" | "head") {
        let known = matches!(asked.info.path.as_str(), "/version" | "/metrics" | "/");
        return Ok(if known { output::text(405, "405: Method Not Allowed\n") } else { not_found() });
    }
    let path = asked.info.path.as_str();
    if let Some(response) = health::serve(asked.api, path, &asked.query).await {
        return Ok(response);
    }
    let format = || negotiate::format(&asked.parts.headers, &asked.query, Offer::Plain);
    match path.trim_end_matches('/') {
        "" => Ok(output::document(200, &paths(asked.api), Format { pretty: true, ..format()? })),
        "/version" => Ok(output::document(200, &version::document(), Format { pretty: true, ..Format::JSON })),
        "/metrics" => {
            let page = asked.api.metrics().page(asked.api);
            Ok(output::answer(200, "text/plain; version=0.0.4; charset=utf-8", page.into()))
        }
        path if path.starts_with("/debug/api_priority_and_fairness/") => {
            let details = !asked.query.get("includeRequestDetails").is_empty();
            let page = asked.api.fairness().and_then(|fairness| crate::fairness::dump(fairness, path, details));
            Ok(page.map_or_else(not_found, |page| output::answer(200, "text/plain; charset=utf-8", page.into())))
        }
        "/.well-known/openid-configuration" | "/openid/v1/jwks" => {
            let document = crate::authn::openid::document(asked.api, path);
            let Some((media, text)) = document else { return Ok(not_found()) };
            let mut answer = output::answer(200, media, text.into());
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
            Ok(answer)
        }
        _ => Ok(super::documents::serve(asked, path).await?.unwrap_or_else(not_found)),
    }
}

/// The paths that `/` lists.
fn paths(api: &Api) -> Value {
    let mut all: Vec<String> =
        ["/api", "/api/v1", "/apis", "/healthz", "/livez", "/readyz", "/metrics", "/version"].map(str::to_owned).into();
    all.extend(["/openapi/v2", "/openapi/v3", "/healthz/ping", "/livez/ping", "/readyz/ping"].map(str::to_owned));
    all.extend(["/healthz/etcd", "/livez/etcd", "/readyz/etcd", "/apis/", "/openapi/v3/"].map(str::to_owned));
    all.extend(["/.well-known/openid-configuration", "/openid/v1/jwks"].map(str::to_owned));
    for row in api.served().rows().filter(|r| !r.group.is_empty()) {
        all.push(format!("/apis/{}", row.group));
        all.push(format!("/apis/{}/{}", row.group, row.version));
    }
    all.sort();
    all.dedup();
    value!({"paths": (all)})
}
