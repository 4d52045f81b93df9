//! PodTopologySpread.

pub(crate) mod preferred;

use super::{MAX, No, affinity, taints};
use crate::cycle::Cycle;
use crate::groups::selects;
use crate::nodes::{NodeInfo, Placed, Snapshot};
use k8s_openapi::api::core::v1::{Pod, PodSpec, TopologySpreadConstraint};
use kaji_api::selector::{LabelSelector, Operator, Requirement};
use std::collections::HashMap;
use std::sync::Arc;

const HOSTNAME: &str = "kubernetes.io/hostname";

/// A constraint, its pods counted per domain.
struct Constraint {
    key: String,
    max_skew: i64,
    min_domains: usize,
    selects_itself: bool,
    /// Pods per value of the key, on the nodes that count.
    counts: HashMap<String, i64>,
}

/// The constraints that the pod insists on.
#[derive(Default)]
pub(crate) struct Spread {
    required: Vec<Constraint>,
}

impl Spread {
    pub(crate) fn new(pod: &Pod, spec: &PodSpec, nodes: &Snapshot) -> Self {
        let all = spec.topology_spread_constraints.as_deref().unwrap_or_default();
        let required: Vec<_> = all.iter().filter(|c| c.when_unsatisfiable == "DoNotSchedule").collect();
        let keys: Vec<String> = required.iter().map(|c| c.topology_key.clone()).collect();
        Spread { required: required.iter().map(|c| count(c, pod, spec, nodes, &keys)).collect() }
    }

    /// Counts one node anew, as if `new` stood in the place of `old`.
    pub(crate) fn swap(&mut self, pod: &Pod, spec: &PodSpec, old: &Arc<NodeInfo>, new: &Arc<NodeInfo>) {
        if self.required.is_empty() {
            return;
        }
        for (node, sign) in [(old, -1), (new, 1)] {
            let here = Spread::new(pod, spec, &vec![node.clone()]);
            for (constraint, part) in self.required.iter_mut().zip(here.required) {
                for (domain, count) in part.counts {
                    *constraint.counts.entry(domain).or_default() += sign * count;
                }
            }
        }
    }
}

/// The constraint's selector, with the pod's own values for `matchLabelKeys`.
fn selector_of(constraint: &TopologySpreadConstraint, pod: &Pod) -> LabelSelector {
    let value = constraint.label_selector.as_ref().and_then(|s| kaji_api::Value::from_view(s).ok());
    let selector = LabelSelector::from_value(&value.unwrap_or_default()).unwrap_or_else(|_| LabelSelector::nothing());
    let labels = pod.metadata.labels.clone().unwrap_or_default();
    let mut requirements = selector.requirements().to_vec();
    let extra = constraint.match_label_keys.iter().flatten().filter_map(|key| Some((key, labels.get(key)?)));
    let before = requirements.len();
    requirements.extend(extra.map(|(key, value)| Requirement {
        key: key.clone(),
        operator: Operator::In,
        values: vec![value.clone()],
    }));
    if requirements.len() == before { selector } else { LabelSelector::of(requirements) }
}

/// What a policy says; `default`: where it says nothing.
fn honors(policy: &Option<String>, default: bool) -> bool {
    policy.as_deref().map_or(default, |p| p == "Honor")
}

fn count(
    constraint: &TopologySpreadConstraint,
    pod: &Pod,
    spec: &PodSpec,
    nodes: &Snapshot,
    keys: &[String],
) -> Constraint {
    let selector = selector_of(constraint, pod);
    // Upstream counts nothing for a selector that selects everything (`countPodsMatchSelector`).
    let counted = |placed: &&Placed| {
        !selector.is_everything()
            && placed.pod.metadata.namespace == pod.metadata.namespace
            && placed.pod.metadata.deletion_timestamp.is_none()
            && selects(&selector, &placed.pod)
    };
    let mut counts: HashMap<String, i64> = HashMap::new();
    for node in nodes {
        let fits = (!honors(&constraint.node_affinity_policy, true) || affinity::required(spec, node))
            && (!honors(&constraint.node_taints_policy, false) || no_repelling_taint(spec, node));
        // A node without one of the keys takes no part.
        if !fits || !keys.iter().all(|key| node.label(key).is_some()) {
            continue;
        }
        let Some(domain) = node.label(&constraint.topology_key) else { continue };
        let here = node.pods.values().filter(counted).count();
        *counts.entry(domain.to_owned()).or_default() += i64::try_from(here).unwrap_or(i64::MAX);
    }
    Constraint {
        key: constraint.topology_key.clone(),
        max_skew: constraint.max_skew.into(),
        min_domains: usize::try_from(constraint.min_domains.unwrap_or(1)).unwrap_or(1),
        selects_itself: selects(&selector, pod),
        counts,
    }
}

fn no_repelling_taint(spec: &PodSpec, node: &NodeInfo) -> bool {
    let all = node.node.as_ref().and_then(|n| n.spec.as_ref()).and_then(|s| s.taints.as_deref()).unwrap_or_default();
    all.iter().all(|t| t.effect == "PreferNoSchedule" || taints::tolerated(spec, t))
}

pub(super) fn filter(cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), No> {
    for constraint in &cycle.spread.required {
        let Some(domain) = node.label(&constraint.key) else {
            return Err(No::node("node(s) didn't match pod topology spread constraints (missing required label)"));
        };
        // Too few domains count as an empty one.
        let least = if constraint.counts.len() < constraint.min_domains {
            0
        } else {
            constraint.counts.values().copied().min().unwrap_or_default()
        };
        let here = constraint.counts.get(domain).copied().unwrap_or_default();
        if here + i64::from(constraint.selects_itself) - least > constraint.max_skew {
            return Err(No::room("node(s) didn't match pod topology spread constraints"));
        }
    }
    Ok(())
}
