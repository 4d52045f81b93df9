//! Passing a request on to the server behind a registration (kube-aggregator `handler_proxy`).

use super::Service;
use crate::context::{RequestInfo, UserInfo};
use crate::remote::escaped;
use crate::server::Api;
use crate::server::body::{Body, RequestBody, Response};
use crate::spans::{self, Span};
use crate::subresource::stream::proxy::{CORS, forwarded_headers, host_of, remove_hop_by_hop, through};
use crate::subresource::stream::{relay, upgrade_of, websocket};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::request::Parts;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty};
use kaji_api::Status;
use std::sync::Arc;
use std::time::Duration;

/// What discovery of one group version may take: every client waits for it.
const DISCOVERY: Duration = Duration::from_secs(5);
const EXTRA: &str = "x-remote-extra-";

/// Answers with what the server behind a registration says.
pub(crate) async fn serve(
    api: &Api,
    service: &Service,
    user: &UserInfo,
    info: &RequestInfo,
    parts: Parts,
    body: RequestBody,
) -> Response {
    let Some(behind) = service.remote.as_ref().filter(|_| service.available) else {
        return plain(503, "service unavailable");
    };
    if websocket::is_upgrade(&parts.headers) {
        return upgrade(api, behind, user, parts).await.unwrap_or_else(|status| plain(status.code, &status.message));
    }
    let mut request = match request(&parts, user, false, body) {
        Ok(request) => request,
        Err(status) => return plain(status.code, &status.message),
    };
    let span = spans::client(request.method(), || format!("{}{}", behind.remote.peer().origin(), request.uri()));
    spans::inject(request.headers_mut(), span.as_deref());
    let sent = behind.remote.send(request);
    let answer = match super::is_discovery(info) {
        true => tokio::time::timeout(DISCOVERY, sent).await.unwrap_or(Err(crate::remote::RemoteError::Deadline)),
        false => sent.await,
    };
    let mut answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(name = service.name, %error, "an aggregated API server did not answer");
            span.iter().for_each(|span| span.broke(error.to_string()));
            return plain(503, &format!("error trying to reach service: {error}"));
        }
    };
    span.iter().for_each(|span| span.answered(answer.status().as_u16()));
    // Whom a client is sent to is for us to say, not for a server it never chose.
    if answer.status().is_redirection() && answer.headers().contains_key(LOCATION) {
        return plain(502, "the backend attempted to redirect this request, which is not permitted");
    }
    *answer.version_mut() = Version::HTTP_11;
    CORS.iter().for_each(|name| drop(answer.headers_mut().remove(name)));
    remove_hop_by_hop(answer.headers_mut());
    answer.map(through).map(|body| held(body, span))
}

/// The same body; the span of the call lasts as long.
fn held(body: Body, span: Option<Arc<Span>>) -> Body {
    let Some(span) = span else { return body };
    let held = body.map_frame(move |frame| {
        let _lasts = &span;
        frame
    });
    Body::Through(held.boxed_unsync())
}

/// Passes an upgrade on: exec-like streams, WebSockets.
async fn upgrade(
    api: &Api,
    behind: &super::service::Behind,
    user: &UserInfo,
    mut parts: Parts,
) -> Result<Response, Status> {
    let client = upgrade_of(&mut parts)?;
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let request = request(&parts, user, true, body)?;
    let answer = behind.remote.send(request).await;
    let answer = answer.map_err(|error| Status::unavailable(format!("error dialing backend: {error}")))?;
    relay::join(api, parts.extensions.remove(), client, answer)
}

/// The request as it goes on: the same path and query, the user in headers.
fn request(parts: &Parts, user: &UserInfo, upgrade: bool, body: RequestBody) -> Result<Request<RequestBody>, Status> {
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    let target = parts.uri.path_and_query().map_or("/", |t| t.as_str());
    *request.uri_mut() = target.parse().map_err(|_| Status::bad_request("invalid path or query"))?;
    let mut headers = forwarded_headers(parts, upgrade);
    let host = host_of(parts);
    headers.remove(HOST);
    let forwarded =
        [("x-forwarded-host", host.as_str()), ("x-forwarded-proto", "https"), ("x-forwarded-uri", parts.uri.path())];
    for (name, text) in forwarded.into_iter().filter(|_| !upgrade) {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    identify(&mut headers, user);
    *request.headers_mut() = headers;
    Ok(request)
}

/// Says who asks; what clients said of themselves is gone by now.
fn identify(headers: &mut HeaderMap, user: &UserInfo) {
    let mut add = |name: HeaderName, text: &str| {
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            headers.append(name, value);
        }
    };
    add(HeaderName::from_static("x-remote-user"), &user.name);
    if !user.uid.is_empty() {
        add(HeaderName::from_static("x-remote-uid"), &user.uid);
    }
    user.groups.iter().for_each(|group| add(HeaderName::from_static("x-remote-group"), group));
    for (key, values) in &user.extra {
        let name = HeaderName::try_from(format!("{EXTRA}{}", escaped(key)));
        let Ok(name) = name else { continue };
        values.iter().for_each(|value| add(name.clone(), value));
    }
}

/// A failure as upstream's aggregator words it: not a `Status`.
fn plain(code: u16, text: &str) -> Response {
    let mut response = http::Response::new(format!("{text}\n").into());
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::SERVICE_UNAVAILABLE);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_name_their_user_and_nobody_else() {
        let (parts, ()) = Request::get("/apis/a.b/v1/things?watch=1")
            .header("Host", "front:6443")
            .header("X-Remote-User", "liar")
            .header("Impersonate-User", "liar")
            .header("Connection", "keep-alive, X-Odd")
            .header("X-Odd", "1")
            .header("Accept", "application/json")
            .body(())
            .unwrap()
            .into_parts();
        let mut user = UserInfo { name: "jane".to_owned(), uid: "7".to_owned(), ..UserInfo::default() };
        user.groups = vec!["a".to_owned(), "b".to_owned()];
        user.extra.insert("acme.com/scope%".to_owned(), vec!["x".to_owned(), "y".to_owned()]);
        let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
        let request = request(&parts, &user, false, body).unwrap();
        assert_eq!(request.uri(), "/apis/a.b/v1/things?watch=1");
        let all =
            |name: &str| -> Vec<&str> { request.headers().get_all(name).iter().map(|v| v.to_str().unwrap()).collect() };
        for (name, expected) in [
            ("x-remote-user", vec!["jane"]),
            ("x-remote-uid", vec!["7"]),
            ("x-remote-group", vec!["a", "b"]),
            ("x-remote-extra-acme.com%2fscope%25", vec!["x", "y"]),
            ("x-forwarded-host", vec!["front:6443"]),
            ("accept", vec!["application/json"]),
            ("impersonate-user", vec![]),
            ("connection", vec![]),
            ("x-odd", vec![]),
            ("host", vec![]),
        ] {
            assert_eq!(all(name), expected, "{name}");
        }
    }
}
