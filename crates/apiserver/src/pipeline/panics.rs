//! A handler that panics fails its own request: 500, logged.

use super::{Next, negotiate::Format, output};
use crate::server::Api;
use crate::server::body::{Request, Response};
use futures::FutureExt;
use futures::future::BoxFuture;
use kaji_api::Status;
use std::panic::AssertUnwindSafe;

pub(super) fn layer<'a>(_: &'a Api, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    Box::pin(async move {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        // Layers below may begin their work before there is a future.
        AssertUnwindSafe(async { next.run(request).await }).catch_unwind().await.unwrap_or_else(|panic| {
            let why = panic.downcast_ref::<String>().map(String::as_str);
            let why = why.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
            tracing::error!(%method, path = uri.path(), why, "a request's handler panicked");
            let message = "This request caused apiserver to panic. Look in the logs for details.";
            output::failure(&Status::new(500, "InternalError", message), Format::JSON)
        })
    })
}
