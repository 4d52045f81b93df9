//! What authentication and authorization read of the stored objects: single ones, and what has changed since
//! they last looked. Nothing here waits.

use crate::cache::{Cache, Caches, ChangeKind, Cursor, Entry};
use kaji_api::Value;
use kaji_store::Revision;
use std::sync::Arc;

/// The stored objects, by key prefix (`pods`, `minions`, `clusterroles`).
pub(crate) trait Objects: Send + Sync + 'static {
    /// One object; an empty namespace for cluster scope.
    fn get(&self, prefix: &str, namespace: &str, name: &str) -> Option<Object>;
    /// All objects of a resource, and their changes from then on.
    fn follow(&self, prefix: &'static str) -> Box<dyn Feed>;
}

/// A reader's place in the changes of one resource.
pub(crate) trait Feed: Send + Sync {
    /// Whether there is news. Cheap: asked on every request.
    fn has_news(&self) -> bool;
    /// What is new.
    fn news(&mut self) -> News;
}

/// What a [`Feed`] brings.
pub(crate) enum News {
    /// Everything, to begin with or because too much was missed.
    All(Vec<Change>),
    /// In order.
    Changes(Vec<Change>),
}

/// One object's new state.
pub(crate) struct Change {
    /// Namespace, or empty.
    pub(crate) namespace: String,
    /// Name.
    pub(crate) name: String,
    /// None: deleted.
    pub(crate) object: Option<Object>,
}

/// An object that is decoded when needed.
#[derive(Clone)]
pub(crate) enum Object {
    /// As the cache keeps it.
    Stored(Arc<Entry>),
    /// As tests make it.
    #[cfg(any(test, feature = "properties"))]
    Plain(Value),
}

impl Object {
    /// The object, decoded.
    pub(crate) fn value(&self) -> Value {
        match self {
            Object::Stored(entry) => entry.decode(),
            #[cfg(any(test, feature = "properties"))]
            Object::Plain(value) => value.clone(),
        }
    }

    /// The uid and, if deletion has begun, its time.
    pub(crate) fn identity(&self) -> (String, Option<String>) {
        let quick = match self {
            Object::Stored(entry) => living_uid(&entry.json),
            #[cfg(any(test, feature = "properties"))]
            Object::Plain(_) => None,
        };
        match quick {
            Some(uid) => (uid, None),
            None => {
                let value = self.value();
                let deleted = value["metadata"]["deletionTimestamp"].as_str().map(str::to_owned);
                (value.uid().to_owned(), deleted)
            }
        }
    }
}

