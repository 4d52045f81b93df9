//! `pods/proxy`, `services/proxy`, `nodes/proxy`: HTTP to what runs in the cluster (upstream's
//! `UpgradeAwareHandler` with its rewriting transport).

use super::location::Location;
use super::{Connect, empty, relay, websocket};
use crate::server::body::{Body, RequestBody, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, CONNECTION, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{Method, Request, Uri, Version};
use http_body_util::BodyExt;
use kaji_api::Status;
use std::net::SocketAddr;

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
const CORS: [HeaderName; 4] = [
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
    let uri = format!("{prefix}{}", request.uri().path());
    for (name, value) in
        [("x-forwarded-uri", uri.as_str()), ("x-forwarded-host", &host), ("x-forwarded-proto", "https")]
    {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    *request.headers_mut() = headers;
    let answer = location.backend.send(connect.api, request).await;
    let mut answer = answer.map_err(|error| Status::unavailable(format!("error trying to reach service: {error}")))?;
    let headers = answer.headers_mut();
    CORS.iter().for_each(|name| drop(headers.remove(name)));
    remove_hop_by_hop(headers);
    if let Some(redirect) = headers.get(LOCATION).and_then(|v| v.to_str().ok()) {
        let rewritten = rewrite(redirect, &location.backend.authority(), &host, &prefix);
        headers.insert(LOCATION, HeaderValue::from_str(&rewritten).map_err(Status::internal)?);
    }
    Ok(answer.map(|body| Body::Through(body.map_err(Into::into).boxed_unsync())))
}

/// The part of a request's path in front of what the backend sees.
fn prefix(path: &str, suffix: &str) -> String {
    let suffix = if path.ends_with('/') && !suffix.ends_with('/') { format!("{suffix}/") } else { suffix.to_owned() };
    path.strip_suffix(suffix.as_str()).unwrap_or(path).to_owned()
}

fn host_of(parts: &Parts) -> String {
    let header = parts.headers.get(HOST).and_then(|v| v.to_str().ok());
    header.or(parts.uri.authority().map(|a| a.as_str())).unwrap_or_default().to_owned()
}

/// The target of a redirect, made to lead through the proxy if it stays on the backend.
fn rewrite(target: &str, backend: &str, host: &str, prefix: &str) -> String {
    let Ok(uri) = target.parse::<Uri>() else { return target.to_owned() };
    let elsewhere = uri.authority().is_some_and(|a| a.as_str() != backend && a.as_str() != host);
    if elsewhere || !(target.starts_with('/') || uri.authority().is_some()) {
        return target.to_owned();
    }
    let path = if uri.path().starts_with(prefix) { uri.path().to_owned() } else { format!("{prefix}{}", uri.path()) };
    let query = uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    format!("https://{host}{path}{query}")
}

/// The headers of a request as they go on.
pub(super) fn forwarded_headers(parts: &Parts, upgrade: bool) -> HeaderMap {
    let mut headers = parts.headers.clone();
    let host = host_of(parts);
    if !upgrade {
        remove_hop_by_hop(&mut headers);
    }
    let secrets: Vec<HeaderName> =
        headers.keys().filter(|name| IDENTITY.iter().any(|i| name.as_str().starts_with(i))).cloned().collect();
    secrets.iter().for_each(|name| drop(headers.remove(name)));
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

fn remove_hop_by_hop(headers: &mut HeaderMap) {
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
    fn redirects_stay_behind_the_proxy() {
        let prefix = prefix("/api/v1/namespaces/x/pods/p/proxy/a/b", "/a/b");
        assert_eq!(prefix, "/api/v1/namespaces/x/pods/p/proxy");
        for (target, expected) in [
            ("/c?d=e", "https://api:6443/api/v1/namespaces/x/pods/p/proxy/c?d=e"),
            ("http://10.1.2.3:80/c", "https://api:6443/api/v1/namespaces/x/pods/p/proxy/c"),
            ("http://other/c", "http://other/c"),
            ("c", "c"),
        ] {
            assert_eq!(rewrite(target, "10.1.2.3:80", "api:6443", &prefix), expected);
        }
    }
}
