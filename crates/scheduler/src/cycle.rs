//! One attempt to place one pod: what the plugins look at, computed once.

use crate::nodes::Snapshot;
use crate::plugins::inter_pod::InterPod;
use crate::plugins::spread::Spread;
use crate::plugins::volumes::Volumes;
use crate::requests::{Amounts, pod_requests, scored_requests};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use std::collections::BTreeMap;

/// The labels of a namespace.
pub(crate) type NamespaceLabels<'a> = dyn Fn(&str) -> Option<BTreeMap<String, String>> + 'a;

/// What is fixed during an attempt.
pub(crate) struct Cycle<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) spec: PodSpec,
    pub(crate) nodes: &'a Snapshot,
    pub(crate) requests: Amounts,
    pub(crate) scored: Amounts,
    pub(crate) spread: Spread,
    pub(crate) inter_pod: InterPod,
    /// Why no node can do, or what the pod's volumes demand of nodes.
    pub(crate) volumes: Result<Vec<k8s_openapi::api::core::v1::NodeSelector>, String>,
}

impl<'a> Cycle<'a> {
    pub(crate) fn new(pod: &'a Pod, nodes: &'a Snapshot, namespaces: &NamespaceLabels<'_>, volumes: &Volumes) -> Self {
        let spec = pod.spec.clone().unwrap_or_default();
        Cycle {
            requests: pod_requests(pod),
            scored: scored_requests(pod),
            spread: Spread::new(pod, &spec, nodes),
            inter_pod: InterPod::new(pod, &spec, nodes, namespaces),
            volumes: volumes.demands(pod, &spec),
            pod,
            spec,
            nodes,
        }
    }
}
