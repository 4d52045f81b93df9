//! Resources that are answered, not stored: reviews of tokens and access, component statuses.

use crate::context::{RequestContext, Target};
use crate::server::Api;
use kaji_api::{ResourceDef, Status, Value};

/// A request to a virtual resource or subresource (`serviceaccounts/token` is one).
#[derive(Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// The server.
    pub(crate) api: &'a Api,
    /// Who and how.
    pub(crate) cx: &'a RequestContext,
    /// Resource and subresource.
    pub(crate) target: Target,
    /// Namespace, or empty.
    pub(crate) namespace: &'a str,
    /// Name, or empty.
    pub(crate) name: &'a str,
}

/// Whether requests for it come here instead of to the registry.
pub(crate) fn handles(_resource: &ResourceDef, _subresource: &str) -> bool {
    false
}

/// POST: the answer, as the object that was sent with its status filled in.
pub(crate) async fn create(ask: Ask<'_>, _object: Value) -> Result<Value, Status> {
    Err(Status::method_not_supported(&ask.target.resource.group_resource(), "create"))
}

/// GET of one.
pub(crate) async fn get(ask: Ask<'_>) -> Result<Value, Status> {
    Err(Status::method_not_supported(&ask.target.resource.group_resource(), "get"))
}

/// GET of all: the items.
pub(crate) async fn list(ask: Ask<'_>) -> Result<Vec<Value>, Status> {
    Err(Status::method_not_supported(&ask.target.resource.group_resource(), "list"))
}
