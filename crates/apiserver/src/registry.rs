//! The generic implementation of every verb over the store and the watch cache.
//!
//! A [`Scope`] is one request's view: who, which resource, which namespace and name. Handlers parse the
//! request into typed options and values first ([`options`]), so that everything here works on values in the
//! resource's *storage version*; [`convert`] translates at the edges for resources served in several versions.
//! Semantics and texts follow upstream's generic registry (`apiserver/pkg/registry/generic/registry`).

pub(crate) mod convert;
mod create;
mod delete;
pub(crate) mod expiry;
mod fields;
mod list;
pub(crate) mod managed;
pub(crate) mod metadata;
pub(crate) mod options;
#[cfg(any(test, feature = "properties"))]
pub(crate) mod properties;
mod update;
pub(crate) mod watch;

pub(crate) use create::{check_name_on_url, ensure_namespace, generate_name};
pub(crate) use delete::Deleted;
pub(crate) use fields::Selection;
pub(crate) use list::Listed;
pub(crate) use managed::Ownership;
pub(crate) use update::{Mode, Transform};

use crate::admission::{Attributes, Operation, Rounds};
use crate::cache::{Cache, Entry, store_status};
use crate::context::{RequestContext, Target};
use crate::pipeline::timing::{self, timed};
use crate::row::Row;
use crate::server::Api;
use crate::spans::{self, text};
use crate::strategy::Strategy;
use bytes::Bytes;
use kaji_api::resource::SubresourceDef;
use kaji_api::{GroupResource, Status, Value, schema::TypeRef};
use kaji_store::{Change, Committed, Expect, Revision};
use options::DeleteOptions;
use std::sync::Arc;
use std::time::Instant;

/// What updates of a stale object are told (upstream `OptimisticLockErrorMsg`).
pub(crate) const STALE: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

/// One request's view of a resource.
#[derive(Clone)]
pub(crate) struct Scope<'a> {
    /// The server.
    pub(crate) api: &'a Api,
    /// Who and how.
    pub(crate) cx: &'a RequestContext,
    /// The row of the version in the path.
    pub(crate) row: Row,
    /// The row of the version it is stored in.
    pub(crate) stored: Row,
    /// The subresource in the path.
    pub(crate) sub: Option<SubresourceDef>,
    /// Its objects.
    pub(crate) cache: Arc<Cache>,
    /// Who keeps account of the owners of fields.
    pub(crate) ownership: Ownership,
    /// Namespace, or empty.
    pub(crate) namespace: &'a str,
    /// Name, or empty.
    pub(crate) name: &'a str,
}

/// What a commit found.
pub(crate) enum Written {
    /// Done, as this entry.
    Yes(Arc<Entry>),
    /// Somebody was faster; the state now.
    No(Option<Arc<Entry>>),
}

impl<'a> Scope<'a> {
    /// The scope of a resource; none when it is not stored here.
    pub(crate) fn new(
        api: &'a Api,
        cx: &'a RequestContext,
        target: &Target,
        namespace: &'a str,
        name: &'a str,
    ) -> Option<Self> {
        let cache = api.caches().get(target.resource.prefix)?;
        Some(Scope {
            api,
            cx,
            row: target.resource.clone(),
            stored: cache.row.clone(),
            sub: target.sub,
            cache,
            ownership: Ownership::default(),
            namespace,
            name,
        })
    }

