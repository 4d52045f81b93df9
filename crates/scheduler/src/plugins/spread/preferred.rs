//! What is only wished for: the pod's own wishes, or those of the system for pods that belong together.

use super::{HOSTNAME, MAX, affinity, honors, no_repelling_taint, selector_of};
use crate::cycle::Cycle;
use crate::groups::Counts;
use crate::nodes::NodeInfo;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use kaji_api::selector::LabelSelector;
use std::collections::HashMap;
use std::sync::Arc;

/// For pods that say nothing of spreading: key and allowed skew (upstream `systemDefaultConstraints`).
const DEFAULTS: [(&str, i64); 2] = [(HOSTNAME, 3), ("topology.kubernetes.io/zone", 5)];

/// A wish, and where its pods are.
struct Wish {
    key: String,
    max_skew: i64,
    /// Only nodes that fit the pod's affinity, or whose taints it tolerates, count.
    honors_affinity: bool,
    honors_taints: bool,
    counts: Arc<Counts>,
}

/// The wishes of a pod.
#[derive(Default)]
pub(crate) struct Preferred {
    wishes: Vec<Wish>,
    /// A node that lacks one of the keys is of no worth. Not so for the defaults: they are good for nodes without zones.
    all_keys: bool,
}

impl Preferred {
    /// `belonging`: what selects the pods that belong with this one; `counts`: the pods that a selector selects in the
    /// pod's namespace, per node.
    pub(crate) fn new(
        pod: &Pod,
        spec: &PodSpec,
        belonging: impl FnOnce() -> LabelSelector,
        counts: impl Fn(&LabelSelector) -> Arc<Counts>,
    ) -> Self {
        let said = spec.topology_spread_constraints.as_deref().unwrap_or_default();
        if said.is_empty() {
            let selector = belonging();
            if selector.is_everything() {
                return Preferred::default();
            }
            let counts = counts(&selector);
            let wish = |(key, max_skew): (&str, i64)| Wish {
                key: key.to_owned(),
                max_skew,
                honors_affinity: true,
                honors_taints: false,
                counts: counts.clone(),
            };
            return Preferred { wishes: DEFAULTS.into_iter().map(wish).collect(), all_keys: false };
        }
        let wishes = said.iter().filter(|c| c.when_unsatisfiable != "DoNotSchedule").map(|c| Wish {
            key: c.topology_key.clone(),
            max_skew: c.max_skew.into(),
            honors_affinity: honors(&c.node_affinity_policy, true),
            honors_taints: honors(&c.node_taints_policy, false),
            counts: counts(&selector_of(c, pod)),
        });
        Preferred { wishes: wishes.collect(), all_keys: true }
    }

    /// Whether a node takes part.
    fn knows(&self, node: &NodeInfo) -> bool {
        !self.all_keys || self.wishes.iter().all(|wish| node.label(&wish.key).is_some())
    }
}

impl Wish {
    /// Pods per domain, for the domains of the nodes to choose from; those without the label are one, without a name.
    fn domains<'a>(&self, cycle: &Cycle<'a>, nodes: &[&'a Arc<NodeInfo>]) -> HashMap<&'a str, i64> {
        let domain = |node: &'a NodeInfo| node.label(&self.key).unwrap_or_default();
        let mut domains: HashMap<&str, i64> = nodes.iter().map(|node| (domain(node), 0)).collect();
        for (name, count) in self.counts.iter() {
            // A snapshot is in the order of names.
            let Ok(at) = cycle.nodes.binary_search_by(|node| node.name.as_str().cmp(name)) else { continue };
            let node = &cycle.nodes[at];
            if self.counts_on(cycle, node)
                && let Some(sum) = domains.get_mut(domain(node))
            {
                *sum += count;
            }
        }
        domains
    }

    fn counts_on(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> bool {
        cycle.preferred.knows(node)
            && (!self.honors_affinity || affinity::required(cycle.spec, node))
            && (!self.honors_taints || no_repelling_taint(cycle.spec, node))
    }

    /// How much of it there is for each node already: few are better. Keys with many domains weigh more; without the
    /// label, the wish says nothing.
    #[expect(clippy::cast_precision_loss, reason = "counts of pods and domains")]
    fn raw(&self, cycle: &Cycle<'_>, nodes: &[&Arc<NodeInfo>]) -> Vec<f64> {
        // Hosts are counted each for itself.
        let domains = if self.key == HOSTNAME { HashMap::new() } else { self.domains(cycle, nodes) };
        let size = if self.key == HOSTNAME { nodes.len() } else { domains.len() };
        let here = |node: &NodeInfo, domain: &str| match self.key.as_str() {
            HOSTNAME => self.counts.get(&node.name).copied(),
            _ => domains.get(domain).copied(),
        };
        let weight = ((size + 2) as f64).ln();
        let skew = (self.max_skew - 1) as f64;
        let raw = |node: &&Arc<NodeInfo>| {
            node.label(&self.key).map_or(0.0, |domain| here(node, domain).unwrap_or_default() as f64 * weight + skew)
        };
        nodes.iter().map(raw).collect()
    }
}

/// Few pods of the same kind in a node's domains are better.
#[expect(clippy::cast_possible_truncation, reason = "counts of pods, weighted")]
pub(crate) fn score(cycle: &Cycle<'_>, nodes: &[&Arc<NodeInfo>]) -> Vec<i64> {
    let preferred = &cycle.preferred;
    if preferred.wishes.is_empty() {
        return vec![0; nodes.len()];
    }
    let known: Vec<&Arc<NodeInfo>> = nodes.iter().copied().filter(|node| preferred.knows(node)).collect();
    let mut sums = vec![0.0; known.len()];
    for wish in &preferred.wishes {
        sums.iter_mut().zip(wish.raw(cycle, &known)).for_each(|(sum, raw)| *sum += raw);
    }
    let raw: Vec<i64> = sums.into_iter().map(|sum| sum.round() as i64).collect();
    let (least, most) = (raw.iter().min().copied().unwrap_or_default(), raw.iter().max().copied().unwrap_or_default());
    let stretch = |score: i64| if most == 0 { MAX } else { MAX * (most + least - score) / most };
    let mut stretched = raw.into_iter().map(stretch);
    let score = |node: &&Arc<NodeInfo>| if preferred.knows(node) { stretched.next().unwrap_or_default() } else { 0 };
    nodes.iter().map(score).collect()
}
