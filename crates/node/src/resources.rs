//! Requests and limits: sums over a pod, quality of service, what the kernel is told.

use crate::cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use kaji_api::quantity::Quantity;
use std::collections::BTreeMap;

/// The least weight the kernel takes, and the most.
const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;
/// The least quota the kernel takes, in microseconds.
const MIN_QUOTA: i64 = 1000;

type List = BTreeMap<String, Text>;

/// A quantity's value; what does not parse counts as nothing (the API server refuses such).
pub(crate) fn parse(text: &Text) -> Quantity {
    text.0.parse().unwrap_or_else(|_| Quantity::from_i64(0))
}

/// Whole units (bytes, pods) of a resource in a list, 0 where absent.
pub(crate) fn units(list: Option<&List>, name: &str) -> i64 {
    list.and_then(|list| list.get(name)).map_or(0, |text| parse(text).value())
}

/// Thousandths (of CPUs) of a resource in a list, 0 where absent.
pub(crate) fn millis(list: Option<&List>, name: &str) -> i64 {
    list.and_then(|list| list.get(name)).map_or(0, |text| parse(text).milli_value())
}

/// An amount in the unit in which resources are compared: milli for CPU, whole otherwise.
pub(crate) fn amount(list: Option<&List>, name: &str) -> i64 {
    if name == "cpu" { millis(list, name) } else { units(list, name) }
}

/// Whether an init container stays on as a sidecar.
pub(crate) fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// What of a container's resources is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Requests,
    Limits,
}

impl Side {
    fn of(self, container: &Container) -> Option<&List> {
        let resources = container.resources.as_ref()?;
        match self {
            Side::Requests => resources.requests.as_ref(),
            Side::Limits => resources.limits.as_ref(),
        }
    }
}

/// A pod's amount of one resource: containers and sidecars together, or the largest init step, plus overhead;
/// pod-level resources win where set.
pub(crate) fn of_pod(spec: &PodSpec, name: &str, side: Side) -> i64 {
    let overhead = amount(spec.overhead.as_ref(), name);
    let level = spec.resources.as_ref().and_then(|resources| match side {
        Side::Requests => resources.requests.as_ref(),
        Side::Limits => resources.limits.as_ref(),
    });
    if level.is_some_and(|list| list.contains_key(name)) {
        return amount(level, name) + overhead;
    }
    let of = |container: &Container| amount(side.of(container), name);
    let mut together: i64 = spec.containers.iter().map(of).sum();
    let (mut sidecars, mut steps) = (0, 0);
    for container in spec.init_containers.iter().flatten() {
        if is_sidecar(container) {
            sidecars += of(container);
            steps = steps.max(sidecars);
        } else {
            steps = steps.max(sidecars + of(container));
        }
    }
    together += sidecars;
    let sum = together.max(steps);
    if sum == 0 && side == Side::Limits { 0 } else { sum + overhead }
}

/// Whether every container of the pod limits this resource.
pub(crate) fn all_limited(spec: &PodSpec, name: &str) -> bool {
    let limited = |container: &Container| amount(Side::Limits.of(container), name) > 0;
    of_level(spec, name) || containers(spec).all(limited)
}

fn of_level(spec: &PodSpec, name: &str) -> bool {
    let limits = spec.resources.as_ref().and_then(|resources| resources.limits.as_ref());
    amount(limits, name) > 0
}

/// Init containers and containers.
pub(crate) fn containers(spec: &PodSpec) -> impl Iterator<Item = &Container> {
    spec.init_containers.iter().flatten().chain(&spec.containers)
}

/// Quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Qos {
    Guaranteed,
    Burstable,
    BestEffort,
}

