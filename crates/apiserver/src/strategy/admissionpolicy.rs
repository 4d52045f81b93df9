//! Validating admission policies and their bindings (`pkg/apis/admissionregistration/validation`).

use super::{Strategy, simple};
use crate::admission::expression::compile;
use crate::admission::expression::env::{Options, base};
use crate::admission::policy::compile::with_variables;
use crate::validation::{At, webhook};
use kaji_api::Value;
use kaji_api::field::Errors;
use kaji_api::names;
use kaji_api::selector::{SelectorOptions, validate_label_selector};
use kaji_cel::{Env, Type};

const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];
const MOST_ANNOTATIONS: usize = 20;
const LONGEST_ANNOTATION: usize = 5 * 1024;

/// Policies that judge writes.
pub struct ValidatingPolicies;

/// Where such policies hold.
pub struct ValidatingBindings;

impl Strategy for ValidatingPolicies {
    fn default(&self, obj: &mut Value) {
        simple::policy(obj);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        policy(obj, true, e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        policy(obj, conditions_changed(&obj["spec"], &old["spec"]), e);
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn has_generation(&self) -> bool {
        true
    }
}

impl Strategy for ValidatingBindings {
    fn default(&self, obj: &mut Value) {
        simple::policy_binding(obj);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        spec.field("policyName").check_required(e, names::dns1123_subdomain);
        param_ref(spec.field("paramRef"), e);
        match_resources(spec.field("matchResources"), e);
        actions(spec.field("validationActions"), e);
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// Match conditions are looked at again only when they, or the parameters they may name, changed.
fn conditions_changed(new: &Value, old: &Value) -> bool {
    new["paramKind"] != old["paramKind"] || new["matchConditions"] != old["matchConditions"]
}

fn policy(obj: &Value, check_conditions: bool, e: &mut Errors) {
    let spec = At::root(obj).field("spec");
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
    let (validations, annotations) = (spec.field("validations"), spec.field("auditAnnotations"));
    if validations.items().is_empty() && annotations.items().is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        validations.required(e, detail);
        annotations.required(e, detail);
        return;
    }
    validations.list().for_each(|one| validation(one, &envs.full, &envs.message, e));
    if annotations.items().len() > MOST_ANNOTATIONS {
        annotations.invalid(e, &format!("must not have more than {MOST_ANNOTATIONS} auditAnnotations"));
    }
    let mut keys: Vec<&str> = Vec::new();
    for one in annotations.list() {
        annotation(one, obj.name(), &envs.full, e);
        let key = one.field("key");
        if keys.contains(&key.str()) {
            key.duplicate_as(e, key.str());
        }
        keys.push(key.str());
    }
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

fn validation(at: At<'_>, full: &Env, of_message: &Env, e: &mut Errors) {
    let (rule, message, message_rule) = (at.field("expression"), at.field("message"), at.field("messageExpression"));
    if rule.str().trim().is_empty() {
        rule.required(e, "expression is not specified");
    } else {
        expression(rule, rule.str(), full, &[Type::Bool], e);
    }
    match (message_rule.str(), message_rule.str().trim()) {
        ("", _) => {}
        (_, "") => message_rule.invalid(e, "must be non-empty if specified"),
        (text, _) => expression(message_rule, text, of_message, &[Type::String], e),
    }
    match (message.str(), message.str().trim()) {
        ("", _) => {}
        (_, "") => message.invalid(e, "must be non-empty if specified"),
        (_, text) if text.contains(['\n', '\r']) => message.invalid(e, "must not contain line breaks"),
        _ => {}
    }
    let reason = at.field("reason");
    if reason.is_set() && !REASONS.contains(&reason.str()) {
        reason.not_supported(e, &REASONS);
    }
}

fn annotation(at: At<'_>, policy: &str, env: &Env, e: &mut Errors) {
    let (key, value) = (at.field("key"), at.field("valueExpression"));
    if policy.is_empty() {
        key.invalid(e, "requires metadata.name be non-empty");
    } else {
        let whole = format!("{policy}/{}", key.str());
        for text in names::qualified_name(&whole) {
            key.invalid_as(e, whole.as_str(), &text);
        }
    }
    match value.str().trim() {
        "" => value.required(e, "valueExpression is not specified"),
        text if text.len() > LONGEST_ANNOTATION => {
            value.required(e, &format!("must not exceed {LONGEST_ANNOTATION} bytes in length"));
        }
        text => expression(value, text, env, &[Type::String, Type::Null], e),
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

fn actions(at: At<'_>, e: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for action in at.list() {
        if !ACTIONS.contains(&action.str()) {
            action.not_supported(e, &ACTIONS);
        }
        if seen.contains(&action.str()) {
            action.duplicate(e);
        }
        seen.push(action.str());
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the \
                      API response and headers serves no purpose)";
        at.invalid(e, detail);
    }
    if seen.is_empty() {
        at.required(e, "at least one validation action is required");
    }
}

fn is_identifier(name: &str) -> bool {
    let start = name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
    start && name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric()) && !kaji_cel::is_reserved(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::codec::parse_json;

    fn said(strategy: &dyn Strategy, spec: &str, change: &str) -> String {
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

    const POLICY: &str = r#"{"matchConstraints":{"resourceRules":[{"operations":["CREATE"],"apiGroups":[""],
        "apiVersions":["v1"],"resources":["pods"]}]},"validations":[{"expression":"true"}]}"#;
    const BINDING: &str = r#"{"policyName":"p","validationActions":["Deny"]}"#;

    #[test]
    fn policies_are_checked() {
        for (change, expected) in [
            ("{}", ""),
            (
                r#"{"validations":[]}"#,
                "[spec.validations: Required value: validations or auditAnnotations must contain at least one item, \
                 spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item]",
            ),
            (
                r#"{"validations":[{"expression":"objekt.x"}]}"#,
                "spec.validations[0].expression: Invalid value: \"objekt.x\": compilation failed: ERROR: <input>:1:1: \
                 undeclared reference to 'objekt' (in container '')\n | objekt.x\n | ^",
            ),
            (
                r#"{"validations":[{"expression":"1"}]}"#,
                r#"spec.validations[0].expression: Invalid value: "1": must evaluate to bool but got int"#,
            ),
            (
                r#"{"validations":[{"expression":" ","message":"a\nb","reason":"Why"}]}"#,
                "[spec.validations[0].expression: Required value: expression is not specified, \
                 spec.validations[0].message: Invalid value: \"a\\nb\": must not contain line breaks, \
                 spec.validations[0].reason: Unsupported value: \"Why\": supported values: \"Forbidden\", \"Invalid\", \
                 \"RequestEntityTooLarge\"]",
            ),
            (
                r#"{"variables":[{"name":"in","expression":"1"},{"name":"b","expression":" "}]}"#,
                "[spec.variables[0].name: Invalid value: \"in\": must be a valid CEL identifier, \
                 spec.variables[1].expression: Required value: expression is not specified]",
            ),
            (r#"{"variables":[{"name":"a","expression":"1"},{"name":"b","expression":"variables.a + 1"}]}"#, ""),
            (
                r#"{"matchConditions":[{"name":"a","expression":"true"},{"name":"a","expression":"'x'"}]}"#,
                "[spec.matchConditions[1].expression: Invalid value: \"'x'\": must evaluate to bool but got string, \
                 spec.matchConditions[1].name: Duplicate value: \"a\"]",
            ),
            (
                r#"{"paramKind":{"apiVersion":"v1","kind":"_"}}"#,
                r#"spec.paramKind.kind: Invalid value: "_": may have mixed case, but should otherwise match: "#,
            ),
            (
                r#"{"auditAnnotations":[{"key":"k","valueExpression":"1"}]}"#,
                r#"spec.auditAnnotations[0].valueExpression: Invalid value: "1": must evaluate to one of [string null_type] but got int"#,
            ),
            (r#"{"matchConstraints":null}"#, "spec.matchConstraints: Required value"),
            (r#"{"matchConstraints":{}}"#, "spec.matchConstraints.resourceRules: Required value"),
        ] {
            let said = said(&ValidatingPolicies, POLICY, change);
            let matches = if expected.ends_with(": ") { said.starts_with(expected) } else { said == expected };
            assert!(matches, "{change}\n{said}\n{expected}");
        }
    }

    #[test]
    fn bindings_are_checked() {
        for (change, expected) in [
            ("{}", ""),
            (r#"{"policyName":""}"#, "spec.policyName: Required value"),
            (
                r#"{"validationActions":[]}"#,
                "spec.validationActions: Required value: at least one validation action is required",
            ),
            (
                r#"{"validationActions":["Deny","Warn"]}"#,
                "spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn \
                 (repeating the same validation failure information in the API response and headers serves no purpose)",
            ),
            (
                r#"{"paramRef":{}}"#,
                "[spec.paramRef: Required value: one of name or selector must be specified, \
                 spec.paramRef.parameterNotFoundAction: Required value]",
            ),
            (
                r#"{"paramRef":{"name":"n","selector":{},"parameterNotFoundAction":"Allow"}}"#,
                "[spec.paramRef.name: Forbidden: name and selector are mutually exclusive, \
                 spec.paramRef.selector: Forbidden: name and selector are mutually exclusive]",
            ),
        ] {
            assert_eq!(said(&ValidatingBindings, BINDING, change), expected, "{change}");
        }
    }
}
