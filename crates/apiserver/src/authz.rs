//! Authorization: may they?

mod escalation;
mod graph;
mod node;
pub(crate) mod objects;
pub(crate) mod rbac;
pub(crate) mod rule;

pub(crate) use escalation::{Grant, check_grant};
pub(crate) use node::node_name;

use crate::context::UserInfo;
use crate::server::Api;
use futures::future::BoxFuture;
use std::sync::Arc;

/// What is asked, for resources and other paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// Who.
    pub user: Arc<UserInfo>,
    /// Verb.
    pub verb: String,
    /// False: `path` counts, the rest doesn't.
    pub is_resource: bool,
    /// API group.
    pub group: String,
    /// Version.
    pub version: String,
    /// Plural name.
    pub resource: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// Namespace, or empty.
    pub namespace: String,
    /// Name, or empty.
    pub name: String,
    /// Non-resource path.
    pub path: String,
    /// Field selector of a list, watch or deletecollection.
    pub field_selector: String,
    /// Label selector, likewise.
    pub label_selector: String,
}

/// The answer of an authorizer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Yes, and why.
    Allow(String),
    /// No, whatever others say.
    Deny(String),
    /// Not mine to say; the reason is shown if nobody allows.
    NoOpinion(String),
}

/// One authorizer: Node, RBAC, …
pub trait Authorizer: Send + Sync {
    /// Decides.
    fn authorize<'a>(&'a self, question: &'a Question) -> BoxFuture<'a, Decision>;

    /// Itself, where it is RBAC: who may grant what, and what a user may do, is asked there.
    #[expect(private_interfaces, reason = "for the server's own parts")]
    fn as_rbac(&self) -> Option<&rbac::Rbac> {
        None
    }
}

/// The authorizers of a server, asked in order; members of `system:masters` pass before these are asked.
pub(crate) fn chain(api: &Api) -> Vec<Box<dyn Authorizer>> {
    let objects = &**api.caches();
    let node_rules = crate::bootstrap::policy::rules_of("system:node");
    vec![Box::new(node::Node::new(objects, node_rules)), Box::new(rbac::Rbac::new(objects))]
}

#[cfg(test)]
mod tests;