impl Qos {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Qos::Guaranteed => "Guaranteed",
            Qos::Burstable => "Burstable",
            Qos::BestEffort => "BestEffort",
        }
    }

    /// The class of a pod; what the server has computed stands.
    pub(crate) fn of(pod: &Pod) -> Qos {
        let known = pod.status.as_ref().and_then(|status| status.qos_class.as_deref());
        match known {
            Some("Guaranteed") => Qos::Guaranteed,
            Some("Burstable") => Qos::Burstable,
            Some("BestEffort") => Qos::BestEffort,
            _ => pod.spec.as_ref().map_or(Qos::BestEffort, Qos::compute),
        }
    }

    fn compute(spec: &PodSpec) -> Qos {
        let level = spec.resources.as_ref();
        let lists: Vec<(Option<&List>, Option<&List>)> = match level {
            Some(level) if level.requests.is_some() || level.limits.is_some() => {
                vec![(level.requests.as_ref(), level.limits.as_ref())]
            }
            _ => containers(spec).map(|c| (Side::Requests.of(c), Side::Limits.of(c))).collect(),
        };
        let positive =
            |list: Option<&List>, name: &str| list.is_some_and(|l| l.contains_key(name)) && amount(list, name) > 0;
        let any = lists.iter().any(|(requests, limits)| {
            ["cpu", "memory"].iter().any(|name| positive(*requests, name) || positive(*limits, name))
        });
        let guaranteed = lists.iter().all(|(requests, limits)| {
            ["cpu", "memory"].iter().all(|name| {
                let asked = if positive(*requests, name) { amount(*requests, name) } else { amount(*limits, name) };
                positive(*limits, name) && asked == amount(*limits, name)
            })
        });
        match (any, guaranteed) {
            (false, _) => Qos::BestEffort,
            (true, true) => Qos::Guaranteed,
            (true, false) => Qos::Burstable,
        }
    }
}

/// CPU weight for thousandths of a CPU.
pub(crate) fn shares(milli: i64) -> i64 {
    if milli == 0 { MIN_SHARES } else { (milli * 1024 / 1000).clamp(MIN_SHARES, MAX_SHARES) }
}

/// CPU quota within a period for thousandths of a CPU, in microseconds; 0: none.
pub(crate) fn quota(milli: i64, period: i64) -> i64 {
    if milli == 0 { 0 } else { (milli * period / 1000).max(MIN_QUOTA) }
}

/// How eagerly the kernel kills a container of a pod when memory runs out.
pub(crate) fn oom_score(pod: &Pod, container: &Container, memory_capacity: i64) -> i64 {
    let spec = pod.spec.as_ref();
    // system-node-critical
    if spec.and_then(|spec| spec.priority).unwrap_or_default() >= 2_000_000_000 {
        return -997;
    }
    match Qos::of(pod) {
        Qos::Guaranteed => return -997,
        Qos::BestEffort => return 1000,
        Qos::Burstable => {}
    }
    let request = |container: &Container| units(Side::Requests.of(container), "memory");
    let score = 1000 - 1000 * request(container) / memory_capacity.max(1);
    let least_regular = spec.map_or(score, |spec| {
        spec.containers.iter().map(|c| 1000 - 1000 * request(c) / memory_capacity.max(1)).min().unwrap_or(score)
    });
    let score = if is_sidecar(container) { score.min(least_regular) } else { score };
    if score < 3 {
        3
    } else if score == 1000 {
        999
    } else {
        score
    }
}

/// How the kernel's CPU limits are set on this node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CpuLimits {
    pub(crate) quota: bool,
    pub(crate) period: i64,
}

/// A container's share and limits as CRI takes them.
pub(crate) fn of_container(
    pod: &Pod,
    container: &Container,
    cpu: CpuLimits,
    memory_capacity: i64,
) -> v1::LinuxContainerResources {
    let requests = Side::Requests.of(container);
    let limits = Side::Limits.of(container);
    let asked = requests.is_some_and(|list| list.contains_key("cpu"));
    let milli = if asked { millis(requests, "cpu") } else { millis(limits, "cpu") };
    let unified_v2 = crate::cgroup::is_unified();
    v1::LinuxContainerResources {
        cpu_period: if cpu.quota { cpu.period } else { 0 },
        cpu_quota: if cpu.quota { quota(millis(limits, "cpu"), cpu.period) } else { 0 },
        cpu_shares: shares(milli),
        memory_limit_in_bytes: units(limits, "memory"),
        oom_score_adj: oom_score(pod, container, memory_capacity),
        unified: if unified_v2 {
            [("memory.oom.group".to_owned(), "1".to_owned())].into_iter().collect()
        } else {
            Default::default()
        },
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
