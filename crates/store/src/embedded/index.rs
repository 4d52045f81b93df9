//! Every version of every key that history holds, in memory, without values: 24 bytes a version.
//!
//! Expectations and misses are answered from here without touching the disk, and compaction knows from here what
//! is dead.

use crate::Revision;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

/// One version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// Revision that wrote it.
    pub(super) modified: Revision,
    /// Revision that created the key; 0: this version is the deletion.
    pub(super) create: Revision,
    /// Its place in the transaction.
    pub(super) seq: u32,
}

impl Version {
    /// False for deletions.
    pub(super) fn is_live(&self) -> bool {
        self.create != 0
    }
}

/// A version that nobody needs once history begins after `since`.
#[derive(Clone, Debug)]
pub(super) struct Dead {
    /// The revision that superseded it; a deletion's own revision.
    pub(super) since: Revision,
    /// Its key.
    pub(super) key: Arc<str>,
    /// What.
    pub(super) version: Version,
}

/// The versions of one key: most have one.
#[derive(Debug)]
struct Versions {
    newest: Version,
    /// Ascending.
    older: Vec<Version>,
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct Index {
    keys: BTreeMap<Arc<str>, Versions>,
    dead: VecDeque<Dead>,
}

/// What a range holds at a revision.
pub(super) struct Found {
    /// The first of them, up to the limit.
    pub(super) versions: Vec<(Arc<str>, Version)>,
    /// How many in all.
    pub(super) count: u64,
}

impl Index {
    /// The newest version, deletions included.
    pub(super) fn newest(&self, key: &str) -> Option<Version> {
        self.keys.get(key).map(|v| v.newest)
    }

    /// The newest version unless it is a deletion.
    pub(super) fn live(&self, key: &str) -> Option<Version> {
        self.newest(key).filter(Version::is_live)
    }

    /// The live versions in `[start, end)` at a revision; an empty end is no end, a limit of 0 none.
    pub(super) fn range(&self, start: &str, end: &str, at: Revision, limit: usize) -> Found {
        let mut found = Found { versions: Vec::new(), count: 0 };
        if !end.is_empty() && start >= end {
            return found;
        }
        let end = if end.is_empty() { Bound::Unbounded } else { Bound::Excluded(end) };
        for (key, versions) in self.keys.range::<str, _>((Bound::Included(start), end)) {
            let Some(version) = versions.at(at).filter(Version::is_live) else { continue };
            found.count += 1;
            if limit == 0 || found.versions.len() < limit {
                found.versions.push((key.clone(), version));
            }
        }
        found
    }

    /// Adds a version newer than all others of its key, and notes what died by it. Revisions must not go down.
    pub(super) fn add(&mut self, key: &str, version: Version) {
        let shared = match self.keys.get_key_value(key) {
            Some((shared, _)) => shared.clone(),
            None => Arc::from(key),
        };
        match self.keys.get_mut(key) {
            Some(versions) => {
                let old = std::mem::replace(&mut versions.newest, version);
                versions.older.push(old);
                if old.is_live() {
                    self.dead.push_back(Dead { since: version.modified, key: shared.clone(), version: old });
                }
            }
            None => {
                self.keys.insert(shared.clone(), Versions { newest: version, older: Vec::new() });
            }
        }
        if !version.is_live() {
            self.dead.push_back(Dead { since: version.modified, key: shared, version });
        }
    }

    /// Puts the dead in order after versions were added key by key.
    pub(super) fn sort_dead(&mut self) {
        self.dead.make_contiguous().sort_by_key(|d| (d.since, d.version.modified));
    }

    /// Takes out up to `limit` versions that died before a revision.
    pub(super) fn bury(&mut self, before: Revision, limit: usize) -> Vec<Dead> {
        let mut taken = Vec::new();
        while taken.len() < limit && self.dead.front().is_some_and(|d| d.since < before) {
            let dead = self.dead.pop_front().expect("looked at it");
            self.remove(&dead);
            taken.push(dead);
        }
        taken
    }

    fn remove(&mut self, dead: &Dead) {
        let Some(versions) = self.keys.get_mut(&dead.key) else { return };
        if versions.newest == dead.version {
            debug_assert!(versions.older.is_empty(), "older versions died earlier");
            self.keys.remove(&dead.key);
        } else {
            versions.older.retain(|v| *v != dead.version);
            if versions.older.is_empty() {
                versions.older = Vec::new();
            }
        }
    }

    /// When the longest dead version died.
    pub(super) fn first_dead(&self) -> Option<Revision> {
        self.dead.front().map(|d| d.since)
    }

    /// The revision before which to forget so that at most `keep` dead versions stay.
    pub(super) fn excess(&self, keep: usize) -> Option<Revision> {
        let over = self.dead.len().checked_sub(keep)?.checked_sub(1)?;
        self.dead.get(over).map(|d| d.since + 1)
    }

    /// How many keys, deleted ones that history remembers included, and how many dead versions.
    pub(super) fn len(&self) -> (usize, usize) {
        (self.keys.len(), self.dead.len())
    }
}

impl Versions {
    fn at(&self, revision: Revision) -> Option<Version> {
        if self.newest.modified <= revision {
            return Some(self.newest);
        }
        self.older.iter().rev().find(|v| v.modified <= revision).copied()
    }
}
