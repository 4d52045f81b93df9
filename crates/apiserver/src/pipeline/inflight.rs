//! Limits on requests at work at once (upstream `--max-requests-inflight`, `--max-mutating-requests-inflight`).

use super::{Next, authenticate, info, output};
use crate::server::Api;
use crate::server::body::{Request, Response};
use futures::future::BoxFuture;
use http::header::{HeaderValue, RETRY_AFTER};
use tokio::sync::Semaphore;

/// Room for reading and for writing requests.
pub(crate) struct Inflight {
    reading: Semaphore,
    writing: Semaphore,
}

impl Default for Inflight {
    fn default() -> Self {
        Inflight { reading: Semaphore::new(400), writing: Semaphore::new(200) }
    }
}

pub(super) fn layer<'a>(api: &'a Api, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    Box::pin(async move {
        let info = info::of(request.extensions());
        if info::is_long_running(&info) {
            return next.run(request).await;
        }
        let room = match info.verb.as_str() {
            "get" | "list" | "watch" => &api.inflight().reading,
            _ => &api.inflight().writing,
        };
        let Ok(_permit) = room.try_acquire() else {
            // Whoever repairs the server must get through.
            if authenticate::of(request.extensions()).in_group("system:masters") {
                return next.run(request).await;
            }
            let mut response = output::text(429, "Too many requests, please try again later.\n");
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            return response;
        };
        next.run(request).await
    })
}

#[cfg(test)]
impl Inflight {
    /// Takes all the room there is.
    pub(crate) fn fill(&self) -> impl Sized + '_ {
        let all = |room: &Semaphore| u32::try_from(room.available_permits()).expect("limits are small");
        let reading = self.reading.try_acquire_many(all(&self.reading)).expect("nobody else is here");
        let writing = self.writing.try_acquire_many(all(&self.writing)).expect("nobody else is here");
        (reading, writing)
    }
}
