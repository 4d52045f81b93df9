//! NamespaceLifecycle: nothing new in a namespace that doesn't exist or is being deleted; the system's own
//! namespaces stay.

use super::{Attributes, Operation, Plugin};
use futures::future::BoxFuture;
use kaji_api::{GroupResource, Status, Value, value};

const NAMESPACES: GroupResource = GroupResource::of("", "namespaces");
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

pub(super) struct NamespaceLifecycle;

impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(check(a))
    }
}

async fn check(a: &Attributes<'_>) -> Result<(), Status> {
    if a.is("", "namespaces") {
        let doomed = a.operation == Operation::Delete && IMMORTAL.contains(&a.name);
        return if doomed { Err(a.forbidden("this namespace may not be deleted")) } else { Ok(()) };
    }
    // Asking about access in a namespace that is not there is fine: the answer is no.
    if a.namespace.is_empty() || a.operation != Operation::Create || a.target.resource.group == "authorization.k8s.io" {
        return Ok(());
    }
    let mut namespace = a.api.get_cached(&NAMESPACES, "", a.namespace);
    if namespace.is_none() {
        // It may have been made a moment ago, through another server.
        a.api.fresh().await?;
        namespace = a.api.get_cached(&NAMESPACES, "", a.namespace);
    }
    let Some(namespace) = namespace else { return Err(Status::not_found(&NAMESPACES, a.namespace)) };
    if namespace["status"]["phase"].str() != "Terminating" && !namespace.is_deleting() {
        return Ok(());
    }
    // Subresources of what is still there (evictions, bindings) go on until it is gone.
    if a.target.sub.is_some() {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {} because it is being terminated", a.namespace);
    let mut refusal = a.forbidden(&why);
    let cause: Value = value!({
        "reason": "NamespaceTerminating",
        "message": (format!("namespace {} is being terminated", a.namespace)),
        "field": "metadata.namespace"
    });
    refusal.details.set("causes", Value::Array(vec![cause]));
    Err(refusal)
}
