//! `pods/proxy`, `services/proxy`, `nodes/proxy`: HTTP to what runs in the cluster (upstream's
//! `UpgradeAwareHandler` with its rewriting transport).

mod html;
mod link;
mod page;
#[cfg(any(test, feature = "properties"))]
pub(crate) mod properties;

use super::location::Location;
use super::{Connect, empty, relay, websocket};
use crate::server::body::{Body, RequestBody, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION,
    SEC_WEBSOCKET_PROTOCOL, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Request, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use kaji_api::Status;
use link::Links;
use std::net::SocketAddr;

const BEARER: &str = "base64url.bearer.authorization.k8s.io.";
const FORWARDED_FOR: &str = "x-forwarded-for";
/// What is passed on.
const METHODS: [Method; 7] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
/// Headers that are about one connection, not about what is asked.
const HOP_BY_HOP: [HeaderName; 7] = [
    CONNECTION,
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("keep-alive"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];
/// Headers by which a client says to us who it is.
const IDENTITY: [&str; 3] = ["authorization", "impersonate-", "x-remote-"];
/// Headers that only the backend's own origin could mean.
pub(crate) const CORS: [HeaderName; 4] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
];

/// Answers.
pub(super) async fn serve(
    connect: &Connect<'_>,
    mut location: Location,
    parts: Parts,
    body: RequestBody,
) -> Result<Response, Status> {
    if !METHODS.contains(&parts.method) {
        let text = "the server does not allow this method on the requested resource";
        return Err(Status::new(405, "MethodNotAllowed", text));
    }
    parts.uri.query().unwrap_or_default().clone_into(&mut location.query);
    if websocket::is_upgrade(&parts.headers) {
        return relay::upgrade(connect.api, &location, parts).await;
    }
    if let Some(response) = to_root(&location, &parts) {
        return Ok(response);
    }
    forward(connect, &location, parts, body).await
}

/// Browsers are sent to the path with a slash at its end, for the sake of relative links.
fn to_root(location: &Location, parts: &Parts) -> Option<Response> {
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    if !location.path.is_empty() || !reads {
        return None;
    }
    let query = parts.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let target = HeaderValue::from_str(&format!("{}/{query}", parts.uri.path())).ok()?;
    let mut response = empty(301);
    response.headers_mut().insert(LOCATION, target);
    Some(response)
}

async fn forward(
    connect: &Connect<'_>,
    location: &Location,
    parts: Parts,
    body: RequestBody,
) -> Result<Response, Status> {
    let prefix = prefix(&connect.cx.info.path, &location.path);
    let host = host_of(&parts);
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.version_mut() = Version::HTTP_11;
    let target = if location.path.is_empty() { format!("/{}", location.target()) } else { location.target() };
    *request.uri_mut() = target.parse().map_err(|_| Status::bad_request("invalid path or query"))?;
    let mut headers = forwarded_headers(&parts, false);
    if let Ok(uri) = HeaderValue::from_str(&format!("{prefix}{}", request.uri().path())) {
        headers.insert("x-forwarded-uri", uri);
    }
    *request.headers_mut() = headers;
    let answer = location.backend.send(connect.api, request).await;
    let mut answer = answer.map_err(|error| Status::unavailable(format!("error trying to reach service: {error}")))?;
    *answer.version_mut() = Version::HTTP_11;
    let headers = answer.headers_mut();
    CORS.iter().for_each(|name| drop(headers.remove(name)));
    remove_hop_by_hop(headers);
    let links = Links { prefix, backend: location.backend.authority(), host };
    if let Some(redirect) = headers.get(LOCATION).and_then(|v| v.to_str().ok()) {
        if let Some(link) = links.rewrite(redirect) {
            headers.insert(LOCATION, HeaderValue::from_str(&link).map_err(Status::internal)?);
        }
        return Ok(answer.map(through));
    }
    Ok(match page::encoding_of(headers).filter(|_| parts.method != Method::HEAD) {
        Some(encoding) => {
            headers.remove(CONTENT_LENGTH);
            answer.map(|body| page::rewritten(body, encoding, links))
        }
        None => answer.map(through),
    })
}

/// A backend's body as it is.
pub(crate) fn through(body: Incoming) -> Body {
    Body::Through(body.map_err(Into::into).boxed_unsync())
}

/// A backend's refusal of an upgrade, passed back.
pub(super) fn refused(mut answer: http::Response<Incoming>) -> Response {
    *answer.version_mut() = Version::HTTP_11;
    remove_hop_by_hop(answer.headers_mut());
    answer.map(through)
}

/// The part of a request's path in front of what the backend sees.
fn prefix(path: &str, suffix: &str) -> String {
    let suffix = if path.ends_with('/') && !suffix.ends_with('/') { format!("{suffix}/") } else { suffix.to_owned() };
    path.strip_suffix(suffix.as_str()).unwrap_or(path).to_owned()
}

pub(crate) fn host_of(parts: &Parts) -> String {
    let header = parts.headers.get(HOST).and_then(|v| v.to_str().ok());
    header.or(parts.uri.authority().map(|a| a.as_str())).unwrap_or_default().to_owned()
}

/// The headers of a request as they go on.
pub(crate) fn forwarded_headers(parts: &Parts, upgrade: bool) -> HeaderMap {
    let mut headers = parts.headers.clone();
    let host = host_of(parts);
    if !upgrade {
        remove_hop_by_hop(&mut headers);
    }
    let secrets: Vec<HeaderName> =
        headers.keys().filter(|name| IDENTITY.iter().any(|i| name.as_str().starts_with(i))).cloned().collect();
    secrets.iter().for_each(|name| drop(headers.remove(name)));
    without_bearer(&mut headers);
    if let Some(peer) = parts.extensions.get::<SocketAddr>() {
        let mut all: Vec<String> =
            headers.get_all(FORWARDED_FOR).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect();
        all.push(peer.ip().to_string());
        if let Ok(value) = HeaderValue::from_str(&all.join(", ")) {
            headers.insert(FORWARDED_FOR, value);
        }
    }
    // From HTTP/2 the host comes outside of the headers.
    if let Ok(host) = HeaderValue::from_str(&host) {
        headers.insert(HOST, host);
    }
    headers
}

/// Takes a token away that a browser hid among the protocols of its WebSocket.
fn without_bearer(headers: &mut HeaderMap) {
    let Some(all) = headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|v| v.to_str().ok()) else { return };
    let kept: Vec<&str> = all.split(',').map(str::trim).filter(|p| !p.starts_with(BEARER)).collect();
    match HeaderValue::from_str(&kept.join(", ")) {
        Ok(kept) if !kept.is_empty() => drop(headers.insert(SEC_WEBSOCKET_PROTOCOL, kept)),
        _ => drop(headers.remove(SEC_WEBSOCKET_PROTOCOL)),
    }
}

pub(crate) fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> =
        headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect();
    for name in named.iter().flat_map(|v| v.split(',')).map(str::trim) {
        headers.remove(name);
    }
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(name)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_what_the_backend_does_not_see() {
        let path = "/api/v1/namespaces/x/pods/p/proxy";
        for (rest, suffix) in [("/a/b", "/a/b"), ("/", "/"), ("/a/", "/a/"), ("", "")] {
            assert_eq!(prefix(&format!("{path}{rest}"), suffix), path, "{rest}");
        }
    }
}
