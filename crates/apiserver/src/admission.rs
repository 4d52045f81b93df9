//! Admission: plugins that change or refuse writes, in upstream's order.

mod anti_affinity;
mod certificates;
mod chain;
mod claim_resize;
mod configuration;
mod default_class;
mod event_rate;
pub(crate) mod expression;
mod extended_toleration;
mod external_addresses;
mod image_pull;
mod lifecycle;
mod limit_ranger;
mod namespace_exists;
mod node_restriction;
mod node_selector;
mod options;
mod plugins;
mod pod_security;
pub(crate) mod policy;
mod priority;
mod resource_quota;
mod rounds;
mod runtime_class;
mod service_account;
mod storage_protection;
mod taint_nodes;
mod toleration_restriction;
mod toleration_seconds;
mod tolerations;
mod topology_labels;
pub(crate) mod webhook;

pub(crate) use chain::{Chain, follow};
pub use options::Options;
pub(crate) use rounds::Rounds;

use crate::context::{RequestContext, Target};
use crate::registry::options::DeleteOptions;
use crate::row::Row;
use crate::server::Api;
use futures::future::BoxFuture;
use kaji_api::{GroupResource, Status, Value};
use std::sync::Arc;

/// What is being done to the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// POST, or PUT that creates.
    Create,
    /// PUT, PATCH.
    Update,
    /// DELETE; `object` is null.
    Delete,
    /// exec, attach, port-forward, proxy; `object` holds the options.
    Connect,
}

/// One write on its way.
pub struct Attributes<'a> {
    /// The server, for looking at other objects.
    pub api: &'a Api,
    /// Who and how.
    pub cx: &'a RequestContext,
    /// Resource, in the version it is stored in, and subresource.
    pub target: Target,
    /// The resource in the version of the path.
    pub asked: Row,
    /// What.
    pub operation: Operation,
    /// Namespace, or empty.
    pub namespace: &'a str,
    /// Name; may be empty on create with generateName.
    pub name: &'a str,
    /// The new object (null on delete); mutating plugins change it.
    pub object: &'a mut Value,
    /// The stored object (null on create).
    pub old: &'a Value,
    /// The options of a deletion.
    pub(crate) deletion: Option<&'a DeleteOptions>,
    /// What mutating policies and webhooks remember between rounds.
    pub(crate) rounds: Rounds,
}

/// Makes a plugin go by another configuration.
pub type Take<'a> = Box<dyn FnOnce() + Send + 'a>;

/// One plugin.
pub trait Plugin: Send + Sync {
    /// Upstream's name, as `--enable-admission-plugins` takes it.
    fn name(&self) -> &'static str;

    /// Reads what the configuration tells it (none: nothing). Nothing changes before all plugins are content: then what
    /// is given here is called. The error says what is wrong.
    fn configure<'a>(&'a self, _told: Option<&Value>) -> Result<Take<'a>, String> {
        Ok(Box::new(|| {}))
    }

    /// Changes or refuses.
    fn mutate<'a>(&'a self, _a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        content()
    }

    /// Refuses.
    fn validate<'a>(&'a self, _a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        content()
    }
}

/// What a plugin gives that a write does not concern: nothing is allocated for it.
fn content<'a>() -> BoxFuture<'a, Result<(), Status>> {
    Box::pin(async { Ok(()) })
}

impl Attributes<'_> {
    /// Whether this is about a resource itself (not a subresource).
    pub(crate) fn is(&self, group: &str, plural: &str) -> bool {
        self.target.sub.is_none() && self.target.resource.group == group && self.target.resource.plural == plural
    }

    /// The name of the request, or of the object sent where the request names none.
    pub(crate) fn object_name(&self) -> &str {
        if self.name.is_empty() { self.object.name() } else { self.name }
    }

    /// Whether a pod is being created.
    pub(crate) fn creates_pod(&self) -> bool {
        self.operation == Operation::Create && self.is("", "pods")
    }

    /// 403 as upstream's plugins give it.
    pub(crate) fn forbidden(&self, why: &str) -> Status {
        let name = match (self.object_name(), self.object.meta("generateName")) {
            ("", prefix) if !prefix.is_empty() => format!("{prefix}Unknown"),
            (name, _) => name.to_owned(),
        };
        Status::forbidden(&self.target.resource.group_resource(), &name, why)
    }
}

/// The namespace of a write; it may have been made a moment ago, through another server.
async fn own_namespace(a: &Attributes<'_>) -> Result<Arc<Value>, Status> {
    const NAMESPACES: GroupResource = GroupResource::of("", "namespaces");
    if let Some(found) = a.api.get_cached(&NAMESPACES, "", a.namespace) {
        return Ok(found);
    }
    a.api.fresh().await?;
    let found = a.api.get_cached(&NAMESPACES, "", a.namespace);
    found.ok_or_else(|| Status::not_found(&NAMESPACES, a.namespace))
}

/// Lets everything through; upstream's name for nothing.
struct AlwaysAdmit;

impl Plugin for AlwaysAdmit {
    fn name(&self) -> &'static str {
        "AlwaysAdmit"
    }
}
