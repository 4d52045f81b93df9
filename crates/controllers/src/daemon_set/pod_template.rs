//! A daemon's pod: bound to its node by affinity, tolerating what daemons must bear.

use super::plan::HASH;
use crate::taint::{DISK, MEMORY, NETWORK, NOT_READY, PIDS, UNREACHABLE, UNSCHEDULABLE};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{
    NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, PodTemplateSpec, Toleration,
};

const GENERATION: &str = "pod-template-generation";
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
const NAME: &str = "metadata.name";

/// The template generation that very old clients set.
pub(super) fn generation(set: &DaemonSet) -> Option<&String> {
    set.metadata.annotations.as_ref()?.get(TEMPLATE_GENERATION).filter(|g| g.parse::<i64>().is_ok())
}

/// Whether a pod is of the set's present template.
pub(super) fn is_updated(pod: &Pod, hash: &str, set: &DaemonSet) -> bool {
    let label = |name: &str| pod.metadata.labels.as_ref().and_then(|l| l.get(name));
    let of_generation = generation(set).is_some_and(|g| label(GENERATION) == Some(g));
    label(HASH).is_some_and(|h| h == hash) || of_generation
}

/// The template with what is added for every daemon.
pub(super) fn template(set: &DaemonSet, hash: &str) -> PodTemplateSpec {
    let mut template = set.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
    tolerate(template.spec.get_or_insert_default());
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    if let Some(generation) = generation(set) {
        labels.insert(GENERATION.to_owned(), generation.clone());
    }
    labels.insert(HASH.to_owned(), hash.to_owned());
    template
}

/// Adds the tolerations of daemons.
pub(super) fn tolerate(spec: &mut PodSpec) {
    let network = (spec.host_network == Some(true)).then_some((NETWORK, "NoSchedule"));
    let always = [
        (NOT_READY, "NoExecute"),
        (UNREACHABLE, "NoExecute"),
        (DISK, "NoSchedule"),
        (MEMORY, "NoSchedule"),
        (PIDS, "NoSchedule"),
        (UNSCHEDULABLE, "NoSchedule"),
    ];
    let tolerations = spec.tolerations.get_or_insert_default();
    for (key, effect) in always.into_iter().chain(network) {
        let wanted = Toleration {
            key: Some(key.to_owned()),
            operator: Some("Exists".to_owned()),
            effect: Some(effect.to_owned()),
            ..Toleration::default()
        };
        let same = |t: &&mut Toleration| {
            t.key == wanted.key && t.effect == wanted.effect && t.operator == wanted.operator && t.value == wanted.value
        };
        match tolerations.iter_mut().find(same) {
            Some(known) => *known = wanted,
            None => tolerations.push(wanted),
        }
    }
}

/// Lets the scheduler put a pod on this node only.
pub(super) fn bind(spec: &mut PodSpec, node: &str) {
    let here = NodeSelectorRequirement {
        key: NAME.to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![node.to_owned()]),
    };
    let term = NodeSelectorTerm { match_fields: Some(vec![here]), ..NodeSelectorTerm::default() };
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    affinity.required_during_scheduling_ignored_during_execution =
        Some(NodeSelector { node_selector_terms: vec![term] });
}

/// The node a daemon's pod is for, bound or not.
pub(super) fn target(pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    if let Some(node) = spec.node_name.clone().filter(|n| !n.is_empty()) {
        return Some(node);
    }
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = &affinity.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms;
    let fields = terms.iter().flat_map(|t| t.match_fields.iter().flatten());
    let mut names = fields.filter(|f| f.key == NAME && f.operator == "In").filter_map(|f| f.values.as_ref());
    names.next().filter(|v| v.len() == 1).and_then(|v| v.first().cloned())
}
