//! What every controller works with.

use crate::Config;
use kaji_client::event::{EventType, Recorder, reference};
use kaji_client::informer::{Informer, Kind};
use kaji_client::{Client, Informers, ObjectKey, WorkQueue};
use std::sync::Arc;

/// A controller's client, informers, recorder and settings.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) informers: Informers,
    pub(crate) recorder: Recorder,
    pub(crate) config: Arc<Config>,
}

impl Context {
    pub(crate) fn new(name: &str, client: Client, informers: Informers, config: Arc<Config>) -> Self {
        // Events name the component without the word that the account's name ends with.
        let recorder = Recorder::new(client.clone(), name, "");
        Context { client, informers, recorder, config }
    }

    /// The shared informer of a type.
    pub(crate) fn informer<K: Kind>(&self) -> Arc<Informer<K>> {
        self.informers.of()
    }

    /// Records an event about an object.
    pub(crate) fn event<K: Kind>(&self, about: &K, kind: EventType, reason: &str, message: &str) {
        self.recorder.event(&reference(about), kind, reason, message);
    }
}

/// Puts the key of every changed object of a type into a queue.
pub(crate) fn enqueue<K: Kind>(informer: &Informer<K>, queue: &Arc<WorkQueue<ObjectKey>>) {
    let queue = queue.clone();
    informer.on_change(move |change| queue.add(change.key.clone()));
}

/// Puts the key of the controlling owner (of one kind) of every changed object into a queue, before and after
/// the change.
pub(crate) fn enqueue_owner<K: Kind>(informer: &Informer<K>, kind: &'static str, queue: &Arc<WorkQueue<ObjectKey>>) {
    let queue = queue.clone();
    informer.on_change(move |change| {
        for object in [&change.old, &change.new].into_iter().flatten() {
            let owners = object.meta().owner_references.iter().flatten();
            for owner in owners.filter(|o| o.controller == Some(true) && o.kind == kind) {
                queue.add(ObjectKey::new(change.key.namespace.clone(), owner.name.clone()));
            }
        }
    });
}

/// An object's key.
pub(crate) fn key_of<K: Kind>(object: &K) -> ObjectKey {
    let meta = object.meta();
    ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}
