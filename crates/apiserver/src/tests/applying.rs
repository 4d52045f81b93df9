//! Server-side apply, and who owns what after other writes.

use super::{Answer, Server};
use serde_json::{Value as Json, json};

const APPLY: &str = "application/apply-patch+yaml";

async fn apply(s: &Server, path: &str, manager: &str, config: &Json) -> Answer {
    let sign = if path.contains('?') { '&' } else { '?' };
    s.send("PATCH", &format!("{path}{sign}fieldManager={manager}"), APPLY, config).await
}

fn config_map(data: &Json) -> Json {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cm"}, "data": data})
}

fn web(replicas: i64) -> Json {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "nginx:1"}]},
            },
        },
    })
}

/// Manager, operation, version, subresource and fields of every owner.
fn owners(object: &Json) -> Vec<String> {
    let of = |o: &Json| {
        let text = |field: &str| o[field].as_str().unwrap_or_default().to_owned();
        let sub = if o["subresource"].is_null() { String::new() } else { format!("/{}", text("subresource")) };
        format!("{} {} {}{sub} {}", text("manager"), text("operation"), text("apiVersion"), o["fieldsV1"])
    };
    object["metadata"]["managedFields"].as_array().map(|all| all.iter().map(of).collect()).unwrap_or_default()
}

