//! Counts every request, and logs the failed and the slow ones.

use super::timing::{Phase, Spent, measured};
use super::{Next, headers::RequestId, info};
use crate::context::RequestInfo;
use crate::server::Api;
use crate::server::body::{Request, Response};
use futures::future::BoxFuture;
use std::time::{Duration, Instant};

/// What takes longer is slow: the log says where the time went, and so does the audit event.
pub(super) const SLOW: Duration = Duration::from_millis(500);

pub(super) fn layer<'a>(api: &'a Api, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    Box::pin(async move {
        let info = info::of(request.extensions());
        let id = request.extensions().get::<RequestId>().cloned();
        let begun = Instant::now();
        let _running = api.metrics().begin(&info);
        let (response, spent) = measured(async { next.run(request).await }).await;
        let (took, code) = (begun.elapsed(), response.status().as_u16());
        api.metrics().record(&info, code, took, spent.on(Phase::Queue), response.body());
        let id = id.as_ref().and_then(|id| id.0.to_str().ok());
        let slow = took > SLOW && !info::is_long_running(&info);
        if slow {
            log_slow(&info, code, took, &spent, id);
        } else if code >= 500 {
            tracing::warn!(verb = info.verb, path = info.path, code, ?took, id, "request failed");
        } else {
            tracing::debug!(verb = info.verb, path = info.path, code, ?took, id, "request");
        }
        response
    })
}

/// A slow request, with where its time went; the rest is reading, validation and waiting for the processor.
fn log_slow(info: &RequestInfo, code: u16, took: Duration, spent: &Spent, id: Option<&str>) {
    use Phase::{Admission, Authentication, Authorization, Encode, Impersonation, Queue, Store};
    let [authentication, queue, admission, store, encode] =
        [Authentication, Queue, Admission, Store, Encode].map(|p| spent.on(p));
    let authorization = spent.on(Authorization) + spent.on(Impersonation);
    let rest = took.saturating_sub(authentication + authorization + queue + admission + store + encode);
    tracing::warn!(
        verb = info.verb,
        path = info.path,
        code,
        ?took,
        ?authentication,
        ?authorization,
        ?queue,
        ?admission,
        ?store,
        ?encode,
        ?rest,
        id,
        "slow request"
    );
}
