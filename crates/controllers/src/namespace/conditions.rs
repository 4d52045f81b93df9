//! What a namespace's conditions say about its end.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NamespaceCondition, NamespaceStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use std::collections::BTreeMap;

/// Type, and reason and message when all is well.
const TYPES: [(&str, &str, &str); 5] = [
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
    (
        "NamespaceDeletionContentFailure",
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
    ("NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
];

/// How far the emptying came.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// Seconds after which the rest may be gone.
    pub(super) wait: i64,
    /// What is left, by `resource.group`.
    pub(super) remaining: BTreeMap<String, usize>,
    finalizers: BTreeMap<String, usize>,
    discovery: Option<String>,
    /// What went wrong.
    pub(super) failures: Vec<String>,
}

impl Report {
    pub(super) fn discovery_failed(&mut self, message: String) {
        self.failures.push(message.clone());
        self.discovery = Some(message);
    }

    /// Notes what is left of a kind: it needs time for its grace period, or for finalizers.
    pub(super) fn left(
        &mut self,
        kind: &ApiResource,
        grace: i64,
        finalizers: i64,
        namespace: &str,
        items: &[PartialObjectMeta<DynamicObject>],
    ) {
        let names: Vec<&String> = items.iter().flat_map(|i| i.metadata.finalizers.iter().flatten()).collect();
        let wait = if grace == 0 && !names.is_empty() { finalizers } else { grace };
        self.wait = self.wait.max(wait);
        self.remaining.insert(format!("{}.{}", kind.plural, kind.group), items.len());
        for name in &names {
            *self.finalizers.entry((*name).clone()).or_default() += 1;
        }
        if wait == 0 {
            let which = format!("{}/{}, Resource={}", kind.group, kind.version, kind.plural);
            self.failures.push(format!("unexpected items still remain in namespace: {namespace} for gvr: {which}"));
        }
    }

    /// Puts the conditions in; true when any changed.
    pub(super) fn apply(&self, status: &mut NamespaceStatus, now: Timestamp) -> bool {
        let mut changed = false;
        for (kind, reason, message) in TYPES {
            let trouble = self.trouble(kind);
            let state = if trouble.is_some() { "True" } else { "False" };
            let (reason, message) = trouble.unwrap_or((reason, message.to_owned()));
            changed |= set(status, kind, state, reason, message, now);
        }
        changed
    }

    fn trouble(&self, kind: &str) -> Option<(&'static str, String)> {
        let list = |items: &BTreeMap<String, usize>, word: &str| {
            let parts: Vec<String> =
                items.iter().map(|(what, n)| format!("{what} {word} {n} resource instances")).collect();
            parts.join(", ")
        };
        match kind {
            "NamespaceDeletionDiscoveryFailure" => Some(("DiscoveryFailed", self.discovery.clone()?)),
            "NamespaceDeletionContentFailure" if !self.failures.is_empty() && self.discovery.is_none() => {
                let mut all = self.failures.clone();
                all.sort();
                let message =
                    format!("Failed to delete all resource types, {} remaining: {}", all.len(), all.join(", "));
                Some(("ContentDeletionFailed", message))
            }
            "NamespaceContentRemaining" if !self.remaining.is_empty() => {
                Some(("SomeResourcesRemain", format!("Some resources are remaining: {}", list(&self.remaining, "has"))))
            }
            "NamespaceFinalizersRemaining" if !self.finalizers.is_empty() => {
                let text = list(&self.finalizers, "in");
                let message = format!("Some content in the namespace has finalizers remaining: {text}");
                Some(("SomeFinalizersRemain", message))
            }
            _ => None,
        }
    }
}

fn set(status: &mut NamespaceStatus, kind: &str, state: &str, reason: &str, message: String, now: Timestamp) -> bool {
    let conditions = status.conditions.get_or_insert_default();
    let old = conditions.iter().position(|c| c.type_ == kind);
    let same_state = old.is_some_and(|at| conditions[at].status == state);
    let condition = NamespaceCondition {
        type_: kind.to_owned(),
        status: state.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_transition_time: match old.filter(|_| same_state) {
            Some(at) => conditions[at].last_transition_time.clone(),
            None => Some(Time(now)),
        },
    };
    match old {
        Some(at) if conditions[at] == condition => false,
        Some(at) => {
            conditions[at] = condition;
            true
        }
        None => {
            conditions.push(condition);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told() {
        let kind = ApiResource::erase::<k8s_openapi::api::core::v1::Pod>(&());
        let item = serde_json::from_str(r#"{"metadata": {"name": "p", "finalizers": ["x/y"]}}"#).unwrap();
        let mut report = Report::default();
        report.left(&kind, 0, 15, "n", &[item]);
        assert_eq!(report.wait, 15);
        let mut status = NamespaceStatus::default();
        assert!(report.apply(&mut status, Timestamp::UNIX_EPOCH));
        assert!(!report.apply(&mut status, Timestamp::MAX));
        let told: Vec<_> = status.conditions.unwrap().into_iter().filter(|c| c.status == "True").collect();
        assert_eq!(told[0].message.as_deref(), Some("Some resources are remaining: pods. has 1 resource instances"));
        let text = "Some content in the namespace has finalizers remaining: x/y in 1 resource instances";
        assert_eq!(told[1].message.as_deref(), Some(text));
    }
}
