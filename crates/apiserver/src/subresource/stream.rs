//! Subresources that stream: log, exec, attach, portforward, proxy.
//!
//! They are answered by others: the kubelet of a pod's node, or what a proxy path names. An upgrade of the
//! connection is taken from the request's extensions (`hyper::upgrade::OnUpgrade`).

use crate::context::{RequestContext, Target};
use crate::registry::options::Query;
use crate::server::Api;
use crate::server::body::{RequestBody, Response};
use http::request::Parts;
use kaji_api::Status;

/// A request to a streaming subresource.
#[derive(Clone, Copy)]
#[expect(dead_code, reason = "read once a stream is routed")]
pub(crate) struct Connect<'a> {
    /// The server.
    pub(crate) api: &'a Api,
    /// Who and how.
    pub(crate) cx: &'a RequestContext,
    /// Resource and subresource.
    pub(crate) target: Target,
    /// Namespace, or empty.
    pub(crate) namespace: &'a str,
    /// Name of the object.
    pub(crate) name: &'a str,
    /// Path segments behind the subresource.
    pub(crate) rest: &'a [String],
    /// The query.
    pub(crate) query: &'a Query,
}

/// Whether a subresource is answered here; others of these are unknown paths.
pub(crate) fn handles(_subresource: &str) -> bool {
    false
}

/// Answers.
pub(crate) async fn serve(connect: Connect<'_>, _parts: Parts, _body: RequestBody) -> Result<Response, Status> {
    Err(Status::method_not_supported(&connect.target.resource.group_resource(), "connect"))
}
