//! Resources that are answered, not stored: reviews of tokens and access, tokens, component statuses.

mod access;
mod component;
mod identity;
mod rules;
mod token;

use crate::admission::{Attributes, Operation, Rounds};
use crate::context::{RequestContext, Target};
use crate::registry::{Phase, run_phase};
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
    pub(crate) target: &'a Target,
    /// Namespace, or empty.
    pub(crate) namespace: &'a str,
    /// Name, or empty.
    pub(crate) name: &'a str,
}

/// Whether requests for it come here instead of to the registry.
pub(crate) fn handles(resource: &ResourceDef, subresource: &str) -> bool {
    match (resource.group, resource.plural) {
        ("", "serviceaccounts") => subresource == "token",
        ("", "componentstatuses") => true,
        ("authentication.k8s.io", "tokenreviews" | "selfsubjectreviews") => true,
        ("authorization.k8s.io", _) => true,
        _ => false,
    }
}

/// POST: the answer, as the object that was sent with its status filled in.
pub(crate) async fn create(ask: Ask<'_>, mut object: Value) -> Result<Value, Status> {
    // Tokens are admitted where their account is known.
    if ask.target.sub.is_none() {
        admit(ask, &mut object).await?;
    }
    match ask.target.resource.plural {
        "serviceaccounts" => token::request(ask, object).await,
        "tokenreviews" => identity::review_token(ask, object).await,
        "selfsubjectreviews" => Ok(identity::review_self(ask, &object)),
        "subjectaccessreviews" => access::review(ask, object).await,
        "localsubjectaccessreviews" => access::review_local(ask, object).await,
        "selfsubjectaccessreviews" => access::review_self(ask, object).await,
        "selfsubjectrulesreviews" => rules::review_self(ask, &object),
        _ => Err(Status::method_not_supported(&ask.target.resource.group_resource(), "create")),
    }
}

async fn admit(ask: Ask<'_>, object: &mut Value) -> Result<(), Status> {
    for phase in [Phase::Mutate, Phase::Validate] {
        let attributes = Attributes {
            api: ask.api,
            cx: ask.cx,
            target: ask.target.clone(),
            asked: ask.target.resource.clone(),
            operation: Operation::Create,
            namespace: ask.namespace,
            name: ask.name,
            object: &mut *object,
            old: &Value::Null,
            deletion: None,
            rounds: Rounds::default(),
        };
        run_phase(phase, attributes).await?;
    }
    Ok(())
}

/// GET of one.
pub(crate) async fn get(ask: Ask<'_>) -> Result<Value, Status> {
    match ask.target.resource.plural {
        "componentstatuses" => component::get(ask).await,
        _ => Err(Status::method_not_supported(&ask.target.resource.group_resource(), "get")),
    }
}

/// GET of all: the items.
pub(crate) async fn list(ask: Ask<'_>) -> Result<Vec<Value>, Status> {
    match ask.target.resource.plural {
        "componentstatuses" => Ok(component::list(ask).await),
        _ => Err(Status::method_not_supported(&ask.target.resource.group_resource(), "list")),
    }
}

/// An answer: what was sent with another status, fields in their order.
fn answer(sent: &Value, metadata: Value, spec: Option<Value>, status: Value) -> Value {
    let head = ["kind", "apiVersion"].map(|field| (field, sent[field].clone()));
    let mut answer: Value = head.into_iter().collect();
    answer.set("metadata", metadata);
    if let Some(spec) = spec {
        answer.set("spec", spec);
    }
    answer.set("status", status);
    answer
}

/// What was sent of metadata.
fn metadata(sent: &Value) -> Value {
    match &sent["metadata"] {
        Value::Null => Value::object(),
        given => given.clone(),
    }
}
