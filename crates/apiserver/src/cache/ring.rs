//! The bounded history of a cache, and positions in it.

use super::{Cache, Entry};
use bytes::Bytes;
use kaji_store::Revision;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::watch;

/// At most so many changes per resource …
const MAX_CHANGES: usize = 4096;
/// … and so many bytes of objects, but never fewer than [`MIN_CHANGES`].
const MAX_BYTES: usize = 16 << 20;
const MIN_CHANGES: usize = 64;
/// What a cursor takes at once.
const BATCH: usize = 128;

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// Created or updated.
    Put,
    /// Removed.
    Delete,
}

/// A change, with its encodings for watchers.
#[derive(Debug)]
pub(crate) struct Change {
    /// Revision of the write.
    pub(crate) revision: Revision,
    /// What happened.
    pub(crate) kind: ChangeKind,
    /// The object after it; of a deleted object the last state, under the revision of the deletion.
    pub(crate) entry: Arc<Entry>,
    /// The object before it.
    pub(crate) old: Option<Arc<Entry>>,
    /// Encoded once per representation; the key is the registry's.
    pub(crate) frames: Mutex<Vec<(u64, Bytes)>>,
}

/// The newest changes of a resource.
#[derive(Default)]
pub(super) struct Ring {
    changes: VecDeque<Arc<Change>>,
    /// Position of the first change held.
    first: u64,
    bytes: usize,
    /// Every change after this revision is held.
    floor: Revision,
    epoch: u64,
}

impl Ring {
    pub(super) fn push(&mut self, change: Arc<Change>) {
        self.bytes += change.entry.json.len();
        self.changes.push_back(change);
        while self.changes.len() > MAX_CHANGES || (self.bytes > MAX_BYTES && self.changes.len() > MIN_CHANGES) {
            let Some(oldest) = self.changes.pop_front() else { break };
            self.bytes -= oldest.entry.json.len();
            self.floor = oldest.revision;
            self.first += 1;
        }
    }

    pub(super) fn reset(&mut self, floor: Revision) {
        self.first = self.end();
        self.changes.clear();
        self.bytes = 0;
        self.floor = floor;
        self.epoch += 1;
    }

    /// Position behind the newest change.
    pub(super) fn end(&self) -> u64 {
        self.first + self.changes.len() as u64
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Position of the first change after a revision; the error is the oldest revision that works.
    pub(super) fn after(&self, revision: Revision) -> Result<u64, Revision> {
        if revision < self.floor {
            return Err(self.floor);
        }
        Ok(self.first + self.changes.partition_point(|c| c.revision <= revision) as u64)
    }

    /// Changes from a position on; none when the position has been dropped.
    fn from(&self, position: u64) -> Option<Vec<Arc<Change>>> {
        let skip = usize::try_from(position.checked_sub(self.first)?).ok()?;
        Some(self.changes.iter().skip(skip).take(BATCH).cloned().collect())
    }
}

/// The watcher fell behind the history kept, or the cache started over.
#[derive(Debug)]
pub(crate) struct Cut;

/// A watcher's position.
pub(crate) struct Cursor {
    cache: Arc<Cache>,
    next: u64,
    epoch: u64,
    changed: watch::Receiver<u64>,
}

impl Cursor {
    pub(super) fn new(cache: Arc<Cache>, next: u64, epoch: u64, changed: watch::Receiver<u64>) -> Self {
        Cursor { cache, next, epoch, changed }
    }

    /// The next changes, waiting for one. Safe to drop while waiting.
    pub(crate) async fn next(&mut self) -> Result<Vec<Arc<Change>>, Cut> {
        loop {
            self.changed.borrow_and_update();
            let batch = self.try_next()?;
            if !batch.is_empty() {
                return Ok(batch);
            }
            self.changed.changed().await.map_err(|_| Cut)?;
        }
    }

    /// The next changes, if there are any now.
    pub(crate) fn try_next(&mut self) -> Result<Vec<Arc<Change>>, Cut> {
        let state = self.cache.state.read();
        if state.ring.epoch() != self.epoch {
            return Err(Cut);
        }
        let batch = state.ring.from(self.next).ok_or(Cut)?;
        self.next += batch.len() as u64;
        Ok(batch)
    }
}
