//! The config maps and secrets that pods of this node refer to, each followed by a watch of its own.
//!
//! A node may only read what its pods name, so there is no informer over all. A watch starts with the first
//! pod that needs the object and ends with the last; a change wakes the pods that hold it.

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kaji_client::Client;
use kaji_client::informer::{self, changes};
use kube::runtime::watcher::Event;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How long to wait for the first answer about an object.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no object.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ObjectError {
    /// The API server says that it does not exist.
    #[error("{0}")]
    NotFound(String),
    /// The API server does not answer, or refuses.
    #[error("failed to sync {0} cache: timed out waiting for the condition")]
    Unanswered(&'static str),
}

type Holders = HashSet<String>;
type Wake = Arc<dyn Fn(&str) + Send + Sync>;

struct Entry<K> {
    current: watch::Receiver<Option<Option<Arc<K>>>>,
    holders: Arc<Mutex<Holders>>,
    task: tokio::task::AbortHandle,
}

struct Kind<K> {
    name: &'static str,
    entries: Mutex<HashMap<(String, String), Entry<K>>>,
}

/// The followed objects.
pub(crate) struct Objects {
    client: Client,
    wake: Wake,
    config_maps: Kind<ConfigMap>,
    secrets: Kind<Secret>,
}

impl Objects {
    /// Nothing yet; `wake` is called with the uid of each pod that holds a changed object.
    pub(crate) fn new(client: Client, wake: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Objects {
            client,
            wake: Arc::new(wake),
            config_maps: Kind { name: "configmap", entries: Mutex::default() },
            secrets: Kind { name: "secret", entries: Mutex::default() },
        }
    }

    /// A config map; `hold` must have named it for a pod.
    pub(crate) async fn config_map(&self, namespace: &str, name: &str) -> Result<Arc<ConfigMap>, ObjectError> {
        get(&self.config_maps, namespace, name).await
    }

    /// A secret; `hold` must have named it for a pod.
    pub(crate) async fn secret(&self, namespace: &str, name: &str) -> Result<Arc<Secret>, ObjectError> {
        get(&self.secrets, namespace, name).await
    }

    /// Follows all that a pod refers to; what it no longer does is let go.
    pub(crate) fn hold(&self, uid: &str, namespace: &str, references: &References) {
        hold(&self.config_maps, &self.client, &self.wake, uid, namespace, &references.config_maps);
        hold(&self.secrets, &self.client, &self.wake, uid, namespace, &references.secrets);
    }

    /// Lets go of all that a pod held.
    pub(crate) fn release(&self, uid: &str) {
        release(&self.config_maps, uid, |_| false);
        release(&self.secrets, uid, |_| false);
    }
}

async fn get<K>(kind: &Kind<K>, namespace: &str, name: &str) -> Result<Arc<K>, ObjectError> {
    let absent = || ObjectError::NotFound(format!("{} {name:?} not found", kind.name));
    let key = (namespace.to_owned(), name.to_owned());
    let current = kind.entries.lock().get(&key).map(|entry| entry.current.clone());
    let mut current = current.ok_or_else(absent)?;
    let known = tokio::time::timeout(PATIENCE, current.wait_for(Option::is_some)).await;
    let Ok(Ok(known)) = known else { return Err(ObjectError::Unanswered(kind.name)) };
    (*known).clone().flatten().ok_or_else(absent)
}

fn hold<K: informer::Kind>(
    kind: &Kind<K>,
    client: &Client,
    wake: &Wake,
    uid: &str,
    namespace: &str,
    names: &HashSet<String>,
) {
    for name in names {
        let mut entries = kind.entries.lock();
        let entry = entries
            .entry((namespace.to_owned(), name.clone()))
            .or_insert_with(|| follow(client.clone(), namespace, name, wake.clone()));
        entry.holders.lock().insert(uid.to_owned());
    }
    release(kind, uid, |name| names.contains(name));
}

fn release<K>(kind: &Kind<K>, uid: &str, keep: impl Fn(&str) -> bool) {
    kind.entries.lock().retain(|(_, name), entry| {
        if keep(name) {
            return true;
        }
        let mut holders = entry.holders.lock();
        holders.remove(uid);
        let held = !holders.is_empty();
        if !held {
            entry.task.abort();
        }
        held
    });
}

fn follow<K: informer::Kind>(client: Client, namespace: &str, name: &str, wake: Wake) -> Entry<K> {
    let (sender, current) = watch::channel(None);
    let holders: Arc<Mutex<Holders>> = Arc::default();
    let mut events = Box::pin(changes::<K>(client, namespace, &format!("metadata.name={name}")));
    let told = holders.clone();
    let task = tokio::spawn(async move {
        let mut listed = None;
        while let Some(event) = events.next().await {
            let state = match event {
                Event::Init => {
                    listed = None;
                    continue;
                }
                Event::InitApply(object) => {
                    listed = Some(Arc::new(object));
                    continue;
                }
                Event::InitDone => listed.take(),
                Event::Apply(object) => Some(Arc::new(object)),
                Event::Delete(_) => None,
            };
            let first = sender.borrow().is_none();
            sender.send_replace(Some(state));
            if !first {
                let holders: Vec<String> = told.lock().iter().cloned().collect();
                holders.iter().for_each(|uid| wake(uid));
            }
        }
    });
    Entry { current, holders, task: task.abort_handle() }
}

/// The names that a pod refers to, all in its own namespace.
#[derive(Debug, Default)]
pub(crate) struct References {
    pub(crate) config_maps: HashSet<String>,
    pub(crate) secrets: HashSet<String>,
}

/// What a pod refers to: in environment, volumes and pull secrets.
pub(crate) fn references(pod: &k8s_openapi::api::core::v1::Pod) -> References {
    let mut found = References::default();
    let Some(spec) = &pod.spec else { return found };
    let ephemerals = crate::pod::ephemeral(pod);
    for container in crate::resources::containers(spec).chain(&ephemerals) {
        for source in container.env_from.iter().flatten() {
            found.config_maps.extend(source.config_map_ref.as_ref().map(|reference| reference.name.clone()));
            found.secrets.extend(source.secret_ref.as_ref().map(|reference| reference.name.clone()));
        }
        for source in container.env.iter().flatten().filter_map(|variable| variable.value_from.as_ref()) {
            found.config_maps.extend(source.config_map_key_ref.as_ref().map(|reference| reference.name.clone()));
            found.secrets.extend(source.secret_key_ref.as_ref().map(|reference| reference.name.clone()));
        }
    }
    for volume in spec.volumes.iter().flatten() {
        found.config_maps.extend(volume.config_map.as_ref().map(|source| source.name.clone()));
        found.secrets.extend(volume.secret.as_ref().and_then(|source| source.secret_name.clone()));
        let projections = volume.projected.as_ref().and_then(|projected| projected.sources.as_ref());
        for source in projections.into_iter().flatten() {
            found.config_maps.extend(source.config_map.as_ref().map(|source| source.name.clone()));
            found.secrets.extend(source.secret.as_ref().map(|source| source.name.clone()));
        }
    }
    found.secrets.extend(spec.image_pull_secrets.iter().flatten().map(|reference| reference.name.clone()));
    found.config_maps.remove("");
    found.secrets.remove("");
    found
}
