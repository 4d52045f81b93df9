//! Pages of other origins that may call (apiserver `server/filters/cors.go`).

use super::Next;
use crate::server::Api;
use crate::server::body::{Body, Request, Response};
use futures::future::BoxFuture;
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, HeaderMap, HeaderValue, ORIGIN,
};
use http::{Method, StatusCode};
use regex::RegexSet;

const METHODS: &str = "POST, GET, OPTIONS, PUT, DELETE, PATCH";
const HEADERS: &str =
    "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, X-Requested-With, If-Modified-Since";

/// The origins that may call.
pub(crate) struct Origins(RegexSet);

impl Origins {
    /// By patterns that were checked.
    pub(crate) fn new(patterns: &[String]) -> Self {
        Origins(RegexSet::new(patterns).unwrap_or_default())
    }

    /// The origin of a request that may call.
    fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        origin.to_str().is_ok_and(|text| self.0.is_match(text)).then(|| origin.clone())
    }
}

pub(super) fn layer<'a>(api: &'a Api, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    let Some(origin) = api.origins().allowed(request.headers()) else { return next.run(request) };
    Box::pin(async move {
        let mut response = match *request.method() {
            // Asked before the call itself.
            Method::OPTIONS => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::NO_CONTENT;
                response
            }
            _ => next.run(request).await,
        };
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(HEADERS));
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Date"));
        headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        response
    })
}
