//! Shared informers: one list and watch per type and process, objects decoded once.
//!
//! An informer starts at its first use and goes on until its `Informers` and all who hold it are gone. It
//! lists, watches, resumes, and lists anew when history is gone (kube's watcher does), backing off when the
//! server doesn't answer. Handlers run in the order of changes and must not block.

mod raw;
mod state;

use crate::{Client, ObjectKey};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::runtime::{WatchStreamExt, watcher};
use parking_lot::Mutex;
use raw::Raw;
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
    fn start(changes: impl Stream<Item = watcher::Event<K>> + Send + 'static) -> Arc<Self> {
        let shared = Arc::new(Shared::new());
        let sink = shared.clone();
        let task = tokio::spawn(changes.for_each(move |event| {
            sink.apply(event);
            std::future::ready(())
        }));
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
        self.shared(field_selector.to_owned(), || Informer::start(changes(self.client.clone(), "", field_selector)))
    }

    /// The informer for the metadata of all objects of a resource, whatever its type.
    pub fn metadata(&self, resource: &ApiResource) -> Arc<Informer<PartialObjectMeta<DynamicObject>>> {
        self.shared(format!("{}/{}", resource.api_version, resource.plural), || {
            Informer::start(decoded(raw_changes(self.client.clone(), "", resource.clone(), "")))
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

/// The objects of a type that are there and what happens to them, without end: in a namespace (in all of them where
/// empty), chosen by a field selector (all of them where empty).
pub fn changes<K: Kind>(
    client: Client,
    namespace: &str,
    field_selector: &str,
) -> impl Stream<Item = watcher::Event<K>> + Send + 'static {
    decoded(raw_changes(client, namespace, ApiResource::erase::<K>(&()), field_selector))
}

/// Boxed, and of one type for all resources: its code is generated once and not for each type of each crate.
fn raw_changes(
    client: Client,
    namespace: &str,
    resource: ApiResource,
    field_selector: &str,
) -> BoxStream<'static, watcher::Event<Raw>> {
    let field_selector = (!field_selector.is_empty()).then(|| field_selector.to_owned());
    let config = watcher::Config { field_selector, ..watcher::Config::default() };
    let api: kube::Api<Raw> = match namespace {
        "" => kube::Api::all_with(client, &resource),
        _ => kube::Api::namespaced_with(client, namespace, &resource),
    };
    let events = watcher(api, config).default_backoff().filter_map(move |event| {
        let failed = |error: &watcher::Error| {
            tracing::debug!(%error, resource = resource.plural, "list or watch failed; trying again");
        };
        std::future::ready(event.inspect_err(failed).ok())
    });
    events.boxed()
}

/// Objects that are not of the type are left out, and the log says so.
fn decoded<K: serde::de::DeserializeOwned + Send + 'static>(
    events: impl Stream<Item = watcher::Event<Raw>> + Send + 'static,
) -> impl Stream<Item = watcher::Event<K>> + Send + 'static {
    use watcher::Event;
    events.filter_map(|event| {
        let object = Raw::decode;
        std::future::ready(match event {
            Event::Init => Some(Event::Init),
            Event::InitDone => Some(Event::InitDone),
            Event::InitApply(raw) => object(raw).map(Event::InitApply),
            Event::Apply(raw) => object(raw).map(Event::Apply),
            Event::Delete(raw) => object(raw).map(Event::Delete),
        })
    })
}
