//! Configurations of admission webhooks (`pkg/apis/admissionregistration/validation`).

use super::{Strategy, simple};
use crate::admission::expression::env::{Options, base};
use crate::context::RequestContext;
use crate::validation::{At, one_of_if_set, webhook};
use kaji_api::Value;
use kaji_api::field::{Errors, Path};
use kaji_api::selector::{SelectorOptions, validate_label_selector};

const REVIEWS: [&str; 2] = ["v1", "v1beta1"];
const SIDE_EFFECTS: [&str; 4] = ["None", "NoneOnDryRun", "Some", "Unknown"];
const NO_SIDE_EFFECTS: [&str; 2] = ["None", "NoneOnDryRun"];
const RESERVED: &str = ".static.k8s.io";

/// Configurations of mutating or validating webhooks.
pub struct WebhookConfigurations;

/// What is demanded beyond the unconditional: of objects that broke a rule before it was one, it is not.
struct Demands {
    no_side_effects: bool,
    recognized_review: bool,
    unique_names: bool,
    label_values: bool,
    conditions: bool,
}

impl Strategy for WebhookConfigurations {
    fn default(&self, obj: &mut Value) {
        simple::webhooks(obj);
    }

    fn prepare_create(&self, _: &RequestContext, _: &mut Value) {}

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let demands = Demands {
            no_side_effects: true,
            recognized_review: true,
            unique_names: true,
            label_values: true,
            conditions: true,
        };
        check(obj, &demands, e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        check(obj, &Demands::of(obj, old), e);
    }

    fn warnings(&self, obj: &Value, _: Option<&Value>) -> Vec<String> {
        let warning = format!(
            "metadata.name: names ending with \"{RESERVED}\" are reserved for static manifest-based configurations \
             and cannot be managed via the API"
        );
        obj.name().ends_with(RESERVED).then_some(warning).into_iter().collect()
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn has_generation(&self) -> bool {
        true
    }
}

impl Demands {
    fn of(new: &Value, old: &Value) -> Self {
        let hooks = old["webhooks"].items();
        let known = |hook: &Value| hook["admissionReviewVersions"].items().iter().any(|v| REVIEWS.contains(&v.str()));
        let mut names: Vec<&str> = hooks.iter().map(|h| h["name"].str()).collect();
        names.sort_unstable();
        names.dedup();
        let selectors = || hooks.iter().flat_map(|h| [&h["namespaceSelector"], &h["objectSelector"]]);
        let conditions = |object: &Value| -> Vec<Value> {
            object["webhooks"].items().iter().map(|h| h["matchConditions"].clone()).collect()
        };
        Demands {
            no_side_effects: hooks.iter().all(|h| NO_SIDE_EFFECTS.contains(&h["sideEffects"].str())),
            recognized_review: hooks.iter().all(|h| h["admissionReviewVersions"].items().is_empty() || known(h)),
            unique_names: names.len() == hooks.len(),
            label_values: selectors().all(|selector| {
                let mut errors = Errors::new();
                validate_label_selector(selector, SelectorOptions::default(), &Path::root(), &mut errors);
                selector.is_null() || errors.is_empty()
            }),
            conditions: conditions(new) != conditions(old),
        }
    }
}

fn check(obj: &Value, demands: &Demands, e: &mut Errors) {
    let mutating = obj.kind() == "MutatingWebhookConfiguration";
    let mut names: Vec<&str> = Vec::new();
    for hook in At::root(obj).field("webhooks").list() {
        one(hook, mutating, demands, e);
        let name = hook.field("name");
        if demands.unique_names && !name.str().is_empty() {
            if names.contains(&name.str()) {
                name.duplicate(e);
            }
            names.push(name.str());
        }
    }
}

fn one(hook: At<'_>, mutating: bool, demands: &Demands, e: &mut Errors) {
    webhook::fully_qualified(hook.field("name"), e);
    hook.field("rules").list().for_each(|rule| webhook::rule_with_operations(rule, e));
    one_of_if_set(hook.field("failurePolicy"), e, &["Fail", "Ignore"]);
    one_of_if_set(hook.field("matchPolicy"), e, &["Equivalent", "Exact"]);
    let allowed = if demands.no_side_effects { &NO_SIDE_EFFECTS[..] } else { &SIDE_EFFECTS[..] };
    match hook.field("sideEffects") {
        effects if !effects.is_set() => effects.required(e, &format!("must specify one of {}", allowed.join(", "))),
        effects => one_of_if_set(effects, e, allowed),
    }
    let timeout = hook.field("timeoutSeconds");
    if timeout.is_set() && !(1..=30).contains(&timeout.i64()) {
        timeout.invalid(e, "the timeout value must be between 1 and 30 seconds");
    }
    for key in ["namespaceSelector", "objectSelector"] {
        let selector = hook.field(key);
        if selector.is_set() {
            let options = SelectorOptions { any_value: !demands.label_values, ..SelectorOptions::default() };
            validate_label_selector(selector.v, options, &selector.path(), e);
        }
    }
    if mutating {
        one_of_if_set(hook.field("reinvocationPolicy"), e, &["IfNeeded", "Never"]);
    }
    webhook::client_config(hook.field("clientConfig"), e);
    if demands.conditions {
        webhook::conditions(hook.field("matchConditions"), &base(Options::WEBHOOK), e);
    }
    webhook::review_versions(hook.field("admissionReviewVersions"), &REVIEWS, demands.recognized_review, e);
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::codec::parse_json;

    fn configuration(change: &str) -> Value {
        let mut hook = parse_json(
            br#"{"name":"w.k8s.io","sideEffects":"None","admissionReviewVersions":["v1"],"clientConfig":{"url":"https://h"},
            "rules":[{"operations":["CREATE"],"apiGroups":["a"],"apiVersions":["v1"],"resources":["a"]}]}"#,
        )
        .unwrap();
        if let Value::Object(fields) = parse_json(change.as_bytes()).unwrap() {
            for (key, value) in fields.0 {
                hook.set(key, value);
            }
        }
        Value::from_iter([
            ("kind", Value::from("MutatingWebhookConfiguration")),
            ("webhooks", Value::Array(vec![hook])),
        ])
    }

