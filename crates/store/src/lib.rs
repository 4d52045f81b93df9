//! The revisioned key-value store under the API server: etcd's semantics, nothing more.
//!
//! [`Store`] is the contract; [`embedded::Embedded`] keeps it in one file (redb), [`etcd::Etcd`] in an etcd cluster
//! that several API servers may share, and `suite` checks any implementation against it.

use bytes::Bytes;
use futures::future::BoxFuture;
use std::sync::Arc;

mod calls;
pub mod embedded;
pub mod etcd;
#[cfg(any(test, feature = "suite"))]
pub mod etcd_process;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

pub use calls::{Call, Calls};

/// The number of a write: one more for every committed transaction that changed something.
pub type Revision = u64;

/// A key's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key, UTF-8 by our own convention: `/registry/pods/default/web`.
    pub key: String,
    /// The stored bytes.
    pub value: Bytes,
    /// Revision that created the key (again).
    pub create_revision: Revision,
    /// Revision of its last write.
    pub mod_revision: Revision,
}

/// Part of a sorted key range.
#[derive(Clone, Debug, Default)]
pub struct Range {
    /// First key.
    pub start: String,
    /// First key beyond; empty: no end.
    pub end: String,
    /// State at this revision; 0: the newest.
    pub at: Revision,
    /// At most so many records; 0: all.
    pub limit: usize,
}

impl Range {
    /// All keys with a prefix, newest state.
    pub fn prefix(prefix: &str) -> Self {
        Range { start: prefix.to_owned(), end: prefix_end(prefix), at: 0, limit: 0 }
    }
}

/// The first key after all keys with the prefix.
pub fn prefix_end(prefix: &str) -> String {
    // Our keys are ASCII below 0x7f, so the last character can always be raised.
    let mut end = prefix.to_owned();
    if let Some(last) = end.pop() {
        end.push(char::from_u32(last as u32 + 1).unwrap_or(char::MAX));
    }
    end
}

/// Answer to a range read.
#[derive(Clone, Debug, Default)]
pub struct Ranged {
    /// Records in key order.
    pub records: Vec<Record>,
    /// The revision they show.
    pub revision: Revision,
    /// The limit cut the answer short.
    pub more: bool,
    /// How many records the range holds in all.
    pub count: u64,
}

/// A condition of a transaction: the key's last write is this revision; 0: the key doesn't exist.
#[derive(Clone, Debug)]
pub struct Expect {
    /// Key.
    pub key: String,
    /// Its `mod_revision`.
    pub mod_revision: Revision,
}

/// A change of a transaction.
#[derive(Clone, Debug)]
pub enum Change {
    /// Write a value.
    Put(String, Bytes),
    /// Remove a key; nothing if absent.
    Delete(String),
}

/// Answer to a transaction.
#[derive(Clone, Debug)]
pub enum Committed {
    /// All conditions held; the changes are durable under this revision.
    Yes(Revision),
    /// A condition failed; nothing was changed. The state of each expected key, in order, and the current revision.
    No(Vec<Option<Record>>, Revision),
}

/// A change as watchers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Revision of the change; a transaction's events share it.
    pub revision: Revision,
    /// The key's state before; none: created.
    pub previous: Option<Record>,
    /// The key's state after; none: deleted.
    pub current: Option<Record>,
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &str {
        let record = self.current.as_ref().or(self.previous.as_ref());
        record.map(|r| r.key.as_str()).unwrap_or_default()
    }
}

/// What a watch yields.
#[derive(Clone, Debug)]
pub enum Watched {
    /// Events of whole transactions, in revision order.
    Events(Vec<Event>),
    /// Nothing up to this revision is missing.
    Progress(Revision),
}

/// A running watch; dropping it ends it.
///
/// Progress comes whenever it is asked for; where it costs nothing (embedded), also by itself about once a second
/// while other keys are written.
pub struct Watch {
    /// Bounded. An error ends the watch: `Compacted` (start again from a list), `Closed` (read too slowly) or a
    /// failure of the store.
    pub events: tokio::sync::mpsc::Receiver<Result<Watched, StoreError>>,
    /// Asks for a `Progress` now: it arrives behind the events it speaks of.
    pub progress: ProgressRequest,
}

/// Asks a watch how far it is; cheap, may be called from anywhere.
#[derive(Clone)]
pub struct ProgressRequest(std::sync::Arc<dyn Fn() + Send + Sync>);

