//! Headers of every answer: the request's id, and that nothing may be kept by caches in between.

use super::Next;
use crate::server::Api;
use crate::server::body::{Request, Response};
use futures::future::BoxFuture;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, STRICT_TRANSPORT_SECURITY};

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");

/// The id of a request, in its extensions.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) HeaderValue);

pub(super) fn layer<'a>(api: &'a Api, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    Box::pin(async move {
        let id = request.headers().get(AUDIT_ID).cloned().unwrap_or_else(fresh);
        request.extensions_mut().insert(RequestId(id.clone()));
        let mut response = next.run(request).await;
        let headers = response.headers_mut();
        headers.insert(AUDIT_ID, id);
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-cache, private"));
        if let Some(directives) = api.transport_security() {
            headers.entry(STRICT_TRANSPORT_SECURITY).or_insert_with(|| directives.clone());
        }
        response
    })
}

/// What clients are told of the connection's security; none where nothing is, or headers cannot say it.
pub(crate) fn transport_security(directives: &[String]) -> Option<HeaderValue> {
    let told = (!directives.is_empty()).then(|| directives.join("; "))?;
    HeaderValue::from_str(&told).ok()
}

fn fresh() -> HeaderValue {
    HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).expect("uuids are ASCII")
}
