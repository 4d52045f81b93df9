//! What a pod's status says: computed from the runtime's view, the probes and the last attempts to start.

use super::phase::phase;
use super::plan::{any_active, any_created, should_start};
use super::{conditions, ephemeral, is_terminal};
use crate::resources::{Qos, is_sidecar};
use crate::runtime::{ContainerView, PodView, State};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    ContainerUser, HostIP, LinuxContainerUser, Pod, PodIP, PodStatus, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::HashMap;

/// What probes say of a container, by name and id.
pub(crate) trait Health {
    /// Past its startup probe.
    fn started(&self, name: &str, id: &str) -> bool;
    /// Passes its readiness probe.
    fn ready(&self, name: &str, id: &str) -> bool;
}

/// Why a container was not started: upstream's reason and message.
pub(crate) type Reasons = HashMap<String, (String, String)>;

/// What a status is made from.
pub(crate) struct Input<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) view: &'a PodView,
    /// The status computed last.
    pub(crate) old: &'a PodStatus,
    pub(crate) reasons: &'a Reasons,
    pub(crate) health: &'a dyn Health,
    pub(crate) host_ips: &'a [String],
    pub(crate) runtime: &'a str,
    /// A resize that is not done yet.
    pub(crate) resize: Option<&'a super::resize::Open>,
    /// Nothing will be started again.
    pub(crate) done: bool,
    pub(crate) now: Timestamp,
}

/// The status.
pub(crate) fn compute(input: &Input<'_>) -> PodStatus {
    let pod = input.pod;
    let spec = pod.spec.clone().unwrap_or_default();
    let inits = spec.init_containers.as_deref().unwrap_or_default();
    let ephemerals = ephemeral(pod);
    let waiting = if inits.is_empty() { "ContainerCreating" } else { "PodInitializing" };
    let list = |containers: &[Container], old: &Option<Vec<ContainerStatus>>, init: bool| {
        let mut statuses = containers_of(input, containers, old.as_deref().unwrap_or_default(), waiting, init);
        for status in &mut statuses {
            judge(input, containers, status, init);
        }
        (!statuses.is_empty()).then_some(statuses)
    };
    let mut status = PodStatus {
        qos_class: Some(Qos::of(pod).name().to_owned()),
        container_statuses: list(&spec.containers, &input.old.container_statuses, false).map(sorted),
        init_container_statuses: list(inits, &input.old.init_container_statuses, true),
        ephemeral_container_statuses: list(&ephemerals, &input.old.ephemeral_container_statuses, false).map(sorted),
        observed_generation: pod.metadata.generation,
        start_time: input.old.start_time.clone().or_else(|| Some(seconds(input.now))),
        ..PodStatus::default()
    };
    let all: Vec<ContainerStatus> = status
        .container_statuses
        .iter()
        .flatten()
        .chain(status.init_container_statuses.iter().flatten())
        .cloned()
        .collect();
    let phase = settle_phase(input, &mut status, phase(pod, &all, input.done, any_active(pod, input.view)));
    let old = input.old.conditions.as_deref().unwrap_or_default();
    let mut conditions = conditions::all(pod, input.view, &all, &phase, old, &seconds(input.now));
    conditions.extend(input.resize.map(|open| conditions::resize(pod, open, old, &seconds(input.now))));
    status.conditions = Some(conditions);
    set_addresses(input, &mut status);
    status
}

/// A final phase stays; the reason stays with its phase.
fn settle_phase(input: &Input<'_>, status: &mut PodStatus, computed: &str) -> String {
    let api = input.pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let old = input.old.phase.as_deref();
    let phase = [api, old].into_iter().flatten().find(|phase| is_terminal(Some(phase))).unwrap_or(computed).to_owned();
    if Some(phase.as_str()) == old {
        status.reason.clone_from(&input.old.reason);
        status.message.clone_from(&input.old.message);
    }
    status.phase = Some(phase.clone());
    phase
}

fn set_addresses(input: &Input<'_>, status: &mut PodStatus) {
    let host: Vec<HostIP> = input.host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect();
    status.host_ip = input.host_ips.first().cloned();
    status.host_ips = (!host.is_empty()).then_some(host);
    let on_host = input.pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    let ips = if on_host { input.host_ips.to_vec() } else { one_per_family(input.view.ips(), input.host_ips) };
    status.pod_ip = ips.first().cloned();
    status.pod_ips = (!ips.is_empty()).then(|| ips.into_iter().map(|ip| PodIP { ip }).collect());
}

