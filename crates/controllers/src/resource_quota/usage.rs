//! What objects use of a quota (upstream `pkg/quota/v1/evaluator/core`).

use crate::pod::is_finished;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{
    Container, PersistentVolumeClaim, Pod, ResourceQuotaSpec, ScopedResourceSelectorRequirement, Service,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use kaji_api::quantity::Quantity;
use std::collections::BTreeMap;

/// Amounts by resource name.
pub(super) type Amounts = BTreeMap<String, Quantity>;

pub(super) fn one() -> Quantity {
    Quantity::from_i64(1)
}

pub(super) fn add(to: &mut Amounts, name: String, amount: &Quantity) {
    let sum = to.get(&name).map_or_else(|| amount.clone(), |known| known.add(amount));
    to.insert(name, sum);
}

fn amounts(list: Option<&BTreeMap<String, Text>>) -> Amounts {
    let parsed = list.into_iter().flatten().filter_map(|(name, text)| Some((name.clone(), text.0.parse().ok()?)));
    parsed.collect()
}

fn add_all(to: &mut Amounts, more: Amounts) {
    for (name, amount) in more {
        add(to, name, &amount);
    }
}

fn at_least(to: &mut Amounts, floor: &Amounts) {
    for (name, amount) in floor {
        let known = to.entry(name.clone()).or_insert_with(|| amount.clone());
        if *known < *amount {
            *known = amount.clone();
        }
    }
}

/// What a pod's containers ask for together: `requests` or `limits`.
fn of_containers(pod: &Pod, side: fn(&Container) -> Amounts) -> Amounts {
    let Some(spec) = &pod.spec else { return Amounts::new() };
    let mut total = Amounts::new();
    spec.containers.iter().for_each(|c| add_all(&mut total, side(c)));
    let (mut sidecars, mut most) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let mut during = sidecars.clone();
        add_all(&mut during, side(container));
        if container.restart_policy.as_deref() == Some("Always") {
            add_all(&mut total, side(container));
            sidecars = during.clone();
        }
        at_least(&mut most, &during);
    }
    at_least(&mut total, &most);
    total
}

fn requests(container: &Container) -> Amounts {
    amounts(container.resources.as_ref().and_then(|r| r.requests.as_ref()))
}

fn limits(container: &Container) -> Amounts {
    amounts(container.resources.as_ref().and_then(|r| r.limits.as_ref()))
}

/// Requests and limits of a pod, with what is set for the whole pod and its overhead.
fn of_pod(pod: &Pod) -> (Amounts, Amounts) {
    let (mut asks, mut caps) = (of_containers(pod, requests), of_containers(pod, limits));
    let Some(spec) = &pod.spec else { return (asks, caps) };
    if let Some(whole) = &spec.resources {
        asks.extend(amounts(whole.requests.as_ref()));
        caps.extend(amounts(whole.limits.as_ref()));
    }
    let overhead = amounts(spec.overhead.as_ref());
    add_all(&mut asks, overhead.clone());
    for (name, amount) in overhead.into_iter().filter(|(name, _)| caps.contains_key(name)).collect::<Vec<_>>() {
        add(&mut caps, name, &amount);
    }
    (asks, caps)
}

/// What a pod uses: only its existence once it has ended.
pub(super) fn pod(pod: &Pod, now: Timestamp) -> Amounts {
    let mut used = Amounts::from([("count/pods".to_owned(), one())]);
    if !counts(pod, now) {
        return used;
    }
    used.insert("pods".to_owned(), one());
    let (asks, caps) = of_pod(pod);
    for (name, amount) in asks {
        match name.as_str() {
            "cpu" | "memory" | "ephemeral-storage" => {
                used.insert(name.clone(), amount.clone());
                used.insert(format!("requests.{name}"), amount);
            }
            _ => {
                if name.starts_with("hugepages-") {
                    used.insert(name.clone(), amount.clone());
                }
                used.insert(format!("requests.{name}"), amount);
            }
        }
    }
    for (name, amount) in caps.into_iter().filter(|(n, _)| matches!(n.as_str(), "cpu" | "memory" | "ephemeral-storage"))
    {
        used.insert(format!("limits.{name}"), amount);
    }
    used
}

/// Whether a pod still holds what it asked for: not once it has ended, or its grace period has.
pub(super) fn counts(pod: &Pod, now: Timestamp) -> bool {
    let meta = &pod.metadata;
    let expired = meta.deletion_timestamp.as_ref().is_some_and(|at| {
        // The timestamp is when the grace period ends.
        now > at.0 + SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or_default())
    });
    !is_finished(pod) && !expired
}

pub(super) fn service(service: &Service) -> Amounts {
    let spec = service.spec.as_ref();
    let kind = spec.and_then(|s| s.type_.as_deref()).unwrap_or("ClusterIP");
    let ports = spec.and_then(|s| s.ports.as_ref()).map(Vec::len).unwrap_or_default() as i64;
    let allocated =
        spec.and_then(|s| s.ports.as_ref()).into_iter().flatten().filter(|p| p.node_port.unwrap_or_default() > 0);
    let allocates = spec.and_then(|s| s.allocate_load_balancer_node_ports) != Some(false);
    let node_ports = match kind {
        "NodePort" => ports,
        "LoadBalancer" if allocates => ports,
        "LoadBalancer" => allocated.count() as i64,
        _ => 0,
    };
    Amounts::from([
        ("services".to_owned(), one()),
        ("count/services".to_owned(), one()),
        ("services.nodeports".to_owned(), Quantity::from_i64(node_ports)),
        ("services.loadbalancers".to_owned(), Quantity::from_i64(i64::from(kind == "LoadBalancer"))),
    ])
}