const CM: &str = "/api/v1/namespaces/here/configmaps/cm";
const WEB: &str = "/apis/apps/v1/namespaces/here/deployments/web";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applying_makes_and_changes_objects() {
    let s = Server::with_namespace("here").await;
    let dry = apply(&s, &format!("{CM}?dryRun=All"), "a", &config_map(&json!({"k": "v"}))).await;
    assert_eq!(dry.code, 201);
    s.get(CM).await.fails(404);
    let made = apply(&s, CM, "a", &config_map(&json!({"k": "v"}))).await;
    assert_eq!(made.code, 201);
    let made = made.ok();
    assert_eq!(owners(&made), [r#"a Apply v1 {"f:data":{"f:k":{}}}"#]);
    // The same again is no write.
    let again = apply(&s, CM, "a", &config_map(&json!({"k": "v"}))).await;
    assert_eq!(again.code, 200);
    assert_eq!(again.ok(), made);
    let changed = apply(&s, CM, "a", &config_map(&json!({"l": "w"}))).await.ok();
    assert_eq!(changed["data"], json!({"l": "w"}));
    assert_eq!(s.get(CM).await.ok(), changed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conflicts_are_told_and_can_be_forced() {
    let s = Server::with_namespace("here").await;
    apply(&s, WEB, "alice", &web(2)).await.ok();
    let refused = apply(&s, WEB, "bob", &web(3)).await.fails(409);
    assert_eq!(
        refused,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 409, "reason": "Conflict",
            "message": "Apply failed with 1 conflict: conflict with \"alice\": .spec.replicas",
            "details": {"causes": [{
                "reason": "FieldManagerConflict", "message": "conflict with \"alice\"", "field": ".spec.replicas",
            }]},
        })
    );
    let forced = apply(&s, &format!("{WEB}?force=true"), "bob", &web(3)).await.ok();
    assert_eq!(forced["spec"]["replicas"], 3);
    assert_eq!(forced["metadata"]["generation"], 2);
    let text = owners(&forced).join("\n");
    assert!(text.starts_with("alice Apply") && text.matches("f:replicas").count() == 1, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_checked() {
    let s = Server::with_namespace("here").await;
    let cm = config_map(&json!({"k": "v"}));
    assert_eq!(
        s.send("PATCH", CM, APPLY, &cm).await.message(422),
        "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
    );
    assert_eq!(
        s.send("PATCH", CM, "application/apply-patch+xml", &cm).await.message(415),
        "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, \
         application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
    );
    let mut other = cm.clone();
    other["kind"] = json!("Secret");
    assert_eq!(apply(&s, CM, "a", &other).await.message(400), "invalid object type: /v1, Kind=Secret");
    let mut named = cm.clone();
    named["metadata"]["name"] = json!("other");
    assert_eq!(
        apply(&s, CM, "a", &named).await.message(400),
        "the name of the object (other) does not match the name on the URL (cm)"
    );
    let mut unknown = cm.clone();
    unknown["foo"] = json!(1);
    assert_eq!(
        apply(&s, CM, "a", &unknown).await.message(500),
        "failed to create typed patch object (/cm; /v1, Kind=ConfigMap): .foo: field not declared in schema"
    );
    let mut owned = cm.clone();
    owned["metadata"]["managedFields"] = json!([]);
    assert_eq!(apply(&s, CM, "a", &owned).await.message(400), "metadata.managedFields must be nil");
    let mut stale = cm.clone();
    apply(&s, CM, "a", &cm).await.ok();
    stale["metadata"]["resourceVersion"] = json!("1");
    apply(&s, CM, "a", &stale).await.fails(409);
    let body = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: cm}\ndata:\n  k: a\n  k: b\n";
    let path = format!("{CM}?fieldManager=a");
    let warned = s.request("PATCH", &path, &[("content-type", APPLY)], body).await;
    assert!(warned.warnings().join(" ").contains("line 6: key"), "{:?}", warned.warnings());
    assert_eq!(warned.ok()["data"]["k"], "b");
    let strict = format!("{path}&fieldValidation=Strict");
    let refused = s.request("PATCH", &strict, &[("content-type", APPLY)], body).await.message(400);
    assert_eq!(
        refused,
        "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 6: key \"k\" already \
         set in map"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_write_has_an_owner() {
    let s = Server::with_namespace("here").await;
    let agent = [("content-type", "application/json"), ("user-agent", "kubectl/v1.36.0 (linux/amd64)")];
    let cms = "/api/v1/namespaces/here/configmaps";
    let body = config_map(&json!({"k": "v"})).to_string();
    let made = s.request("POST", cms, &agent, body.as_bytes()).await.ok();
    assert_eq!(owners(&made), [r#"kubectl Update v1 {"f:data":{".":{},"f:k":{}}}"#]);
    let patched = s.merge(&format!("{CM}?fieldManager=p"), &json!({"data": {"l": "w"}})).await.ok();
    assert_eq!(
        owners(&patched),
        [r#"kubectl Update v1 {"f:data":{".":{},"f:k":{}}}"#, r#"p Update v1 {"f:data":{"f:l":{}}}"#]
    );
    // A client that knows nothing of owners doesn't remove them, one that does may.
    let put = s.put(&format!("{CM}?fieldManager=q"), &config_map(&json!({"k": "v", "l": "x"}))).await.ok();
    assert_eq!(
        owners(&put),
        [r#"kubectl Update v1 {"f:data":{".":{},"f:k":{}}}"#, r#"q Update v1 {"f:data":{"f:l":{}}}"#]
    );
    let version = &put["metadata"]["resourceVersion"];
    let same = s.put(&format!("{CM}?fieldManager=r"), &put).await.ok();
    assert_eq!(&same["metadata"]["resourceVersion"], version);
    let path = format!("{CM}?fieldManager=s");
    let reset = json!([{"op": "replace", "path": "/metadata/managedFields", "value": [{}]}]);
    let reset = s.send("PATCH", &path, "application/json-patch+json", &reset).await.ok();
    assert!(owners(&reset).is_empty());
    assert!(owners(&s.merge(&path, &json!({"data": {"m": "n"}})).await.ok()).is_empty());
    let after = apply(&s, CM, "t", &config_map(&json!({"z": "z"}))).await.ok();
    assert_eq!(
        owners(&after),
        [
            r#"t Apply v1 {"f:data":{"f:z":{}}}"#,
            r#"before-first-apply Update v1 {"f:data":{".":{},"f:k":{},"f:l":{},"f:m":{}}}"#
        ]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_is_apart() {
    let s = Server::with_namespace("here").await;
    let mut with_status = web(2);
    with_status["status"] = json!({"replicas": 7});
    let made = apply(&s, WEB, "a", &with_status).await.ok();
    assert!(made["status"]["replicas"].is_null() && !owners(&made)[0].contains("status"), "{made}");
    let path = format!("{WEB}/status");
    let status = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 9}, "status": {"replicas": 1, "conditions": [{"type": "Odd", "status": "True"}]},
    });
    // Nothing of the spec is changed by it, so there is nothing to conflict with.
    let set = apply(&s, &path, "controller", &status).await.ok();
    assert_eq!((&set["spec"]["replicas"], &set["status"]["replicas"]), (&json!(2), &json!(1)));
    let expected = r#"controller Apply apps/v1/status {"f:status":{"f:conditions":{"k:{\"type\":\"Odd\"}":{".":{},"f:status":{},"f:type":{}}},"f:replicas":{}}}"#;
    assert!(owners(&set).contains(&expected.to_owned()), "{:?}", owners(&set));
    let put = s.merge(&format!("{path}?fieldManager=m"), &json!({"status": {"replicas": 2}})).await.ok();
    assert!(owners(&put).contains(&r#"m Update apps/v1/status {"f:status":{"f:replicas":{}}}"#.to_owned()));
    apply(&s, "/apis/apps/v1/namespaces/here/deployments/none/status", "a", &status).await.fails(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scaling_takes_the_replicas() {
    let s = Server::with_namespace("here").await;
    apply(&s, WEB, "a", &web(2)).await.ok();
    let path = format!("{WEB}/scale");
    let scale = |replicas: i64| {
        json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale",
            "metadata": {"name": "web", "namespace": "here"}, "spec": {"replicas": replicas},
        })
    };
    let refused = apply(&s, &path, "b", &scale(3)).await.message(409);
    assert_eq!(refused, "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas");
    let put = s.put(&format!("{path}?fieldManager=hpa"), &scale(3)).await.ok();
    assert_eq!((&put["kind"], &put["spec"]["replicas"]), (&json!("Scale"), &json!(3)));
    let now = s.get(WEB).await.ok();
    assert_eq!(now["spec"]["replicas"], 3);
    let all = owners(&now);
    assert_eq!(all.len(), 2, "{all:?}");
    assert!(!all[0].contains("replicas"));
    assert_eq!(all[1], r#"hpa Update apps/v1/scale {"f:spec":{"f:replicas":{}}}"#);
    assert_eq!(
        apply(&s, WEB, "a", &web(2)).await.message(409),
        "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\" using apps/v1: .spec.replicas"
    );
    apply(&s, &format!("{path}?force=1"), "b", &scale(4)).await.ok();
    let all = owners(&s.get(WEB).await.ok());
    assert_eq!(all[1..], [r#"b Apply apps/v1/scale {"f:spec":{"f:replicas":{}}}"#]);
    // Without replicas in it, an applied workload leaves them alone.
    let mut without = web(2);
    without["spec"].as_object_mut().unwrap().remove("replicas");
    assert_eq!(apply(&s, WEB, "a", &without).await.ok()["spec"]["replicas"], 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_keep_their_versions() {
    let s = Server::with_namespace("here").await;
    let hpa = |version: u8| format!("/apis/autoscaling/v{version}/namespaces/here/horizontalpodautoscalers/h");
    let config = |version: u8, spec: &Json| {
        let mut spec = spec.clone();
        spec["maxReplicas"] = json!(5);
        spec["scaleTargetRef"] = json!({"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"});
        json!({
            "apiVersion": format!("autoscaling/v{version}"), "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "h"}, "spec": spec,
        })
    };
    let old = apply(&s, &hpa(1), "old", &config(1, &json!({"targetCPUUtilizationPercentage": 50}))).await.ok();
    assert!(owners(&old)[0].starts_with(r#"old Apply autoscaling/v1 {"f:spec":{"f:maxReplicas":{}"#), "{old}");
    let metric = |target: i64| {
        json!({"metrics": [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": target}}}]})
    };
    assert_eq!(
        apply(&s, &hpa(2), "new", &config(2, &metric(60))).await.message(409),
        "Apply failed with 1 conflict: conflict with \"old\": .spec.targetCPUUtilizationPercentage"
    );
    let now = apply(&s, &hpa(2), "new", &config(2, &metric(50))).await.ok();
    assert_eq!(owners(&now).len(), 2, "{now}");
    // The manager moves on to the other version and lets the field go; the other one still has it.
    let moved = apply(&s, &hpa(2), "old", &config(2, &json!({}))).await.ok();
    assert_eq!(moved["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50);
    let alone = apply(&s, &hpa(2), "new", &config(2, &json!({}))).await.ok();
    assert!(owners(&alone).iter().all(|o| o.contains("autoscaling/v2")), "{alone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_servers_own_part_of_an_action_has_no_owner() {
    let s = Server::start_with(|c| c.admission.disabled = vec!["ServiceAccount".to_owned()]).await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "here"}})).await.ok();
    let pods = "/api/v1/namespaces/here/pods";
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made = s.post(&format!("{pods}?fieldManager=m"), &pod).await.ok();
    let before = owners(&made);
    assert!(before.len() == 1 && before[0].contains("f:dnsPolicy") && !before[0].contains("status"), "{before:?}");
    // What admission filled in is nobody's.
    assert!(!made["spec"]["tolerations"].is_null() && !before[0].contains("f:tolerations"), "{before:?}");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    s.post(&format!("{pods}/p/binding"), &binding).await.ok();
    let bound = s.get(&format!("{pods}/p")).await.ok();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(owners(&bound), before);
    let more = json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}});
    let path = format!("{pods}/p/ephemeralcontainers?fieldManager=debug");
    let debugged = s.send("PATCH", &path, "application/strategic-merge-patch+json", &more).await.ok();
    let added = owners(&debugged).into_iter().find(|o| o.starts_with("debug Update v1/ephemeralcontainers")).unwrap();
    assert!(added.contains(r#"{"f:spec":{"f:ephemeralContainers":{".":{},"k:{\"name\":\"e\"}":{".":{}"#), "{added}");
}
