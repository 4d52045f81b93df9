//! Resizing in place: a running container is given other resources, or started again where it asks for that.

use super::Facts;
use crate::cri::v1;
use crate::resources::{self, Side};
use crate::runtime::ContainerView;
use k8s_openapi::api::core::v1::{Container, Node, Pod, ResourceRequirements};
use std::sync::Arc;

/// What a container needs to get the resources that its pod asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resize {
    /// Nothing.
    None,
    /// Other limits, while it runs.
    InPlace,
    /// Another start.
    Restart,
}

/// A resize that is asked for and not done yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    /// The node does not have it: reason and message.
    Waits((String, String)),
    /// Being done.
    InProgress,
}

/// The resources that a container has; none: not known.
pub(crate) fn in_force(view: &ContainerView) -> Option<ResourceRequirements> {
    serde_json::from_str(&view.resources).ok()
}

/// Compares what a container asks for with what it has.
pub(crate) fn of(container: &Container, view: &ContainerView) -> Resize {
    let Some(has) = in_force(view) else { return Resize::None };
    let asks = container.resources.clone().unwrap_or_default();
    let differs = |name: &str| {
        resources::amount(asks.requests.as_ref(), name) != resources::amount(has.requests.as_ref(), name)
            || resources::amount(asks.limits.as_ref(), name) != resources::amount(has.limits.as_ref(), name)
    };
    let restarts = |name: &str| {
        let policy = container.resize_policy.iter().flatten().find(|policy| policy.resource_name == name);
        policy.is_some_and(|policy| policy.restart_policy == "RestartContainer")
    };
    let changed: Vec<&str> = ["cpu", "memory"].into_iter().filter(|name| differs(name)).collect();
    match changed.as_slice() {
        [] => Resize::None,
        names if names.iter().any(|name| restarts(name)) => Resize::Restart,
        _ => Resize::InPlace,
    }
}

/// Why a resize cannot be done at present: reason and message of the condition.
pub(crate) fn must_wait(pod: &Pod, node: &Node, others: &[Arc<Pod>]) -> Option<(String, String)> {
    let spec = pod.spec.as_ref()?;
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    ["cpu", "memory"].into_iter().find_map(|name| {
        let requested = resources::of_pod(spec, name, Side::Requests);
        let capacity = resources::amount(allocatable, name);
        let specs = others.iter().filter_map(|other| other.spec.as_ref());
        let used: i64 = specs.map(|other| resources::of_pod(other, name, Side::Requests)).sum();
        if requested > capacity {
            let message =
                format!("Node didn't have enough capacity: {name}, requested: {requested}, capacity: {capacity}");
            Some(("Infeasible".to_owned(), message))
        } else if requested > capacity - used {
            let message = format!(
                "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
            );
            Some(("Deferred".to_owned(), message))
        } else {
            None
        }
    })
}

/// What the runtime is told.
pub(crate) fn update(pod: &Pod, container: &Container, facts: &Facts) -> v1::LinuxContainerResources {
    let mut wanted = resources::of_container(pod, container, facts.cpu, facts.memory_capacity);
    if wanted.cpu_quota == 0 {
        wanted.cpu_quota = -1;
    }
    // Memory and swap are limited together, or a larger memory limit would be above the other.
    wanted.memory_swap_limit_in_bytes = wanted.memory_limit_in_bytes;
    wanted.oom_score_adj = 0;
    wanted
}
