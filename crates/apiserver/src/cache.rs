//! The watch cache: encoded bytes of every stored object, shared by all who read, list and watch.
//!
//! One [`Cache`] per stored resource, all fed by one store watch ([`Caches`]): since every cache sees the
//! store's revisions in one order, "the cache has seen revision r" is a single number, and a consistent
//! read waits for that number instead of asking the store for data.
//!
//! Promises: a list shows exactly the state at the revision it names; a [`Cursor`] yields every change after
//! its start once, in order, or says that it was cut. Memory is bounded: a cache keeps a limited ring of
//! changes, and watchers hold a position in it, not a queue of their own; one who falls behind the ring is cut.

mod entry;
mod feed;
mod ring;

pub use entry::Entry;
pub(crate) use entry::{now_rfc3339, to_stored, unchanged};
pub(crate) use feed::{Caches, may_be_done, store_status};
pub(crate) use ring::{Change, ChangeKind, Cursor, Cut};

use crate::encryption::{SealId, Usage};
use crate::row::Row;
use kaji_api::Value;
use kaji_store::Revision;
use parking_lot::RwLock;
use ring::Ring;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use tokio::sync::watch;

/// Resources of few objects that requests ask for again and again: each is kept decoded once somebody has asked for it.
const KEPT: &[(&str, &str)] = &[
    ("", "limitranges"),
    ("", "namespaces"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("networking.k8s.io", "ingressclasses"),
    ("networking.k8s.io", "servicecidrs"),
    ("node.k8s.io", "runtimeclasses"),
    ("scheduling.k8s.io", "priorityclasses"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "storageclasses"),
];

/// The objects of one stored resource.
pub(crate) struct Cache {
    /// The row of the version it is stored in.
    pub(crate) row: Row,
    /// `/registry/pods/`.
    pub(crate) root: String,
    /// Its objects are kept decoded.
    keeps: bool,
    state: RwLock<State>,
    changed: watch::Sender<u64>,
    applied: watch::Receiver<Revision>,
}

struct State {
    entries: BTreeMap<String, Arc<Entry>>,
    /// Of all entries' objects.
    bytes: usize,
    ring: Ring,
    /// Revision of the last change applied here.
    revision: Revision,
}

/// Entries as they were at one revision.
pub(crate) struct Snapshot {
    /// In key order.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// The revision they show.
    pub(crate) revision: Revision,
}

impl Cache {
    fn new(row: Row, applied: watch::Receiver<Revision>) -> Self {
        Cache {
            root: format!("/registry/{}/", row.prefix),
            keeps: KEPT.contains(&(row.group, row.plural)),
            row,
            state: RwLock::new(State { entries: BTreeMap::new(), bytes: 0, ring: Ring::default(), revision: 0 }),
            changed: watch::Sender::new(0),
            applied,
        }
    }

    /// The store key of an object.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> String {
        match self.row.namespaced {
            true => format!("{}{namespace}/{name}", self.root),
            false => format!("{}{name}", self.root),
        }
    }

    /// The prefix of a namespace's keys, or of all.
    pub(crate) fn scope(&self, namespace: &str) -> String {
        match self.row.namespaced && !namespace.is_empty() {
            true => format!("{}{namespace}/", self.root),
            false => self.root.clone(),
        }
    }

    /// One object.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.state.read().entries.get(key).cloned()
    }

    /// An entry's object.
    pub(crate) fn object(&self, entry: &Entry) -> Arc<Value> {
        if self.keeps { entry.kept_object() } else { Arc::new(entry.decode()) }
    }

    /// How many values have which seal.
    pub(crate) fn seals(&self) -> Vec<Usage> {
        let mut found: Vec<Usage> = Vec::new();
        for (key, entry) in &self.state.read().entries {
            match found.iter_mut().find(|usage| usage.id == entry.seal) {
                Some(usage) => usage.count += 1,
                None => found.push(Usage { row: self.row.clone(), id: entry.seal, count: 1, sample: key.clone() }),
            }
        }
        found
    }

    /// The keys of all values with a seal.
    pub(crate) fn keys_with(&self, seal: SealId) -> Vec<String> {
        let state = self.state.read();
        state.entries.iter().filter(|(_, entry)| entry.seal == seal).map(|(key, _)| key.clone()).collect()
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.state.read().entries.len()
    }

    /// How many objects there are, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let state = self.state.read();
        (state.entries.len(), state.bytes)
    }

    /// All objects below a prefix, from a key on.
    pub(crate) fn snapshot(&self, prefix: &str, from: &str) -> Snapshot {
        // Read first: what is applied meanwhile is covered by the state's own revision.
        let applied = *self.applied.borrow();
        let state = self.state.read();
        Snapshot { entries: state.below(prefix, from), revision: applied.max(state.revision) }
    }

    /// One object, if it is there, and the revision that shows.
    pub(crate) fn snapshot_one(&self, key: &str) -> Snapshot {
        let applied = *self.applied.borrow();
        let state = self.state.read();
        Snapshot {
            entries: state.entries.get(key).cloned().into_iter().collect(),
            revision: applied.max(state.revision),
        }
    }

    /// All objects below a prefix, and what happens from then on.
    pub(crate) fn snapshot_and_follow(self: &Arc<Self>, prefix: &str) -> (Snapshot, Cursor) {
        let applied = *self.applied.borrow();
        let changed = self.changed.subscribe();
        let state = self.state.read();
        let cursor = Cursor::new(self.clone(), state.ring.end(), state.ring.epoch(), changed);
        (Snapshot { entries: state.below(prefix, prefix), revision: applied.max(state.revision) }, cursor)
    }

    /// What happens after a revision; the error is the oldest revision one can follow from.
    pub(crate) fn follow(self: &Arc<Self>, after: Revision) -> Result<Cursor, Revision> {
        let changed = self.changed.subscribe();
        let state = self.state.read();
        let start = state.ring.after(after)?;
        Ok(Cursor::new(self.clone(), start, state.ring.epoch(), changed))
    }

    /// The revision of the last change of this resource.
    pub(crate) fn last_change(&self) -> Revision {
        self.state.read().revision
    }

    /// Starts over from a complete listing; watchers are cut.
    fn reset(&self, entries: BTreeMap<String, Arc<Entry>>, revision: Revision) {
        let mut state = self.state.write();
        state.bytes = entries.values().map(|entry| entry.json.len()).sum();
        state.entries = entries;
        state.revision = revision;
        state.ring.reset(revision);
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Cuts watchers. The objects stay as they are: a request may have found this cache just before another took
    /// its place.
    fn retire(&self) {
        let mut state = self.state.write();
        let revision = state.revision;
        state.ring.reset(revision);
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Lets go of everything; watchers are cut.
    fn cut(&self) {
        self.reset(BTreeMap::new(), self.last_change());
    }

    /// Takes over the changes of one transaction.
    fn apply(&self, changes: Vec<Change>) {
        let mut state = self.state.write();
        for change in changes {
            let replaced = match change.kind {
                ChangeKind::Put => {
                    state.bytes += change.entry.json.len();
                    state.entries.insert(change.entry.key.clone(), change.entry.clone())
                }
                ChangeKind::Delete => state.entries.remove(&change.entry.key),
            };
            state.bytes -= replaced.map_or(0, |entry| entry.json.len());
            state.revision = change.revision;
            state.ring.push(Arc::new(change));
        }
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }
}

impl State {
    fn below(&self, prefix: &str, from: &str) -> Vec<Arc<Entry>> {
        let start = if from > prefix { from } else { prefix };
        self.entries
            .range::<str, _>((Bound::Included(start), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, entry)| entry.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests;
