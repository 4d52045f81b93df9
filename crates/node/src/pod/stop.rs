//! Stopping things: hooks first, then signals within the grace period; sidecars after those they serve.

use super::plan::KillReason;
use super::{hooks, reference};
use crate::agent::Agent;
use crate::cri::RuntimeError;
use crate::resources::is_sidecar;
use crate::runtime::{ContainerView, PodView, State};
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use kaji_client::event::EventType;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// No container gets less to end by itself, in seconds.
const LEAST_GRACE: i64 = 2;

/// How a container is killed.
pub(crate) struct Killing<'a> {
    pub(crate) id: &'a str,
    pub(crate) message: Option<&'a str>,
    pub(crate) reason: KillReason,
    /// Seconds; none: what pod and probe say.
    pub(crate) grace: Option<i64>,
    /// Hooks have had their turn already, and the event is out.
    pub(crate) again: bool,
    /// Sidecars wait for others.
    pub(crate) turn: Option<Turn>,
}

impl Default for Killing<'_> {
    fn default() -> Self {
        Killing { id: "", message: None, reason: KillReason::Other, grace: None, again: false, turn: None }
    }
}

/// The order in which containers of a pod end: how many must have before this one is told to.
pub(crate) struct Turn {
    ended: watch::Receiver<usize>,
    after: usize,
}

/// Kills one container.
pub(crate) async fn container(
    agent: &Agent,
    pod: &Pod,
    container: &Container,
    killing: Killing<'_>,
    ips: &[String],
) -> Result<(), RuntimeError> {
    let mut grace = killing.grace.unwrap_or_else(|| grace_of(pod, container, killing.reason));
    if !killing.again {
        let message = match killing.message {
            Some(message) => message.to_owned(),
            None => format!("Stopping container {}", container.name),
        };
        agent.recorder.event(&reference(pod, Some(&container.name)), EventType::Normal, "Killing", &message);
        grace -= pre_stop(agent, pod, container, killing.id, grace, ips).await;
    }
    if let Some(mut turn) = killing.turn.filter(|_| grace > 0) {
        let begun = Instant::now();
        let patience = Duration::from_secs(grace.unsigned_abs());
        let _ = tokio::time::timeout(patience, turn.ended.wait_for(|ended| *ended >= turn.after)).await;
        grace -= i64::try_from(begun.elapsed().as_secs()).unwrap_or(0);
    }
    agent.runtime.stop_container(killing.id, grace.max(LEAST_GRACE)).await
}

/// Runs the hook for at most the grace period; the seconds it took.
async fn pre_stop(agent: &Agent, pod: &Pod, container: &Container, id: &str, grace: i64, ips: &[String]) -> i64 {
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    let Some(hook) = hook.filter(|_| grace > 0) else { return 0 };
    let begun = Instant::now();
    let patience = Duration::from_secs(grace.unsigned_abs());
    let outcome = tokio::time::timeout(patience, hooks::run(agent, pod, container, id, hook, ips)).await;
    if let Ok(Err(error)) = outcome {
        tracing::debug!(%error, "preStop hook");
        let about = reference(pod, Some(&container.name));
        agent.recorder.event(&about, EventType::Warning, "FailedPreStopHook", "PreStopHook failed");
    }
    i64::try_from(begun.elapsed().as_secs()).unwrap_or(0)
}

/// The seconds a container gets: the probe's that failed, else the pod's.
fn grace_of(pod: &Pod, container: &Container, reason: KillReason) -> i64 {
    let of = |probe: &Option<Probe>| probe.as_ref().and_then(|probe| probe.termination_grace_period_seconds);
    let probes = match reason {
        KillReason::Liveness => of(&container.liveness_probe),
        KillReason::Startup => of(&container.startup_probe),
        KillReason::Other => None,
    };
    let deletion = pod.metadata.deletion_grace_period_seconds;
    let spec = pod.spec.as_ref().and_then(|spec| spec.termination_grace_period_seconds);
    deletion.or(probes).or(spec).unwrap_or(30)
}

/// Kills all that runs of a pod, then its sandboxes.
pub(crate) async fn pod(
    agent: &Agent,
    pod: &Pod,
    view: &PodView,
    grace: Option<i64>,
    again: bool,
) -> Result<(), RuntimeError> {
    let running: Vec<&ContainerView> =
        view.containers.iter().filter(|view| matches!(view.state, State::Running | State::Unknown)).collect();
    let ips = view.ips();
    let (ended, watched) = watch::channel(0usize);
    let kill = |view: &ContainerView| {
        let spec = super::container(pod, &view.name)
            .unwrap_or_else(|| Container { name: view.name.clone(), ..Default::default() });
        let after = before(pod, &running, &view.name);
        let turn = (after > 0).then(|| Turn { ended: watched.clone(), after });
        let (id, ips, ended) = (view.id.clone(), ips.clone(), &ended);
        async move {
            let killing = Killing { id: &id, grace, again, turn, ..Default::default() };
            let done = container(agent, pod, &spec, killing, &ips).await;
            ended.send_modify(|count| *count += 1);
            done
        }
    };
    let outcomes = futures::future::join_all(running.iter().map(|view| kill(view))).await;
    for sandbox in &view.sandboxes {
        agent.runtime.stop_sandbox(&sandbox.id).await?;
    }
    outcomes.into_iter().collect()
}

/// How many of the running containers end before this one: none for regular ones; for a sidecar all regular
/// ones and the sidecars that started after it.
fn before(pod: &Pod, running: &[&ContainerView], name: &str) -> usize {
    let inits = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    let place = |name: &str| inits.iter().position(|container| container.name == name && is_sidecar(container));
    let Some(own) = place(name) else { return 0 };
    running.iter().filter(|view| place(&view.name).is_none_or(|other| other > own)).count()
}
