//! A pod's conditions, worded as upstream words them.

use super::phase::find;
use super::plan::sandbox_changed;
use super::resize::Open;
use crate::resources::is_sidecar;
use crate::runtime::PodView;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The conditions that the node agent owns; all others are left alone.
pub(crate) const OWNED: [&str; 7] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "PodResizePending",
    "PodResizeInProgress",
];

fn condition(kind: &str, status: bool, reason: &str, message: String) -> PodCondition {
    PodCondition {
        type_: kind.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: (!reason.is_empty()).then(|| reason.to_owned()),
        message: (!message.is_empty()).then_some(message),
        ..Default::default()
    }
}

/// All owned conditions, in upstream's order; transitions are dated `now` unless `old` has the same status.
pub(crate) fn all(
    pod: &Pod,
    view: &PodView,
    statuses: &[ContainerStatus],
    phase: &str,
    old: &[PodCondition],
    now: &Time,
) -> Vec<PodCondition> {
    let (needs_sandbox, _, _) = sandbox_changed(pod, view);
    let containers_ready = containers_ready(pod, statuses, phase);
    let mut conditions = vec![
        condition("PodReadyToStartContainers", !needs_sandbox, "", String::new()),
        initialized(pod, statuses, phase),
        ready(pod, &containers_ready),
        containers_ready,
        condition("PodScheduled", true, "", String::new()),
    ];
    for condition in &mut conditions {
        condition.observed_generation = pod.metadata.generation;
        date(condition, old, now);
    }
    conditions
}

/// A resize waits, or is being done.
pub(crate) fn resize(pod: &Pod, open: &Open, old: &[PodCondition], now: &Time) -> PodCondition {
    let mut condition = match open {
        Open::Waits((reason, message)) => condition("PodResizePending", true, reason, message.clone()),
        Open::InProgress => condition("PodResizeInProgress", true, "", String::new()),
    };
    condition.observed_generation = pod.metadata.generation;
    date(&mut condition, old, now);
    condition
}

/// Keeps the time of the last transition where the status is the same.
fn date(condition: &mut PodCondition, old: &[PodCondition], now: &Time) {
    let before = old.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
    condition.last_transition_time = before.and_then(|old| old.last_transition_time.clone()).or(Some(now.clone()));
}

/// `[a b]`, as Go prints a list.
fn listed(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

fn terminal_reason(phase: &str) -> &'static str {
    if phase == "Failed" { "PodFailed" } else { "PodCompleted" }
}

fn containers_ready(pod: &Pod, statuses: &[ContainerStatus], phase: &str) -> PodCondition {
    const KIND: &str = "ContainersReady";
    let Some(spec) = &pod.spec else { return condition(KIND, true, "", String::new()) };
    let sidecars = spec.init_containers.iter().flatten().filter(|container| is_sidecar(container));
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    for container in sidecars.chain(&spec.containers) {
        match find(statuses, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    if phase == "Failed" || (phase == "Succeeded" && unknown.is_empty()) {
        return condition(KIND, false, terminal_reason(phase), String::new());
    }
    let mut messages = Vec::new();
    if !unknown.is_empty() {
        messages.push(format!("containers with unknown status: {}", listed(&unknown)));
    }
    if !unready.is_empty() {
        messages.push(format!("containers with unready status: {}", listed(&unready)));
    }
    match messages.is_empty() {
        true => condition(KIND, true, "", String::new()),
        false => condition(KIND, false, "ContainersNotReady", messages.join(", ")),
    }
}

fn ready(pod: &Pod, containers_ready: &PodCondition) -> PodCondition {
    if containers_ready.status != "True" {
        return PodCondition { type_: "Ready".to_owned(), ..containers_ready.clone() };
    }
    let gates = pod.spec.as_ref().and_then(|spec| spec.readiness_gates.as_deref()).unwrap_or_default();
    let present = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let missing: Vec<String> = gates
        .iter()
        .filter_map(|gate| {
            let kind = &gate.condition_type;
            match present.iter().find(|condition| condition.type_ == *kind) {
                None => Some(format!("corresponding condition of pod readiness gate {kind:?} does not exist.")),
                Some(found) if found.status != "True" => {
                    Some(format!("the status of pod readiness gate {kind:?} is not \"True\", but {}", found.status))
                }
                Some(_) => None,
            }
        })
        .collect();
    match missing.is_empty() {
        true => condition("Ready", true, "", String::new()),
        false => condition("Ready", false, "ReadinessGatesNotReady", missing.join(", ")),
    }
}

fn initialized(pod: &Pod, statuses: &[ContainerStatus], phase: &str) -> PodCondition {
    const KIND: &str = "Initialized";
    let Some(spec) = &pod.spec else { return condition(KIND, true, "", String::new()) };
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in spec.init_containers.iter().flatten() {
        let done = |status: &ContainerStatus| {
            if is_sidecar(container) { status.started == Some(true) } else { status.ready }
        };
        match find(statuses, &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !done(status) => incomplete.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return condition(KIND, true, "PodCompleted", String::new());
    }
    if spec.containers.iter().any(|container| find(statuses, &container.name).is_some_and(has_started)) {
        return condition(KIND, true, "", String::new());
    }
    let mut messages = Vec::new();
    if !unknown.is_empty() {
        messages.push(format!("containers with unknown status: {}", listed(&unknown)));
    }
    if !incomplete.is_empty() {
        messages.push(format!("containers with incomplete status: {}", listed(&incomplete)));
    }
    match messages.is_empty() {
        true => condition(KIND, true, "", String::new()),
        false => condition(KIND, false, "ContainersNotInitialized", messages.join(", ")),
    }
}

/// Runs, ran, or is known to have run before.
fn has_started(status: &ContainerStatus) -> bool {
    status.state.as_ref().is_some_and(|state| state.running.is_some() || state.terminated.is_some())
        || status.last_state.as_ref().is_some_and(|state| state.terminated.is_some())
}
