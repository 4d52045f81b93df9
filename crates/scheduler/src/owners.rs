//! Which pods belong together though they do not say so: those of the same services and of the same controller
//! (upstream `helper.DefaultSelector`). Of services and controllers nothing is kept but their selectors.

mod selecting;

use crate::groups::{exact, hash, labels_of};
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kaji_api::selector::{LabelSelector, Requirement};
use kaji_client::informer::Change;
use kaji_client::{Informers, ObjectKey};
use parking_lot::RwLock;
use selecting::{Full, Plain, Selecting};
use std::collections::HashMap;
use std::sync::Arc;

type Services = Selecting<Service, Plain>;
type ReplicationControllers = Selecting<ReplicationController, Plain>;
type ReplicaSets = Selecting<ReplicaSet, Full>;
type StatefulSets = Selecting<StatefulSet, Full>;

/// Knows what selects pods.
pub(crate) struct Owners {
    informers: Informers,
    services: Arc<RwLock<ByLabel>>,
}

/// Services by the first label that their pods must carry.
#[derive(Default)]
struct ByLabel(HashMap<u64, Vec<(ObjectKey, Vec<Requirement>)>>);

impl Owners {
    /// Follows services and controllers from now on.
    pub(crate) fn follow(informers: Informers) -> Self {
        let services: Arc<RwLock<ByLabel>> = Arc::default();
        let changing = services.clone();
        informers.of::<Services>().on_change(move |change| changing.write().change(change));
        informers.of::<ReplicationControllers>();
        informers.of::<ReplicaSets>();
        informers.of::<StatefulSets>();
        Owners { informers, services }
    }

    pub(crate) async fn synced(&self) {
        self.informers.of::<Services>().synced().await;
        self.informers.of::<ReplicationControllers>().synced().await;
        self.informers.of::<ReplicaSets>().synced().await;
        self.informers.of::<StatefulSets>().synced().await;
    }

    /// What selects a pod and those that belong with it; everything, where nothing says so.
    pub(crate) fn selector_of(&self, pod: &Pod) -> LabelSelector {
        let owner = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
        let of_owner = owner.map(|owner| self.requirements(pod, owner)).unwrap_or_default();
        together(self.services.read().of(pod), of_owner)
    }

    fn requirements(&self, pod: &Pod, owner: &OwnerReference) -> Vec<Requirement> {
        let key = ObjectKey::new(pod.metadata.namespace.as_deref().unwrap_or_default(), &owner.name);
        let found = match (owner.api_version.as_str(), owner.kind.as_str()) {
            ("v1", "ReplicationController") => {
                self.informers.of::<ReplicationControllers>().get(&key).map(|o| o.requirements().to_vec())
            }
            ("apps/v1", "ReplicaSet") => {
                self.informers.of::<ReplicaSets>().get(&key).map(|o| o.requirements().to_vec())
            }
            ("apps/v1", "StatefulSet") => {
                self.informers.of::<StatefulSets>().get(&key).map(|o| o.requirements().to_vec())
            }
            _ => None,
        };
        found.unwrap_or_default()
    }
}

/// One selector of all requirements, each once.
fn together(of_services: Vec<Requirement>, of_owner: Vec<Requirement>) -> LabelSelector {
    let mut all: Vec<Requirement> = Vec::new();
    for requirement in of_services.into_iter().chain(of_owner) {
        if !all.contains(&requirement) {
            all.push(requirement);
        }
    }
    LabelSelector::of(all)
}

impl ByLabel {
    fn change(&mut self, change: &Change<Services>) {
        let namespace = &change.key.namespace;
        if let Some(label) = change.old.as_ref().and_then(|old| first(namespace, old.requirements()))
            && let Some(services) = self.0.get_mut(&label)
        {
            services.retain(|(key, _)| *key != change.key);
            if services.is_empty() {
                self.0.remove(&label);
            }
        }
        if let Some(new) = &change.new
            && let Some(label) = first(namespace, new.requirements())
        {
            self.0.entry(label).or_default().push((change.key.clone(), new.requirements().to_vec()));
        }
    }

    /// The requirements of all services that select a pod.
    fn of(&self, pod: &Pod) -> Vec<Requirement> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let label = |key: &str| pod.metadata.labels.as_ref()?.get(key).map(String::as_str);
        let near = labels_of(pod).filter_map(|label| self.0.get(&label)).flatten();
        let selecting = near.filter(|(key, requirements)| {
            key.namespace == namespace && requirements.iter().all(|r| r.matches(label(&r.key)))
        });
        selecting.flat_map(|(_, requirements)| requirements.iter().cloned()).collect()
    }
}

/// Services without a selector select no pod.
fn first(namespace: &str, requirements: &[Requirement]) -> Option<u64> {
    Some(hash(namespace, Some(exact(requirements.first()?)?)))
}

#[cfg(test)]
mod tests;
