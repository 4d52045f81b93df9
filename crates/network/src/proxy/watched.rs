//! The objects that rules are made of, and which of them have changed.

use super::config::Config;
use super::health::Health;
use super::plan;
use super::rules::Owner;
use crate::nftables::Family;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kaji_client::{Informer, Informers, ObjectKey};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Notify;

const SERVICE_NAME: &str = "kubernetes.io/service-name";
const HEADLESS: &str = "service.kubernetes.io/headless";
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";

/// What informers have told since the last look.
#[derive(Default)]
pub(super) struct Seen {
    state: Mutex<SeenState>,
    pub(super) changed: Notify,
}

#[derive(Default)]
struct SeenState {
    dirty: BTreeSet<Owner>,
    slices: BTreeMap<(String, String), BTreeMap<String, Arc<EndpointSlice>>>,
}

impl Seen {
    pub(super) fn mark(&self, owner: Owner) {
        self.state.lock().dirty.insert(owner);
        self.changed.notify_one();
    }

    /// The objects that changed since the last call.
    pub(super) fn take_dirty(&self) -> BTreeSet<Owner> {
        std::mem::take(&mut self.state.lock().dirty)
    }

    /// The slices of a service.
    pub(super) fn slices_of(&self, namespace: &str, name: &str) -> Vec<Arc<EndpointSlice>> {
        let state = self.state.lock();
        let slices = state.slices.get(&(namespace.to_owned(), name.to_owned()));
        slices.into_iter().flat_map(|slices| slices.values().cloned()).collect()
    }

    fn slice(&self, key: &ObjectKey, old: Option<&Arc<EndpointSlice>>, new: Option<&Arc<EndpointSlice>>) {
        let mut state = self.state.lock();
        if let Some(service) = old.and_then(|s| service_of(s)) {
            if let Some(slices) = state.slices.get_mut(&service) {
                slices.remove(&key.name);
                if slices.is_empty() {
                    state.slices.remove(&service);
                }
            }
            state.dirty.insert(Owner::Service(service.0, service.1));
        }
        if let Some((service, slice)) = new.and_then(|s| service_of(s).map(|service| (service, s.clone()))) {
            state.slices.entry(service.clone()).or_default().insert(key.name.clone(), slice);
            state.dirty.insert(Owner::Service(service.0, service.1));
        }
        drop(state);
        self.changed.notify_one();
    }
}

fn service_of(slice: &EndpointSlice) -> Option<(String, String)> {
    let labels = slice.metadata.labels.as_ref()?;
    let name = labels.get(SERVICE_NAME).filter(|name| !name.is_empty())?;
    let ours = !labels.contains_key(HEADLESS) && !labels.contains_key(OTHER_PROXY);
    ours.then(|| (slice.metadata.namespace.clone().unwrap_or_default(), name.clone()))
}

/// The objects that rules are made of.
pub(super) struct Watched {
    pub(super) services: Arc<Informer<Service>>,
    slices: Arc<Informer<EndpointSlice>>,
    pub(super) node: Arc<Informer<Node>>,
    pub(super) pods: Option<Arc<Informer<Pod>>>,
}

impl Watched {
    pub(super) fn start(informers: &Informers, config: &Config, seen: &Arc<Seen>, health: &Arc<Health>) -> Self {
        let watched = Self {
            services: informers.of(),
            slices: informers.of(),
            node: informers.selected(&format!("metadata.name={}", config.node_name)),
            pods: config.pod_network.then(|| informers.selected(&format!("spec.nodeName={}", config.node_name))),
        };
        let (to, waiting) = (seen.clone(), health.clone());
        watched.services.on_change(move |change| {
            waiting.queued();
            to.mark(Owner::Service(change.key.namespace.clone(), change.key.name.clone()));
        });
        let (to, waiting) = (seen.clone(), health.clone());
        watched.slices.on_change(move |change| {
            waiting.queued();
            to.slice(&change.key, change.old.as_ref(), change.new.as_ref());
        });
        let to = seen.clone();
        watched.node.on_change(move |_| to.mark(Owner::Base));
        if let Some(pods) = &watched.pods {
            let to = seen.clone();
            pods.on_change(move |change| {
                let published = |pod: &Option<Arc<Pod>>| pod.as_ref().is_some_and(|p| has_host_ports(p));
                if published(&change.old) || published(&change.new) {
                    to.mark(Owner::Pod(change.key.namespace.clone(), change.key.name.clone()));
                }
            });
        }
        watched
    }

    pub(super) async fn synced(&self) {
        self.services.synced().await;
        self.slices.synced().await;
        self.node.synced().await;
        if let Some(pods) = &self.pods {
            pods.synced().await;
        }
    }
}

fn has_host_ports(pod: &Pod) -> bool {
    !plan::published(pod, Family::V4).is_empty() || !plan::published(pod, Family::V6).is_empty()
}
