//! InterPodAffinity.

use super::{MAX, No};
use crate::cycle::{Cycle, NamespaceLabels};
use crate::nodes::{NodeInfo, Snapshot, spec_of};
use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, PodSpec};
use kaji_api::selector::{LabelSelector, Operator, Requirement};
use std::collections::HashMap;
use std::sync::Arc;

/// Domains, as key and value of a node label, with a number for each.
type Domains = HashMap<(String, String), i64>;

/// What the affinities of the pod, and of pods that run, say about domains.
#[derive(Default)]
pub(crate) struct InterPod {
    /// Required affinity: matching pods per domain, for each term.
    affinity: Vec<(String, Domains)>,
    /// All required terms select the pod itself: the first of its kind may go anywhere.
    selects_itself: bool,
    /// Required anti-affinity: matching pods per domain.
    anti_affinity: Domains,
    anti_keys: Vec<String>,
    /// Domains where a running pod's anti-affinity matches this pod.
    repelled: Domains,
    /// Preferences, of both sides, per domain.
    preferred: Domains,
    /// Anything above but preferences holds.
    binding: bool,
}

/// A term, ready to match pods.
struct Term<'a> {
    key: String,
    selector: LabelSelector,
    namespaces: Vec<String>,
    namespace_selector: Option<LabelSelector>,
    labels_of: &'a NamespaceLabels<'a>,
}

impl<'a> Term<'a> {
    fn new(term: &PodAffinityTerm, owner: &Pod, labels_of: &'a NamespaceLabels<'a>) -> Self {
        let selector_of = |s: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>| {
            let value = s.as_ref().and_then(|s| kaji_api::Value::from_view(s).ok()).unwrap_or_default();
            LabelSelector::from_value(&value).unwrap_or_else(|_| LabelSelector::nothing())
        };
        let own = owner.metadata.labels.clone().unwrap_or_default();
        let mut requirements = selector_of(&term.label_selector).requirements().to_vec();
        let keyed = |keys: &Option<Vec<String>>, operator| {
            let keys = keys.clone().unwrap_or_default().into_iter();
            let own = &own;
            keys.filter_map(move |key| Some(Requirement { operator, values: vec![own.get(&key)?.clone()], key }))
                .collect::<Vec<_>>()
        };
        let extra =
            [keyed(&term.match_label_keys, Operator::In), keyed(&term.mismatch_label_keys, Operator::NotIn)].concat();
        let selector = if extra.is_empty() {
            selector_of(&term.label_selector)
        } else {
            requirements.extend(extra);
            LabelSelector::of(requirements)
        };
        let mut namespaces = term.namespaces.clone().unwrap_or_default();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.extend(owner.metadata.namespace.clone());
        }
        let namespace_selector = term.namespace_selector.as_ref().map(|_| selector_of(&term.namespace_selector));
        Term { key: term.topology_key.clone(), selector, namespaces, namespace_selector, labels_of }
    }

    fn matches(&self, pod: &Pod) -> bool {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let labels = pod.metadata.labels.as_ref();
        let in_namespace = self.namespaces.iter().any(|n| n == namespace)
            || self.namespace_selector.as_ref().is_some_and(|selector| {
                selector.is_everything()
                    || (self.labels_of)(namespace)
                        .is_some_and(|l| selector.matches(|key| l.get(key).map(String::as_str)))
            });
        in_namespace && self.selector.matches(|key| labels.and_then(|l| l.get(key)).map(String::as_str))
    }
}

fn required(spec: &PodSpec, anti: bool) -> &[PodAffinityTerm] {
    let Some(affinity) = &spec.affinity else { return &[] };
    let terms = if anti {
        affinity
            .pod_anti_affinity
            .as_ref()
            .and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref())
    } else {
        affinity.pod_affinity.as_ref().and_then(|a| a.required_during_scheduling_ignored_during_execution.as_deref())
    };
    terms.unwrap_or_default()
}

/// Preferred terms, those of anti-affinity with negative weights.
fn preferred(spec: &PodSpec) -> Vec<(&PodAffinityTerm, i64)> {
    let Some(affinity) = &spec.affinity else { return Vec::new() };
    let near =
        affinity.pod_affinity.as_ref().and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
    let far = affinity
        .pod_anti_affinity
        .as_ref()
        .and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_deref());
    let near = near.unwrap_or_default().iter().map(|t| (&t.pod_affinity_term, i64::from(t.weight)));
    let far = far.unwrap_or_default().iter().map(|t| (&t.pod_affinity_term, -i64::from(t.weight)));
    near.chain(far).collect()
}

