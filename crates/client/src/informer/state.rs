//! What an informer knows, and how a change enters it.

use super::{Change, Held};
use crate::ObjectKey;
use kube::runtime::watcher::Event;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

/// Changes that a lagging subscriber may be behind.
const BACKLOG: usize = 1024;

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

pub(super) struct Shared<K> {
    pub(super) objects: RwLock<Objects<K>>,
    /// Held while a change is handed out, so that every handler sees changes in order.
    handlers: Mutex<Handlers<K>>,
    pub(super) changes: broadcast::Sender<Change<K>>,
    pub(super) synced: watch::Sender<bool>,
}

pub(super) struct Objects<K> {
    pub(super) by_key: BTreeMap<ObjectKey, Arc<K>>,
    /// By the controlling owner's uid; those without one under the empty uid.
    pub(super) by_controller: HashMap<String, BTreeSet<ObjectKey>>,
}

struct Handlers<K> {
    all: Vec<Handler<K>>,
    /// The objects of a list that is coming in.
    listing: BTreeMap<ObjectKey, K>,
}

impl<K: Held> Shared<K> {
    pub(super) fn new() -> Self {
        Shared {
            objects: RwLock::new(Objects { by_key: BTreeMap::new(), by_controller: HashMap::new() }),
            handlers: Mutex::new(Handlers { all: Vec::new(), listing: BTreeMap::new() }),
            changes: broadcast::channel(BACKLOG).0,
            synced: watch::channel(false).0,
        }
    }

    pub(super) fn add_handler(&self, handler: Handler<K>) {
        let mut handlers = self.handlers.lock();
        let here: Vec<_> = self.objects.read().by_key.iter().map(|(k, o)| (k.clone(), o.clone())).collect();
        for (key, object) in here {
            handler(&Change { key, old: None, new: Some(object) });
        }
        handlers.all.push(handler);
    }

    pub(super) fn apply(&self, event: Event<K>) {
        let mut handlers = self.handlers.lock();
        match event {
            Event::Init => handlers.listing.clear(),
            Event::InitApply(object) => {
                handlers.listing.insert(key_of(&object), object);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut handlers.listing);
                self.replace(&handlers, listed);
                self.synced.send_replace(true);
            }
            Event::Apply(object) => self.put(&handlers, key_of(&object), object),
            Event::Delete(object) => self.remove(&handlers, key_of(&object)),
        }
    }

    /// Takes a whole list as the new state; what it lacks is gone.
    fn replace(&self, handlers: &Handlers<K>, listed: BTreeMap<ObjectKey, K>) {
        let gone: Vec<ObjectKey> =
            self.objects.read().by_key.keys().filter(|k| !listed.contains_key(*k)).cloned().collect();
        for key in gone {
            self.remove(handlers, key);
        }
        for (key, object) in listed {
            let known = self.objects.read().by_key.get(&key).map(|o| o.meta().resource_version.clone());
            if known.is_none_or(|version| version != object.meta().resource_version) {
                self.put(handlers, key, object);
            }
        }
    }

    fn put(&self, handlers: &Handlers<K>, key: ObjectKey, object: K) {
        let new = Arc::new(object);
        let old = self.objects.write().put(key.clone(), new.clone());
        self.tell(handlers, Change { key, old, new: Some(new) });
    }

    fn remove(&self, handlers: &Handlers<K>, key: ObjectKey) {
        let old = self.objects.write().remove(&key);
        if old.is_some() {
            self.tell(handlers, Change { key, old, new: None });
        }
    }

    fn tell(&self, handlers: &Handlers<K>, change: Change<K>) {
        for handler in &handlers.all {
            handler(&change);
        }
        // Nobody listening is fine.
        let _ = self.changes.send(change);
    }
}

impl<K: Held> Objects<K> {
    fn put(&mut self, key: ObjectKey, object: Arc<K>) -> Option<Arc<K>> {
        let controller = controller_of(&*object);
        let old = self.by_key.insert(key.clone(), object);
        let before = old.as_deref().map(controller_of);
        if before.as_ref() != Some(&controller) {
            self.unlink(before, &key);
            self.by_controller.entry(controller).or_default().insert(key);
        }
        old
    }

    fn remove(&mut self, key: &ObjectKey) -> Option<Arc<K>> {
        let old = self.by_key.remove(key)?;
        self.unlink(Some(controller_of(&*old)), key);
        Some(old)
    }

    fn unlink(&mut self, controller: Option<String>, key: &ObjectKey) {
        let Some(uid) = controller else { return };
        if let Some(keys) = self.by_controller.get_mut(&uid) {
            keys.remove(key);
            if keys.is_empty() {
                self.by_controller.remove(&uid);
            }
        }
    }
}

fn controller_of<K: Held>(object: &K) -> String {
    let mut owners = object.meta().owner_references.iter().flatten();
    owners.find(|o| o.controller == Some(true)).map(|o| o.uid.clone()).unwrap_or_default()
}

fn key_of<K: Held>(object: &K) -> ObjectKey {
    let meta = object.meta();
    ObjectKey::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::Pod;

    fn pod(name: &str, version: &str, owner: &str) -> Pod {
        serde_json::from_value(
            serde_json::json!({"metadata": {"namespace": "n", "name": name, "resourceVersion": version,
            "ownerReferences": [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": owner, "controller": true}]}}),
        )
        .unwrap()
    }

    #[test]
    fn a_new_list_removes_what_it_lacks_and_repeats_nothing() {
        let shared = Shared::<Pod>::new();
        let seen: Arc<Mutex<Vec<(String, bool, bool)>>> = Arc::default();
        let log = seen.clone();
        shared.add_handler(Box::new(move |c| log.lock().push((c.key.name.clone(), c.old.is_some(), c.new.is_some()))));
        for event in
            [Event::Init, Event::InitApply(pod("a", "1", "u")), Event::InitApply(pod("b", "2", "u")), Event::InitDone]
        {
            shared.apply(event);
        }
        assert!(*shared.synced.borrow());
        shared.apply(Event::Apply(pod("b", "3", "w")));
        for event in [Event::Init, Event::InitApply(pod("b", "3", "w")), Event::InitDone] {
            shared.apply(event);
        }
        let want = [("a", false, true), ("b", false, true), ("b", true, true), ("a", true, false)];
        assert_eq!(*seen.lock(), want.map(|(n, o, w)| (n.to_owned(), o, w)));
        let objects = shared.objects.read();
        assert!(!objects.by_controller.contains_key("u"));
        assert_eq!(objects.by_controller["w"].len(), 1);
    }
}
