//! The request for progress that a watch is working on.

use super::super::Client;
use super::ANSWER;
use crate::{Revision, StoreError};
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Pause before a member that is behind, or a question that failed, is tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// Where a request for progress is.
pub(super) struct Ask {
    client: Arc<Client>,
    state: State,
}

type Answer = BoxFuture<'static, Result<Revision, StoreError>>;

enum State {
    /// Nobody asks. Next: `Looking`.
    Idle,
    /// The cluster is asked for its revision, behind which nothing may be missing. Next: `Telling`, `Marking`, `Idle`.
    Looking(Answer),
    /// That failed; tried again from this time on. Next: `Looking`.
    Failed(Instant),
    /// The member was asked to tell when it is there; one that is behind is asked again. Next: `Idle`.
    Telling { target: Revision, again: Instant, until: Instant },
    /// A mark is written. Next: `Marked`, `Failed`.
    Marking(Answer),
    /// The mark should be heard of. Next: `Idle`.
    Marked { target: Revision, until: Instant },
}

/// What is to be done.
pub(super) enum Next {
    /// The cluster was at this revision after the request: ask the member, or write a mark.
    Reach(Revision),
    /// The stream says nothing: it is dead.
    Silent,
}

impl Ask {
    pub(super) fn new(client: Arc<Client>) -> Self {
        Ask { client, state: State::Idle }
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Somebody asks.
    pub(super) fn begin(&mut self) {
        let client = self.client.clone();
        self.state = State::Looking(Box::pin(async move { client.revision().await }));
    }

    /// A new stream begins: what is asked is asked again.
    pub(super) fn restart(&mut self) {
        if !self.is_idle() {
            self.begin();
        }
    }

    /// The stream has come this far; true: that is what was asked.
    pub(super) fn is_answered_by(&mut self, reached: Revision) -> bool {
        let answered = match &self.state {
            State::Telling { target, .. } | State::Marked { target, .. } => *target <= reached,
            _ => false,
        };
        if answered {
            self.state = State::Idle;
        }
        answered
    }

    /// The stream was there already.
    pub(super) fn finish(&mut self) {
        self.state = State::Idle;
    }

    /// The member has been asked.
    pub(super) fn telling(&mut self, target: Revision) {
        let now = Instant::now();
        let until = match self.state {
            State::Telling { until, .. } => until,
            _ => now + ANSWER,
        };
        self.state = State::Telling { target, again: now + AGAIN, until };
    }

    /// Writes a mark.
    pub(super) fn mark(&mut self, prefix: &str) {
        let (client, prefix) = (self.client.clone(), prefix.to_owned());
        self.state = State::Marking(Box::pin(async move { client.mark(&prefix).await }));
    }

    /// The next thing to do. Safe to drop while waiting.
    pub(super) async fn next(&mut self) -> Next {
        loop {
            match &mut self.state {
                State::Idle => std::future::pending().await,
                State::Looking(answer) => match answer.await {
                    Ok(target) => {
                        self.state = State::Telling { target, again: Instant::now(), until: Instant::now() + ANSWER };
                    }
                    Err(error) => self.fail(&error),
                },
                State::Failed(until) => {
                    sleep_until(*until).await;
                    self.begin();
                }
                State::Telling { target, again, until } => {
                    sleep_until(*again).await;
                    if Instant::now() >= *until {
                        return Next::Silent;
                    }
                    return Next::Reach(*target);
                }
                State::Marking(answer) => match answer.await {
                    Ok(target) => self.state = State::Marked { target, until: Instant::now() + ANSWER },
                    Err(error) => self.fail(&error),
                },
                State::Marked { until, .. } => {
                    sleep_until(*until).await;
                    return Next::Silent;
                }
            }
        }
    }

    fn fail(&mut self, error: &StoreError) {
        tracing::debug!(%error, "could not ask etcd how far it is");
        self.state = State::Failed(Instant::now() + AGAIN);
    }
}