impl ProgressRequest {
    /// For backends: what to do when asked.
    pub fn new(ask: impl Fn() + Send + Sync + 'static) -> Self {
        ProgressRequest(std::sync::Arc::new(ask))
    }

    /// Asks.
    pub fn ask(&self) {
        (self.0)()
    }
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The revision asked for is older than history reaches.
    #[error("revision {asked} has been compacted; history begins at {oldest}")]
    Compacted {
        /// Revision asked for.
        asked: Revision,
        /// The oldest revision still there.
        oldest: Revision,
    },
    /// The revision asked for is yet to come.
    #[error("revision {asked} is in the future; the current revision is {current}")]
    Future {
        /// Revision asked for.
        asked: Revision,
        /// Newest revision.
        current: Revision,
    },
    /// The disk has no room: reads go on, writes are refused until there is.
    #[error("no space left for writes in {dir}: free space on that file system; nothing was lost")]
    Full {
        /// Data directory.
        dir: String,
    },
    /// Anything else the engine reports; writes are refused, the cause names the file.
    #[error("{context}")]
    Failed {
        /// What was being done, on which file.
        context: String,
        /// The engine's words.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another process works on the same data directory.
    #[error("data directory {dir} is in use by {owner}: stop it first, or choose another data directory")]
    InUse {
        /// Data directory.
        dir: String,
        /// `process 123`.
        owner: String,
    },
    /// A file is damaged; nothing is read from it or written to it.
    #[error("{file} is damaged ({what}): {advice}")]
    Damaged {
        /// The file.
        file: String,
        /// Where and how.
        what: String,
        /// What to do now.
        advice: String,
    },
    /// The engine came back older than what had been acknowledged: its tail is lost, or an old file was put back.
    #[error(
        "{file} ends at revision {found}, but revision {acknowledged} had been acknowledged: writes are missing. \
         Put back the newest copy or snapshot of the data directory; to go on without the missing writes, \
         delete {high_water} and restart every client of the cluster"
    )]
    Behind {
        /// The engine's file.
        file: String,
        /// Its last revision.
        found: Revision,
        /// The last revision known to have been acknowledged.
        acknowledged: Revision,
        /// The file that remembers it.
        high_water: String,
    },
    /// A write was sent and its answer did not come: it was carried out, or it was not, or it will be.
    #[error("could not {context}: the answer was lost, the write may have been done or not; read before trying again")]
    Unknown {
        /// What was being done.
        context: String,
        /// What happened to the answer.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store is closed or the watcher was too slow.
    #[error("{0}")]
    Closed(String),
}

/// The contract of every backend.
///
/// - A transaction's answer comes after its changes are durable.
/// - Revisions only grow; all changes of a transaction share one.
/// - A watch from revision `r` gives every change with a revision of `r` or more, in order, once.
pub trait Store: Send + Sync + 'static {
    /// The newest revision; a later read sees at least it.
    fn revision(&self) -> BoxFuture<'_, Result<Revision, StoreError>>;
    /// One key, newest state.
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<Record>, StoreError>>;
    /// A sorted range.
    fn range(&self, range: Range) -> BoxFuture<'_, Result<Ranged, StoreError>>;
    /// All changes, if all expectations hold; each key at most once.
    fn commit(&self, expect: Vec<Expect>, changes: Vec<Change>) -> BoxFuture<'_, Result<Committed, StoreError>>;
    /// Changes below a prefix from a revision on (inclusive); 0: from now on. A revision to come is waited for.
    ///
    /// What `revision` has shown has been handed to every watch before (embedded), or will be told by progress that is
    /// asked for afterwards (etcd).
    fn watch<'a>(&'a self, prefix: &'a str, from: Revision) -> BoxFuture<'a, Result<Watch, StoreError>>;
    /// Forgets history before a revision; the newest state of each key stays.
    fn compact(&self, before: Revision) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Whether other API servers may work on the same store at the same time.
    fn is_shared(&self) -> bool {
        false
    }
    /// Tells of the calls it makes to other processes from now on; a store that makes none has nothing to tell.
    fn tell_calls(&self, _to: Arc<dyn Calls>) {}
    /// A consistent copy of everything, as a directory of its own that the backend can be started from, at `target`;
    /// it shows at least the revision that is answered.
    fn snapshot<'a>(&'a self, target: &'a std::path::Path) -> BoxFuture<'a, Result<Revision, StoreError>>;
}
