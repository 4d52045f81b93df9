//! What policies of both kinds have, and their bindings.

use super::matching::Criteria;
use crate::admission::expression::env::{Options, base, variables};
use crate::admission::expression::{Expression, Variable, conditions};
use kaji_api::Value;
use kaji_cel::{Env, Type};

/// A policy but for what it does.
pub(super) struct Frame {
    pub(super) name: String,
    /// What cannot be decided is allowed.
    pub(super) fails_open: bool,
    pub(super) criteria: Criteria,
    /// API version and kind of its parameters.
    pub(super) param_kind: Option<(String, String)>,
    pub(super) variables: Vec<Variable>,
    pub(super) conditions: Vec<Expression>,
}

/// A policy of either kind.
pub(super) trait Compiled {
    /// Compiles a policy; what does not compile says so when it is evaluated.
    fn compile(policy: &Value) -> Self;

    /// What it has in common with others.
    fn frame(&self) -> &Frame;
}

/// A binding of a policy.
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) policy: String,
    pub(super) criteria: Criteria,
    /// `paramRef`, or null.
    pub(super) params: Value,
    /// `validationActions` as written: validating policies only.
    pub(super) actions: Value,
}

/// The environments of a policy's expressions, with its variables.
pub(crate) struct Envs {
    /// With the authorizer.
    pub(crate) full: Env,
    /// Of messages.
    pub(crate) message: Env,
}

impl Envs {
    /// Of mutations.
    pub(crate) fn patches(&self) -> Env {
        self.full.clone().with_patches()
    }
}

/// Variables in order, each with those before it; then the environments that have all.
pub(crate) fn with_variables(spec: &Value) -> (Vec<Variable>, Envs) {
    let params = !spec["paramKind"].is_null();
    let options = Options { params, authorizer: true };
    let mut known: Vec<(String, Type)> = Vec::new();
    let mut compiled = Vec::new();
    for variable in spec["variables"].items() {
        let name = variable["name"].str().to_owned();
        let env = base(options).with("variables", variables(&known));
        let expression = Expression::new(&env, variable["expression"].str(), &[]);
        let ty = expression.program.as_ref().map_or(Type::Dyn, |program| program.output().clone());
        known.push((name.clone(), ty));
        compiled.push((name, expression));
    }
    let message = Options { params, authorizer: false };
    let with = |options| base(options).with("variables", variables(&known));
    (compiled, Envs { full: with(options), message: with(message) })
}

impl Frame {
    pub(super) fn compile(policy: &Value) -> (Self, Envs) {
        let spec = &policy["spec"];
        let (variables, envs) = with_variables(spec);
        let kind = &spec["paramKind"];
        let frame = Frame {
            name: policy.name().to_owned(),
            fails_open: spec["failurePolicy"].str() == "Ignore",
            criteria: Criteria::compile(&spec["matchConstraints"]),
            param_kind: kind.as_object().map(|_| (kind["apiVersion"].str().to_owned(), kind["kind"].str().to_owned())),
            variables,
            conditions: conditions::compile(&envs.full, &spec["matchConditions"]),
        };
        (frame, envs)
    }
}

impl Binding {
    pub(super) fn compile(binding: &Value) -> Self {
        let spec = &binding["spec"];
        Binding {
            name: binding.name().to_owned(),
            policy: spec["policyName"].str().to_owned(),
            criteria: Criteria::compile(&spec["matchResources"]),
            params: spec["paramRef"].clone(),
            actions: spec["validationActions"].clone(),
        }
    }

    /// Whether an action follows an objection.
    pub(super) fn does(&self, action: &str) -> bool {
        self.actions.items().iter().any(|a| a.str() == action)
    }
}
