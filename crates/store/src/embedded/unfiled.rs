//! What the index on the disk does not name yet: the end of the log.
//!
//! To write each version into the index at once would touch a page per key in every commit. So versions are filed many
//! at a time, in the order of their keys, and a start reads the end of the log besides the index.

use super::engine::Fault;
use super::format::{self, INDEX, INDEXED, META};
use super::index::Version;
use crate::Revision;
use redb::WriteTransaction;
use std::sync::Arc;

/// Versions that are filed together.
const ENOUGH: usize = 4096;
/// Bytes of the log that a start may have to read.
const ENOUGH_BYTES: usize = 16 << 20;

/// Durable versions that are not filed.
#[derive(Debug)]
pub(super) struct Unfiled {
    versions: Vec<(Arc<str>, Version)>,
    bytes: usize,
    /// Everything up to here is filed.
    filed: Revision,
}

impl Unfiled {
    /// Everything up to a revision is filed.
    pub(super) fn after(filed: Revision) -> Self {
        Unfiled { versions: Vec::new(), bytes: 0, filed }
    }

    /// Adds a durable version whose value has so many bytes. Revisions must not go down.
    pub(super) fn add(&mut self, key: Arc<str>, version: Version, bytes: usize) {
        self.bytes += key.len() + bytes;
        self.versions.push((key, version));
    }

    /// The versions, oldest first.
    pub(super) fn versions(&self) -> &[(Arc<str>, Version)] {
        &self.versions
    }

    /// Whether it is time to file them.
    pub(super) fn is_due(&self) -> bool {
        self.versions.len() >= ENOUGH || self.bytes >= ENOUGH_BYTES
    }

    /// Whether a version of this revision would be among them.
    pub(super) fn reaches(&self, revision: Revision) -> bool {
        revision > self.filed
    }

    /// Files them with a transaction; once it is durable, call [`Unfiled::settle`].
    pub(super) fn file(&self, txn: &WriteTransaction) -> Result<(), Fault> {
        let mut sorted: Vec<&(Arc<str>, Version)> = self.versions.iter().collect();
        sorted.sort_unstable_by(|(a, v), (b, w)| (a, v.modified).cmp(&(b, w.modified)));
        let mut index = txn.open_table(INDEX)?;
        let mut name = Vec::new();
        for (key, version) in sorted {
            format::write_index_key(&mut name, key, version.modified);
            index.insert(name.as_slice(), &format::index_value(&name, version.create, version.seq))?;
        }
        txn.open_table(META)?.insert(INDEXED, self.newest())?;
        Ok(())
    }

    /// They are filed.
    pub(super) fn settle(&mut self) {
        *self = Unfiled::after(self.newest());
    }

    fn newest(&self) -> Revision {
        self.versions.last().map_or(self.filed, |(_, version)| version.modified)
    }
}