impl InterPod {
    pub(crate) fn new(pod: &Pod, spec: &PodSpec, nodes: &Snapshot, labels_of: &NamespaceLabels<'_>) -> Self {
        let terms = |list: &[PodAffinityTerm]| list.iter().map(|t| Term::new(t, pod, labels_of)).collect::<Vec<_>>();
        let (near, far) = (terms(required(spec, false)), terms(required(spec, true)));
        let liked: Vec<(Term<'_>, i64)> =
            preferred(spec).into_iter().map(|(t, weight)| (Term::new(t, pod, labels_of), weight)).collect();
        let mut state = InterPod {
            affinity: near.iter().map(|t| (t.key.clone(), Domains::new())).collect(),
            selects_itself: near.iter().all(|t| t.matches(pod)),
            anti_keys: far.iter().map(|t| t.key.clone()).collect(),
            ..InterPod::default()
        };
        // Mostly there are no affinities at all: then no pod needs to be looked at.
        let asks = !(near.is_empty() && far.is_empty() && liked.is_empty());
        for node in nodes.iter().filter(|node| asks || node.affine > 0) {
            for placed in node.pods.values().filter(|p| asks || p.has_affinity) {
                state.count(node, &placed.pod, &near, &far, &liked);
                if placed.has_affinity {
                    state.others(node, &placed.pod, pod, labels_of);
                }
            }
        }
        state.binding = !(state.affinity.is_empty() && state.anti_keys.is_empty() && state.repelled.is_empty());
        state
    }

    /// Counts one node anew, as if `new` stood in the place of `old`. Preferences stay: nothing is scored after it.
    pub(crate) fn swap(
        &mut self,
        pod: &Pod,
        spec: &PodSpec,
        (old, new): (&Arc<NodeInfo>, &Arc<NodeInfo>),
        labels_of: &NamespaceLabels<'_>,
    ) {
        if !self.binding {
            return;
        }
        for (node, sign) in [(old, -1), (new, 1)] {
            let here = InterPod::new(pod, spec, &vec![node.clone()], labels_of);
            for ((_, domains), (_, part)) in self.affinity.iter_mut().zip(here.affinity) {
                merge(domains, part, sign);
            }
            merge(&mut self.anti_affinity, here.anti_affinity, sign);
            merge(&mut self.repelled, here.repelled, sign);
        }
    }

    /// What the pod's own terms say about a pod that runs.
    fn count(&mut self, node: &NodeInfo, placed: &Pod, near: &[Term<'_>], far: &[Term<'_>], liked: &[(Term<'_>, i64)]) {
        for ((_, domains), term) in self.affinity.iter_mut().zip(near) {
            if term.matches(placed) {
                raise(domains, node, &term.key, 1);
            }
        }
        for term in far.iter().filter(|t| t.matches(placed)) {
            raise(&mut self.anti_affinity, node, &term.key, 1);
        }
        for (term, weight) in liked.iter().filter(|(t, _)| t.matches(placed)) {
            raise(&mut self.preferred, node, &term.key, *weight);
        }
    }

    /// What the terms of a pod that runs say about this one.
    fn others(&mut self, node: &NodeInfo, placed: &Pod, pod: &Pod, labels_of: &NamespaceLabels<'_>) {
        let spec = spec_of(placed);
        for term in required(spec, true) {
            if Term::new(term, placed, labels_of).matches(pod) {
                raise(&mut self.repelled, node, &term.topology_key, 1);
            }
        }
        // A running pod's required affinity counts as a preference of weight 1 (hardPodAffinityWeight).
        let hard = required(spec, false).iter().map(|t| (t, 1));
        for (term, weight) in preferred(spec).into_iter().chain(hard) {
            if Term::new(term, placed, labels_of).matches(pod) {
                raise(&mut self.preferred, node, &term.topology_key, weight);
            }
        }
    }

    fn affine(&self, node: &NodeInfo) -> bool {
        let there = |(key, domains): &(String, Domains)| {
            domain(node, key).is_some_and(|d| domains.get(&d).copied().unwrap_or_default() > 0)
        };
        let labelled = || self.affinity.iter().all(|(key, _)| node.label(key).is_some());
        let nowhere = || self.affinity.iter().all(|(_, domains)| domains.is_empty());
        self.affinity.iter().all(there) || (labelled() && self.selects_itself && nowhere())
    }
}

/// Adds or takes away; domains without pods are forgotten.
fn merge(domains: &mut Domains, part: Domains, sign: i64) {
    for (domain, count) in part {
        *domains.entry(domain).or_default() += sign * count;
    }
    domains.retain(|_, count| *count != 0);
}

fn domain(node: &NodeInfo, key: &str) -> Option<(String, String)> {
    Some((key.to_owned(), node.label(key)?.to_owned()))
}

fn raise(domains: &mut Domains, node: &NodeInfo, key: &str, by: i64) {
    if let Some(domain) = domain(node, key) {
        *domains.entry(domain).or_default() += by;
    }
}

pub(super) fn filter(cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), No> {
    let state = &cycle.inter_pod;
    if !state.affine(node) {
        return Err(No::node("node(s) didn't match pod affinity rules"));
    }
    let taken =
        |key: &String| domain(node, key).is_some_and(|d| state.anti_affinity.get(&d).copied().unwrap_or_default() > 0);
    if state.anti_keys.iter().any(taken) {
        return Err(No::room("node(s) didn't match pod anti-affinity rules"));
    }
    if state.repelled.iter().any(|((key, value), count)| *count > 0 && node.label(key) == Some(value)) {
        return Err(No::room("node(s) didn't satisfy existing pods anti-affinity rules"));
    }
    Ok(())
}

pub(super) fn score(cycle: &Cycle<'_>, nodes: &[&Arc<NodeInfo>]) -> Vec<i64> {
    let liked = &cycle.inter_pod.preferred;
    let raw = |node: &&Arc<NodeInfo>| -> i64 {
        liked.iter().filter(|((key, value), _)| node.label(key) == Some(value)).map(|(_, weight)| weight).sum()
    };
    let raw: Vec<i64> = nodes.iter().map(raw).collect();
    let (least, most) = (raw.iter().min().copied().unwrap_or_default(), raw.iter().max().copied().unwrap_or_default());
    let stretch = |score: i64| if most == least { 0 } else { MAX * (score - least) / (most - least) };
    raw.into_iter().map(stretch).collect()
}
