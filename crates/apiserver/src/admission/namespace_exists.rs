//! NamespaceExists: nothing is written in a namespace that is not there.

use super::{Attributes, Operation, Plugin, own_namespace};
use futures::future::BoxFuture;
use kaji_api::Status;

pub(super) struct NamespaceExists;

impl Plugin for NamespaceExists {
    fn name(&self) -> &'static str {
        "NamespaceExists"
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let exempt = a.namespace.is_empty() || a.is("", "namespaces") || a.operation == Operation::Connect;
            if exempt { Ok(()) } else { own_namespace(a).await.map(drop) }
        })
    }
}
