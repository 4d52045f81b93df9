//! Pods: what each must become and how it gets there.
//!
//! `plan` decides from the pod, what the runtime shows and what probes found; it is pure. `worker` is the state
//! machine that carries plans out, one per pod. `status` says to the API what came of it.

pub(crate) mod admission;
pub(crate) mod backoff;
pub(crate) mod conditions;
pub(crate) mod config;
pub(crate) mod dns;
pub(crate) mod env;
pub(crate) mod expand;
pub(crate) mod fields;
pub(crate) mod hooks;
pub(crate) mod hosts;
pub(crate) mod phase;
pub(crate) mod plan;
pub(crate) mod pull;
pub(crate) mod resize;
pub(crate) mod security;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod worker;

use crate::resources::CpuLimits;
use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod};
use std::collections::BTreeMap;

/// What pods must know of their node.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) host_ips: Vec<String>,
    pub(crate) cluster_domain: String,
    pub(crate) cluster_dns: Vec<String>,
    /// Amounts per resource: milli for CPU, whole units otherwise.
    pub(crate) allocatable: BTreeMap<String, i64>,
    pub(crate) memory_capacity: i64,
    pub(crate) cpu: CpuLimits,
    pub(crate) seccomp_default: bool,
}

impl Default for Facts {
    fn default() -> Self {
        Facts {
            host_ips: Vec::new(),
            cluster_domain: String::new(),
            cluster_dns: Vec::new(),
            allocatable: BTreeMap::new(),
            memory_capacity: 1,
            cpu: CpuLimits { quota: true, period: 100_000 },
            seccomp_default: false,
        }
    }
}

/// How upstream names a pod in messages: `name_namespace(uid)`.
pub(crate) fn full_name(pod: &Pod) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let meta = &pod.metadata;
    format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid))
}

/// The pod's uid.
pub(crate) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// Whether the pod's phase is final.
pub(crate) fn is_terminal(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// A reference to a pod, or to one of its containers by field path, for events.
pub(crate) fn reference(pod: &Pod, container: Option<&str>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: pod.metadata.name.clone(),
        namespace: pod.metadata.namespace.clone(),
        uid: pod.metadata.uid.clone(),
        resource_version: pod.metadata.resource_version.clone(),
        field_path: container.map(|name| format!("spec.{}{{{name}}}", list_of(pod, name))),
    }
}

fn list_of(pod: &Pod, name: &str) -> &'static str {
    let Some(spec) = &pod.spec else { return "containers" };
    if spec.containers.iter().any(|container| container.name == name) {
        "containers"
    } else if spec.init_containers.iter().flatten().any(|container| container.name == name) {
        "initContainers"
    } else {
        "ephemeralContainers"
    }
}

/// The ephemeral containers, which are containers in all but type.
pub(crate) fn ephemeral(pod: &Pod) -> Vec<Container> {
    let listed = pod.spec.as_ref().and_then(|spec| spec.ephemeral_containers.as_deref()).unwrap_or_default();
    let convert = |container| serde_json::to_value(container).and_then(serde_json::from_value).ok();
    listed.iter().filter_map(convert).collect()
}

/// A container of any kind, by name.
pub(crate) fn container(pod: &Pod, name: &str) -> Option<Container> {
    let spec = pod.spec.as_ref()?;
    crate::resources::containers(spec)
        .find(|container| container.name == name)
        .cloned()
        .or_else(|| ephemeral(pod).into_iter().find(|container| container.name == name))
}

/// Whether a container that ended with this code starts again: its own rules, its own policy, the pod's policy.
pub(crate) fn restarts(pod: &Pod, container: &Container, exit_code: i32) -> bool {
    for rule in container.restart_policy_rules.iter().flatten() {
        let Some(codes) = &rule.exit_codes else { continue };
        let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
        let matches = match codes.operator.as_str() {
            "In" => listed,
            "NotIn" => !listed,
            _ => false,
        };
        if matches && rule.action == "Restart" {
            return true;
        }
    }
    let pods = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    match container.restart_policy.as_deref().or(pods) {
        Some("Never") => false,
        Some("OnFailure") => exit_code != 0,
        _ => true,
    }
}
