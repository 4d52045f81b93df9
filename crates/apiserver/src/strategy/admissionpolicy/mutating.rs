//! Policies that change writes, and their bindings.

use super::{Kind, expression};
use crate::admission::policy::frame::Envs;
use crate::admission::policy::{expression_field, expression_type};
use crate::validation::At;
use kaji_api::field::Errors;
use kaji_api::{GroupResource, Value};
use kaji_cel::Env;

/// There is nothing to change when something is deleted.
const OPERATIONS: [&str; 4] = ["*", "CONNECT", "CREATE", "UPDATE"];
const PATCH_TYPES: [&str; 2] = ["ApplyConfiguration", "JSONPatch"];

/// Policies that change writes.
pub(super) static KIND: Kind = Kind {
    policies: GroupResource::of("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
    policy: check,
    binding: |spec, e| operations(spec.field("matchResources").field("resourceRules"), e),
};

fn check(_: &Value, spec: At<'_>, envs: &Envs, e: &mut Errors) {
    operations(spec.field("matchConstraints").field("resourceRules"), e);
    let mutations = spec.field("mutations");
    if mutations.items().is_empty() {
        mutations.required(e, "mutations must contain at least one item");
    }
    let env = envs.patches();
    mutations.list().for_each(|one| mutation(one, &env, e));
    choice(spec.field("reinvocationPolicy"), &["IfNeeded", "Never"], e);
}

/// A choice that must be made; an empty one is none.
fn choice(at: At<'_>, among: &[&str], e: &mut Errors) {
    if at.str().is_empty() { at.required(e, "") } else { super::supported(at, among, e) }
}

/// Upstream names the operations of all rules by one path.
fn operations(rules: At<'_>, e: &mut Errors) {
    let unknown = rules.items().iter().flat_map(|rule| rule["operations"].items());
    for operation in unknown.filter(|o| !OPERATIONS.contains(&o.str())) {
        e.not_supported(&rules.path().child("operations"), operation.str(), &OPERATIONS);
    }
}

fn mutation(at: At<'_>, env: &Env, e: &mut Errors) {
    let patch_type = at.field("patchType");
    let (Some(ty), Some(field)) = (expression_type(patch_type.str()), expression_field(patch_type.str())) else {
        return choice(patch_type, &PATCH_TYPES, e);
    };
    let (chosen, name) = (at.field(field), patch_type.str());
    let text = chosen.field("expression");
    if !chosen.is_set() {
        chosen.required(e, &format!("must be specified when patchType is {name}"));
    } else if text.str().trim().is_empty() {
        text.required(e, "");
    } else {
        expression(text, text.str().trim(), env, &[ty], e);
    }
    for other in ["applyConfiguration", "jsonPatch"].into_iter().filter(|other| *other != field) {
        if at.field(other).is_set() {
            let detail = format!("must not be specified when patchType is {name}");
            at.field(other).invalid_as(e, format!("{{{other}}}").as_str(), &detail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::super::{Bindings, Policies};
    use super::*;

    const POLICY: &str = r#"{"matchConstraints":{"resourceRules":[{"operations":["CREATE"],"apiGroups":[""],
        "apiVersions":["v1"],"resources":["pods"]}]},"reinvocationPolicy":"Never",
        "mutations":[{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{}"}}]}"#;

    #[test]
    fn policies_are_checked() {
        let rule = |operation: &str| {
            format!(
                r#"{{"matchConstraints":{{"resourceRules":[{{"operations":["{operation}"],"apiGroups":[""],
                "apiVersions":["v1"],"resources":["pods"]}}]}}}}"#
            )
        };
        let delete = rule("DELETE");
        for (change, expected) in [
            ("{}", ""),
            (r#"{"mutations":[]}"#, "spec.mutations: Required value: mutations must contain at least one item"),
            (r#"{"reinvocationPolicy":""}"#, "spec.reinvocationPolicy: Required value"),
            (
                r#"{"reinvocationPolicy":"Often"}"#,
                r#"spec.reinvocationPolicy: Unsupported value: "Often": supported values: "IfNeeded", "Never""#,
            ),
            (
                delete.as_str(),
                "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \
                 \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
            ),
            (
                r#"{"mutations":[{"patchType":"Merge"},{}]}"#,
                "[spec.mutations[0].patchType: Unsupported value: \"Merge\": supported values: \"ApplyConfiguration\", \
                 \"JSONPatch\", spec.mutations[1].patchType: Required value]",
            ),
            (
                r#"{"mutations":[{"patchType":"JSONPatch","applyConfiguration":{"expression":"Object{}"}}]}"#,
                "[spec.mutations[0].jsonPatch: Required value: must be specified when patchType is JSONPatch, \
                 spec.mutations[0].applyConfiguration: Invalid value: \"{applyConfiguration}\": must not be specified \
                 when patchType is JSONPatch]",
            ),
            (
                r#"{"mutations":[{"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"'x'"}}]}"#,
                "spec.mutations[0].applyConfiguration.expression: Invalid value: \"'x'\": must evaluate to Object but \
                 got string",
            ),
            (
                r#"{"mutations":[{"patchType":"JSONPatch","jsonPatch":{"expression":"JSONPatch{}"}}]}"#,
                "spec.mutations[0].jsonPatch.expression: Invalid value: \"JSONPatch{}\": must evaluate to \
                 list(JSONPatch) but got JSONPatch",
            ),
            (
                r#"{"variables":[{"name":"a","expression":"'/' + jsonpatch.escapeKey('b')"}]}"#,
                "spec.variables[0].expression: Invalid value: \"'/' + jsonpatch.escapeKey('b')\": compilation failed: \
                 ERROR: <input>:1:7: undeclared reference to 'jsonpatch' (in container '')\n | '/' + jsonpatch.escapeKey('b')\
                 \n | ......^\nERROR: <input>:1:26: undeclared reference to 'escapeKey' (in container '')\n | '/' + \
                 jsonpatch.escapeKey('b')\n | .........................^",
            ),
            (
                r#"{"variables":[{"name":"a","expression":"'b'"}],"mutations":[{"patchType":"JSONPatch","jsonPatch":
                {"expression":"[JSONPatch{op: 'test', path: '/' + jsonpatch.escapeKey(variables.a), value: 1}]"}}]}"#,
                "",
            ),
        ] {
            assert_eq!(said(&Policies(&KIND), POLICY, change), expected, "{change}");
        }
    }

    #[test]
    fn bindings_are_checked() {
        let delete = r#"{"matchResources":{"resourceRules":[{"operations":["*"],"apiGroups":[""],"apiVersions":["v1"],
            "resources":["pods"]},{"operations":["DELETE"],"apiGroups":[""],"apiVersions":["v1"],"resources":["pods"]}]}}"#;
        for (change, expected) in [
            ("{}", ""),
            (r#"{"policyName":""}"#, "spec.policyName: Required value"),
            (
                delete,
                "spec.matchResources.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \
                 \"CONNECT\", \"CREATE\", \"UPDATE\"",
            ),
        ] {
            assert_eq!(said(&Bindings(&KIND), r#"{"policyName":"p"}"#, change), expected, "{change}");
        }
    }
}
