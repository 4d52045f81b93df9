//! What to do next for a pod that should run: pure, from its spec, the runtime's view and the probes' findings.

use super::resize::{self, Resize};
use super::{ephemeral, restarts};
use crate::resources::is_sidecar;
use crate::runtime::{ContainerView, PodView, State, labels};
use k8s_openapi::api::core::v1::{Container, Pod};

/// The end of the message about a container that must start again to get other resources.
pub(crate) const RESIZE: &str = "resize requires restart";

/// Why a container is killed; it decides whose grace period counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KillReason {
    /// Something else.
    Other,
    /// Its liveness probe failed.
    Liveness,
    /// Its startup probe failed.
    Startup,
}

/// A container to kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kill {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) message: String,
    pub(crate) reason: KillReason,
}

/// The next steps, by index into the pod's lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Stop everything, the sandbox included.
    pub(crate) kill_pod: bool,
    pub(crate) create_sandbox: bool,
    /// The present sandbox, if any.
    pub(crate) sandbox: Option<String>,
    /// The number of the sandbox to create.
    pub(crate) attempt: u32,
    pub(crate) start_ephemeral: Vec<usize>,
    pub(crate) start_init: Vec<usize>,
    pub(crate) start: Vec<usize>,
    pub(crate) kill: Vec<Kill>,
    /// Running containers that get other resources, by id and name.
    pub(crate) update: Vec<(String, String)>,
}

/// What probes found about a container, by its id; none: nothing yet, or no such probe.
pub(crate) trait Findings {
    fn liveness(&self, id: &str) -> Option<bool>;
    fn startup(&self, id: &str) -> Option<bool>;
}

/// Decides.
pub(crate) fn plan(pod: &Pod, view: &PodView, findings: &dyn Findings) -> Plan {
    let Some(spec) = &pod.spec else { return Plan::default() };
    let (create, attempt, sandbox) = sandbox_changed(pod, view);
    let mut plan = Plan { kill_pod: create, create_sandbox: create, attempt, sandbox, ..Plan::default() };
    if create {
        plan_new_sandbox(pod, view, &mut plan);
        return plan;
    }
    for (at, container) in ephemeral(pod).iter().enumerate() {
        if view.container(&container.name).is_none() {
            plan.start_ephemeral.push(at);
        }
    }
    let initialized = plan_init(pod, view, findings, &mut plan);
    if plan.kill_pod || !initialized {
        return plan;
    }
    let mut kept = 0;
    for (at, container) in spec.containers.iter().enumerate() {
        match view.container(&container.name) {
            Some(running) if running.state == State::Running => match plan_running(pod, container, running, findings) {
                None => {
                    kept += 1;
                    if resize::of(container, running) == Resize::InPlace {
                        plan.update.push((running.id.clone(), running.name.clone()));
                    }
                }
                Some((kill, restart)) => {
                    plan.kill.push(kill);
                    if restart {
                        plan.start.push(at);
                    }
                }
            },
            other => {
                if should_start(pod, container, other) {
                    plan.start.push(at);
                    if let Some(lost) = other.filter(|view| view.state == State::Unknown) {
                        plan.kill.push(lost_container("Container", lost));
                    }
                }
            }
        }
    }
    if kept == 0 && plan.start.is_empty() {
        plan.kill_pod = true;
        plan.start_init.clear();
    }
    plan
}

/// Whether a sandbox must be made, its number, and the present one.
pub(crate) fn sandbox_changed(pod: &Pod, view: &PodView) -> (bool, u32, Option<String>) {
    let Some(latest) = view.sandboxes.first() else { return (true, 0, None) };
    let id = Some(latest.id.clone());
    let host_network = pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true));
    let ready = view.sandboxes.iter().filter(|sandbox| sandbox.ready).count();
    if ready > 1 || !latest.ready {
        return (true, latest.attempt + 1, id);
    }
    if latest.host_network != host_network {
        return (true, latest.attempt + 1, None);
    }
    if !host_network && latest.ips.is_empty() {
        return (true, latest.attempt + 1, id);
    }
    (false, latest.attempt, id)
}

fn plan_new_sandbox(pod: &Pod, view: &PodView, plan: &mut Plan) {
    let Some(spec) = &pod.spec else { return };
    let never = spec.restart_policy.as_deref() == Some("Never");
    if never && plan.attempt != 0 && !view.containers.is_empty() {
        // It had its one chance: do not start it again.
        plan.create_sandbox = false;
        return;
    }
    let succeeded = |container: &Container| {
        view.container(&container.name).is_some_and(|view| view.state == State::Exited && view.exit_code == 0)
    };
    let runs_once = |container: &Container| {
        container.restart_policy.as_deref().or(spec.restart_policy.as_deref()) == Some("OnFailure")
    };
    let start: Vec<usize> = (0..spec.containers.len())
        .filter(|at| !(runs_once(&spec.containers[*at]) && succeeded(&spec.containers[*at])))
        .collect();
    if start.is_empty() && any_created(pod, view) {
        plan.create_sandbox = false;
    } else if spec.init_containers.as_deref().unwrap_or_default().is_empty() {
        plan.start = start;
    } else {
        plan.start_init = vec![0];
    }
}

/// Any of the pod's regular containers exists or existed.
pub(crate) fn any_created(pod: &Pod, view: &PodView) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let known = |container: &Container| view.container(&container.name).is_some_and(|v| v.state != State::Unknown);
    spec.containers.iter().any(known)
}

