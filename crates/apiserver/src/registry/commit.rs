//! Writes to the store, on condition that nobody was faster.

use super::{Scope, short};
use crate::cache::{Entry, store_status};
use crate::pipeline::timing::{self, timed};
use crate::spans::{self, text};
use bytes::Bytes;
use kaji_api::{GroupResource, Status};
use kaji_store::{Change, Committed, Expect, Revision};
use std::sync::Arc;
use std::time::Instant;

/// What a commit found.
pub(super) enum Written {
    /// Done, as this entry.
    Yes(Arc<Entry>),
    /// Somebody was faster; the state now.
    No(Option<Arc<Entry>>),
}

impl Scope<'_> {
    /// Writes the stored form of an object if its key was last written at `expected` (0: doesn't exist).
    pub(super) async fn put(&self, key: &str, stored: Vec<u8>, expected: Revision) -> Result<Written, Status> {
        self.put_guarded(key, stored, expected, Vec::new()).await
    }

    /// The same, if the guards hold too; that they don't is a conflict.
    pub(super) async fn put_guarded(
        &self,
        key: &str,
        stored: Vec<u8>,
        expected: Revision,
        guards: Vec<Expect>,
    ) -> Result<Written, Status> {
        let name = if expected == 0 { "Create etcd3" } else { "GuaranteedUpdate etcd3" };
        let span = spans::child(name, |facts| {
            let GroupResource { group, resource } = self.stored.group_resource();
            let about = [
                ("audit-id", facts.audit_id.as_str()),
                ("key", short(key)),
                ("group", &group),
                ("resource", &resource),
            ];
            about.map(|(key, value)| text(key, value)).into()
        });
        spans::within(span, self.put_now(key, stored, expected, guards)).await
    }

    async fn put_now(
        &self,
        key: &str,
        stored: Vec<u8>,
        expected: Revision,
        guards: Vec<Expect>,
    ) -> Result<Written, Status> {
        let caches = self.api.caches();
        let stored = Bytes::from(stored);
        let sealed = caches.sealer().seal(&self.stored, key, &stored).map_err(Status::internal)?;
        spans::event("TransformToStorage succeeded");
        let mut expect = vec![Expect { key: key.to_owned(), mod_revision: expected }];
        expect.extend(guards);
        let change = vec![Change::Put(key.to_owned(), sealed)];
        let operation = if expected == 0 { "create" } else { "update" };
        Ok(match self.commit(operation, expect, change).await? {
            Committed::Yes(revision) => {
                spans::event("Txn call succeeded");
                Written::Yes(Entry::from_stored(key, &stored, revision).expect("just encoded").shared())
            }
            Committed::No(found, _) => {
                let found = found.into_iter().next().flatten();
                if found.as_ref().map_or(0, |r| r.mod_revision) == expected {
                    return Err(
                        self.conflict("what was allocated for it was lost to another request; please try again")
                    );
                }
                caches.prepare(&found).await;
                Written::No(found.and_then(|r| caches.found(&r)))
            }
        })
    }

    /// Removes an object if it is still the same; `Yes` holds its last state under the deletion's revision.
    pub(super) async fn remove(&self, entry: &Arc<Entry>) -> Result<Written, Status> {
        let caches = self.api.caches();
        let expect = vec![Expect { key: entry.key.clone(), mod_revision: entry.revision }];
        let change = vec![Change::Delete(entry.key.clone())];
        Ok(match self.commit("delete", expect, change).await? {
            Committed::Yes(revision) => Written::Yes(entry.at(revision).shared()),
            Committed::No(found, _) => {
                caches.prepare(found.iter().flatten()).await;
                Written::No(found.into_iter().flatten().find_map(|r| caches.found(&r)))
            }
        })
    }

    async fn commit(
        &self,
        operation: &'static str,
        expect: Vec<Expect>,
        change: Vec<Change>,
    ) -> Result<Committed, Status> {
        let begun = Instant::now();
        let committed = timed(timing::Phase::Store, self.api.caches().store().commit(expect, change)).await;
        self.api.metrics().observed.stored(operation, &self.stored, begun.elapsed());
        committed.map_err(store_status)
    }

    /// An answer to a dry run: the entry as it would have been written, under the revision it was made from.
    pub(super) fn dry(&self, key: &str, stored: &[u8], revision: Revision) -> Arc<Entry> {
        Entry::from_stored(key, stored, revision).expect("just encoded").shared()
    }
}