/// The uid of an object that nowhere mentions a deletion, without decoding it. In canonical form the first field
/// of that name is `metadata.uid`: what stands before it are names.
fn living_uid(json: &[u8]) -> Option<String> {
    if find(json, br#","deletionTimestamp":""#).is_some() {
        return None;
    }
    let start = find(json, br#","uid":""#)? + br#","uid":""#.len();
    let length = json[start..].iter().position(|b| *b == b'"')?;
    String::from_utf8(json[start..start + length].to_vec()).ok()
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

impl Objects for Caches {
    fn get(&self, prefix: &str, namespace: &str, name: &str) -> Option<Object> {
        let cache = Caches::get(self, prefix)?;
        cache.get(&cache.key(namespace, name)).map(Object::Stored)
    }

    fn follow(&self, prefix: &'static str) -> Box<dyn Feed> {
        match Caches::get(self, prefix) {
            Some(cache) => Box::new(CacheFeed { cache: cache.clone(), cursor: None, seen: 0 }),
            None => Box::new(Nothing),
        }
    }
}

/// Follows a watch cache.
struct CacheFeed {
    cache: Arc<Cache>,
    cursor: Option<Cursor>,
    /// The cache's last change when news were last taken.
    seen: Revision,
}

impl Feed for CacheFeed {
    fn has_news(&self) -> bool {
        self.cursor.is_none() || self.cache.last_change() != self.seen
    }

    fn news(&mut self) -> News {
        // Before looking: what comes meanwhile is news again.
        self.seen = self.cache.last_change();
        if let Some(changes) = self.cursor.as_mut().and_then(|c| changes(c, &self.cache)) {
            return News::Changes(changes);
        }
        let (snapshot, cursor) = self.cache.snapshot_and_follow(&self.cache.root);
        self.cursor = Some(cursor);
        News::All(snapshot.entries.iter().map(|e| change(&self.cache, e, Some(e.clone()))).collect())
    }
}

/// Everything up to now; none: the cursor was cut.
fn changes(cursor: &mut Cursor, cache: &Cache) -> Option<Vec<Change>> {
    let mut all = Vec::new();
    loop {
        let batch = cursor.try_next().ok()?;
        if batch.is_empty() {
            return Some(all);
        }
        all.extend(batch.iter().map(|c| change(cache, &c.entry, (c.kind == ChangeKind::Put).then(|| c.entry.clone()))));
    }
}

fn change(cache: &Cache, entry: &Entry, now: Option<Arc<Entry>>) -> Change {
    let (namespace, name) = entry.names(&cache.row);
    Change { namespace: namespace.to_owned(), name: name.to_owned(), object: now.map(Object::Stored) }
}

/// A resource that is not served has no objects.
struct Nothing;

impl Feed for Nothing {
    fn has_news(&self) -> bool {
        false
    }

    fn news(&mut self) -> News {
        News::Changes(Vec::new())
    }
}

#[cfg(any(test, feature = "properties"))]
pub(crate) mod fake {
    //! Objects in memory, for tests of those who read them.

    use super::*;
    use parking_lot::RwLock;
    use std::collections::BTreeMap;

    type Key = (String, String, String);

    #[derive(Default)]
    struct State {
        objects: BTreeMap<Key, Value>,
        log: Vec<Key>,
    }

    /// A set of objects that can be changed.
    #[derive(Clone, Default)]
    pub(crate) struct FakeObjects(Arc<RwLock<State>>);

    impl FakeObjects {
        /// Adds or replaces.
        pub(crate) fn put(&self, prefix: &str, object: Value) {
            let key = (prefix.to_owned(), object.namespace().to_owned(), object.name().to_owned());
            let mut state = self.0.write();
            state.log.push(key.clone());
            state.objects.insert(key, object);
        }

        /// Removes.
        #[cfg(test)]
        pub(crate) fn delete(&self, prefix: &str, namespace: &str, name: &str) {
            let key = (prefix.to_owned(), namespace.to_owned(), name.to_owned());
            let mut state = self.0.write();
            state.objects.remove(&key);
            state.log.push(key);
        }
    }

    impl Objects for FakeObjects {
        fn get(&self, prefix: &str, namespace: &str, name: &str) -> Option<Object> {
            let key = (prefix.to_owned(), namespace.to_owned(), name.to_owned());
            self.0.read().objects.get(&key).cloned().map(Object::Plain)
        }

        fn follow(&self, prefix: &'static str) -> Box<dyn Feed> {
            Box::new(FakeFeed { state: self.0.clone(), prefix, at: None })
        }
    }

    struct FakeFeed {
        state: Arc<RwLock<State>>,
        prefix: &'static str,
        at: Option<usize>,
    }

    impl Feed for FakeFeed {
        fn has_news(&self) -> bool {
            self.at != Some(self.state.read().log.len())
        }

        fn news(&mut self) -> News {
            let state = self.state.read();
            let change = |(prefix, namespace, name): &Key| {
                let object = state.objects.get(&(prefix.clone(), namespace.clone(), name.clone()));
                let object = object.cloned().map(Object::Plain);
                (prefix == self.prefix).then(|| Change { namespace: namespace.clone(), name: name.clone(), object })
            };
            match self.at.replace(state.log.len()) {
                None => News::All(state.objects.keys().filter_map(change).collect()),
                Some(at) => News::Changes(state.log[at..].iter().filter_map(change).collect()),
            }
        }
    }
}
