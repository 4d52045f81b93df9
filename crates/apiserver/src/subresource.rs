//! Subresources that are more than a view of their object: binding, eviction, log, exec, attach, port-forward, proxy, scale, token.
//!
//! Three shapes: a *view* ([`view`]) that GET shows and PUT and PATCH go through ([`replace`]), and an
//! *action* that is POSTed ([`create`]). Streams are separate.

mod binding;
mod eviction;
pub(crate) mod scale;
pub(crate) mod stream;

use crate::cache::Entry;
use crate::registry::{Mode, Scope, Transform};
use crate::strategy::{certificatesigningrequest, namespace, pod};
use kaji_api::field::Errors;
use kaji_api::{Status, Value};
use std::sync::Arc;

/// Whether a subresource is answered by the registry, as a view or an action.
pub(crate) fn handles(sub: &str) -> bool {
    const ALL: [&str; 8] =
        ["status", "scale", "finalize", "ephemeralcontainers", "resize", "approval", "binding", "eviction"];
    ALL.contains(&sub)
}

/// What GET on the subresource shows, if it is of another kind than the object.
pub(crate) fn view(scope: &Scope<'_>, object: &Value) -> Result<Option<Value>, Status> {
    match scope.sub.map(|s| s.name) {
        Some("scale") => scale::of(&scope.row, object).map(Some),
        _ => Ok(None),
    }
}

/// From what was sent and the object as it is to the object as it should be.
type Take = fn(&Scope<'_>, Value, &Value) -> Result<Value, Status>;

/// PUT and PATCH through a subresource; `transform` works on what [`view`] shows.
pub(crate) async fn replace(scope: &Scope<'_>, sub: &str, transform: Transform<'_>) -> Result<Arc<Entry>, Status> {
    let taken: Take = match sub {
        "scale" => return scale::update(scope, transform).await,
        "finalize" => finalize,
        "ephemeralcontainers" => ephemeral_containers,
        "resize" => resize,
        "approval" => approval,
        _ => return Err(Status::method_not_supported(&scope.resource(), "update")),
    };
    let whole = |old: &Value| {
        if old.is_null() {
            return Err(scope.not_found());
        }
        taken(scope, transform(old)?, old)
    };
    scope.update(Mode::Raw, &whole).await.map(|(entry, _)| entry)
}

/// POST to a subresource (or, for `bindings`, to the resource).
pub(crate) async fn create(scope: &Scope<'_>, sub: &str, object: Value) -> Result<Value, Status> {
    match sub {
        "binding" => binding::create(scope, object).await,
        "eviction" => eviction::create(scope, object).await,
        _ => Err(Status::method_not_supported(&scope.resource(), "create")),
    }
}

/// The answer of actions that went well.
fn success() -> Value {
    let mut status = kaji_api::value!({"kind": "Status", "apiVersion": "v1"});
    status.set("metadata", Value::object());
    status.set("status", "Success");
    status.set("code", 201);
    status
}

/// `namespaces/finalize`: everything but status.
fn finalize(scope: &Scope<'_>, mut new: Value, old: &Value) -> Result<Value, Status> {
    namespace::prepare_finalize(&mut new, old);
    checked(scope, new, old, namespace::validate_finalize)
}

/// `certificatesigningrequests/approval`: decisions alone.
fn approval(scope: &Scope<'_>, mut new: Value, old: &Value) -> Result<Value, Status> {
    certificatesigningrequest::prepare_approval(&mut new, old);
    checked(scope, new, old, certificatesigningrequest::validate_approval)
}

/// `pods/ephemeralcontainers`: containers may be added, never changed or taken away.
fn ephemeral_containers(scope: &Scope<'_>, mut new: Value, old: &Value) -> Result<Value, Status> {
    pod::prepare_ephemeral(&mut new, old);
    checked(scope, new, old, pod::validate_ephemeral)
}

/// `pods/resize`: resources of containers alone.
fn resize(scope: &Scope<'_>, mut new: Value, old: &Value) -> Result<Value, Status> {
    pod::prepare_resize(&mut new, old);
    checked(scope, new, old, pod::validate_resize)
}

fn checked(
    scope: &Scope<'_>,
    mut new: Value,
    old: &Value,
    check: fn(&Value, &Value, &mut Errors),
) -> Result<Value, Status> {
    scope.default(&mut new);
    let mut errors = Errors::new();
    check(&new, old, &mut errors);
    if errors.is_empty() { Ok(new) } else { Err(scope.invalid(scope.name, &errors)) }
}
