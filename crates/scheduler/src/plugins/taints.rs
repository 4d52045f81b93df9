//! TaintToleration.

use super::No;
use crate::cycle::Cycle;
use crate::nodes::NodeInfo;
use k8s_openapi::api::core::v1::{PodSpec, Taint, Toleration};
use std::sync::Arc;

/// Whether a toleration tolerates a taint (upstream `component-helpers/scheduling/corev1`).
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    fn text(t: &Option<String>) -> &str {
        t.as_deref().unwrap_or_default()
    }
    let (effect, key) = (text(&toleration.effect), text(&toleration.key));
    let (mine, theirs) = (text(&toleration.value), text(&taint.value));
    if (!effect.is_empty() && effect != taint.effect) || (!key.is_empty() && key != taint.key) {
        return false;
    }
    match text(&toleration.operator) {
        "" | "Equal" => mine == theirs,
        "Exists" => true,
        "Lt" => numbers(theirs, mine).is_some_and(|(taint, limit)| taint < limit),
        "Gt" => numbers(theirs, mine).is_some_and(|(taint, limit)| taint > limit),
        _ => false,
    }
}

fn numbers(a: &str, b: &str) -> Option<(i64, i64)> {
    Some((a.parse().ok()?, b.parse().ok()?))
}

/// Whether any of the pod's tolerations tolerates a taint.
pub(crate) fn tolerated(spec: &PodSpec, taint: &Taint) -> bool {
    spec.tolerations.iter().flatten().any(|t| tolerates(t, taint))
}

fn taints(node: &NodeInfo) -> &[Taint] {
    node.node.as_ref().and_then(|n| n.spec.as_ref()).and_then(|s| s.taints.as_deref()).unwrap_or_default()
}

pub(super) fn filter(cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), No> {
    let repels = |t: &&Taint| matches!(t.effect.as_str(), "NoSchedule" | "NoExecute") && !tolerated(cycle.spec, t);
    match taints(node).iter().find(repels) {
        Some(_) => Err(No::node("node(s) had untolerated taint(s)")),
        None => Ok(()),
    }
}

/// The fewer untolerated `PreferNoSchedule` taints, the better.
pub(super) fn score(cycle: &Cycle<'_>, nodes: &[&Arc<NodeInfo>]) -> Vec<i64> {
    let tolerations: Vec<&Toleration> = cycle
        .spec
        .tolerations
        .iter()
        .flatten()
        .filter(|t| matches!(t.effect.as_deref().unwrap_or_default(), "" | "PreferNoSchedule"))
        .collect();
    let repels = |t: &&Taint| t.effect == "PreferNoSchedule" && !tolerations.iter().any(|own| tolerates(own, t));
    let count = |node: &&Arc<NodeInfo>| i64::try_from(taints(node).iter().filter(repels).count()).unwrap_or(i64::MAX);
    super::normalized(nodes.iter().map(count).collect(), true)
}
