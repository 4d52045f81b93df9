//! Counts every request, and logs the failed and the slow ones.

use super::{Next, headers::RequestId, info};
use crate::server::Api;
use crate::server::body::{Request, Response};
use futures::future::BoxFuture;
use std::time::{Duration, Instant};

const SLOW: Duration = Duration::from_secs(1);

pub(super) fn layer<'a>(api: &'a Api, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    Box::pin(async move {
        let info = info::of(request.extensions());
        let id = request.extensions().get::<RequestId>().cloned();
        let begun = Instant::now();
        let _running = api.metrics().begin(&info);
        let response = next.run(request).await;
        let (took, code) = (begun.elapsed(), response.status().as_u16());
        api.metrics().record(&info, code, took);
        let id = id.as_ref().and_then(|id| id.0.to_str().ok());
        let slow = took > SLOW && !info::is_long_running(&info);
        if code >= 500 || slow {
            tracing::warn!(verb = info.verb, path = info.path, code, ?took, id, "request failed or slow");
        } else {
            tracing::debug!(verb = info.verb, path = info.path, code, ?took, id, "request");
        }
        response
    })
}
