//! NodeAffinity and node selectors.

use super::No;
use crate::cycle::Cycle;
use crate::nodes::NodeInfo;
use k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};
use std::sync::Arc;

fn holds(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |v: &str| values.iter().any(|w| w == v);
    let number = |v: &str| v.parse::<i64>().ok();
    let bound = || values.first().and_then(|v| number(v));
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => value.and_then(number).zip(bound()).is_some_and(|(v, b)| v > b),
        "Lt" => value.and_then(number).zip(bound()).is_some_and(|(v, b)| v < b),
        _ => false,
    }
}

/// Whether a node fits a term; a term without requirements fits none.
fn term_matches(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let labels = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let field = |key: &str| (key == "metadata.name").then_some(node.name.as_str());
    !(labels.is_empty() && fields.is_empty())
        && labels.iter().all(|r| holds(r, node.label(&r.key)))
        && fields.iter().all(|r| holds(r, field(&r.key)))
}

/// Whether a node fits any term of a selector.
pub(crate) fn selector_matches(selector: &NodeSelector, node: &NodeInfo) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, node))
}

/// `nodeSelector` and required node affinity of a pod.
pub(crate) fn required(spec: &k8s_openapi::api::core::v1::PodSpec, node: &NodeInfo) -> bool {
    let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let demanded = affinity.and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    spec.node_selector.iter().flatten().all(|(k, v)| node.label(k) == Some(v))
        && demanded.is_none_or(|selector| selector_matches(selector, node))
}

pub(super) fn filter(cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), No> {
    if required(cycle.spec, node) { Ok(()) } else { Err(No::node("node(s) didn't match Pod's node affinity/selector")) }
}

/// The sum of the weights of preferred terms that fit.
pub(super) fn score(cycle: &Cycle<'_>, nodes: &[&Arc<NodeInfo>]) -> Vec<i64> {
    let affinity = cycle.spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let terms =
        affinity.and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref()).unwrap_or_default();
    let sum = |node: &&Arc<NodeInfo>| {
        terms.iter().filter(|t| term_matches(&t.preference, node)).map(|t| i64::from(t.weight)).sum()
    };
    super::normalized(nodes.iter().map(sum).collect(), false)
}
