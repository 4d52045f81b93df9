//! NamespaceExists: nothing is written in a namespace that is not there.

use super::{Attributes, Operation, Plugin};
use futures::future::BoxFuture;
use kaji_api::{GroupResource, Status};

const NAMESPACES: GroupResource = GroupResource::of("", "namespaces");

pub(super) struct NamespaceExists;

impl Plugin for NamespaceExists {
    fn name(&self) -> &'static str {
        "NamespaceExists"
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let exempt = a.namespace.is_empty() || a.is("", "namespaces") || a.operation == Operation::Connect;
            if exempt || a.api.get_shared(&NAMESPACES, "", a.namespace).is_some() {
                return Ok(());
            }
            // It may have been made a moment ago, through another server.
            a.api.fresh().await?;
            let found = a.api.get_shared(&NAMESPACES, "", a.namespace);
            found.map(drop).ok_or_else(|| Status::not_found(&NAMESPACES, a.namespace))
        })
    }
}
