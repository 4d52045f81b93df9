//! The generic implementation of every verb over the store and the watch cache.
//!
//! A [`Scope`] is one request's view: who, which resource, which namespace and name. Handlers parse the
//! request into typed options and values first ([`options`]), so that everything here works on values in the
//! resource's *storage version*; [`convert`] translates at the edges for resources served in several versions.
//! Semantics and texts follow upstream's generic registry (`apiserver/pkg/registry/generic/registry`).

mod commit;
pub(crate) mod convert;
mod create;
mod delete;
pub(crate) mod expiry;
mod fields;
mod list;
pub(crate) mod managed;
pub(crate) mod metadata;
pub(crate) mod options;
mod phase;
#[cfg(any(test, feature = "properties"))]
pub(crate) mod properties;
mod update;
pub(crate) mod watch;

pub(crate) use create::{check_name_on_url, ensure_namespace, generate_name};
pub(crate) use delete::Deleted;
pub(crate) use fields::Selection;
pub(crate) use list::Listed;
pub(crate) use managed::Ownership;
pub(crate) use phase::{Phase, run_phase};
pub(crate) use update::{Mode, Transform};

use crate::cache::{Cache, Entry};
use crate::context::{RequestContext, Target};
use crate::pipeline::timing::{self, timed};
use crate::row::Row;
use crate::server::Api;
use crate::spans::{self, text};
use crate::strategy::Strategy;
use commit::Written;
use kaji_api::resource::SubresourceDef;
use kaji_api::{GroupResource, Status, Value, schema::TypeRef};
use std::sync::Arc;

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