pub(super) fn claim(claim: &PersistentVolumeClaim) -> Amounts {
    let spec = claim.spec.as_ref();
    let asks = amounts(spec.and_then(|s| s.resources.as_ref()).and_then(|r| r.requests.as_ref()));
    let storage = asks.get("storage").cloned().unwrap_or_else(|| Quantity::from_i64(0));
    let mut used = Amounts::from([
        ("persistentvolumeclaims".to_owned(), one()),
        ("count/persistentvolumeclaims".to_owned(), one()),
        ("requests.storage".to_owned(), storage.clone()),
    ]);
    if let Some(class) = spec.and_then(|s| s.storage_class_name.as_deref()).filter(|c| !c.is_empty()) {
        let prefix = format!("{class}.storageclass.storage.k8s.io");
        used.insert(format!("{prefix}/requests.storage"), storage);
        used.insert(format!("{prefix}/persistentvolumeclaims"), one());
    }
    used
}

/// Whether a quota's scopes include a pod.
pub(super) fn in_scope(quota: &ResourceQuotaSpec, pod: &Pod) -> bool {
    let plain = quota.scopes.iter().flatten().all(|scope| has_scope(scope, pod));
    let selected = quota.scope_selector.iter().flat_map(|s| s.match_expressions.iter().flatten());
    plain && selected.into_iter().all(|wanted| matches(wanted, pod))
}

/// Whether a quota has scopes, which only pods can be in.
pub(super) fn is_scoped(quota: &ResourceQuotaSpec) -> bool {
    let selector = quota.scope_selector.as_ref().and_then(|s| s.match_expressions.as_ref());
    quota.scopes.as_ref().is_some_and(|s| !s.is_empty()) || selector.is_some_and(|s| !s.is_empty())
}

fn matches(wanted: &ScopedResourceSelectorRequirement, pod: &Pod) -> bool {
    if wanted.scope_name != "PriorityClass" {
        return has_scope(&wanted.scope_name, pod) != (wanted.operator == "DoesNotExist");
    }
    let class = pod.spec.as_ref().and_then(|s| s.priority_class_name.as_deref()).unwrap_or_default();
    let listed = wanted.values.iter().flatten().any(|v| v == class);
    match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => !class.is_empty(),
        _ => class.is_empty(),
    }
}

fn has_scope(scope: &str, pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let terminating = spec.and_then(|s| s.active_deadline_seconds).is_some_and(|s| s >= 0);
    let best_effort = || {
        let (asks, caps) = of_pod(pod);
        !asks.iter().chain(&caps).any(|(name, amount)| matches!(name.as_str(), "cpu" | "memory") && !amount.is_zero())
    };
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => spec.and_then(|s| s.priority_class_name.as_deref()).is_some_and(|c| !c.is_empty()),
        "CrossNamespacePodAffinity" => crosses_namespaces(pod),
        _ => false,
    }
}

/// Whether a term of the pod's affinity looks at other namespaces.
fn crosses_namespaces(pod: &Pod) -> bool {
    let Some(affinity) = pod.spec.as_ref().and_then(|s| s.affinity.as_ref()) else { return false };
    let mut terms = Vec::new();
    if let Some(near) = &affinity.pod_affinity {
        terms.extend(near.required_during_scheduling_ignored_during_execution.iter().flatten());
        terms.extend(
            near.preferred_during_scheduling_ignored_during_execution.iter().flatten().map(|w| &w.pod_affinity_term),
        );
    }
    if let Some(far) = &affinity.pod_anti_affinity {
        terms.extend(far.required_during_scheduling_ignored_during_execution.iter().flatten());
        terms.extend(
            far.preferred_during_scheduling_ignored_during_execution.iter().flatten().map(|w| &w.pod_affinity_term),
        );
    }
    terms.iter().any(|t| t.namespaces.as_ref().is_some_and(|n| !n.is_empty()) || t.namespace_selector.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_pod(phase: &str) -> Pod {
        let container = |cpu: &str| serde_json::json!({"name": "c", "resources": {"requests": {"cpu": cpu, "x.com/gpu": "1"}, "limits": {"cpu": cpu}}});
        serde_json::from_value(serde_json::json!({"spec": {"containers": [container("100m"), container("200m")],
            "initContainers": [container("1")]}, "status": {"phase": phase}}))
        .unwrap()
    }

    #[test]
    fn pods_use_what_they_ask_for_until_they_end() {
        let now = Timestamp::UNIX_EPOCH;
        let used = pod(&a_pod("Running"), now);
        let text = |name: &str| used[name].to_string();
        assert_eq!([text("pods"), text("cpu"), text("requests.cpu"), text("limits.cpu")], ["1", "1", "1", "1"]);
        assert_eq!(text("requests.x.com/gpu"), "2");
        assert_eq!(pod(&a_pod("Failed"), now).into_keys().collect::<Vec<_>>(), ["count/pods"]);
    }

    #[test]
    fn scopes_choose_pods() {
        let quota = |json: &str| serde_json::from_str::<ResourceQuotaSpec>(json).unwrap();
        assert!(in_scope(&quota(r#"{"scopes": ["NotBestEffort", "NotTerminating"]}"#), &a_pod("Running")));
        assert!(!in_scope(&quota(r#"{"scopes": ["BestEffort"]}"#), &a_pod("Running")));
        let by_class = r#"{"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}"#;
        assert!(!in_scope(&quota(by_class), &a_pod("Running")));
    }
}
