//! The node's conditions.

use super::super::pod::status::seconds;
use super::machine::Machine;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NodeCondition, NodeStatus};
use serde_json::Value;

/// All of them; a problem makes the node not ready.
pub(super) fn all(problem: Option<String>, machine: &Machine, now: Timestamp) -> Vec<NodeCondition> {
    let condition = |kind: &str, status: bool, reason: &str, message: &str| NodeCondition {
        type_: kind.to_owned(),
        status: if status { "True" } else { "False" }.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_heartbeat_time: Some(seconds(now)),
        last_transition_time: Some(seconds(now)),
    };
    let pressure = machine.pressure();
    let memory = match pressure.memory {
        true => ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
        false => ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    };
    let disk = match pressure.disk {
        true => ("KubeletHasDiskPressure", "kubelet has disk pressure"),
        false => ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    };
    let ready = match &problem {
        Some(problem) => ("KubeletNotReady", problem.as_str()),
        None => ("KubeletReady", "kubelet is posting ready status"),
    };
    vec![
        condition("MemoryPressure", pressure.memory, memory.0, memory.1),
        condition("DiskPressure", pressure.disk, disk.0, disk.1),
        condition("PIDPressure", false, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        condition("Ready", problem.is_none(), ready.0, ready.1),
    ]
}

pub(super) fn is_ready(status: &NodeStatus) -> bool {
    status.conditions.iter().flatten().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// What of a status is compared: all but the times.
pub(super) fn without_times(status: &NodeStatus) -> Value {
    let mut status = status.clone();
    for condition in status.conditions.iter_mut().flatten() {
        condition.last_heartbeat_time = None;
        condition.last_transition_time = None;
    }
    serde_json::to_value(status).unwrap_or_default()
}

/// A condition that stays as it was keeps its date.
pub(super) fn keep_transitions(status: &mut NodeStatus, old: &[NodeCondition]) {
    for condition in status.conditions.iter_mut().flatten() {
        let before = old.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
        if let Some(time) = before.and_then(|old| old.last_transition_time.clone()) {
            condition.last_transition_time = Some(time);
        }
    }
}
