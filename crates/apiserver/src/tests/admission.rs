//! What admission makes of writes.

use super::{Server, answer, ask, request};
use serde_json::{Value as Json, json};

const NS: &str = "/api/v1/namespaces/ns";

async fn server() -> Server {
    let s = Server::start_with(|c| c.disabled_admission = vec!["ServiceAccount".to_owned()]).await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "ns"}})).await.ok();
    s
}

fn pod(name: &str, resources: &Json) -> Json {
    json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}]}})
}

/// A quota whose use is known.
async fn quota(s: &Server, hard: &Json, used: &Json) {
    let mut made =
        s.post(&format!("{NS}/resourcequotas"), &json!({"metadata": {"name": "q"}, "spec": {"hard": hard}})).await.ok();
    made["status"] = json!({"hard": hard, "used": used});
    s.put(&format!("{NS}/resourcequotas/q/status"), &made).await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limit_ranges_bound_pods() {
    let s = server().await;
    let range = json!({"metadata": {"name": "r"}, "spec": {"limits": [{"type": "Container", "min": {"cpu": "100m"},
        "default": {"cpu": "1"}, "defaultRequest": {"cpu": "200m"}}]}});
    s.post(&format!("{NS}/limitranges"), &range).await.ok();
    let made = s.post(&format!("{NS}/pods"), &pod("a", &json!({}))).await.ok();
    assert_eq!(made["spec"]["containers"][0]["resources"]["requests"]["cpu"], "200m");
    let refused = s.post(&format!("{NS}/pods"), &pod("b", &json!({"requests": {"cpu": "50m"}}))).await.message(403);
    assert_eq!(refused, "pods \"b\" is forbidden: minimum cpu usage per Container is 100m, but request is 50m");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quotas_hold_against_writes_at_the_same_time() {
    let s = server().await;
    quota(&s, &json!({"requests.cpu": "2", "pods": "10"}), &json!({"requests.cpu": "0", "pods": "0"})).await;
    let refused = s.post(&format!("{NS}/pods"), &pod("x", &json!({}))).await.message(403);
    assert_eq!(refused, "pods \"x\" is forbidden: failed quota: q: must specify requests.cpu for: c");
    let one = json!({"requests": {"cpu": "1"}});
    s.post(&format!("{NS}/pods?dryRun=All"), &pod("dry", &one)).await.ok();
    let path = format!("{NS}/pods");
    let bodies: Vec<Json> = (0..6).map(|i| pod(&format!("p{i}"), &one)).collect();
    let answers = futures::future::join_all(bodies.iter().map(|body| s.post(&path, body))).await;
    assert_eq!(answers.iter().filter(|a| a.code == 201).count(), 2);
    let used = s.get(&format!("{NS}/resourcequotas/q")).await.ok()["status"]["used"].clone();
    assert_eq!(used, json!({"requests.cpu": "2", "pods": "2"}));
    let refused = s.post(&path, &pod("y", &one)).await.message(403);
    assert_eq!(
        refused,
        "pods \"y\" is forbidden: exceeded quota: q, requested: requests.cpu=1, used: requests.cpu=2, limited: requests.cpu=2"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_ask_for_secure_pods() {
    let s = server().await;
    s.post(&format!("{NS}/pods"), &pod("old", &json!({}))).await.ok();
    let mut namespace = s.get(NS).await.ok();
    namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("restricted");
    let answer = s.put(NS, &namespace).await;
    let warnings = answer.warnings().join("\n");
    assert!(warnings.contains("violate the new PodSecurity enforce level"), "{warnings}");
    let refused = s.post(&format!("{NS}/pods"), &pod("new", &json!({}))).await.message(403);
    assert!(
        refused.starts_with(
            "pods \"new\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false ("
        ),
        "{refused}"
    );
    let replicas = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let answer = s.post("/apis/apps/v1/namespaces/ns/deployments", &replicas).await;
    let warnings = answer.warnings().join("\n");
    assert!(warnings.contains("would violate PodSecurity"), "{warnings}");
    answer.ok();
    namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("strange");
    namespace["metadata"]["resourceVersion"] = Json::Null;
    assert!(s.put(NS, &namespace).await.message(422).contains("must be one of privileged, baseline, restricted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_change_only_themselves() {
    let s = server().await;
    let node = json!({"metadata": {"name": "n1", "labels": {"node-restriction.kubernetes.io/x": "1"}}});
    let local = s.as_user("system:node:n1", &["system:nodes", "system:masters", "system:authenticated"]);
    let headers = [("content-type", "application/json")];
    let send = request("POST", "/api/v1/nodes", &headers, node.to_string().as_bytes());
    assert_eq!(
        answer(ask(&local, send).await).await.message(403),
        "nodes \"n1\" is forbidden: node \"n1\" is not allowed to set the following labels: node-restriction.kubernetes.io/x"
    );
    let other = json!({"metadata": {"name": "n2"}}).to_string();
    let send = request("POST", "/api/v1/nodes", &headers, other.as_bytes());
    assert_eq!(
        answer(ask(&local, send).await).await.message(403),
        "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\""
    );
}