    fn said(change: &str) -> String {
        let mut e = Errors::new();
        let mut configuration = configuration(change);
        WebhookConfigurations.default(&mut configuration);
        WebhookConfigurations.validate(&configuration, &mut e);
        if e.is_empty() { String::new() } else { e.to_string() }
    }

    #[test]
    fn configurations_are_checked() {
        let rule = |operations: &str, resources: &str| {
            format!(
                r#"{{"rules":[{{"operations":[{operations}],"apiGroups":["a"],"apiVersions":["v1"],"resources":[{resources}]}}]}}"#
            )
        };
        for (change, expected) in [
            ("{}", ""),
            (
                r#"{"admissionReviewVersions":[]}"#,
                "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1",
            ),
            (
                r#"{"admissionReviewVersions":["x"]}"#,
                r#"webhooks[0].admissionReviewVersions: Invalid value: ["x"]: must include at least one of v1, v1beta1"#,
            ),
            (
                r#"{"admissionReviewVersions":["v1","v1"]}"#,
                r#"webhooks[0].admissionReviewVersions[1]: Invalid value: "v1": duplicate version"#,
            ),
            (
                r#"{"name":"k8s.io"}"#,
                r#"webhooks[0].name: Invalid value: "k8s.io": should be a domain with at least three segments separated by dots"#,
            ),
            (r#"{"name":""}"#, "webhooks[0].name: Required value"),
            (
                r#"{"failurePolicy":"other"}"#,
                r#"webhooks[0].failurePolicy: Unsupported value: "other": supported values: "Fail", "Ignore""#,
            ),
            (
                r#"{"sideEffects":"Some"}"#,
                r#"webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun""#,
            ),
            (
                r#"{"sideEffects":null}"#,
                "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
            ),
            (
                r#"{"timeoutSeconds":31}"#,
                "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            ),
            (
                r#"{"clientConfig":{}}"#,
                "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            ),
            (
                r#"{"clientConfig":{"url":"https://h/a?b=c"}}"#,
                r#"webhooks[0].clientConfig.url: Invalid value: "b=c": query parameters are not permitted in the URL"#,
            ),
            (
                r#"{"clientConfig":{"service":{"name":"n","namespace":"ns","path":"foo/"}}}"#,
                r#"webhooks[0].clientConfig.service.path: Invalid value: "foo/": must start with a '/'"#,
            ),
            (
                r#"{"clientConfig":{"service":{"name":"n","namespace":"ns","path":"/foo//bar/"}}}"#,
                r#"webhooks[0].clientConfig.service.path: Invalid value: "/foo//bar/": segment[1] may not be empty"#,
            ),
            (
                r#"{"clientConfig":{"service":{"name":"n","namespace":"ns","port":65536}}}"#,
                "webhooks[0].clientConfig.service.port: Invalid value: 65536: port is not valid: must be between 1 and 65535, inclusive",
            ),
            (
                &rule(r#""*","CREATE""#, r#""a""#),
                r#"webhooks[0].rules[0].operations: Invalid value: ["*","CREATE"]: if '*' is present, must not specify other operations"#,
            ),
            (
                &rule(r#""PATCH""#, r#""a""#),
                r#"webhooks[0].rules[0].operations[0]: Unsupported value: "PATCH": supported values: "*", "CONNECT", "CREATE", "DELETE", "UPDATE""#,
            ),
            (
                &rule(r#""CREATE""#, r#""a/*","a/x""#),
                r#"webhooks[0].rules[0].resources[1]: Invalid value: "a/x": if 'a/*' is present, must not specify a/x"#,
            ),
            (
                &rule(r#""CREATE""#, r#""*/*","a""#),
                r#"webhooks[0].rules[0].resources: Invalid value: ["*/*","a"]: if '*/*' is present, must not specify other resources"#,
            ),
            (
                r#"{"matchConditions":[{"name":"n","expression":"6"}]}"#,
                r#"webhooks[0].matchConditions[0].expression: Invalid value: "6": must evaluate to bool but got int"#,
            ),
            (
                r#"{"matchConditions":[{"name":"n","expression":"request.userInfo.username == 'x' && authorizer.requestResource.check('get').allowed()"}]}"#,
                "",
            ),
            (
                r#"{"matchConditions":[{"name":"n","expression":" "}]}"#,
                "webhooks[0].matchConditions[0].expression: Required value",
            ),
        ] {
            assert_eq!(said(change), expected, "{change}");
        }
    }

    #[test]
    fn what_broke_a_rule_before_may_go_on() {
        let old = configuration(r#"{"sideEffects":"Some","admissionReviewVersions":["x"]}"#);
        let mut e = Errors::new();
        WebhookConfigurations.validate_update(&old, &old, &mut e);
        assert!(e.is_empty(), "{e}");
    }
}
