//! "What may I do?": the rules of the one who asks, in a namespace.

use super::{Ask, answer};
use crate::authz::node_name;
use crate::authz::rbac::{Resolved, aggregate};
use crate::authz::rule::Rule;
use kaji_api::{Status, Value};

pub(super) fn review_self(ask: Ask<'_>, object: &Value) -> Result<Value, Status> {
    let namespace = object["spec"]["namespace"].str();
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let rbac = ask.api.authorizers().iter().find_map(|a| a.as_rbac());
    let mut resolved = rbac.map_or_else(Resolved::default, |rbac| rbac.rules_for(&ask.cx.user, namespace));
    let is_node = node_name(&ask.cx.user).is_some();
    if is_node {
        resolved.errors.insert(0, "node authorizer does not support user rule resolution".to_owned());
    }
    Ok(answer(object, Value::object(), Some(Value::object()), status(resolved, is_node)))
}

fn status(resolved: Resolved, incomplete: bool) -> Value {
    let (of_paths, of_resources): (Vec<Rule>, Vec<Rule>) =
        resolved.rules.into_iter().partition(|r| r.resources.is_empty() && !r.urls.is_empty());
    let of_resources = of_resources.into_iter().filter(|r| !r.resources.is_empty());
    let mut status = Value::object();
    status.set("resourceRules", of_resources.map(|r| Rule { urls: Vec::new(), ..r }.to_value()).collect::<Vec<_>>());
    status.set("nonResourceRules", of_paths.iter().map(Rule::to_value).collect::<Vec<_>>());
    status.set("incomplete", incomplete);
    if !resolved.errors.is_empty() {
        status.set("evaluationError", aggregate(resolved.errors));
    }
    status
}
