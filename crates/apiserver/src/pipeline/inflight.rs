//! Limits on requests at work at once, where priority and fairness is switched off (apiserver
//! `server/filters/maxinflight.go`).

use super::{Next, authenticate, fairness, info};
use crate::config::Limits;
use crate::server::Api;
use crate::server::body::{Request, Response};
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

/// Room for reading and for writing requests; none: as much as they like.
pub(crate) struct Inflight {
    reading: Option<Semaphore>,
    writing: Option<Semaphore>,
}

impl Inflight {
    /// By the limits of the configuration, of which 0 is none.
    pub(crate) fn new(limits: &Limits) -> Self {
        let room = |limit: usize| (limit > 0).then(|| Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        Inflight { reading: room(limits.reading), writing: room(limits.writing) }
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
        let Some(room) = room else { return next.run(request).await };
        let Ok(_permit) = room.try_acquire() else {
            // Whoever repairs the server must get through.
            if authenticate::of(request.extensions()).in_group("system:masters") {
                return next.run(request).await;
            }
            return fairness::too_many(1);
        };
        next.run(request).await
    })
}

#[cfg(test)]
impl Inflight {
    /// Takes all the room there is.
    pub(crate) fn fill(&self) -> impl Sized + '_ {
        (fill(&self.reading), fill(&self.writing))
    }
}

#[cfg(test)]
fn fill(room: &Option<Semaphore>) -> Option<tokio::sync::SemaphorePermit<'_>> {
    let room = room.as_ref()?;
    let all = u32::try_from(room.available_permits()).expect("limits are small");
    Some(room.try_acquire_many(all).expect("nobody else is here"))
}
