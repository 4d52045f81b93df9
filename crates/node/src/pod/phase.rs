//! A pod's phase, from its containers' statuses.

use super::restarts;
use crate::resources::is_sidecar;
use k8s_openapi::api::core::v1::{Container, ContainerState, ContainerStatus, Pod};

/// The status of a container by name.
pub(crate) fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|status| status.name == name)
}

/// What a status says: running, ended with a code, ended before and waiting, or waiting for the first time.
enum Shown {
    Running { started: bool },
    Ended(i32),
    EndedAndWaits(i32),
    Waits,
    Unknown,
}

fn shown(status: Option<&ContainerStatus>) -> Shown {
    let Some(status) = status else { return Shown::Unknown };
    let ended = |state: &Option<ContainerState>| {
        state.as_ref().and_then(|state| state.terminated.as_ref()).map(|terminated| terminated.exit_code)
    };
    match &status.state {
        Some(ContainerState { running: Some(_), .. }) => Shown::Running { started: status.started == Some(true) },
        Some(ContainerState { terminated: Some(terminated), .. }) => Shown::Ended(terminated.exit_code),
        Some(ContainerState { waiting: Some(_), .. }) => match ended(&status.last_state) {
            Some(code) => Shown::EndedAndWaits(code),
            None => Shown::Waits,
        },
        _ => Shown::Unknown,
    }
}

#[derive(Default)]
struct Counts {
    pending_init: usize,
    pending_sidecars: usize,
    failed_init: bool,
    unknown: usize,
    running: usize,
    waiting: usize,
    stopped: usize,
    final_stops: usize,
    succeeded: usize,
}

/// The phase. `statuses` are those of all containers; `done` says that nothing will be started again.
pub(crate) fn phase(pod: &Pod, statuses: &[ContainerStatus], done: bool, initialized: bool) -> &'static str {
    let counts = count(pod, statuses);
    if counts.failed_init {
        return "Failed";
    }
    if counts.pending_init > 0 || (counts.pending_sidecars > 0 && !initialized) || counts.waiting > 0 {
        return "Pending";
    }
    if counts.running > 0 && counts.unknown == 0 {
        return "Running";
    }
    if counts.running == 0 && counts.stopped > 0 && counts.unknown == 0 {
        if !done && counts.stopped != counts.final_stops {
            return "Running";
        }
        return if counts.stopped == counts.succeeded { "Succeeded" } else { "Failed" };
    }
    "Pending"
}

fn count(pod: &Pod, statuses: &[ContainerStatus]) -> Counts {
    let mut counts = Counts::default();
    let Some(spec) = &pod.spec else { return counts };
    for container in spec.init_containers.iter().flatten() {
        let state = shown(find(statuses, &container.name));
        if is_sidecar(container) {
            count_sidecar(&mut counts, &state);
        } else {
            count_init(pod, container, &mut counts, &state);
        }
    }
    for container in &spec.containers {
        match shown(find(statuses, &container.name)) {
            Shown::Running { .. } => counts.running += 1,
            Shown::Waits => counts.waiting += 1,
            Shown::Unknown => counts.unknown += 1,
            state @ (Shown::Ended(code) | Shown::EndedAndWaits(code)) => {
                counts.stopped += 1;
                counts.final_stops += usize::from(!restarts(pod, container, code));
                counts.succeeded += usize::from(matches!(state, Shown::Ended(0)));
            }
        }
    }
    counts
}

fn count_init(pod: &Pod, container: &Container, counts: &mut Counts, state: &Shown) {
    match state {
        Shown::Ended(0) => {}
        Shown::Ended(code) | Shown::EndedAndWaits(code) if *code != 0 => {
            counts.failed_init |= !restarts(pod, container, *code);
        }
        Shown::EndedAndWaits(_) => {}
        _ => counts.pending_init += 1,
    }
}

fn count_sidecar(counts: &mut Counts, state: &Shown) {
    match state {
        Shown::Running { started } => {
            counts.pending_sidecars += usize::from(!started);
            counts.running += 1;
        }
        Shown::Waits => {
            counts.pending_sidecars += 1;
            counts.waiting += 1;
        }
        Shown::Unknown => {
            counts.pending_sidecars += 1;
            counts.unknown += 1;
        }
        Shown::Ended(_) | Shown::EndedAndWaits(_) => {}
    }
}