/// Any of the pod's regular containers is being started or runs.
pub(crate) fn any_active(pod: &Pod, view: &PodView) -> bool {
    let active = |container: &Container| {
        view.container(&container.name).is_some_and(|v| matches!(v.state, State::Created | State::Running))
    };
    pod.spec.as_ref().is_some_and(|spec| spec.containers.iter().any(active))
}

/// The init containers' part, last first; whether the pod is initialized.
fn plan_init(pod: &Pod, view: &PodView, findings: &dyn Findings, plan: &mut Plan) -> bool {
    let inits = pod.spec.as_ref().and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default();
    if inits.is_empty() {
        return true;
    }
    let mut initialized = any_active(pod, view);
    let mut passed = initialized;
    for (at, container) in inits.iter().enumerate().rev() {
        let sidecar = is_sidecar(container);
        let Some(status) = view.container(&container.name) else {
            if passed && sidecar {
                plan.start_init.push(at);
            }
            continue;
        };
        if passed && !sidecar {
            continue;
        }
        let last = at + 1 == inits.len();
        match status.state {
            State::Created => plan.start_init.push(at),
            State::Running if sidecar => {
                initialized |= plan_sidecar(container, status, findings, plan, at, last, passed);
            }
            State::Running => {}
            State::Exited if sidecar => plan.start_init.push(at),
            State::Exited if status.exit_code == 0 => {
                if last {
                    initialized = true;
                } else {
                    plan.start_init.push(at + 1);
                }
            }
            State::Exited | State::Unknown => {
                if !sidecar
                    && !restarts(pod, container, if status.state == State::Exited { status.exit_code } else { 1 })
                {
                    plan.kill_pod = true;
                    plan.start_init.clear();
                    return false;
                }
                if status.state == State::Unknown {
                    plan.kill.push(lost_container("Init container", status));
                }
                plan.start_init.push(at);
            }
        }
        passed = true;
    }
    if !passed {
        plan.start_init.push(0);
    }
    plan.start_init.reverse();
    initialized
}

/// A running sidecar: whether it completes the pod's initialization.
fn plan_sidecar(
    container: &Container,
    status: &ContainerView,
    findings: &dyn Findings,
    plan: &mut Plan,
    at: usize,
    last: bool,
    passed: bool,
) -> bool {
    if container.startup_probe.is_some() {
        match findings.startup(&status.id) {
            Some(true) => {}
            Some(false) => {
                kill_sidecar(plan, status, at, "failed startup probe", KillReason::Startup);
                return false;
            }
            None => return false,
        }
    }
    if !last && !passed {
        plan.start_init.push(at + 1);
    }
    if status.hash != labels::hash(container) {
        kill_sidecar(plan, status, at, "definition changed", KillReason::Other);
    } else if container.liveness_probe.is_some() && findings.liveness(&status.id) == Some(false) {
        kill_sidecar(plan, status, at, "failed liveness probe", KillReason::Liveness);
    } else {
        match resize::of(container, status) {
            Resize::Restart => kill_sidecar(plan, status, at, RESIZE, KillReason::Other),
            Resize::InPlace => plan.update.push((status.id.clone(), status.name.clone())),
            Resize::None => {}
        }
    }
    last
}

fn kill_sidecar(plan: &mut Plan, status: &ContainerView, at: usize, what: &str, reason: KillReason) {
    let (id, name) = (status.id.clone(), status.name.clone());
    plan.kill.push(Kill { id, message: format!("Init container {name} {what}"), name, reason });
    plan.start_init.push(at);
}

/// A running container: how it must be killed and whether it then starts again; none: it is kept.
fn plan_running(
    pod: &Pod,
    container: &Container,
    status: &ContainerView,
    findings: &dyn Findings,
) -> Option<(Kill, bool)> {
    let name = &container.name;
    let never = pod.spec.as_ref().is_some_and(|spec| spec.restart_policy.as_deref() == Some("Never"));
    let mut restart = container.restart_policy.as_deref().map_or(!never, |policy| policy != "Never");
    let (message, reason) = if status.hash != labels::hash(container) {
        restart = true;
        (format!("Container {name} definition changed"), KillReason::Other)
    } else if findings.liveness(&status.id) == Some(false) {
        (format!("Container {name} failed liveness probe"), KillReason::Liveness)
    } else if findings.startup(&status.id) == Some(false) {
        (format!("Container {name} failed startup probe"), KillReason::Startup)
    } else if resize::of(container, status) == Resize::Restart {
        restart = true;
        (format!("Container {name} {RESIZE}"), KillReason::Other)
    } else {
        return None;
    };
    let message = if restart { format!("{message}, will be restarted") } else { message };
    Some((Kill { id: status.id.clone(), name: name.clone(), message, reason }, restart))
}

/// Whether a container that does not run should.
pub(crate) fn should_start(pod: &Pod, container: &Container, status: Option<&ContainerView>) -> bool {
    if pod.metadata.deletion_timestamp.is_some() {
        return false;
    }
    match status {
        None => true,
        Some(status) => match status.state {
            State::Running => false,
            State::Unknown | State::Created => true,
            State::Exited => restarts(pod, container, status.exit_code),
        },
    }
}

fn lost_container(what: &str, status: &ContainerView) -> Kill {
    Kill {
        id: status.id.clone(),
        name: status.name.clone(),
        message: format!("{what} is in \"unknown\" state, try killing it before restart"),
        reason: KillReason::Other,
    }
}

#[cfg(test)]
mod tests;
