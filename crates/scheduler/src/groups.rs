//! Pods counted per node, for selectors that are asked about again and again: nobody looks at every pod of the
//! cluster for every pod that waits.
//!
//! A group is a namespace and a selector. It is counted once, when it is first asked for, and kept up to date as pods
//! come and go; those not asked for in a long time are forgotten. Where no pod carries a label that the selector asks
//! for (the hash of a new replica set), nothing needs to be looked at even the first time.

use k8s_openapi::api::core::v1::Pod;
use kaji_api::selector::{LabelSelector, Operator, Requirement};
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// Groups kept; the half that nobody asked for the longest goes when there are more.
const MOST: usize = 4096;

/// Pods of a group per node, by the node's name; nodes without any are not in it.
pub(crate) type Counts = HashMap<String, i64>;

#[derive(Default)]
pub(crate) struct Groups {
    groups: HashMap<Arc<Name>, Group>,
    /// The groups that a pod with a label, or with any labels, may be in.
    by_label: HashMap<u64, Vec<Arc<Name>>>,
    /// Pods that carry a label. Two labels with the same hash are counted as one: such a count is never too small.
    carriers: HashMap<u64, usize>,
    /// Questions so far: the clock by which groups grow old.
    asked: u64,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Name {
    namespace: String,
    /// In its text, which says all of it.
    selector: String,
}

struct Group {
    selector: LabelSelector,
    /// Its place in `by_label`.
    label: u64,
    counts: Arc<Counts>,
    last_asked: u64,
}

impl Groups {
    /// The pods of a namespace that a selector selects, and that are not going away, per node. `all`: every pod there
    /// is, with its node; looked at only where it must be.
    pub(crate) fn count<'a, I>(
        &mut self,
        namespace: &str,
        selector: &LabelSelector,
        all: impl FnOnce() -> I,
    ) -> Arc<Counts>
    where
        I: Iterator<Item = (&'a str, &'a Pod)>,
    {
        // Upstream counts nothing for a selector that selects everything (`countPodsMatchSelector`).
        if selector.is_everything() || selector.is_nothing() {
            return Arc::default();
        }
        self.asked += 1;
        let name = Name { namespace: namespace.to_owned(), selector: selector.to_string() };
        if let Some(group) = self.groups.get_mut(&name) {
            group.last_asked = self.asked;
            return group.counts.clone();
        }
        let (label, carriers) = self.rarest(namespace, selector);
        let mut counts = Counts::new();
        if carriers > 0 {
            let here = |pod: &&(&str, &Pod)| is_counted(pod.1, namespace, selector);
            all().filter(|pod| here(&pod)).for_each(|(node, _)| *counts.entry(node.to_owned()).or_default() += 1);
        }
        let (name, counts) = (Arc::new(name), Arc::new(counts));
        self.by_label.entry(label).or_default().push(name.clone());
        let group = Group { selector: selector.clone(), label, counts: counts.clone(), last_asked: self.asked };
        self.groups.insert(name, group);
        if self.groups.len() > MOST {
            self.forget_half();
        }
        counts
    }

    /// A pod has been put on a node.
    pub(crate) fn put(&mut self, node: &str, pod: &Pod) {
        self.change(node, pod, 1);
        labels_of(pod).for_each(|label| *self.carriers.entry(label).or_default() += 1);
    }

    /// A pod has been taken off a node: as it was when it was put there.
    pub(crate) fn take(&mut self, node: &str, pod: &Pod) {
        self.change(node, pod, -1);
        for label in labels_of(pod) {
            if let Some(carriers) = self.carriers.get_mut(&label) {
                *carriers -= 1;
                if *carriers == 0 {
                    self.carriers.remove(&label);
                }
            }
        }
    }

    fn change(&mut self, node: &str, pod: &Pod, by: i64) {
        for name in labels_of(pod).filter_map(|label| self.by_label.get(&label)).flatten() {
            let Some(group) = self.groups.get_mut(name) else { continue };
            if !is_counted(pod, &name.namespace, &group.selector) {
                continue;
            }
            let counts = Arc::make_mut(&mut group.counts);
            let count = counts.entry(node.to_owned()).or_default();
            *count += by;
            if *count == 0 {
                counts.remove(node);
            }
        }
    }

    /// The label, of those that every pod of a group carries, that the fewest pods carry, and how many.
    fn rarest(&self, namespace: &str, selector: &LabelSelector) -> (u64, usize) {
        let exact = selector.requirements().iter().filter_map(exact);
        let labels = exact.map(|(key, value)| hash(namespace, Some((key, value))));
        let labels = labels.chain([hash(namespace, None)]);
        labels
            .map(|label| (label, self.carriers.get(&label).copied().unwrap_or_default()))
            .min_by_key(|l| l.1)
            .expect("one at least")
    }

    fn forget_half(&mut self) {
        let mut ages: Vec<u64> = self.groups.values().map(|group| group.last_asked).collect();
        ages.sort_unstable();
        let oldest = ages[ages.len() / 2];
        for (name, group) in self.groups.extract_if(|_, group| group.last_asked < oldest) {
            let Some(names) = self.by_label.get_mut(&group.label) else { continue };
            names.retain(|other| *other != name);
            if names.is_empty() {
                self.by_label.remove(&group.label);
            }
        }
    }
}

/// The one value that a requirement asks of its label.
pub(crate) fn exact(requirement: &Requirement) -> Option<(&str, &str)> {
    match (requirement.operator, requirement.values.as_slice()) {
        (Operator::Equals | Operator::DoubleEquals | Operator::In, [value]) => Some((&requirement.key, value)),
        _ => None,
    }
}

/// A label in a namespace; none: any labels.
pub(crate) fn hash(namespace: &str, label: Option<(&str, &str)>) -> u64 {
    let mut hasher = DefaultHasher::new();
    (namespace, label).hash(&mut hasher);
    hasher.finish()
}

/// Those that a pod carries, each once, and "any".
pub(crate) fn labels_of(pod: &Pod) -> impl Iterator<Item = u64> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let labels = pod.metadata.labels.iter().flatten();
    labels.map(move |(key, value)| hash(namespace, Some((key, value)))).chain([hash(namespace, None)])
}

/// Whether a selector selects a pod.
pub(crate) fn selects(selector: &LabelSelector, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    selector.matches(|key| labels.and_then(|l| l.get(key)).map(String::as_str))
}

/// Whether a pod counts for a group: pods that go away do not.
fn is_counted(pod: &Pod, namespace: &str, selector: &LabelSelector) -> bool {
    pod.metadata.namespace.as_deref().unwrap_or_default() == namespace
        && pod.metadata.deletion_timestamp.is_none()
        && selects(selector, pod)
}

#[cfg(test)]
mod tests;
