//! Admission policies and their bindings (`pkg/apis/admissionregistration/validation`).
//!
//! Here is what both kinds share; [`mutating`] and [`validating`] are what differs: one [`Kind`] each.

mod mutating;
mod params;
mod validating;

use crate::admission::expression::compile;
use crate::admission::expression::env::{Options, base};
use crate::admission::policy::frame::{Envs, with_variables};
use crate::context::RequestContext;
use crate::strategy::{Authorized, Strategy, Write, keep, simple, status_meta};
use crate::validation::{At, webhook};
use kaji_api::field::Errors;
use kaji_api::names;
use kaji_api::selector::{SelectorOptions, validate_label_selector};
use kaji_api::{GroupResource, Status, Value};
use kaji_cel::{Env, Type};

/// What one kind of policies has of its own.
struct Kind {
    policies: GroupResource,
    /// What is wrong with a policy's specification, beyond what both kinds have.
    policy: fn(&Value, At<'_>, &Envs, &mut Errors),
    /// What is wrong with a binding's.
    binding: fn(At<'_>, &mut Errors),
}

/// Policies of a kind.
pub struct Policies(&'static Kind);

/// Where policies of a kind hold.
pub struct Bindings(&'static Kind);

/// Policies that judge writes.
pub static VALIDATING_POLICIES: Policies = Policies(&validating::KIND);
/// Where they hold.
pub static VALIDATING_BINDINGS: Bindings = Bindings(&validating::KIND);
/// Policies that change writes.
pub static MUTATING_POLICIES: Policies = Policies(&mutating::KIND);
/// Where they hold.
pub static MUTATING_BINDINGS: Bindings = Bindings(&mutating::KIND);

impl Policies {
    fn check(&self, obj: &Value, check_conditions: bool, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        let envs = policy(spec, check_conditions, e);
        (self.0.policy)(obj, spec, &envs, e);
    }
}

impl Strategy for Policies {
    fn default(&self, obj: &mut Value) {
        simple::policy(obj);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        self.check(obj, true, e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        self.check(obj, conditions_changed(&obj["spec"], &old["spec"]), e);
    }

    fn prepare_status_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "spec");
        status_meta(obj, old);
    }

    fn validate_status_update(&self, obj: &Value, _: &Value, e: &mut Errors) {
        let checked = At::root(obj).field("status").field("typeChecking");
        for warning in checked.field("expressionWarnings").list() {
            warning.field("warning").need(e);
            warning.field("fieldRef").need(e);
        }
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn authorize<'a>(&'a self, write: Write<'a>) -> Authorized<'a> {
        let Write { api, cx, new, old } = write;
        Box::pin(if_well_formed(self, new, old, params::may_declare(api, cx, new, old)))
    }
}

impl Strategy for Bindings {
    fn default(&self, obj: &mut Value) {
        simple::policy_binding(obj);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        binding(spec, e);
        (self.0.binding)(spec, e);
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn authorize<'a>(&'a self, write: Write<'a>) -> Authorized<'a> {
        let Write { api, cx, new, old } = write;
        Box::pin(if_well_formed(self, new, old, params::may_refer(api, cx, &self.0.policies, new, old)))
    }
}

/// What is wrong with an object is told before whether it may be written, as upstream does.
async fn if_well_formed(
    strategy: &dyn Strategy,
    obj: &Value,
    old: Option<&Value>,
    allowed: impl Future<Output = Result<(), Status>>,
) -> Result<(), Status> {
    let refused = allowed.await;
    if refused.is_err() {
        let mut errors = Errors::new();
        match old {
            Some(old) => strategy.validate_update(obj, old, &mut errors),
            None => strategy.validate(obj, &mut errors),
        }
        if !errors.is_empty() {
            return Ok(());
        }
    }
    refused
}

/// What policies of both kinds have; the environments are those of the rest.
fn policy(spec: At<'_>, check_conditions: bool, e: &mut Errors) -> Envs {
    supported(spec.field("failurePolicy"), &["Fail", "Ignore"], e);
    param_kind(spec.field("paramKind"), e);
    let constraints = spec.field("matchConstraints");
    if constraints.is_set() {
        match_resources(constraints, e);
        constraints.field("resourceRules").need(e);
    } else {
        constraints.required(e, "");
    }
    if check_conditions {
        let params = spec.field("paramKind").is_set();
        let env = base(Options { params, authorizer: true });
        webhook::conditions(spec.field("matchConditions"), &env, e);
    }
    let (compiled, envs) = with_variables(spec.v);
    for (variable, (_, expression)) in spec.field("variables").list().zip(&compiled) {
        let (name, text) = (variable.field("name"), variable.field("expression"));
        if name.str().trim().is_empty() {
            name.required(e, "name is not specified");
        } else if !is_identifier(name.str()) {
            name.invalid(e, "must be a valid CEL identifier");
        }
        if text.str().trim().is_empty() {
            text.required(e, "expression is not specified");
        } else if let Err(error) = &expression.program {
            text.invalid(e, error);
        }
    }
    envs
}

/// What bindings of both kinds have.
fn binding(spec: At<'_>, e: &mut Errors) {
    spec.field("policyName").check_required(e, names::dns1123_subdomain);
    param_ref(spec.field("paramRef"), e);
    match_resources(spec.field("matchResources"), e);
}

/// Match conditions are looked at again only when they, or the parameters they may name, changed.
fn conditions_changed(new: &Value, old: &Value) -> bool {
    new["paramKind"] != old["paramKind"] || new["matchConditions"] != old["matchConditions"]
}

/// A choice that must be made.
fn supported(at: At<'_>, among: &[&str], e: &mut Errors) {
    if !at.is_set() {
        at.required(e, "");
    } else if !among.contains(&at.str()) {
        at.not_supported(e, among);
    }
}

/// An expression that must compile.
fn expression(at: At<'_>, text: &str, env: &Env, types: &[Type], e: &mut Errors) {
    if let Err(error) = compile(env, text, types) {
        at.invalid(e, &error);
    }
}

fn param_kind(at: At<'_>, e: &mut Errors) {
    if !at.is_set() {
        return;
    }
    let (version, kind) = (at.field("apiVersion"), at.field("kind"));
    let text = version.str();
    let parts = match text.split('/').collect::<Vec<_>>()[..] {
        _ if matches!(text, "" | "/") => Some(("", "")),
        [version] => Some(("", version)),
        [group, version] => Some((group, version)),
        _ => None,
    };
    match parts {
        _ if text.is_empty() => version.required(e, ""),
        None => version.invalid(e, &format!("unexpected GroupVersion string: {text}")),
        Some((group, number)) => {
            let wrong = if group.is_empty() { Vec::new() } else { names::dns1123_subdomain(group) };
            if !wrong.is_empty() {
                version.invalid_as(e, group, &wrong.join(","));
            }
            let wrong = names::dns1035_label(number);
            if number.is_empty() {
                version.invalid(e, "version must be specified");
            } else if !wrong.is_empty() {
                version.invalid_as(e, number, &wrong.join(","));
            }
        }
    }
    let wrong = names::dns1035_label(&kind.str().to_lowercase());
    if kind.str().is_empty() {
        kind.required(e, "");
    } else if !wrong.is_empty() {
        kind.invalid(e, &format!("may have mixed case, but should otherwise match: {}", wrong.join(",")));
    }
}

fn match_resources(at: At<'_>, e: &mut Errors) {
    if !at.is_set() {
        return;
    }
    supported(at.field("matchPolicy"), &["Equivalent", "Exact"], e);
    for key in ["namespaceSelector", "objectSelector"] {
        let selector = at.field(key);
        if selector.is_set() {
            validate_label_selector(selector.v, SelectorOptions::default(), &selector.path(), e);
        } else {
            selector.required(e, "");
        }
    }
    for rules in ["resourceRules", "excludeResourceRules"] {
        for rule in at.field(rules).list() {
            let mut seen: Vec<&str> = Vec::new();
            for name in rule.field("resourceNames").list() {
                name.check(e, names::path_segment);
                if seen.contains(&name.str()) {
                    name.duplicate(e);
                }
                seen.push(name.str());
            }
            webhook::rule_with_operations(rule, e);
        }
    }
}

fn param_ref(at: At<'_>, e: &mut Errors) {
    if !at.is_set() {
        return;
    }
    let (name, selector, action) = (at.field("name"), at.field("selector"), at.field("parameterNotFoundAction"));
    let named = !name.str().is_empty();
    let exclusive = "name and selector are mutually exclusive";
    if named {
        name.check(e, names::path_segment);
        if selector.is_set() {
            name.forbidden(e, exclusive);
        }
    }
    if selector.is_set() {
        validate_label_selector(selector.v, SelectorOptions::default(), &selector.path(), e);
        if named {
            selector.forbidden(e, exclusive);
        }
    }
    if !named && !selector.is_set() {
        at.required(e, "one of name or selector must be specified");
    }
    if action.str().is_empty() {
        action.required(e, "");
    } else if !["Deny", "Allow"].contains(&action.str()) {
        action.not_supported(e, &["Deny", "Allow"]);
    }
}

fn is_identifier(name: &str) -> bool {
    let start = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    start && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) && !kaji_cel::is_reserved(name)
}

#[cfg(test)]
mod tests {
    use crate::strategy::Strategy;
    use kaji_api::Value;
    use kaji_api::codec::parse_json;
    use kaji_api::field::Errors;

    /// What is said of an object with this specification, changed like that.
    pub(super) fn said(strategy: &dyn Strategy, spec: &str, change: &str) -> String {
        let mut spec = parse_json(spec.as_bytes()).unwrap();
        if let Value::Object(fields) = parse_json(change.as_bytes()).unwrap() {
            for (key, value) in fields.0 {
                spec.set(key, value);
            }
        }
        let metadata = Value::from_iter([("name", Value::from("p"))]);
        let mut obj = Value::from_iter([("metadata", metadata), ("spec", spec)]);
        strategy.default(&mut obj);
        let mut e = Errors::new();
        strategy.validate(&obj, &mut e);
        if e.is_empty() { String::new() } else { e.to_string() }
    }
}
