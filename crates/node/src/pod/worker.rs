//! The state machine of one pod.
//!
//! `advance` does what the present state asks for and says when to look again. Between steps the worker sleeps
//! until the API, the runtime, a probe, a followed object or a timer wakes it. Every step is repeatable: a worker
//! that starts anew finds the same state from the API and the runtime.

mod active;
mod admission;
mod containers;
mod end;
mod report;
mod resize;

use super::backoff::Backoff;
use super::pull::Pulls;
use super::resize::Open;
use super::status::Reasons;
use super::{full_name, reference, uid};
use crate::agent::Agent;
use crate::probe::Probes;
use crate::runtime::PodView;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kaji_client::event::EventType;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// After a failed step, try again in this time, doubled each time up to a minute.
const RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What the API says of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Desired {
    /// The newest that was seen of it.
    pub(crate) pod: Arc<Pod>,
    /// It is no longer in the API.
    pub(crate) gone: bool,
}

/// Where a pod is in its life on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Just seen. Next: Active, or Ending when it does not fit or is over already.
    Admitting,
    /// To be kept running. Next: Ending when it is deleted, done, out of time or refused.
    Active,
    /// Being stopped. Next: Ended when nothing of it runs.
    Ending,
    /// Stopped; volumes and groups are being removed, the last status sent. Next: Resting or Over.
    Ended,
    /// Done, kept for its logs and status until it is deleted. Next: Over.
    Resting,
    /// Gone from the API and from here.
    Over,
}

/// When to look again.
type Again = Option<Duration>;

/// One pod on this node.
pub(crate) struct Worker {
    agent: Arc<Agent>,
    pod: Arc<Pod>,
    gone: bool,
    stage: Stage,
    status: PodStatus,
    reasons: Reasons,
    restarts: Backoff,
    pulls: Pulls,
    probes: Probes,
    wake: Arc<Notify>,
    retries: u32,
    /// The status was set by us for good: a refusal, a deadline.
    settled: bool,
    initialized: bool,
    /// The resources that running containers were given after their start, by container id.
    resized: HashMap<String, String>,
    /// A resize that is asked for and not done.
    resize: Option<Open>,
}

/// Runs a pod's worker until the pod is over or the node stops.
pub(crate) async fn run(agent: Arc<Agent>, mut desired: watch::Receiver<Desired>, wake: Arc<Notify>) {
    let first = desired.borrow_and_update().clone();
    let mut worker = Worker {
        status: first.pod.status.clone().unwrap_or_default(),
        probes: Probes::new(wake.clone()),
        agent,
        pod: first.pod,
        gone: first.gone,
        stage: Stage::Admitting,
        reasons: Reasons::new(),
        restarts: Backoff::default(),
        pulls: Pulls::default(),
        wake,
        retries: 0,
        settled: false,
        initialized: false,
        resized: HashMap::new(),
        resize: None,
    };
    let shutdown = worker.agent.shutdown.clone();
    loop {
        let before = worker.stage;
        let again = tokio::select! {
            again = worker.advance(&mut desired) => again,
            () = shutdown.cancelled() => return,
        };
        if worker.stage == Stage::Over {
            return;
        }
        if worker.stage != before {
            continue;
        }
        let wake = worker.wake.clone();
        tokio::select! {
            changed = desired.changed() => {
                if changed.is_err() {
                    return;
                }
                worker.take(&mut desired);
            }
            () = wake.notified() => {}
            () = sleep(again) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

async fn sleep(again: Again) {
    match again {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// Returns when the pod is to end, taking note of every other change.
async fn until_ending(desired: &mut watch::Receiver<Desired>) {
    let ending = |desired: &Desired| desired.gone || desired.pod.metadata.deletion_timestamp.is_some();
    // A closed channel means that the node stops, which is noticed elsewhere.
    if desired.wait_for(ending).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl Worker {
    fn take(&mut self, desired: &mut watch::Receiver<Desired>) {
        let desired = desired.borrow_and_update().clone();
        self.pod = desired.pod;
        self.gone = desired.gone;
    }

    /// One step of the state machine.
    async fn advance(&mut self, desired: &mut watch::Receiver<Desired>) -> Again {
        match self.stage {
            Stage::Admitting => self.admit().await,
            Stage::Active => {
                if self.must_end() {
                    self.stage = Stage::Ending;
                    return None;
                }
                let mut deletion = desired.clone();
                let again = tokio::select! {
                    again = self.keep_running() => again,
                    () = until_ending(&mut deletion) => None,
                };
                if deletion.has_changed().is_err() || self.stage != Stage::Active {
                    return again;
                }
                let ended = {
                    let now = desired.borrow();
                    now.gone || now.pod.metadata.deletion_timestamp.is_some()
                };
                if ended {
                    self.take(desired);
                    self.stage = Stage::Ending;
                }
                again
            }
            Stage::Ending => self.end(desired).await,
            Stage::Ended => self.clean_up().await,
            Stage::Resting => {
                if self.must_end() {
                    self.stage = Stage::Ended;
                }
                None
            }
            Stage::Over => None,
        }
    }

    fn must_end(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Waits longer each time in a row.
    fn retry(&mut self) -> Again {
        let wait = RETRY * 2u32.saturating_pow(self.retries.min(10));
        self.retries += 1;
        Some(wait.min(LONGEST_RETRY))
    }

    fn event(&self, kind: EventType, reason: &str, message: &str) {
        self.agent.recorder.event(&reference(&self.pod, None), kind, reason, message);
    }

    async fn view(&mut self) -> Option<PodView> {
        match self.agent.runtime.pod(uid(&self.pod)).await {
            Ok(mut view) => {
                self.agent.remember_view(uid(&self.pod), &view);
                self.resized.retain(|id, _| view.containers.iter().any(|container| container.id == *id));
                for container in &mut view.containers {
                    if let Some(resources) = self.resized.get(&container.id) {
                        container.resources.clone_from(resources);
                    }
                }
                Some(view)
            }
            Err(error) => {
                tracing::warn!(pod = %full_name(&self.pod), %error, "the runtime does not tell of the pod");
                None
            }
        }
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    fn ips(&self, view: &PodView) -> Vec<String> {
        match self.on_host() {
            true => self.agent.facts().host_ips.clone(),
            false => view.ips(),
        }
    }

    fn on_host(&self) -> bool {
        self.pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true))
    }
}
