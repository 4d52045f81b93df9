//! Every request finds its priority level and waits for its seats there. Requests without an end pass by, except
//! watches: they hold seats until what they begin with has been sent.

use super::timing::{Phase, timed};
use super::{Next, authenticate, deadline, inflight, info, output};
use crate::context::RequestInfo;
use crate::fairness::{Registered, Seat, Stored};
use crate::server::Api;
use crate::server::body::{Request, Response};
use futures::future::BoxFuture;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;

const SCHEMA: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");
/// Nobody waits longer for a seat.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What a watch holds: a seat while it begins, and its place among those that writes are weighed by.
pub(crate) struct WatchHold {
    seat: Mutex<Option<Seat>>,
    _registered: Registered,
}

impl WatchHold {
    /// The hold of a request, if fairness is on.
    pub(super) fn of(extensions: &http::Extensions) -> Option<Arc<Self>> {
        extensions.get().cloned()
    }

    /// The watch has begun: what it began with is sent.
    pub(super) fn initialized(&self) {
        drop(self.seat.lock().take());
    }
}

pub(super) fn layer<'a>(api: &'a Api, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    let Some(fairness) = api.fairness() else { return inflight::layer(api, request, next) };
    Box::pin(async move {
        let info = info::of(request.extensions());
        let watch = info.verb == "watch";
        if info::is_long_running(&info) && !watch {
            return next.run(request).await;
        }
        let user = authenticate::of(request.extensions());
        let Some(class) = fairness.classify(&info, &user) else { return next.run(request).await };
        let longest = api.config().limits.request;
        let wait = || (deadline::of(&info, longest).unwrap_or(longest) / 4).min(LONGEST_WAIT);
        let stored = || stored(api, &info);
        let seat = timed(Phase::Queue, fairness.enter(&class, &info, &user, stored, wait)).await;
        let mut response = match seat {
            Ok(seat) if watch => {
                let hold = WatchHold { seat: Mutex::new(Some(seat)), _registered: fairness.register_watch(&info) };
                request.extensions_mut().insert(Arc::new(hold));
                next.run(request).await
            }
            Ok(seat) => {
                let response = next.run(request).await;
                drop(seat);
                response
            }
            Err(_) => too_many(class.retry_after()),
        };
        let [schema, level] = class.uids().clone();
        response.headers_mut().insert(SCHEMA, schema);
        response.headers_mut().insert(LEVEL, level);
        response
    })
}

fn stored(api: &Api, info: &RequestInfo) -> Option<Stored> {
    let row = api.row(&info.group, &info.version, &info.resource)?;
    let (objects, bytes) = api.caches().get(row.prefix)?.size();
    Some(Stored { objects, bytes })
}

/// 429, in upstream's words.
pub(super) fn too_many(retry_after: u64) -> Response {
    let mut response = output::text(429, "Too many requests, please try again later.\n");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after));
    response
}
