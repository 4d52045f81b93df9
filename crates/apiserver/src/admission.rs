//! Admission: plugins that change or refuse writes, in upstream's order.

mod certificates;
mod claim_resize;
pub(crate) mod expression;
mod ingress_class;
mod lifecycle;
mod limit_ranger;
mod node_restriction;
mod pod_security;
pub(crate) mod policy;
mod priority;
mod resource_quota;
mod rounds;
mod runtime_class;
mod service_account;
mod storage_class;
mod storage_protection;
mod taint_nodes;
mod toleration_seconds;
pub(crate) mod webhook;

pub(crate) use rounds::Rounds;

use crate::context::{RequestContext, Target};
use crate::registry::options::DeleteOptions;
use crate::row::Row;
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

/// The plugins that are on, in upstream's order.
pub fn chain() -> Vec<Box<dyn Plugin>> {
    vec![
        Box::new(lifecycle::NamespaceLifecycle),
        Box::new(limit_ranger::LimitRanger),
        Box::new(service_account::ServiceAccount),
        Box::new(node_restriction::NodeRestriction),
        Box::new(taint_nodes::TaintNodesByCondition),
        Box::new(pod_security::PodSecurity),
        Box::new(priority::Priority),
        Box::new(toleration_seconds::DefaultTolerationSeconds),
        Box::new(storage_class::DefaultStorageClass),
        Box::new(storage_protection::StorageObjectInUseProtection),
        Box::new(claim_resize::PersistentVolumeClaimResize),
        Box::new(runtime_class::RuntimeClass),
        Box::new(certificates::CertificateApproval),
        Box::new(certificates::CertificateSigning),
        Box::new(certificates::CertificateSubjectRestriction),
        Box::new(ingress_class::DefaultIngressClass),
        Box::new(policy::MutatingAdmissionPolicy::default()),
        Box::new(webhook::MutatingAdmissionWebhook::default()),
        Box::new(policy::ValidatingAdmissionPolicy::default()),
        Box::new(webhook::ValidatingAdmissionWebhook::default()),
        Box::new(resource_quota::ResourceQuota),
    ]
}
