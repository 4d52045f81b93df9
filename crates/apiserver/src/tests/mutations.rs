//! Admission policies that change what is written.

use super::custom::established;
use super::{Server, answer, ask, request};
use serde_json::{Value as Json, json};

const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies";
const BINDINGS: &str = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings";
const MAPS: &str = "/api/v1/namespaces/ns/configmaps";

fn rules(group: &str, version: &str, resource: &str) -> Json {
    json!({"resourceRules": [{"apiGroups": [group], "apiVersions": [version], "operations": ["CREATE", "UPDATE"],
        "resources": [resource]}]})
}

/// An expression that is an `Object` or a list of operations, as a mutation.
fn mutation(expression: &str) -> Json {
    match expression.starts_with('[') {
        true => json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}),
        false => json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}),
    }
}

/// A policy for configmaps, changed by `with`, and a binding of it; they are in force when this returns.
pub(super) async fn mutating_policy(s: &Server, name: &str, with: &Json, expression: &str) {
    let mut spec = json!({"matchConstraints": rules("", "v1", "configmaps"), "reinvocationPolicy": "Never",
        "mutations": [mutation(expression)]});
    let mut binding = json!({"policyName": name});
    for (key, value) in with.as_object().unwrap() {
        match key.as_str() {
            "paramRef" | "matchResources" => binding[key] = value.clone(),
            _ => spec[key] = value.clone(),
        }
    }
    s.post(POLICIES, &json!({"metadata": {"name": name}, "spec": spec})).await.ok();
    s.post(BINDINGS, &json!({"metadata": {"name": name}, "spec": binding})).await.ok();
    s.api.fresh().await.unwrap();
}

async fn forget(s: &Server, name: &str) {
    s.delete(&format!("{BINDINGS}/{name}")).await.ok();
    s.delete(&format!("{POLICIES}/{name}")).await.ok();
    s.api.fresh().await.unwrap();
}