/// One address per family, the node's first family first.
fn one_per_family(ips: Vec<String>, host_ips: &[String]) -> Vec<String> {
    let six = |ip: &String| ip.contains(':');
    let primary_six = host_ips.first().is_some_and(six);
    let first = ips.iter().find(|ip| six(ip) == primary_six);
    let second = ips.iter().find(|ip| six(ip) != primary_six);
    first.into_iter().chain(second).cloned().collect()
}

fn sorted(mut statuses: Vec<ContainerStatus>) -> Vec<ContainerStatus> {
    statuses.sort_by(|a, b| a.name.cmp(&b.name));
    statuses
}

fn containers_of(
    input: &Input<'_>,
    containers: &[Container],
    old: &[ContainerStatus],
    waiting: &str,
    init: bool,
) -> Vec<ContainerStatus> {
    containers.iter().map(|container| container_status(input, container, old, waiting, init)).collect()
}

fn container_status(
    input: &Input<'_>,
    container: &Container,
    old: &[ContainerStatus],
    waiting: &str,
    init: bool,
) -> ContainerStatus {
    let old = old.iter().find(|old| old.name == container.name);
    let mut seen = input.view.containers.iter().filter(|view| view.name == container.name);
    let newest = seen.next();
    let mut status = match newest {
        Some(view) => from_view(input, container, view, old),
        None => without_view(input, container, old, waiting),
    };
    if let Some(before) = seen.next() {
        status.last_state = from_view(input, container, before, old).state;
    }
    let completed = newest.is_some_and(|view| view.state == State::Exited && view.exit_code == 0);
    if init && completed && !is_sidecar(container) {
        return status;
    }
    if init && newest.is_none() && any_created(input.pod, input.view) && !is_sidecar(container) {
        if status.state.as_ref().is_some_and(|state| state.waiting.is_some()) {
            status.state = Some(terminated(
                "Completed",
                "Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally",
                0,
            ));
        }
        return status;
    }
    if should_start(input.pod, container, newest)
        && let Some((reason, message)) = input.reasons.get(&container.name)
    {
        if status.state.as_ref().is_some_and(|state| state.terminated.is_some()) {
            status.last_state = status.state.take();
        }
        status.state = Some(waits(reason, message));
    }
    status
}

fn from_view(
    input: &Input<'_>,
    container: &Container,
    view: &ContainerView,
    old: Option<&ContainerStatus>,
) -> ContainerStatus {
    let id = format!("{}://{}", input.runtime, view.id);
    let mut restarts = view.restart_count;
    let state = match view.state {
        State::Running => ContainerState {
            running: Some(ContainerStateRunning { started_at: time(view.started_at) }),
            ..Default::default()
        },
        State::Exited => ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: view.exit_code,
                reason: some(&view.reason),
                message: some(&view.message),
                started_at: time(view.started_at),
                finished_at: time(view.finished_at),
                container_id: Some(id.clone()),
                signal: None,
            }),
            ..Default::default()
        },
        State::Unknown if old.and_then(|old| old.state.as_ref()).is_some_and(|state| state.running.is_some()) => {
            restarts = old.map_or(0, |old| old.restart_count) + 1;
            terminated("ContainerStatusUnknown", "The container could not be located when the pod was terminated", 137)
        }
        State::Created | State::Unknown => waits("", ""),
    };
    let asked = container.resources.clone().unwrap_or_default();
    let in_force = (view.state == State::Running).then(|| super::resize::in_force(view)).flatten();
    let waits = matches!(input.resize, Some(super::resize::Open::Waits(_)));
    let allocated = if waits { in_force.clone().unwrap_or(asked.clone()) } else { asked.clone() };
    ContainerStatus {
        name: view.name.clone(),
        restart_count: restarts,
        image: view.image.clone(),
        image_id: view.image_ref.clone(),
        container_id: Some(id),
        state: Some(state),
        last_state: old.and_then(|old| old.last_state.clone()).filter(|_| restarts > 0),
        started: old.and_then(|old| old.started),
        allocated_resources: allocated.requests,
        resources: Some(in_force.unwrap_or(asked)),
        volume_mounts: mounts(container),
        user: view.user.as_ref().map(|user| ContainerUser {
            linux: Some(LinuxContainerUser {
                uid: user.uid,
                gid: user.gid,
                supplemental_groups: (!user.supplemental_groups.is_empty()).then(|| user.supplemental_groups.clone()),
            }),
        }),
        ..Default::default()
    }
}

