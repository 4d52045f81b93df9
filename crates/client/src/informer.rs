//! Shared informers: one list and watch per type and process, objects decoded once.
//!
//! An informer starts at its first use and goes on until its `Informers` and all who hold it are gone. It
//! lists, watches, resumes, and lists anew when history is gone (kube's watcher does), backing off when the
//! server doesn't answer. Handlers run in the order of changes and must not block.

mod state;

use crate::{Client, ObjectKey};
use futures::StreamExt;
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use parking_lot::Mutex;
use state::Shared;
use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::broadcast;

/// What happened to an object; handlers take the key and look at the informer's state.
#[derive(Debug)]
pub struct Change<K> {
    /// The object's key.
    pub key: ObjectKey,
    /// State before; none: new to us.
    pub old: Option<Arc<K>>,
    /// State now; none: gone.
    pub new: Option<Arc<K>>,
}

impl<K> Clone for Change<K> {
    fn clone(&self) -> Self {
        Change { key: self.key.clone(), old: self.old.clone(), new: self.new.clone() }
    }
}

/// The current objects of one type, kept up to date.
pub struct Informer<K> {
    shared: Arc<Shared<K>>,
    task: tokio::task::AbortHandle,
}

impl<K> Drop for Informer<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Types an informer can follow: k8s-openapi's top-level types.
pub trait Kind:
    kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static
{
}
impl<K> Kind for K where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + Sync + 'static
{
}

/// What an informer holds: a whole object, or its metadata.
pub trait Held: kube::Resource + Send + Sync + 'static {}
impl<K: kube::Resource + Send + Sync + 'static> Held for K {}

impl<K: Held> Informer<K> {
    fn start<S>(what: String, changes: S) -> Arc<Self>
    where
        S: futures::Stream<Item = Result<watcher::Event<K>, watcher::Error>> + Send + 'static,
    {
        let shared = Arc::new(Shared::new());
        let (sink, what) = (shared.clone(), what);
        let task = tokio::spawn(async move {
            let mut changes = std::pin::pin!(changes);
            while let Some(event) = changes.next().await {
                match event {
                    Ok(event) => sink.apply(event),
                    Err(error) => tracing::debug!(%error, what, "list or watch failed; trying again"),
                }
            }
        });
        Arc::new(Informer { shared, task: task.abort_handle() })
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.shared.objects.read().by_key.get(key).cloned()
    }

    /// All objects, by key.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.objects.read().by_key.values().cloned().collect()
    }

    /// All objects of a namespace (all namespaces where empty).
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        if namespace.is_empty() {
            return self.list();
        }
        let objects = self.shared.objects.read();
        let from = ObjectKey::new(namespace, "");
        objects.by_key.range(from..).take_while(|(k, _)| k.namespace == namespace).map(|(_, o)| o.clone()).collect()
    }

    /// How many objects.
    pub fn len(&self) -> usize {
        self.shared.objects.read().by_key.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Objects controlled by the owner with this uid (`metadata.ownerReferences[controller]`).
    pub fn controlled_by(&self, uid: &str) -> Vec<Arc<K>> {
        let objects = self.shared.objects.read();
        let keys = objects.by_controller.get(uid).into_iter().flatten();
        keys.filter_map(|key| objects.by_key.get(key).cloned()).collect()
    }

    /// Objects of a namespace that no owner controls.
    pub fn uncontrolled_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let objects = self.shared.objects.read();
        let Some(keys) = objects.by_controller.get("") else { return Vec::new() };
        let here = keys.range(ObjectKey::new(namespace, "")..).take_while(|k| k.namespace == namespace);
        here.filter_map(|key| objects.by_key.get(key).cloned()).collect()
    }

    /// Calls `handler` for every change from now on, and once per object that is already here (`old` none). The
    /// handler must not block: it puts keys into queues.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.shared.add_handler(Box::new(handler));
    }

    /// Changes as a stream; lagging receivers are told so.
    pub fn subscribe(&self) -> broadcast::Receiver<Change<K>> {
        self.shared.changes.subscribe()
    }

    /// True once the first list is in.
    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// Returns once the first list is in.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives in `shared`, which we hold.
        let _ = synced.wait_for(|yes| *yes).await;
    }
}

/// The informers of a process: the first `of::<K>()` starts one, later ones share it.
#[derive(Clone)]
pub struct Informers {
    client: Client,
    started: Arc<Mutex<HashMap<(TypeId, String), Arc<dyn Any + Send + Sync>>>>,
}

impl Informers {
    /// Informers that list and watch through this client.
    pub fn new(client: Client) -> Self {
        Informers { client, started: Arc::default() }
    }

    /// The client behind.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The informer for all objects of a type.
    pub fn of<K: Kind>(&self) -> Arc<Informer<K>> {
        self.selected("")
    }

    /// The informer for the objects of a type that a field selector selects (`spec.nodeName=n1`).
    pub fn selected<K: Kind>(&self, field_selector: &str) -> Arc<Informer<K>> {
        self.shared(field_selector.to_owned(), || {
            let config = watcher::Config { field_selector: selector(field_selector), ..watcher::Config::default() };
            let api = kube::Api::<K>::all(self.client.clone());
            Informer::start(K::plural(&()).into_owned(), watcher(api, config).default_backoff())
        })
    }

    /// The informer for the metadata of all objects of a resource, whatever its type.
    pub fn metadata(&self, resource: &ApiResource) -> Arc<Informer<PartialObjectMeta<DynamicObject>>> {
        self.shared(format!("{}/{}", resource.api_version, resource.plural), || {
            let api = kube::Api::<PartialObjectMeta<DynamicObject>>::all_with(self.client.clone(), resource);
            let changes = watcher(api, watcher::Config::default()).default_backoff();
            Informer::start(resource.plural.clone(), changes)
        })
    }

    /// Forgets the informer for a resource's metadata: it stops once nobody holds it.
    pub fn forget_metadata(&self, resource: &ApiResource) {
        let key = format!("{}/{}", resource.api_version, resource.plural);
        self.started.lock().remove(&(TypeId::of::<PartialObjectMeta<DynamicObject>>(), key));
    }

    fn shared<K: Held>(&self, selector: String, start: impl FnOnce() -> Arc<Informer<K>>) -> Arc<Informer<K>> {
        let mut started = self.started.lock();
        let informer = started.entry((TypeId::of::<K>(), selector)).or_insert_with(|| start());
        informer.clone().downcast().expect("the key holds the type")
    }
}

fn selector(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}
