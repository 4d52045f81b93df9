//! `pods/binding`: gives a pod to a node (upstream `pkg/registry/core/pod/storage`).

use super::success;
use crate::admission::Operation;
use crate::conditions;
use crate::registry::{Mode, Phase, STALE, Scope};
use kaji_api::field::{Errors, Path, quoted};
use kaji_api::{GroupResource, Status, Value, value};

const BINDING: GroupResource = GroupResource::of("", "pods/binding");

/// POST.
pub(super) async fn create(scope: &Scope<'_>, mut binding: Value) -> Result<Value, Status> {
    if binding.name() != scope.name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    validate(&binding)?;
    scope.admit(Phase::Mutate, Operation::Create, &mut binding, &Value::Null).await?;
    scope.admit(Phase::Validate, Operation::Create, &mut binding, &Value::Null).await?;
    scope.update(Mode::Internal, &|pod| bind(scope, pod, &binding)).await?;
    Ok(success())
}

fn validate(binding: &Value) -> Result<(), Status> {
    let mut errors = Errors::new();
    let path = Path::new("target");
    if !matches!(binding["target"]["kind"].str(), "" | "Node") {
        errors.not_supported(&path.child("kind"), binding["target"]["kind"].clone(), &["Node", ""]);
    }
    if binding["target"]["name"].str().is_empty() {
        errors.required(&path.child("name"), "");
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("", "Binding", binding.name(), &errors)) }
}

fn bind(scope: &Scope<'_>, pod: &Value, binding: &Value) -> Result<Value, Status> {
    let refuse = |why: String| Err(Status::conflict(&BINDING, scope.name, &why));
    if pod.is_null() {
        return Err(Status::not_found(&scope.resource(), scope.name));
    }
    if !binding.uid().is_empty() && binding.uid() != pod.uid() {
        return Err(scope.conflict(&format!(
            "Precondition failed: UID in precondition: {}, UID in object meta: {}",
            binding.uid(),
            pod.uid()
        )));
    }
    if !matches!(binding.resource_version(), "" | "0") && binding.resource_version() != pod.resource_version() {
        return Err(scope.conflict(STALE));
    }
    if pod.is_deleting() {
        return refuse(format!("pod {} is being deleted, cannot be assigned to a host", scope.name));
    }
    let node = pod["spec"]["nodeName"].str();
    if !node.is_empty() {
        return refuse(format!("pod {} is already assigned to node {}", scope.name, quoted(node)));
    }
    if !pod["spec"]["schedulingGates"].items().is_empty() {
        return refuse(format!("pod {} has non-empty .spec.schedulingGates", scope.name));
    }
    Ok(bound(pod, binding))
}

fn bound(pod: &Value, binding: &Value) -> Value {
    let mut pod = pod.clone();
    pod.entry("spec").set("nodeName", binding["target"]["name"].clone());
    pod.entry("status").remove("nominatedNodeName");
    for map in ["annotations", "labels"] {
        for (key, text) in binding["metadata"][map].entries() {
            pod.entry("metadata").entry(map).set(key.to_owned(), text.clone());
        }
    }
    conditions::set(&mut pod, value!({"type": "PodScheduled", "status": "True"}));
    pod
}