    /// The same request's view of another object.
    pub(crate) fn named<'b>(&'b self, namespace: &'b str, name: &'b str) -> Scope<'b> {
        Scope { namespace, name, ..self.clone() }
    }

    /// What is special about it.
    pub(crate) fn strategy(&self) -> &dyn Strategy {
        self.stored.strategy()
    }

    /// As messages name it: group and plural of the path.
    pub(crate) fn resource(&self) -> GroupResource {
        self.row.group_resource()
    }

    /// The store key of the object.
    pub(crate) fn key(&self) -> String {
        self.cache.key(self.namespace, self.name)
    }

    /// The schema of the stored version.
    pub(crate) fn ty(&self) -> TypeRef<'_> {
        self.stored.ty()
    }

    /// 404 for the object.
    pub(crate) fn not_found(&self) -> Status {
        Status::not_found(&self.resource(), self.name)
    }

    /// 409 for the object.
    pub(crate) fn conflict(&self, why: &str) -> Status {
        Status::conflict(&self.resource(), self.name, why)
    }

    /// 422 for the object.
    pub(crate) fn invalid(&self, name: &str, errors: &kaji_api::field::Errors) -> Status {
        Status::invalid(self.row.group, self.row.kind, name, errors)
    }

    /// The object as it is now, surely no older than what was acknowledged before.
    pub(crate) async fn current(&self) -> Result<Arc<Entry>, Status> {
        timed(timing::Phase::Store, self.api.caches().fresh()).await?;
        self.cache.get(&self.key()).ok_or_else(|| self.not_found())
    }

    /// GET: any state with resourceVersion `0`, one not older than a number, the newest without.
    pub(crate) async fn get(&self, resource_version: &str) -> Result<Arc<Entry>, Status> {
        let span = spans::child("cacher.Get", |facts| {
            let key = self.key();
            let asked = [("key", short(&key)), ("resource-version", resource_version)];
            [("audit-id", facts.audit_id.as_str())].into_iter().chain(asked).map(|(k, v)| text(k, v)).collect()
        });
        spans::within(span, self.get_now(resource_version)).await
    }

    async fn get_now(&self, resource_version: &str) -> Result<Arc<Entry>, Status> {
        match resource_version {
            "" => return self.current().await,
            "0" => {}
            text => self.api.caches().reach(list::parse_revision(text)?).await?,
        }
        self.cache.get(&self.key()).ok_or_else(|| self.not_found())
    }

    /// Runs one phase of admission.
    pub(crate) async fn admit(
        &self,
        phase: Phase,
        operation: Operation,
        object: &mut Value,
        old: &Value,
    ) -> Result<(), Status> {
        self.admit_with(phase, operation, object, old, None).await
    }

    /// The same, with the options of a deletion.
    async fn admit_with(
        &self,
        phase: Phase,
        operation: Operation,
        object: &mut Value,
        old: &Value,
        deletion: Option<&DeleteOptions>,
    ) -> Result<(), Status> {
        let attributes = Attributes {
            api: self.api,
            cx: self.cx,
            target: Target { resource: self.stored.clone(), sub: self.sub },
            asked: self.row.clone(),
            operation,
            namespace: self.namespace,
            name: self.name,
            object,
            old,
            deletion,
            rounds: Rounds::default(),
        };
        let begun = Instant::now();
        let decided = timed(timing::Phase::Admission, run_phase(phase, attributes)).await;
        let mutating = phase == Phase::Mutate;
        self.api.metrics().observed.admitted(mutating, operation, begun.elapsed(), decided.is_ok());
        decided
    }

    /// Writes the stored form of an object if its key was last written at `expected` (0: doesn't exist).
    async fn put(&self, key: &str, stored: Vec<u8>, expected: Revision) -> Result<Written, Status> {
        self.put_guarded(key, stored, expected, Vec::new()).await
    }

    /// The same, if the guards hold too; that they don't is a conflict.
    async fn put_guarded(
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
    async fn remove(&self, entry: &Arc<Entry>) -> Result<Written, Status> {
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
    fn dry(&self, key: &str, stored: &[u8], revision: Revision) -> Arc<Entry> {
        Entry::from_stored(key, stored, revision).expect("just encoded").shared()
    }
}

/// Runs one phase of admission, the mutating one a second time where a webhook changed the object.
pub(crate) async fn run_phase(phase: Phase, mut attributes: Attributes<'_>) -> Result<(), Status> {
    let plugins = attributes.api.admission();
    match phase {
        Phase::Validate => {
            for plugin in plugins {
                plugin.validate(&attributes).await?;
            }
        }
        Phase::Mutate => loop {
            for plugin in plugins {
                plugin.mutate(&mut attributes).await?;
            }
            if !attributes.rounds.next() {
                managed::keep_valid(&mut attributes);
                break;
            }
        },
    }
    Ok(())
}

/// A key as upstream names it in spans: without what all keys begin with.
fn short(key: &str) -> &str {
    key.strip_prefix("/registry").unwrap_or(key)
}

/// Applies the defaults of a stored version: the strategy's and the schema's.
pub(crate) fn apply_defaults(stored: &Row, object: &mut Value) {
    let strategy = stored.strategy();
    strategy.default_first(object);
    stored.ty().default(object);
    strategy.default(object);
}

/// The two phases of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Plugins may change the object.
    Mutate,
    /// Plugins may only refuse.
    Validate,
}
