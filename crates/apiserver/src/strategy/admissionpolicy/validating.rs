//! Policies that judge writes, and their bindings.

use super::{Kind, expression};
use crate::admission::policy::frame::Envs;
use crate::validation::At;
use kaji_api::field::Errors;
use kaji_api::names;
use kaji_api::{GroupResource, Value};
use kaji_cel::{Env, Type};

const REASONS: [&str; 3] = ["Forbidden", "Invalid", "RequestEntityTooLarge"];
const ACTIONS: [&str; 3] = ["Audit", "Deny", "Warn"];
const MOST_ANNOTATIONS: usize = 20;
const LONGEST_ANNOTATION: usize = 5 * 1024;

/// Policies that judge writes.
pub(super) static KIND: Kind = Kind {
    policies: GroupResource::of("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    policy: check,
    binding: |spec, e| actions(spec.field("validationActions"), e),
};

fn check(obj: &Value, spec: At<'_>, envs: &Envs, e: &mut Errors) {
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

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::super::{Bindings, Policies};
    use super::*;

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
            let said = said(&Policies(&KIND), POLICY, change);
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
            assert_eq!(said(&Bindings(&KIND), BINDING, change), expected, "{change}");
        }
    }
}
