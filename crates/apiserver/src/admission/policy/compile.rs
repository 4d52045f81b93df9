//! Policies and bindings, compiled.

use super::matching::Criteria;
use crate::admission::expression::env::{Options, base, variables};
use crate::admission::expression::{Expression, Variable, conditions};
use kaji_api::Value;
use kaji_cel::{Env, Type};

/// One rule of a policy.
pub(super) struct Validation {
    pub(super) rule: Expression,
    pub(super) message: String,
    pub(super) message_rule: Option<Expression>,
    pub(super) reason: String,
}

/// A policy.
pub(super) struct Policy {
    pub(super) name: String,
    /// What cannot be decided is allowed.
    pub(super) fails_open: bool,
    pub(super) criteria: Criteria,
    /// API version and kind of its parameters.
    pub(super) param_kind: Option<(String, String)>,
    pub(super) variables: Vec<Variable>,
    pub(super) conditions: Vec<Expression>,
    pub(super) validations: Vec<Validation>,
    /// Key and value.
    pub(super) annotations: Vec<(String, Expression)>,
}

/// A binding of a policy.
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) policy: String,
    pub(super) criteria: Criteria,
    /// `paramRef`, or null.
    pub(super) params: Value,
    pub(super) deny: bool,
    pub(super) warn: bool,
    pub(super) audit: bool,
    /// `validationActions` as written.
    pub(super) actions: Value,
}

/// The environments of a policy's expressions, with its variables.
pub(crate) struct Envs {
    /// With the authorizer.
    pub(crate) full: Env,
    /// Of messages.
    pub(crate) message: Env,
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

impl Policy {
    pub(super) fn compile(policy: &Value) -> Self {
        let spec = &policy["spec"];
        let (variables, envs) = with_variables(spec);
        let validation = |v: &Value| Validation {
            rule: Expression::new(&envs.full, v["expression"].str(), &[Type::Bool]),
            message: v["message"].str().trim().to_owned(),
            message_rule: match v["messageExpression"].str() {
                "" => None,
                text => Some(Expression::new(&envs.message, text, &[Type::String])),
            },
            reason: v["reason"].str().to_owned(),
        };
        let annotation = |v: &Value| {
            let value = Expression::new(&envs.full, v["valueExpression"].str(), &[Type::String, Type::Null]);
            (v["key"].str().to_owned(), value)
        };
        Policy {
            name: policy.name().to_owned(),
            fails_open: spec["failurePolicy"].str() == "Ignore",
            criteria: Criteria::compile(&spec["matchConstraints"]),
            param_kind: spec["paramKind"].as_object().map(|_| {
                let kind = &spec["paramKind"];
                (kind["apiVersion"].str().to_owned(), kind["kind"].str().to_owned())
            }),
            variables,
            conditions: conditions::compile(&envs.full, &spec["matchConditions"]),
            validations: spec["validations"].items().iter().map(validation).collect(),
            annotations: spec["auditAnnotations"].items().iter().map(annotation).collect(),
        }
    }
}

impl Binding {
    pub(super) fn compile(binding: &Value) -> Self {
        let spec = &binding["spec"];
        let does = |action: &str| spec["validationActions"].items().iter().any(|a| a.str() == action);
        Binding {
            name: binding.name().to_owned(),
            policy: spec["policyName"].str().to_owned(),
            criteria: Criteria::compile(&spec["matchResources"]),
            params: spec["paramRef"].clone(),
            deny: does("Deny"),
            warn: does("Warn"),
            audit: does("Audit"),
            actions: spec["validationActions"].clone(),
        }
    }
}