/// The runtime has nothing of this container: not yet, or no more.
fn without_view(
    input: &Input<'_>,
    container: &Container,
    old: Option<&ContainerStatus>,
    waiting: &str,
) -> ContainerStatus {
    let was = |pick: fn(&ContainerState) -> bool| old.and_then(|old| old.state.as_ref()).is_some_and(pick);
    if let Some(old) = old.filter(|_| was(|state| state.terminated.is_some())) {
        return old.clone();
    }
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        state: Some(waits(waiting, "")),
        restart_count: old.map_or(0, |old| old.restart_count),
        last_state: old.and_then(|old| old.last_state.clone()),
        volume_mounts: mounts(container),
        ..Default::default()
    };
    let known_end = status.last_state.as_ref().is_some_and(|state| state.terminated.is_some());
    if was(|state| state.running.is_some()) && !known_end {
        status.last_state = Some(terminated(
            "ContainerStatusUnknown",
            "The container could not be located when the pod was deleted.  The container used to be Running",
            137,
        ));
        status.restart_count += i32::from(input.pod.metadata.deletion_timestamp.is_none());
    }
    status
}

/// Fills in `started` and `ready`.
fn judge(input: &Input<'_>, containers: &[Container], status: &mut ContainerStatus, init: bool) {
    let id = status.container_id.as_deref().and_then(|id| id.split_once("://")).map(|(_, id)| id).unwrap_or_default();
    let running = status.state.as_ref().is_some_and(|state| state.running.is_some());
    let started = running && input.health.started(&status.name, id);
    status.started = Some(started);
    let container = containers.iter().find(|container| container.name == status.name);
    if init && container.is_some_and(|container| !is_sidecar(container)) {
        let ended = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        status.ready = ended.is_some_and(|ended| ended.exit_code == 0);
        return;
    }
    status.ready = started && input.health.ready(&status.name, id);
}

/// What a pod that ends for good must say of containers that nobody can ask about any more.
pub(crate) fn terminate(status: &mut PodStatus, initialized: bool) {
    let lost =
        || terminated("ContainerStatusUnknown", "The container could not be located when the pod was terminated", 137);
    let close = |status: &mut ContainerStatus| {
        if status.state.as_ref().is_none_or(|state| state.terminated.is_none()) {
            status.state = Some(lost());
        }
    };
    if initialized {
        status.container_statuses.iter_mut().flatten().for_each(close);
    }
    let inits = status.init_container_statuses.as_deref_mut().unwrap_or_default();
    let reached = inits.iter().rposition(|status| {
        status.state.as_ref().is_some_and(|state| state.terminated.is_some() || state.running.is_some())
    });
    if let Some(reached) = reached {
        inits[..=reached].iter_mut().for_each(close);
    }
    if !is_terminal(status.phase.as_deref()) {
        status.phase = Some("Failed".to_owned());
    }
}

fn waits(reason: &str, message: &str) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: some(reason), message: some(message) };
    ContainerState { waiting: Some(waiting), ..Default::default() }
}

fn terminated(reason: &str, message: &str, exit_code: i32) -> ContainerState {
    let terminated =
        ContainerStateTerminated { reason: some(reason), message: some(message), exit_code, ..Default::default() };
    ContainerState { terminated: Some(terminated), ..Default::default() }
}

fn mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mount = |mount: &k8s_openapi::api::core::v1::VolumeMount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only,
        recursive_read_only: (mount.read_only == Some(true)).then(|| "Disabled".to_owned()),
        volume_status: None,
    };
    container.volume_mounts.as_ref().map(|mounts| mounts.iter().map(mount).collect())
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// A time as the API keeps it: whole seconds.
pub(crate) fn seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

fn time(nanos: i64) -> Option<Time> {
    (nanos > 0).then(|| Timestamp::from_second(nanos / 1_000_000_000).ok().map(Time)).flatten()
}

#[cfg(test)]
mod tests;
