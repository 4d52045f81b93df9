//! A deployment's view of one of its replica sets: what it is now, and what it shall be.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const REVISION: &str = "deployment.kubernetes.io/revision";
pub(crate) const HISTORY: &str = "deployment.kubernetes.io/revision-history";
pub(crate) const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
pub(crate) const MAX: &str = "deployment.kubernetes.io/max-replicas";
pub(crate) const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";
pub(crate) const HASH: &str = "pod-template-hash";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// A longer history loses its oldest revisions.
const HISTORY_CHARS: usize = 2000;

/// A replica set with the changes that are due.
#[derive(Clone, Debug)]
pub(crate) struct Set {
    pub(crate) object: ReplicaSet,
    /// What the cluster has; none: to be made.
    pub(crate) before: Option<Arc<ReplicaSet>>,
    /// What to tell of the change.
    pub(crate) events: Vec<String>,
}

impl Set {
    pub(crate) fn existing(set: Arc<ReplicaSet>) -> Self {
        Set { object: ReplicaSet::clone(&set), before: Some(set), events: Vec::new() }
    }

    pub(crate) fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    pub(crate) fn size(&self) -> i32 {
        self.object.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    pub(crate) fn is_active(&self) -> bool {
        self.size() > 0
    }

    pub(crate) fn is_changed(&self) -> bool {
        self.before.as_deref() != Some(&self.object)
    }

    pub(crate) fn actual(&self) -> i32 {
        self.object.status.as_ref().map(|s| s.replicas).unwrap_or_default()
    }

    pub(crate) fn ready(&self) -> i32 {
        self.object.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or_default()
    }

    pub(crate) fn available(&self) -> i32 {
        self.object.status.as_ref().and_then(|s| s.available_replicas).unwrap_or_default()
    }

    /// Pods on their way out; none: the set's controller doesn't say.
    pub(crate) fn terminating(&self) -> Option<i32> {
        let status = self.object.status.as_ref();
        let observed = status.and_then(|s| s.observed_generation).unwrap_or_default();
        let count = status.and_then(|s| s.terminating_replicas);
        if observed == 0 { Some(count.unwrap_or_default()) } else { count }
    }

    pub(crate) fn annotation(&self, name: &str) -> Option<&str> {
        self.object.metadata.annotations.as_ref()?.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, annotation: &str) -> Option<i32> {
        self.annotation(annotation)?.parse().ok().filter(|n| *n >= 0)
    }

    pub(crate) fn revision(&self) -> i64 {
        self.annotation(REVISION).and_then(|r| r.parse().ok()).unwrap_or_default()
    }

    pub(crate) fn annotate(&mut self, name: &str, value: String) {
        self.object.metadata.annotations.get_or_insert_default().insert(name.to_owned(), value);
    }

    pub(crate) fn template(&self) -> PodTemplateSpec {
        self.object.spec.as_ref().and_then(|s| s.template.clone()).unwrap_or_default()
    }

    /// Oldest first, names decide.
    pub(crate) fn age(&self) -> (Option<Timestamp>, String) {
        (self.object.metadata.creation_timestamp.as_ref().map(|t| t.0), self.name().to_owned())
    }

    /// Notes the sizes that proportional scaling starts from.
    pub(crate) fn note_sizes(&mut self, desired: i32, max: i32) {
        self.annotate(DESIRED, desired.to_string());
        self.annotate(MAX, max.to_string());
    }

    /// Resizes and tells of it; true when the size changes.
    pub(crate) fn scale(&mut self, size: i32, desired: i32, max: i32) -> bool {
        let old = self.size();
        self.note_sizes(desired, max);
        if old == size {
            return false;
        }
        self.object.spec.get_or_insert_default().replicas = Some(size);
        let way = if old < size { "up" } else { "down" };
        self.events.push(format!("Scaled {way} replica set {} from {old} to {size}", self.name()));
        true
    }

    /// Gives the newest set its revision, keeping the former ones it had, and the deployment's annotations.
    pub(crate) fn set_revision(&mut self, deployment: &Deployment, revision: i64) {
        for (name, value) in deployment.metadata.annotations.iter().flatten().filter(|(n, _)| !is_own(n)) {
            self.annotate(name, value.clone());
        }
        let old = self.annotation(REVISION).map(str::to_owned);
        if self.revision() >= revision || old.as_deref().is_some_and(|o| !o.is_empty() && o.parse::<i64>().is_err()) {
            return;
        }
        self.annotate(REVISION, revision.to_string());
        if let Some(old) = old {
            let history = longer_history(self.annotation(HISTORY).unwrap_or_default(), &old);
            self.annotate(HISTORY, history);
        }
    }
}

fn longer_history(history: &str, revision: &str) -> String {
    let mut revisions: Vec<&str> = history.split(',').filter(|r| !r.is_empty()).collect();
    revisions.push(revision);
    while revisions.len() > 1 && revisions.join(",").len() > HISTORY_CHARS {
        revisions.remove(0);
    }
    revisions.join(",")
}

/// Annotations that belong to the deployment alone and are not passed on.
pub(crate) fn is_own(annotation: &str) -> bool {
    [LAST_APPLIED, REVISION, HISTORY, DESIRED, MAX, ROLLBACK_TO].contains(&annotation)
}

/// Whether two templates are the same but for the hash label.
pub(crate) fn same_template(a: &PodTemplateSpec, b: &PodTemplateSpec) -> bool {
    without_hash(a) == without_hash(b)
}

/// The template without the hash label; absent and empty metadata are the same.
pub(crate) fn without_hash(template: &PodTemplateSpec) -> PodTemplateSpec {
    let mut template = template.clone();
    let mut meta = template.metadata.take().unwrap_or_default();
    if let Some(labels) = &mut meta.labels {
        labels.remove(HASH);
    }
    meta.labels = meta.labels.filter(|l| !BTreeMap::is_empty(l));
    meta.annotations = meta.annotations.filter(|a| !a.is_empty());
    template.metadata = Some(meta);
    template
}
