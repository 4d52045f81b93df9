//! Admission webhooks, against a server on loopback.

use super::audit::Audited;
use super::extension::{Answer, Extension, reply};
use super::mutations::mutating_policy;
use super::{Server, answer, ask, request};
use base64::prelude::*;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use std::sync::Arc;

const NS: &str = "/api/v1/namespaces/ns";
const MAPS: &str = "/api/v1/namespaces/ns/configmaps";

/// A server that answers by the path it is called at, and keeps what it was shown.
struct Hooks {
    server: Extension,
    seen: Arc<Mutex<Vec<(String, Json)>>>,
}

impl Hooks {
    async fn start() -> Self {
        let seen: Arc<Mutex<Vec<(String, Json)>>> = Arc::default();
        let kept = seen.clone();
        let server = Extension::start(move |request| {
            let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
            let review: Json = serde_json::from_slice(request.body()).unwrap_or_default();
            let mut shown = review.clone();
            shown["query"] = query.into();
            kept.lock().push((path.clone(), shown));
            Box::pin(async move { respond(&path, &review).await })
        })
        .await;
        Hooks { server, seen }
    }

    /// What a path was shown since the last time.
    fn take(&self, path: &str) -> Vec<Json> {
        let mut seen = self.seen.lock();
        let (ours, rest) = seen.drain(..).partition(|(p, _)| p == path);
        *seen = rest;
        let ours: Vec<(String, Json)> = ours;
        ours.into_iter().map(|(_, review)| review["request"].clone()).collect()
    }

    fn order(&self) -> Vec<String> {
        self.seen.lock().drain(..).map(|(path, _)| path).collect()
    }
}

fn patch(operations: &Json) -> Json {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": BASE64_STANDARD.encode(operations.to_string())})
}

async fn respond(path: &str, review: &Json) -> Answer {
    let label = |name: &str| {
        let labels = &review["request"]["object"]["metadata"]["labels"];
        match labels.is_null() {
            true => patch(&json!([{"op": "add", "path": "/metadata/labels", "value": {name: "1"}}])),
            false => patch(&json!([{"op": "add", "path": format!("/metadata/labels/{name}"), "value": "1"}])),
        }
    };
    let mut response = match path {
        "/deny" => json!({"allowed": false, "status": {"message": "not so", "reason": "Odd", "code": 418,
            "details": {"causes": [{"message": "because"}]}}}),
        "/silent" => json!({"allowed": false}),
        "/warn" => json!({"allowed": true, "warnings": ["mind the gap"]}),
        "/label-a" => label("a"),
        "/label-b" => label("b"),
        "/data" => patch(
            &json!([{"op": "add", "path": "/data", "value": {"k": "v"}}, {"op": "add", "path": "/odd", "value": 1}]),
        ),
        "/noted" => json!({"allowed": true, "auditAnnotations": {"why": "so", "a/b/c": "no"}}),
        "/owners" => patch(&json!([{"op": "replace", "path": "/metadata/managedFields/0/manager", "value": "other"}])),
        "/no-owners" => patch(&json!([{"op": "remove", "path": "/metadata/managedFields"}])),
        "/bad-owners" => {
            patch(&json!([{"op": "replace", "path": "/metadata/managedFields/0/fieldsV1", "value": {"x": {}}},
                {"op": "add", "path": "/data", "value": {"k": "v"}}]))
        }
        "/bad-patch" => patch(&json!([{"op": "remove", "path": "/metadata/nothing"}])),
        "/replicas" => patch(&json!([{"op": "replace", "path": "/spec/replicas", "value": 3}])),
        "/hpa" => patch(&json!([{"op": "replace", "path": "/spec/maxReplicas", "value": 7}])),
        "/slow" => std::future::pending().await,
        "/broken" => return reply(500, "boom"),
        "/garbage" => return reply(200, "[]"),
        _ => json!({"allowed": true}),
    };
    response["uid"] = if path == "/wrong-uid" { "x".into() } else { review["request"]["uid"].clone() };
    let mut answer = json!({"kind": "AdmissionReview", "apiVersion": review["apiVersion"], "response": response});
    if path == "/old" {
        answer = json!({"response": {"allowed": true}});
    }
    reply(200, answer.to_string())
}

/// A webhook for configmaps of `ns`, changed by `with`.
fn hook(server: &Hooks, name: &str, path: &str, with: &Json) -> Json {
    let mut hook = json!({
        "name": format!("{name}.example.org"),
        "clientConfig": server.server.client_config(path),
        "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1", "v1beta1"],
    });
    for (key, value) in with.as_object().unwrap() {
        hook[key] = value.clone();
    }
    hook
}