fn map(name: &str, data: &Json) -> Json {
    json!({"metadata": {"name": name}, "data": data})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn configurations_merge_by_the_schema_and_are_defaulted() {
    let s = Server::with_namespace("ns").await;
    let sidecar = "Object{
        metadata: Object.metadata{annotations: {'made-in': namespaceObject.metadata.name}},
        spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{
            restartPolicy: 'Always',
            containers: [
                Object.spec.template.spec.containers{name: 'proxy', image: variables.image},
                Object.spec.template.spec.containers{name: 'app', env: [
                    Object.spec.template.spec.containers.env{name: 'PROXY', value: 'yes'}]}
            ]}}}}";
    let with = json!({
        "matchConstraints": rules("apps", "v1", "deployments"),
        "variables": [{"name": "image", "expression": "'proxy:' + object.metadata.labels.proxy"}],
        "matchConditions": [{"name": "wanted", "expression": "has(object.metadata.labels) && 'proxy' in object.metadata.labels"}],
    });
    mutating_policy(&s, "p", &with, sidecar).await;
    let deployment = |name: &str, labels: &Json| {
        json!({"metadata": {"name": name, "labels": labels}, "spec": {"selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [
                {"name": "app", "image": "app:1", "env": [{"name": "A", "value": "1"}]}]}}}})
    };
    let path = "/apis/apps/v1/namespaces/ns/deployments";
    let made = s.post(path, &deployment("d", &json!({"proxy": "2"}))).await.ok();
    assert_eq!(made["metadata"]["annotations"], json!({"made-in": "ns"}));
    let containers = made["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    let names: Vec<_> =
        containers.iter().map(|c| (c["name"].as_str().unwrap(), c["image"].as_str().unwrap())).collect();
    assert_eq!(names, [("proxy", "proxy:2"), ("app", "app:1")]);
    assert_eq!(containers[0]["imagePullPolicy"], "IfNotPresent", "what is added gets its defaults");
    assert_eq!(containers[1]["env"], json!([{"name": "A", "value": "1"}, {"name": "PROXY", "value": "yes"}]));
    let plain = s.post(path, &deployment("e", &json!({"other": "2"}))).await.ok();
    assert_eq!(plain["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
    // Nobody owns what the policy adds.
    let owners = made["metadata"]["managedFields"].to_string();
    assert!(!owners.contains("proxy\\\"}") && owners.contains("app"), "{owners}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_are_applied_in_order() {
    let s = Server::with_namespace("ns").await;
    let patch = "[
        JSONPatch{op: 'add', path: '/metadata/labels', value: {'a/b': 'x'}},
        JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/c'), value: object.metadata.name},
        JSONPatch{op: 'move', from: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), path: '/metadata/labels/d'}
    ]";
    let whole = "[JSONPatch{op: 'add', path: '/data', value: {'labels': string(size(object.metadata.labels))}}]";
    let test = "[JSONPatch{op: 'test', path: '/data/labels', value: 'many'}, JSONPatch{op: 'remove', path: '/data'}]";
    mutating_policy(&s, "p", &json!({"mutations": [mutation(patch), mutation(whole), mutation(test)]}), "").await;
    let made = s.post(MAPS, &json!({"metadata": {"name": "m"}})).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"a/c": "m", "d": "x"}));
    assert_eq!(made["data"], json!({"labels": "2"}), "each mutation sees the ones before, a failed test stops its own");
    // What is deleted is not changed.
    s.delete(&format!("{MAPS}/m")).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutations_that_make_no_sense_refuse_unless_told_otherwise() {
    let s = Server::with_namespace("ns").await;
    s.post("/api/v1/namespaces/ns/services", &json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}))
        .await
        .ok();
    let slices = json!({"matchConstraints": rules("discovery.k8s.io", "v1", "endpointslices")});
    let slice = json!({"metadata": {"name": "e"}, "addressType": "IPv4", "endpoints": []});
    let slices_path = "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices";
    let denied = |why: &str| format!("policy 'p' with binding 'p' denied request: {why}");
    for (expression, why) in [
        (
            "Object{metadata: Object.metadata{labels: {'a': string(object.data.missing)}}}",
            "expression 'Object{metadata: Object.metadata{labels: {'a': string(object.data.missing)}}}' resulted in \
             error: no such key: data",
        ),
        (
            "Object{spec: Object.other{a: 1}}",
            "type mismatch: unexpected type name \"Object.other\", expected \"Object.spec\", which matches field name \
             path from root Object type",
        ),
        (
            "Object{spec: Object.spec{a: 1}}",
            "error applying patch: failed to convert patch object to typed object: .spec: field not declared in schema",
        ),
        (
            "Object{data: Object.data{a: 1}}",
            "error applying patch: failed to convert patch object to typed object: .data.a: expected string, got \
             &value.valueUnstructured{Value:1}",
        ),
        (
            "Object{metadata: Object.metadata{managedFields: []}}",
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: \
             .metadata.managedFields",
        ),
        (
            "Object{metadata: Object.metadata{labels: {'a': null}}}",
            "error applying patch: failed to convert patch object to typed object: .metadata.labels.a: expected a value \
             of JSON, got null",
        ),
        (
            "[JSONPatch{op: 'remove', path: '/data/none'}]",
            "JSON Patch: remove operation does not apply: doc is missing path: \"/data/none\": missing value",
        ),
    ] {
        mutating_policy(&s, "p", &json!({}), expression).await;
        let refused = s.post(MAPS, &json!({"metadata": {"name": "m"}})).await.fails(403);
        assert_eq!((&refused["reason"], &refused["message"]), (&json!("Invalid"), &json!(denied(why))));
        assert_eq!(refused["details"]["causes"], json!([{"message": denied(why)}]));
        forget(&s, "p").await;
        mutating_policy(&s, "p", &json!({"failurePolicy": "Ignore"}), expression).await;
        s.post(&format!("{MAPS}?dryRun=All"), &json!({"metadata": {"name": "m"}})).await.ok();
        forget(&s, "p").await;
    }
    mutating_policy(&s, "p", &slices, "Object{endpoints: [Object.endpoints{addresses: ['10.0.0.1']}]}").await;
    let refused = s.post(slices_path, &slice).await.message(403);
    let why = "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: \
               .endpoints";
    assert_eq!(refused, denied(why));
    forget(&s, "p").await;
    // A result that is no object of its kind fails whatever the policy says.
    let odd = "[JSONPatch{op: 'add', path: '/odd', value: 1}]";
    mutating_policy(&s, "p", &json!({"failurePolicy": "Ignore"}), odd).await;
    let refused = s.post(MAPS, &json!({"metadata": {"name": "m"}})).await.message(500);
    assert_eq!(refused, "Internal error occurred: strict decoding error: unknown field \"odd\"");
    forget(&s, "p").await;
    let token = json!({"matchConstraints": rules("", "v1", "serviceaccounts/token")});
    mutating_policy(&s, "p", &token, "Object{spec: Object.spec{expirationSeconds: 700}}").await;
    s.post("/api/v1/namespaces/ns/serviceaccounts", &json!({"metadata": {"name": "a"}})).await.ok();
    let refused = s.post("/api/v1/namespaces/ns/serviceaccounts/a/token", &json!({"spec": {}})).await.message(403);
    assert!(refused.ends_with("no corresponding type for authentication.k8s.io/v1, Kind=TokenRequest"), "{refused}");
    let metrics = s.get("/metrics").await.text();
    for line in [
        "apiserver_mutating_admission_policy_check_total{error_type=\"invalid_error\",policy=\"p\",policy_binding=\"p\"} ",
        "apiserver_mutating_admission_policy_check_duration_seconds_count{error_type=\"invalid_error\",policy=\"p\",policy_binding=\"p\"} ",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bindings_choose_and_bring_parameters() {
    let s = Server::with_namespace("ns").await;
    let with = json!({
        "paramKind": {"apiVersion": "v1", "kind": "Secret"},
        "paramRef": {"selector": {"matchLabels": {"for": "maps"}}, "parameterNotFoundAction": "Deny"},
        "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ns"}}},
    });
    let one = "[JSONPatch{op: 'add', path: '/metadata/labels', value: object.metadata.?labels.orValue({})}, \
               JSONPatch{op: 'add', path: '/metadata/labels/' + params.metadata.name, value: 'here'}]";
    let mut with_one = with.clone();
    with_one["mutations"] = json!([mutation(one)]);
    mutating_policy(&s, "p", &with_one, "").await;
    let refused = s.post(MAPS, &map("m", &json!({}))).await.fails(403);
    assert_eq!(refused["reason"], "Forbidden");
    assert_eq!(
        refused["message"],
        "policy 'p' with binding 'p' denied request: failed to configure binding: no params found for policy binding \
         with `Deny` parameterNotFoundAction"
    );
    for (name, labels) in [("a", json!({"for": "maps"})), ("b", json!({"for": "maps"})), ("c", json!({}))] {
        let secret = json!({"metadata": {"name": name, "labels": labels}});
        s.post("/api/v1/namespaces/ns/secrets", &secret).await.ok();
    }
    s.api.fresh().await.unwrap();
    let made = s.post(MAPS, &map("m", &json!({}))).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"a": "here", "b": "here"}));
    let elsewhere = s.post("/api/v1/namespaces/default/configmaps", &map("m", &json!({}))).await.ok();
    assert_eq!(elsewhere["metadata"]["labels"], Json::Null);
    forget(&s, "p").await;
    let unknown = json!({"paramKind": {"apiVersion": "example.com/v1", "kind": "Unknown"}});
    mutating_policy(&s, "p", &unknown, "Object{}").await;
    assert_eq!(
        s.post(MAPS, &map("n", &json!({}))).await.message(403),
        "policy \"p\" denied request: failed to configure policy: failed to find resource referenced by paramKind: \
         'example.com/v1, Kind=Unknown'"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_have_another_turn_if_they_ask_for_it() {
    let s = Server::with_namespace("ns").await;
    let count = |key: &str| {
        let old = format!("int(object.?metadata.labels[?'{key}'].orValue('0'))");
        format!("Object{{metadata: Object.metadata{{labels: {{'{key}': string({old} + 1)}}}}}}")
    };
    mutating_policy(&s, "a", &json!({"reinvocationPolicy": "IfNeeded"}), &count("a")).await;
    mutating_policy(&s, "b", &json!({}), &count("b")).await;
    let made = s.post(MAPS, &map("m", &json!({}))).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"a": "2", "b": "1"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_resources_are_mutated_by_their_schema() {
    let s = Server::with_namespace("ns").await;
    let parts = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"},
            "size": {"type": "integer", "default": 7}, "color": {"type": "string"}}}});
    let spec = json!({"type": "object", "properties": {"parts": parts,
        "plain": {"type": "array", "items": {"type": "string"}}}});
    let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "gears.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "gears", "kind": "Gear"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema},
                {"name": "v2", "served": true, "storage": false, "schema": schema}]}});
    established(&s, &definition).await;
    let with = json!({"matchConstraints": rules("example.com", "v1", "gears")});
    let expression =
        "Object{spec: Object.spec{parts: [Object.spec.parts{name: 'b'}, Object.spec.parts{name: 'a', color: 'red'}]}}";
    mutating_policy(&s, "p", &with, expression).await;
    let gear = |version: &str, name: &str| {
        json!({"apiVersion": format!("example.com/{version}"), "kind": "Gear", "metadata": {"name": name},
            "spec": {"parts": [{"name": "a", "size": 1}]}})
    };
    for version in ["v1", "v2"] {
        let path = format!("/apis/example.com/{version}/namespaces/ns/gears");
        let made = s.post(&path, &gear(version, version)).await.ok();
        assert_eq!(
            made["spec"]["parts"],
            json!([{"name": "b", "size": 7}, {"color": "red", "name": "a", "size": 1}]),
            "{version}"
        );
        assert_eq!(made["apiVersion"], format!("example.com/{version}"));
    }
    forget(&s, "p").await;
    mutating_policy(&s, "p", &with, "Object{spec: Object.spec{plain: ['a']}}").await;
    let refused = s.post("/apis/example.com/v1/namespaces/ns/gears", &gear("v1", "x")).await.message(403);
    assert!(refused.ends_with("may not mutate atomic arrays, maps or structs: .spec.plain"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_do_not_touch_policies_and_ask_for_permissions() {
    let s = Server::with_namespace("ns").await;
    let with = json!({"matchConstraints": rules("*", "*", "*")});
    let allowed = "authorizer.group('').resource('secrets').namespace('ns').check('get').allowed()";
    let expression = format!("Object{{metadata: Object.metadata{{labels: {{'may': string({allowed})}}}}}}");
    mutating_policy(&s, "p", &with, &expression).await;
    let binding = s.get(&format!("{BINDINGS}/p")).await.ok();
    let again = s.put(&format!("{BINDINGS}/p"), &binding).await.ok();
    assert_eq!(again["metadata"]["labels"], Json::Null);
    let made = s.post(MAPS, &map("m", &json!({}))).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"may": "true"}));
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let review = s.post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await.ok();
    assert_eq!(review["metadata"]["labels"], Json::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_are_for_those_who_may_read_them() {
    let s = Server::with_namespace("ns").await;
    let role = json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": ["admissionregistration.k8s.io"],
        "resources": ["*"], "verbs": ["*"]}, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]}]});
    s.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", &role).await.ok();
    let binding = json!({"metadata": {"name": "r"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole", "name": "r"}, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}]});
    s.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await.ok();
    s.api.fresh().await.unwrap();
    let eve = s.as_user("eve", &["system:authenticated"]);
    let post = async |path: &str, object: &Json| {
        let body = object.to_string();
        answer(ask(&eve, request("POST", path, &[("content-type", "application/json")], body.as_bytes())).await).await
    };
    let policy = |name: &str, kind: &str| {
        json!({"metadata": {"name": name}, "spec": {"paramKind": {"apiVersion": "v1", "kind": kind},
            "matchConstraints": rules("", "v1", "pods"), "reinvocationPolicy": "Never", "mutations": [mutation("Object{}")]}})
    };
    let refused = post(POLICIES, &policy("s", "Secret")).await.message(422);
    let expected = "spec.paramKind: Forbidden: user &{eve  [system:authenticated] map[]} must have \"get\" permission on \
                    all objects of the referenced paramKind (kind=Secret, apiVersion=v1)";
    assert!(refused.ends_with(expected), "{refused}");
    post(POLICIES, &policy("c", "ConfigMap")).await.ok();
    s.post(POLICIES, &policy("s", "Secret")).await.ok();
    s.api.fresh().await.unwrap();
    let binding = |name: &str, policy: &str| {
        json!({"metadata": {"name": name}, "spec": {"policyName": policy,
            "paramRef": {"selector": {}, "parameterNotFoundAction": "Deny"}}})
    };
    let refused = post(BINDINGS, &binding("s", "s")).await.message(422);
    let expected = "does not have \"list\" permission on the object referenced by paramRef";
    assert!(refused.ends_with(expected), "{refused}");
    let refused = post(BINDINGS, &binding("n", "none")).await.message(422);
    assert!(refused.contains("unable to get policy none to determine minimum required permissions"), "{refused}");
    post(BINDINGS, &binding("c", "c")).await.ok();
}
