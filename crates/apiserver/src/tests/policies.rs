//! Admission policies: expressions that refuse and warn.

use super::Server;
use super::custom::established;
use super::harness::Answer;
use serde_json::{Value as Json, json};
use std::time::Duration;

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings";
const MAPS: &str = "/api/v1/namespaces/ns/configmaps";

async fn server() -> Server {
    Server::with_namespace("ns").await
}

fn rules(resource: &str) -> Json {
    json!({"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
        "resources": [resource]}]})
}

/// A policy with a spec, and a binding with another.
async fn policy(s: &Server, name: &str, mut spec: Json, mut binding: Json) {
    if spec["matchConstraints"].is_null() {
        spec["matchConstraints"] = rules("configmaps");
    }
    s.post(POLICIES, &json!({"metadata": {"name": name}, "spec": spec})).await.ok();
    binding["policyName"] = json!(name);
    if binding["validationActions"].is_null() {
        binding["validationActions"] = json!(["Deny"]);
    }
    s.post(BINDINGS, &json!({"metadata": {"name": name}, "spec": binding})).await.ok();
}

/// Writes until the answer is this one: policies and rules take effect a moment after they are stored.
async fn until(s: &Server, path: &str, body: &Json, code: u16) -> Answer {
    for _ in 0..500 {
        let answer = s.post(path, body).await;
        if answer.code == code {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{path} is never answered with {code}")
}

fn map(name: &str, data: &Json) -> Json {
    json!({"metadata": {"name": name}, "data": data})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_refuse_with_their_own_words() {
    let s = server().await;
    let spec = json!({
        "variables": [{"name": "size", "expression": "has(object.data) ? object.data.size() : 0"},
            {"name": "many", "expression": "variables.size > 1"}],
        "matchConditions": [{"name": "not-mine", "expression": "object.metadata.name != 'mine'"}],
        "validations": [
            {"expression": "!variables.many", "messageExpression": "'has ' + string(variables.size) + ' keys'"},
            {"expression": "object.metadata.name != 'bad'", "message": "is bad", "reason": "Forbidden"},
            {"expression": "namespaceObject.metadata.name == 'ns' && request.operation in ['CREATE', 'UPDATE']"}
        ]
    });
    policy(&s, "p", spec, json!({})).await;
    until(&s, MAPS, &map("big", &json!({"a": "1", "b": "2"})), 422).await;
    s.post(MAPS, &map("good", &json!({"a": "1"}))).await.ok();
    s.post(MAPS, &map("mine", &json!({"a": "1", "b": "2"}))).await.ok();
    let refused = s.post(MAPS, &map("big", &json!({"a": "1", "b": "2"}))).await.fails(422);
    assert_eq!(refused["reason"], "Invalid");
    let message =
        "configmaps \"big\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'p' denied request: has 2 keys";
    assert_eq!(refused["message"], message);
    let refused = s.post(MAPS, &map("bad", &json!({}))).await.message(403);
    assert!(refused.ends_with("'p' with binding 'p' denied request: is bad"), "{refused}");
    s.delete(&format!("{BINDINGS}/p")).await.ok();
    until(&s, MAPS, &map("bad", &json!({})), 201).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_bring_parameters_and_choose_what_happens() {
    let s = server().await;
    let spec = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConstraints": rules("secrets"),
        "validations": [{"expression": "object.metadata.name.startsWith(params.data.prefix)"}]});
    let binding = json!({"validationActions": ["Warn"],
        "paramRef": {"name": "params", "parameterNotFoundAction": "Deny"}});
    policy(&s, "p", spec, binding).await;
    let secrets = "/api/v1/namespaces/ns/secrets";
    let refused = until(&s, secrets, &json!({"metadata": {"name": "w"}}), 422).await.message(422);
    assert!(refused.contains("failed to configure binding: no params found for policy binding"), "{refused}");
    s.post(MAPS, &map("params", &json!({"prefix": "ok-"}))).await.ok();
    until(&s, secrets, &json!({"metadata": {"name": "ok-w"}}), 201).await;
    let answer = s.post(secrets, &json!({"metadata": {"name": "x"}})).await;
    let warnings = answer.warnings().join("\n");
    let expected = "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'p': failed expression: \
                    object.metadata.name.startsWith(params.data.prefix)";
    assert!(warnings.contains(expected), "{warnings}");
    answer.ok();
    let answer = s.post(secrets, &json!({"metadata": {"name": "ok-x"}})).await;
    assert_eq!(answer.warnings(), Vec::<String>::new());
    answer.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_count_as_the_policy_says() {
    let s = server().await;
    let rule = json!([{"expression": "object.data.missing == 'x'"}]);
    policy(&s, "open", json!({"failurePolicy": "Ignore", "validations": rule}), json!({})).await;
    s.post(MAPS, &map("a", &json!({"k": "v"}))).await.ok();
    policy(&s, "shut", json!({"validations": rule}), json!({})).await;
    let refused = until(&s, MAPS, &map("b", &json!({"k": "v"})), 422).await.message(422);
    let expected = "expression 'object.data.missing == 'x'' resulted in error: no such key: missing";
    assert!(refused.ends_with(expected), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_ask_for_permissions() {
    let s = server().await;
    let check =
        "authorizer.serviceAccount('ns', 'robot').group('').resource('pods').namespace('ns').check('get').allowed()";
    policy(&s, "p", json!({"validations": [{"expression": check, "message": "no robot"}]}), json!({})).await;
    until(&s, MAPS, &map("b", &json!({})), 422).await;
    let role =
        json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]});
    s.post("/apis/rbac.authorization.k8s.io/v1/namespaces/ns/roles", &role).await.ok();
    let binding = json!({"metadata": {"name": "r"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
        "name": "r"}, "subjects": [{"kind": "ServiceAccount", "namespace": "ns", "name": "robot"}]});
    s.post("/apis/rbac.authorization.k8s.io/v1/namespaces/ns/rolebindings", &binding).await.ok();
    until(&s, MAPS, &map("a", &json!({})), 201).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_match_by_rules_and_selectors() {
    let s = server().await;
    let mut constraints = rules("*");
    constraints["excludeResourceRules"] = json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"],
        "resources": ["configmaps"], "resourceNames": ["free"]}]);
    constraints["objectSelector"] = json!({"matchLabels": {"checked": "yes"}});
    let spec = json!({"matchConstraints": constraints, "validations": [{"expression": "false", "message": "never"}]});
    policy(
        &s,
        "p",
        spec,
        json!({"matchResources": {"namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["ns"]}]}}}),
    )
    .await;
    let labelled = |name: &str| json!({"metadata": {"name": name, "labels": {"checked": "yes"}}});
    until(&s, MAPS, &labelled("caught"), 422).await;
    s.post(MAPS, &map("plain", &json!({}))).await.ok();
    s.post(MAPS, &labelled("free")).await.ok();
    s.post(MAPS, &labelled("caught")).await.message(422);
    s.post("/api/v1/namespaces/default/configmaps", &labelled("elsewhere")).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn types_are_checked_once_for_a_generation() {
    let s = server().await;
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gears.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "gears", "kind": "Gear"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object",
                "properties": {"spec": {"type": "object", "properties": {"teeth": {"type": "integer"}}}}}}}]}});
    established(&s, &definition).await;
    let constraints = json!({"resourceRules": [{"apiGroups": ["example.com"], "apiVersions": ["v1"],
        "operations": ["CREATE"], "resources": ["gears"]}]});
    let mut policy = json!({"metadata": {"name": "p"}, "spec": {"matchConstraints": constraints,
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [
            {"expression": "object.spec.teeth > 'many'"},
            {"expression": "object.spec.teeth > 1", "messageExpression": "'size: ' + params.missing"}]}});
    let mut watch = s.watch(&format!("{POLICIES}?watch=true")).await;
    s.post(POLICIES, &policy).await.ok();
    let mut checked = async |generation: i64| loop {
        let event = watch.next().await.expect("the watch goes on");
        if event["object"]["status"]["observedGeneration"] == generation {
            return event["object"].clone();
        }
    };
    let warned = checked(1).await;
    let warnings = warned["status"]["typeChecking"]["expressionWarnings"].as_array().unwrap();
    let fields: Vec<_> = warnings.iter().map(|w| w["fieldRef"].as_str().unwrap()).collect();
    assert_eq!(fields, ["spec.validations[0].expression", "spec.validations[1].messageExpression"]);
    let told = |at: usize, text: &str| warnings[at]["warning"].as_str().unwrap().contains(text);
    assert!(
        told(0, "example.com/v1, Kind=Gear: ERROR: <input>:1:19: found no matching overload for '_>_'"),
        "{warned}"
    );
    assert!(told(1, "undefined field 'missing'"), "{warned}");
    policy["spec"]["validations"] = json!([{"expression": "object.spec.teeth > 1"}]);
    s.merge(&format!("{POLICIES}/p"), &policy).await.ok();
    let fine = checked(2).await;
    assert_eq!(fine["status"]["typeChecking"], json!({}), "{fine}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_policies_come_to_is_counted() {
    let s = server().await;
    let rule = json!([{"expression": "object.data.size() < 1", "message": "too much"}]);
    policy(&s, "deny", json!({"validations": rule}), json!({})).await;
    policy(&s, "warn", json!({"validations": rule}), json!({"validationActions": ["Warn", "Audit"]})).await;
    policy(
        &s,
        "open",
        json!({"failurePolicy": "Ignore", "validations": [{"expression": "object.data.x == 'y'"}]}),
        json!({}),
    )
    .await;
    s.api.fresh().await.unwrap();
    s.post(MAPS, &map("a", &json!({"k": "v"}))).await.fails(422);
    s.post(MAPS, &map("a", &json!({"x": "y"}))).await.fails(422);
    let metrics = s.get("/metrics").await.text();
    let name = "apiserver_validating_admission_policy_check_total";
    for (action, policy, count) in
        [("deny", "deny", 2), ("warn", "warn", 2), ("audit", "warn", 2), ("allow", "open", 1)]
    {
        let labels = format!(
            "enforcement_action=\"{action}\",error_type=\"invalid_error\",policy=\"{policy}\",policy_binding=\"{policy}\""
        );
        let line = format!("{name}{{{labels}}} {count}\n");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
        let line = format!("apiserver_validating_admission_policy_check_duration_seconds_count{{{labels}}} {count}\n");
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}
