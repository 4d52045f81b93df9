//! Admission: plugins that change or refuse writes, in upstream's order.

use crate::context::{RequestContext, Target};
use crate::server::Api;
use futures::future::BoxFuture;
use kaji_api::{Status, Value};

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
    /// Resource and subresource.
    pub target: Target,
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
}

/// One plugin.
pub trait Plugin: Send + Sync {
    /// Upstream's name, as `--enable-admission-plugins` takes it.
    fn name(&self) -> &'static str;

    /// Changes or refuses.
    fn mutate<'a>(&'a self, _a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async { Ok(()) })
    }

    /// Refuses.
    fn validate<'a>(&'a self, _a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async { Ok(()) })
    }
}

/// The plugins that are on, in upstream's order.
pub fn chain() -> Vec<Box<dyn Plugin>> {
    Vec::new()
}
