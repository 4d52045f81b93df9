//! The node's own say: what was bound to it must still fit.

use crate::resources::{self, Side};
use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, Taint, Toleration};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Reason and message of a refusal.
pub(crate) type Refusal = (String, String);

/// Admits a pod besides those already here.
pub(crate) fn admit(pod: &Pod, node: &Node, others: &[Arc<Pod>]) -> Result<(), Refusal> {
    fits(pod, node, others)?;
    let predicate = |name: &str, why: &str| Err((name.to_owned(), format!("Predicate {name} failed: {why}")));
    if !matches_affinity(pod, node) {
        return predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
    }
    if ports_taken(pod, others) {
        return predicate("NodePorts", "node(s) didn't have free ports for the requested pod ports");
    }
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default();
    let fatal = |taint: &&Taint| taint.effect == "NoExecute" && !tolerations.iter().any(|t| tolerates(t, taint));
    if taints.iter().any(|taint| fatal(&taint)) {
        return predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate");
    }
    Ok(())
}

fn fits(pod: &Pod, node: &Node, others: &[Arc<Pod>]) -> Result<(), Refusal> {
    let Some(spec) = &pod.spec else { return Ok(()) };
    let allocatable = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let short = |name: &str, requested: i64, used: i64, capacity: i64| {
        let message = format!(
            "Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}"
        );
        Err((format!("OutOf{name}"), message))
    };
    let pods = resources::units(allocatable, "pods");
    let present = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if present + 1 > pods {
        return short("pods", 1, present, pods);
    }
    let listed = resources::containers(spec).filter_map(|container| container.resources.as_ref()?.requests.as_ref());
    let mut names: Vec<&String> = listed.flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    for name in names {
        let known = allocatable.is_some_and(|list| list.contains_key(name));
        if name.contains('/') && !known {
            // What the node does not know of it cannot count.
            continue;
        }
        let requested = resources::of_pod(spec, name, Side::Requests);
        let capacity = resources::amount(allocatable, name);
        let used: i64 = others
            .iter()
            .filter_map(|other| other.spec.as_ref())
            .map(|other| resources::of_pod(other, name, Side::Requests))
            .sum();
        if requested > 0 && requested > capacity - used {
            return short(name, requested, used, capacity);
        }
    }
    Ok(())
}

fn ports_taken(pod: &Pod, others: &[Arc<Pod>]) -> bool {
    type Port = (String, i32, String);
    let ports = |pod: &Pod| -> Vec<Port> {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let listed = containers.flat_map(|container| container.ports.iter().flatten());
        let wanted = listed.filter(|port| port.host_port.unwrap_or(0) > 0);
        let ip = |ip: &Option<String>| ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
        let protocol = |protocol: &Option<String>| protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        wanted.map(|port| (ip(&port.host_ip), port.host_port.unwrap_or(0), protocol(&port.protocol))).collect()
    };
    let any = |ip: &str| ip == "0.0.0.0";
    let clash = |a: &Port, b: &Port| a.1 == b.1 && a.2 == b.2 && (a.0 == b.0 || any(&a.0) || any(&b.0));
    let own = ports(pod);
    others.iter().flat_map(|other| ports(other)).any(|taken| own.iter().any(|wanted| clash(wanted, &taken)))
}

fn matches_affinity(pod: &Pod, node: &Node) -> bool {
    let Some(spec) = &pod.spec else { return true };
    let labels = node.metadata.labels.clone().unwrap_or_default();
    if !spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required = affinity.and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    let name = node.metadata.name.clone().unwrap_or_default();
    required.is_none_or(|required| required.node_selector_terms.iter().any(|term| matches_term(term, &labels, &name)))
}

fn matches_term(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let by_label =
        |requirement: &NodeSelectorRequirement| meets(requirement, labels.get(&requirement.key).map(String::as_str));
    let by_field = |requirement: &NodeSelectorRequirement| {
        meets(requirement, (requirement.key == "metadata.name").then_some(name))
    };
    expressions.iter().all(by_label) && fields.iter().all(by_field)
}

fn meets(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |value: &str| values.iter().any(|known| known == value);
    let number = |text: &str| text.parse::<i64>().ok();
    let bound = values.first().and_then(|text| number(text));
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => value.and_then(number).zip(bound).is_some_and(|(value, bound)| value > bound),
        "Lt" => value.and_then(number).zip(bound).is_some_and(|(value, bound)| value < bound),
        _ => false,
    }
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let empty = |text: &Option<String>| text.as_deref().unwrap_or_default().is_empty();
    let effect = empty(&toleration.effect) || toleration.effect.as_deref() == Some(taint.effect.as_str());
    let key = empty(&toleration.key) || toleration.key.as_deref() == Some(taint.key.as_str());
    let same = toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default();
    match toleration.operator.as_deref() {
        Some("Exists") => effect && key,
        _ => effect && key && !empty(&toleration.key) && same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Node {
        serde_json::from_value(serde_json::json!({
            "metadata": { "name": "n", "labels": { "zone": "a" } },
            "spec": { "taints": [{ "key": "k", "effect": "NoExecute" }] },
            "status": { "allocatable": { "cpu": "2", "memory": "4Gi", "pods": "2" } },
        }))
        .expect("a node")
    }

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(serde_json::json!({ "metadata": { "name": "p" }, "spec": spec })).expect("a pod")
    }

    fn asking(cpu: &str) -> Pod {
        pod(serde_json::json!({
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{ "name": "c", "resources": { "requests": { "cpu": cpu } } }],
        }))
    }

    #[test]
    fn what_does_not_fit_is_refused_in_upstreams_words() {
        assert_eq!(admit(&asking("1"), &node(), &[]), Ok(()));
        let (reason, message) = admit(&asking("1500m"), &node(), &[Arc::new(asking("1"))]).unwrap_err();
        assert_eq!(reason, "OutOfcpu");
        assert_eq!(message, "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000");
        let full = [Arc::new(asking("0")), Arc::new(asking("0"))];
        assert_eq!(admit(&asking("0"), &node(), &full).unwrap_err().0, "OutOfpods");
    }

    #[test]
    fn selectors_taints_and_ports_count() {
        let elsewhere = pod(serde_json::json!({
            "nodeSelector": { "zone": "b" }, "tolerations": [{ "operator": "Exists" }], "containers": [],
        }));
        assert_eq!(admit(&elsewhere, &node(), &[]).unwrap_err().0, "NodeAffinity");
        let untolerating = pod(serde_json::json!({ "containers": [] }));
        assert_eq!(admit(&untolerating, &node(), &[]).unwrap_err().0, "TaintToleration");
        let port = || {
            pod(serde_json::json!({
                "tolerations": [{ "operator": "Exists" }],
                "containers": [{ "name": "c", "ports": [{ "containerPort": 80, "hostPort": 80 }] }],
            }))
        };
        assert_eq!(admit(&port(), &node(), &[Arc::new(port())]).unwrap_err().0, "NodePorts");
    }
}