async fn configure(s: &Server, kind: &str, name: &str, hooks: &[Json]) {
    let object = json!({"metadata": {"name": name}, "webhooks": hooks});
    let path = format!("/apis/admissionregistration.k8s.io/v1/{}", kind.to_lowercase() + "webhookconfigurations");
    s.post(&path, &object).await.ok();
    // The caches see it before the next request is answered.
    s.api.fresh().await.unwrap();
}

async fn forget(s: &Server, kind: &str, name: &str) {
    let path =
        format!("/apis/admissionregistration.k8s.io/v1/{}/{name}", kind.to_lowercase() + "webhookconfigurations");
    s.delete(&path).await.ok();
    s.api.fresh().await.unwrap();
}

fn map(name: &str) -> Json {
    json!({"metadata": {"name": name}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn outcomes_follow_the_answer_and_the_policy() {
    let s = Server::with_namespace("ns").await;
    let h = Hooks::start().await;
    let url = format!("https://{}", h.server.address);
    let failed = |why: &str| format!("Internal error occurred: failed calling webhook \"w.example.org\": {why}");
    for (path, with, code, message) in [
        ("/allow", json!({}), 201, String::new()),
        ("/deny", json!({}), 418, "admission webhook \"w.example.org\" denied the request: not so".to_owned()),
        (
            "/silent",
            json!({}),
            400,
            "admission webhook \"w.example.org\" denied the request without explanation".to_owned(),
        ),
        (
            "/slow",
            json!({"timeoutSeconds": 1}),
            500,
            failed(&format!("failed to call webhook: Post \"{url}/slow?timeout=1s\": context deadline exceeded")),
        ),
        ("/slow", json!({"timeoutSeconds": 1, "failurePolicy": "Ignore"}), 201, String::new()),
        (
            "/broken",
            json!({}),
            500,
            failed(
                "failed to call webhook: an error on the server (\"boom\") has prevented the request from succeeding",
            ),
        ),
        ("/broken", json!({"failurePolicy": "Ignore"}), 201, String::new()),
        ("/garbage", json!({}), 500, failed("received invalid webhook response: webhook response was absent")),
        ("/old", json!({"admissionReviewVersions": ["v1beta1"]}), 201, String::new()),
        ("/allow", json!({"admissionReviewVersions": ["v2", "v1beta1"]}), 201, String::new()),
    ] {
        for kind in ["Mutating", "Validating"] {
            configure(&s, kind, "c", &[hook(&h, "w", path, &with)]).await;
            let answer = s.post(MAPS, &map("m")).await;
            assert_eq!(answer.code, code, "{kind} {path} {with}: {}", answer.text());
            match code {
                201 => drop(s.delete(&format!("{MAPS}/m")).await),
                code => assert_eq!(answer.message(code), message, "{kind} {path} {with}"),
            }
            forget(&s, kind, "c").await;
        }
    }
    configure(&s, "Validating", "c", &[hook(&h, "w", "/deny", &json!({}))]).await;
    let status = s.post(MAPS, &map("m")).await.fails(418);
    assert_eq!((&status["reason"], &status["details"]["causes"][0]["message"]), (&json!("Odd"), &json!("because")));
    let metrics = s.get("/metrics").await.text();
    for line in [
        "apiserver_admission_webhook_rejection_count{error_type=\"no_error\",name=\"w.example.org\",operation=\"CREATE\",rejection_code=\"418\",type=\"validating\"} 2",
        "apiserver_admission_webhook_rejection_count{error_type=\"calling_webhook_error\",name=\"w.example.org\",operation=\"CREATE\",rejection_code=\"500\",type=\"admit\"} 1",
        "apiserver_admission_webhook_fail_open_count{name=\"w.example.org\",type=\"admit\"} 4",
        "apiserver_admission_webhook_request_total{code=\"418\",name=\"w.example.org\",operation=\"CREATE\",rejected=\"true\",type=\"validating\"} 2",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reviews_show_the_write() {
    let s = Server::with_namespace("ns").await;
    let h = Hooks::start().await;
    configure(&s, "Validating", "c", &[hook(&h, "w", "/warn", &json!({}))]).await;
    let answer = s.post(&format!("{MAPS}?fieldManager=me&dryRun=All&timeout=5s"), &map("m")).await;
    assert_eq!(answer.warnings(), ["299 - \"mind the gap\""]);
    answer.ok();
    assert_eq!(h.seen.lock()[0].1["query"], "timeout=5s", "within the request's own time");
    let seen = h.take("/warn").remove(0);
    let uid = &seen["object"]["metadata"]["uid"];
    let created = &seen["object"]["metadata"]["creationTimestamp"];
    let expected = json!({
        "uid": seen["uid"],
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
        "name": "m", "namespace": "ns", "operation": "CREATE",
        "userInfo": {"username": "system:apiserver", "groups": ["system:masters", "system:authenticated"]},
        "object": {"kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"name": "m", "namespace": "ns", "uid": uid, "creationTimestamp": created}},
        "oldObject": null, "dryRun": true,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "dryRun": ["All"], "fieldManager": "me"},
    });
    let mut seen = seen;
    seen["object"]["metadata"].as_object_mut().unwrap().remove("managedFields");
    assert_eq!(seen, expected);
    s.post(MAPS, &map("m")).await.ok();
    s.merge(&format!("{MAPS}/m"), &json!({"data": {"a": "b"}})).await.ok();
    s.delete_with(&format!("{MAPS}/m"), &json!({"gracePeriodSeconds": 5, "propagationPolicy": "Background"}))
        .await
        .ok();
    let seen = h.take("/warn");
    let told: Vec<_> =
        seen.iter().map(|r| (r["operation"].as_str().unwrap(), r["options"]["kind"].as_str().unwrap())).collect();
    assert_eq!(told, [("CREATE", "CreateOptions"), ("UPDATE", "UpdateOptions"), ("DELETE", "DeleteOptions")]);
    assert_eq!(seen[1]["oldObject"]["data"], Json::Null);
    assert_eq!(seen[1]["object"]["data"], json!({"a": "b"}));
    assert_eq!(seen[2]["object"], Json::Null);
    assert_eq!(seen[2]["oldObject"]["data"], json!({"a": "b"}));
    assert_eq!(seen[2]["options"]["gracePeriodSeconds"], 5);
    assert_eq!(seen[2]["options"]["propagationPolicy"], "Background");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutations_are_ordered_defaulted_and_repeated() {
    let s = Server::with_namespace("ns").await;
    let h = Hooks::start().await;
    // By the configuration's name, then in the order of the list; the first wants to see what others do.
    configure(&s, "Mutating", "b", &[hook(&h, "b", "/label-b", &json!({})), hook(&h, "d", "/data", &json!({}))]).await;
    configure(&s, "Mutating", "a", &[hook(&h, "a", "/label-a", &json!({"reinvocationPolicy": "IfNeeded"}))]).await;
    let made = s.post(MAPS, &map("m")).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"a": "1", "b": "1"}));
    assert_eq!(made["data"], json!({"k": "v"}));
    assert!(made.get("odd").is_none(), "unknown fields are dropped");
    assert_eq!(h.order(), ["/label-a", "/label-b", "/data", "/label-a"]);
    let refused = s.delete(&format!("{MAPS}/m")).await.message(500);
    assert_eq!(
        refused,
        "Internal error occurred: admission webhook \"a.example.org\" attempted to modify the object, which is not supported for this operation"
    );
    forget(&s, "Mutating", "a").await;
    forget(&s, "Mutating", "b").await;
    configure(&s, "Mutating", "c", &[hook(&h, "w", "/bad-patch", &json!({"failurePolicy": "Ignore"}))]).await;
    assert!(s.post(MAPS, &map("x")).await.message(500).ends_with("missing value"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutating_policies_go_first_and_see_what_webhooks_did() {
    let s = Server::with_namespace("ns").await;
    let h = Hooks::start().await;
    configure(&s, "Mutating", "c", &[hook(&h, "w", "/label-b", &json!({}))]).await;
    let count =
        "Object{metadata: Object.metadata{labels: {'seen': string(size(object.metadata.?labels.orValue({})))}}}";
    mutating_policy(&s, "p", &json!({"reinvocationPolicy": "IfNeeded"}), count).await;
    let made = s.post(MAPS, &map("m")).await.ok();
    assert_eq!(made["metadata"]["labels"], json!({"b": "1", "seen": "2"}));
    let seen = h.take("/label-b");
    assert_eq!(seen.len(), 1, "a webhook that does not ask is not called again");
    assert_eq!(seen[0]["object"]["metadata"]["labels"], json!({"seen": "0"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_of_fields_may_change_if_they_stay_valid() {
    let s = Server::with_namespace("ns").await;
    let h = Hooks::start().await;
    let owned = json!({"metadata": {"name": "m"}, "data": {"a": "b"}});
    for (path, managers) in [("/owners", vec!["other"]), ("/no-owners", vec![]), ("/bad-owners", vec!["me"])] {
        configure(&s, "Mutating", "c", &[hook(&h, "w", path, &json!({}))]).await;
        let answer = s.post(&format!("{MAPS}?fieldManager=me&dryRun=All"), &owned).await;
        let warnings = answer.warnings().join("\n");
        let made = answer.ok();
        let owners = made["metadata"]["managedFields"].as_array().map_or(&[][..], Vec::as_slice);
        let names: Vec<_> = owners.iter().map(|o| o["manager"].as_str().unwrap()).collect();
        assert_eq!(names, managers, "{path}");
        let told = warnings.contains(".metadata.managedFields was in an invalid state after admission");
        assert_eq!(told, path == "/bad-owners", "{path}: {warnings}");
        if told {
            assert_eq!(made["data"], json!({"k": "v"}), "the rest of the patch stays");
        }
        forget(&s, "Mutating", "c").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_audit_log_is_told_of_webhooks() {
    let rules = "rules: [{level: Metadata, resources: [{group: '', resources: [secrets]}]}, {level: Request}]";
    let audited = Audited::start(rules, |_| {}).await;
    let s = &audited.server;
    let h = Hooks::start().await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "ns"}})).await.ok();
    let with = |more: Json| {
        let mut with = json!({"rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": ["configmaps", "secrets"]}], "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ns"}}});
        for (key, value) in more.as_object().unwrap() {
            with[key] = value.clone();
        }
        with
    };
    let hooks = [
        hook(&h, "a", "/label-a", &with(json!({"reinvocationPolicy": "IfNeeded"}))),
        hook(&h, "b", "/broken", &with(json!({"failurePolicy": "Ignore"}))),
        hook(&h, "c", "/label-b", &with(json!({}))),
    ];
    configure(s, "Mutating", "m", &hooks).await;
    let hooks = [
        hook(&h, "v", "/noted", &with(json!({}))),
        hook(&h, "w", "/broken", &with(json!({"failurePolicy": "Ignore"}))),
    ];
    configure(s, "Validating", "v", &hooks).await;
    s.post(MAPS, &map("m")).await.ok();
    let told = |hook: &str, mutated: bool| {
        format!(r#"{{"configuration":"m","webhook":"{hook}.example.org","mutated":{mutated}}}"#)
    };
    let patch = r#"{"configuration":"m","webhook":"a.example.org","patch":[{"op":"add","path":"/metadata/labels","value":{"a":"1"}}],"patchType":"JSONPatch"}"#;
    let annotations = audited.last(MAPS)["annotations"].clone();
    for (key, expected) in [
        ("mutation.webhook.admission.k8s.io/round_0_index_0", told("a", true).as_str()),
        ("mutation.webhook.admission.k8s.io/round_0_index_1", &told("b", false)),
        ("mutation.webhook.admission.k8s.io/round_0_index_2", &told("c", true)),
        ("mutation.webhook.admission.k8s.io/round_1_index_0", &told("a", false)),
        ("failed-open.mutation.webhook.admission.k8s.io/round_0_index_1", "b.example.org"),
        ("failed-open.validating.webhook.admission.k8s.io/round_0_index_1", "w.example.org"),
        ("patch.webhook.admission.k8s.io/round_0_index_0", patch),
        ("v.example.org/why", "so"),
    ] {
        assert_eq!(annotations[key], expected, "{key} in {annotations}");
    }
    assert!(annotations.get("v.example.org/a/b/c").is_none());
    s.post("/api/v1/namespaces/ns/secrets", &map("m")).await.ok();
    let annotations = audited.last("/api/v1/namespaces/ns/secrets")["annotations"].clone();
    assert_eq!(annotations["mutation.webhook.admission.k8s.io/round_0_index_0"], told("a", true));
    assert!(annotations.get("patch.webhook.admission.k8s.io/round_0_index_0").is_none(), "patches are bodies");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn selectors_and_rules_choose() {
    let s = Server::with_namespace("ns").await;
    let h = Hooks::start().await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "free", "labels": {"free": "yes"}}})).await.ok();
    let elsewhere = json!({"namespaceSelector": {"matchExpressions": [{"key": "free", "operator": "DoesNotExist"}]}});
    configure(&s, "Validating", "c", &[hook(&h, "w", "/deny", &elsewhere)]).await;
    s.post("/api/v1/namespaces/free/configmaps", &map("m")).await.ok();
    s.post(MAPS, &map("m")).await.fails(418);
    forget(&s, "Validating", "c").await;
    let marked = json!({"objectSelector": {"matchLabels": {"guarded": "yes"}}});
    configure(&s, "Validating", "c", &[hook(&h, "w", "/deny", &marked)]).await;
    s.post(MAPS, &map("m")).await.ok();
    s.merge(&format!("{MAPS}/m"), &json!({"metadata": {"labels": {"guarded": "yes"}}})).await.fails(418);
    forget(&s, "Validating", "c").await;
    // Namespaces are chosen by their own labels.
    let rules = json!([{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["namespaces"],
        "scope": "Cluster"}]);
    let mut own = marked.clone();
    own["objectSelector"] = json!({});
    own["namespaceSelector"] = json!({"matchLabels": {"guarded": "yes"}});
    own["rules"] = rules;
    configure(&s, "Validating", "c", &[hook(&h, "w", "/deny", &own)]).await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "open"}})).await.ok();
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "shut", "labels": {"guarded": "yes"}}})).await.fails(418);
    forget(&s, "Validating", "c").await;
    // Everything, and still its own configuration can be repaired.
    let all = json!({"rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]});
    configure(&s, "Validating", "c", &[hook(&h, "w", "/deny", &all)]).await;
    s.post(MAPS, &map("y")).await.fails(418);
    let local = s.as_user("someone", &["system:authenticated", "system:masters"]);
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}).to_string();
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let asked = request("POST", path, &[("content-type", "application/json")], review.as_bytes());
    answer(ask(&local, asked).await).await.fails(418);
    forget(&s, "Validating", "c").await;
    s.post(MAPS, &map("y")).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_and_subresources_are_shown_as_asked() {
    let s = Server::with_namespace("ns").await;
    let h = Hooks::start().await;
    let rule = |group: &str, version: &str, resource: &str| json!({"rules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": [group], "apiVersions": [version], "resources": [resource]}]});
    let old = rule("autoscaling", "v1", "horizontalpodautoscalers");
    let mut exact = old.clone();
    exact["matchPolicy"] = "Exact".into();
    configure(&s, "Mutating", "c", &[hook(&h, "x", "/deny", &exact), hook(&h, "w", "/hpa", &old)]).await;
    let scaler = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 5, "scaleTargetRef": {"kind": "D", "name": "d"},
        "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}});
    let made = s.post("/apis/autoscaling/v2/namespaces/ns/horizontalpodautoscalers", &scaler).await.ok();
    assert_eq!((&made["apiVersion"], &made["spec"]["maxReplicas"]), (&json!("autoscaling/v2"), &json!(7)));
    assert_eq!(made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
    let seen = h.take("/hpa").remove(0);
    assert_eq!(seen["kind"]["version"], "v1");
    assert_eq!(seen["requestKind"]["version"], "v2");
    assert_eq!(seen["object"]["spec"]["targetCPUUtilizationPercentage"], 50);
    forget(&s, "Mutating", "c").await;
    configure(&s, "Mutating", "c", &[hook(&h, "w", "/replicas", &rule("apps", "v1", "deployments/scale"))]).await;
    let workload = json!({"metadata": {"name": "d"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    s.post("/apis/apps/v1/namespaces/ns/deployments", &workload).await.ok();
    let scaled =
        s.merge("/apis/apps/v1/namespaces/ns/deployments/d/scale", &json!({"spec": {"replicas": 2}})).await.ok();
    assert_eq!(scaled["spec"]["replicas"], 3);
    let seen = h.take("/replicas").remove(0);
    assert_eq!(seen["kind"], json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    assert_eq!(seen["subResource"], "scale");
    assert_eq!(seen["object"]["spec"]["replicas"], 2);
    forget(&s, "Mutating", "c").await;
    let mut connect = rule("", "v1", "pods/exec");
    connect["rules"][0]["operations"] = json!(["CONNECT"]);
    configure(&s, "Validating", "c", &[hook(&h, "w", "/deny", &connect)]).await;
    s.post(&format!("{NS}/pods/p/exec?command=ls&stdout=true"), &json!({})).await.fails(418);
    let seen = h.take("/deny").remove(0);
    assert_eq!(seen["object"]["kind"], "PodExecOptions");
    assert_eq!(seen["object"]["command"], json!(["ls"]));
    assert_eq!(seen["options"], Json::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dry_runs_need_webhooks_without_side_effects() {
    let s = Server::with_namespace("ns").await;
    let h = Hooks::start().await;
    configure(&s, "Mutating", "c", &[hook(&h, "w", "/label-a", &json!({"sideEffects": "NoneOnDryRun"}))]).await;
    let dry = s.post(&format!("{MAPS}?dryRun=All"), &map("m")).await.ok();
    assert_eq!(dry["metadata"]["labels"]["a"], "1");
    let bad =
        json!({"metadata": {"name": "x"}, "webhooks": [hook(&h, "w", "/allow", &json!({"sideEffects": "Some"}))]});
    let path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";
    let refused = s.post(path, &bad).await.message(422);
    assert!(refused.contains("webhooks[0].sideEffects: Unsupported value: \"Some\""), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn match_conditions_spare_calls() {
    let s = Server::with_namespace("ns").await;
    let h = Hooks::start().await;
    for (expression, policy, code) in [
        ("object.metadata.name == 'm'", "Fail", 418),
        ("object.metadata.name != 'm'", "Fail", 201),
        ("request.operation == 'DELETE'", "Fail", 201),
        ("request.userInfo.groups.exists(g, g == 'system:masters')", "Fail", 418),
        ("oldObject == null && request.resource.resource == 'configmaps'", "Fail", 418),
        ("authorizer.group('').resource('pods').namespace('ns').check('get').allowed()", "Fail", 418),
        ("authorizer.requestResource.check('create').allowed()", "Fail", 418),
        ("object.data.missing == 'x'", "Ignore", 201),
        ("object.data.missing == 'x'", "Fail", 403),
    ] {
        let with = json!({"failurePolicy": policy, "matchConditions": [{"name": "c", "expression": expression}]});
        configure(&s, "Validating", "c", &[hook(&h, "w", "/deny", &with)]).await;
        let answer = s.post(MAPS, &map("m")).await;
        assert_eq!(answer.code, code, "{expression}: {}", answer.text());
        if code == 403 {
            let text = "configmaps \"m\" is forbidden: expression 'object.data.missing == 'x'' resulted in error: no such key: data";
            assert_eq!(answer.message(403), text);
        }
        forget(&s, "Validating", "c").await;
        if code == 201 {
            s.delete(&format!("{MAPS}/m")).await.ok();
        }
    }
    let metrics = s.get("/metrics").await.text();
    let line = "apiserver_admission_match_condition_exclusions_total{kind=\"webhook\",name=\"w.example.org\",operation=\"CREATE\",type=\"validating\"} 2";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_requests_event_says_where_its_time_went() {
    let audited = Audited::start("rules: [{level: Metadata}]", |_| {}).await;
    let s = &audited.server;
    let h = Hooks::start().await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "ns"}})).await.ok();
    let slow = hook(&h, "slow", "/slow", &json!({"timeoutSeconds": 1, "failurePolicy": "Ignore"}));
    configure(s, "Mutating", "m", &[slow]).await;
    configure(s, "Validating", "v", &[hook(&h, "w", "/allow", &json!({}))]).await;
    s.post(MAPS, &map("m")).await.ok();
    let annotations = audited.last(MAPS)["annotations"].clone();
    let seconds = |name: &str| {
        let text = annotations[format!("apiserver.latency.k8s.io/{name}")].as_str();
        let nanos = kaji_api::codec::parse_duration(text.unwrap_or_else(|| panic!("no {name} in {annotations}")));
        std::time::Duration::from_nanos(nanos.unwrap().unsigned_abs()).as_secs_f64()
    };
    let (webhook, total) = (seconds("mutating-webhook"), seconds("total"));
    assert!((1.0..=total).contains(&webhook), "{annotations}");
    for part in ["validating-webhook", "authorization", "authentication", "etcd"] {
        assert!(seconds(part) <= total - webhook, "{part} in {annotations}");
    }
    assert!(annotations.get("apiserver.latency.k8s.io/impersonation").is_none());
    s.get(&format!("{MAPS}/m")).await.ok();
    let quick = audited.last(&format!("{MAPS}/m"))["annotations"].clone();
    assert!(quick.get("apiserver.latency.k8s.io/total").is_none(), "{quick}");
}
