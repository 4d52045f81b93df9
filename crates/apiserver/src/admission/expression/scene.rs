//! A write as expressions see it.

use super::variables::Variables;
use super::{Expression, OverBudget, Permissions, Variable};
use crate::admission::webhook::review::{head, options};
use crate::admission::{Attributes, Operation};
use kaji_api::{GroupResource, ResourceDef, Value};
use kaji_cel::{Activation, AuthorizationRequest, EvalError, Map, PER_CALL_LIMIT, Val};
use std::sync::Arc;

const NAMESPACES: GroupResource = GroupResource::of("", "namespaces");

/// What expressions see of a write beside its objects.
pub(in crate::admission) struct Scene {
    request: Value,
    namespace: Value,
    /// What the request is for, as a question without its verb.
    resource: AuthorizationRequest,
}

/// The objects of a write, in the version that a policy or webhook is about.
#[derive(Clone, Copy)]
pub(in crate::admission) struct Objects<'a> {
    pub(in crate::admission) object: &'a Value,
    pub(in crate::admission) old: &'a Value,
    pub(in crate::admission) params: &'a Value,
}

/// All that an expression may name, with its value.
pub(in crate::admission) struct View<'a> {
    activation: Activation<'a>,
    variables: Arc<Variables<'a>>,
}

impl Scene {
    /// A write, seen as one of objects of a row.
    pub(in crate::admission) fn new(a: &Attributes<'_>, row: &ResourceDef) -> Self {
        let mut request = head(a, row, "");
        request.remove("uid");
        request.set("dryRun", a.cx.dry_run);
        request.set("options", options(a));
        let resource = AuthorizationRequest {
            group: a.asked.group.to_owned(),
            resource: a.asked.plural.to_owned(),
            subresource: a.target.sub.map_or("", |s| s.name).to_owned(),
            namespace: a.namespace.to_owned(),
            name: name(a).to_owned(),
            ..AuthorizationRequest::default()
        };
        Scene { request, namespace: namespace(a), resource }
    }

    /// The same for match conditions: as upstream, they see the resource as it was asked for, and no namespace.
    pub(in crate::admission) fn of_conditions(a: &Attributes<'_>, row: &ResourceDef) -> Self {
        let mut scene = Scene::new(a, row);
        let asked = scene.request["requestResource"].clone();
        scene.request.set("resource", asked);
        scene.namespace = Value::Null;
        scene
    }

    /// Binds what there is; expressions without permissions see no authorizer.
    pub(in crate::admission) fn view<'a>(
        &'a self,
        objects: Objects<'a>,
        variables: &'a [Variable],
        permissions: Option<&Arc<Permissions>>,
    ) -> View<'a> {
        let mut activation = Activation::new()
            .with("object", Val::of(objects.object))
            .with("oldObject", Val::of(objects.old))
            .with("params", Val::of(objects.params))
            .with("request", Val::of(&self.request))
            .with("namespaceObject", Val::of(&self.namespace));
        if let Some(permissions) = permissions {
            let resource = Val::request_resource(permissions.clone(), self.resource.clone());
            activation.bind("authorizer", Val::authorizer(permissions.clone()));
            activation.bind("authorizer.requestResource", resource);
        }
        let variables = Variables::new(variables, activation.clone());
        activation.bind("variables", Val::Map(Map::Lazy(variables.clone())));
        View { activation, variables }
    }
}

impl<'a> View<'a> {
    /// Evaluates an expression within what is left of the budget, the variables it asks for included.
    pub(in crate::admission) fn run(
        &self,
        expression: &Expression,
        budget: &mut u64,
    ) -> Result<Result<Val<'a>, String>, OverBudget> {
        let program = match &expression.program {
            Ok(program) => program,
            Err(why) => return Ok(Err(format!("compilation error: {why}"))),
        };
        let done = program.eval(&self.activation, PER_CALL_LIMIT);
        let cost = self.variables.take_cost().saturating_add(done.cost);
        *budget = budget.checked_sub(cost).ok_or(OverBudget)?;
        let failed = |why: EvalError| format!("expression '{}' resulted in error: {why}", expression.text);
        Ok(done.result.map_err(failed))
    }
}

/// The name of the request; for new objects the one they bring.
fn name<'a>(a: &'a Attributes<'_>) -> &'a str {
    if a.operation == Operation::Create { a.object_name() } else { a.name }
}

/// The namespace of a write; null for a namespace itself and what is in none.
fn namespace(a: &Attributes<'_>) -> Value {
    if a.namespace.is_empty() || (a.asked.group.is_empty() && a.asked.plural == "namespaces") {
        return Value::Null;
    }
    let Some(namespace) = a.api.get_cached(&NAMESPACES, "", a.namespace) else { return Value::Null };
    let mut namespace = Value::clone(&namespace);
    namespace.remove("apiVersion");
    namespace.remove("kind");
    for hidden in ["managedFields", "ownerReferences"] {
        namespace.entry("metadata").remove(hidden);
    }
    namespace
}
