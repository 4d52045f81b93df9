//! One attempt to place one pod: what the plugins look at, computed once.

use crate::nodes::{NodeInfo, Snapshot, spec_of};
use crate::plugins::inter_pod::InterPod;
use crate::plugins::spread::Spread;
use crate::plugins::spread::preferred::Preferred;
use crate::requests::{Amounts, pod_requests, scored_requests};
use k8s_openapi::api::core::v1::{NodeSelector, Pod, PodSpec};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The labels of a namespace.
pub(crate) type NamespaceLabels<'a> = dyn Fn(&str) -> Option<BTreeMap<String, String>> + 'a;

/// What is fixed during an attempt.
pub(crate) struct Cycle<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) spec: &'a PodSpec,
    pub(crate) nodes: &'a Snapshot,
    pub(crate) namespaces: &'a NamespaceLabels<'a>,
    pub(crate) requests: Amounts,
    pub(crate) scored: Amounts,
    pub(crate) spread: Spread,
    pub(crate) preferred: Preferred,
    pub(crate) inter_pod: InterPod,
    /// Why no node can do, or what the pod's volumes demand of nodes.
    pub(crate) volumes: Result<Vec<NodeSelector>, String>,
}

impl<'a> Cycle<'a> {
    pub(crate) fn new(
        pod: &'a Pod,
        nodes: &'a Snapshot,
        namespaces: &'a NamespaceLabels<'a>,
        volumes: Result<Vec<NodeSelector>, String>,
    ) -> Self {
        let spec = spec_of(pod);
        Cycle {
            requests: pod_requests(pod),
            scored: scored_requests(pod),
            spread: Spread::new(pod, spec, nodes),
            preferred: Preferred::default(),
            inter_pod: InterPod::new(pod, spec, nodes, namespaces),
            volumes,
            namespaces,
            pod,
            spec,
            nodes,
        }
    }

    /// The same, with wishes for how the pod should be spread.
    pub(crate) fn preferring(self, preferred: Preferred) -> Self {
        Cycle { preferred, ..self }
    }

    /// Looks at the cluster as if `new` stood in the place of `old`, for filters; scores are stale afterwards.
    pub(crate) fn swap(&mut self, old: &Arc<NodeInfo>, new: &Arc<NodeInfo>) {
        self.spread.swap(self.pod, self.spec, old, new);
        self.inter_pod.swap(self.pod, self.spec, (old, new), self.namespaces);
    }
}
