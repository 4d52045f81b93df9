//! Whether a pod may be on a node by node selector and required node affinity.

use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// Whether the node is one the pod asks for.
pub(crate) fn matches(spec: &PodSpec, node: &Node) -> bool {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|l| l.get(key));
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| label(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let required = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|selector| selects(selector, node))
}

/// Whether one of the terms fits; an empty term fits nothing.
fn selects(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| term_fits(term, node))
}

fn term_fits(term: &NodeSelectorTerm, node: &Node) -> bool {
    let labels = |key: &str| node.metadata.labels.as_ref().and_then(|l| l.get(key)).cloned();
    let fields = |key: &str| if key == "metadata.name" { node.metadata.name.clone() } else { None };
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let wanted_fields = term.match_fields.as_deref().unwrap_or_default();
    (!expressions.is_empty() || !wanted_fields.is_empty())
        && expressions.iter().all(|r| fits(r, labels(&r.key)))
        && wanted_fields.iter().all(|r| fits(r, fields(&r.key)))
}

fn fits(requirement: &NodeSelectorRequirement, value: Option<String>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let number = |text: &str| text.parse::<i64>().ok();
    let compare = |holds: fn(i64, i64) -> bool| {
        let limit = values.first().and_then(|v| number(v));
        value.as_deref().and_then(number).zip(limit).is_some_and(|(have, limit)| holds(have, limit))
    };
    match requirement.operator.as_str() {
        "In" => value.as_ref().is_some_and(|v| values.contains(v)),
        "NotIn" => value.as_ref().is_none_or(|v| !values.contains(v)),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compare(|have, limit| have > limit),
        "Lt" => compare(|have, limit| have < limit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_alternatives_and_their_parts_are_not() {
        let node: Node =
            serde_json::from_str(r#"{"metadata": {"name": "n1", "labels": {"a": "b", "size": "5"}}}"#).unwrap();
        let spec = |selector: &str, terms: &str| -> PodSpec {
            serde_json::from_str(&format!(
                r#"{{"containers": [], "nodeSelector": {selector}, "affinity": {{"nodeAffinity": {{
                "requiredDuringSchedulingIgnoredDuringExecution": {{"nodeSelectorTerms": {terms}}}}}}}}}"#
            ))
            .unwrap()
        };
        let gt = r#"{"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["4"]}, {"key": "x", "operator": "DoesNotExist"}]}"#;
        let other = r#"{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]}"#;
        assert!(matches(&spec(r#"{"a": "b"}"#, &format!("[{other}, {gt}]")), &node));
        assert!(!matches(&spec(r#"{"a": "c"}"#, &format!("[{gt}]")), &node));
        assert!(!matches(&spec("{}", &format!("[{other}, {{}}]")), &node));
        assert!(matches(&PodSpec::default(), &node));
    }
}
