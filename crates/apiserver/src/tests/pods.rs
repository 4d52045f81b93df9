//! Subresources: binding, eviction, scale, status.

use super::Server;
use serde_json::{Value as Json, json};

const PODS: &str = "/api/v1/namespaces/ns/pods";

fn pod(name: &str) -> Json {
    json!({"metadata": {"name": name, "labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

async fn server() -> Server {
    let s = Server::start_with(|c| c.admission.disabled = vec!["ServiceAccount".to_owned()]).await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "ns"}})).await.ok();
    s
}

fn binding(pod: &str, node: &str) -> Json {
    json!({"metadata": {"name": pod}, "target": {"kind": "Node", "name": node}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_is_bound_once() {
    let s = server().await;
    s.post(PODS, &pod("p")).await.ok();
    let done = s.post(&format!("{PODS}/p/binding"), &binding("p", "n1")).await;
    assert_eq!(done.code, 201);
    assert_eq!(done.ok()["status"], "Success");
    let bound = s.get(&format!("{PODS}/p")).await.ok();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert!(
        bound["status"]["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|c| c["type"] == "PodScheduled" && c["status"] == "True")
    );
    assert_eq!(
        s.post("/api/v1/namespaces/ns/bindings", &binding("p", "n2")).await.message(409),
        "Operation cannot be fulfilled on pods/binding \"p\": pod p is already assigned to node \"n1\""
    );
    let selected = s.get(&format!("{PODS}?fieldSelector=spec.nodeName%3Dn1")).await.ok();
    assert_eq!(selected["items"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_pod_gets_its_grace() {
    let s = server().await;
    s.post(PODS, &pod("p")).await.ok();
    s.post(&format!("{PODS}/p/binding"), &binding("p", "n1")).await.ok();
    let path = format!("{PODS}/p");
    let marked = s.delete(&path).await.ok();
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    let shorter = s.delete(&format!("{path}?gracePeriodSeconds=5")).await.ok();
    assert_eq!(shorter["metadata"]["deletionGracePeriodSeconds"], 5);
    let longer = s.delete(&format!("{path}?gracePeriodSeconds=60")).await.ok();
    assert_eq!(longer["metadata"]["deletionGracePeriodSeconds"], 5);
    let gone = s.delete(&format!("{path}?gracePeriodSeconds=0")).await.ok();
    assert_eq!(gone["kind"], "Pod");
    s.get(&path).await.fails(404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_spec_are_written_apart() {
    let s = server().await;
    let made = s.post(PODS, &pod("p")).await.ok();
    let mut both = made.clone();
    both["status"]["phase"] = json!("Running");
    both["spec"]["containers"][0]["image"] = json!("other");
    let written = s.put(&format!("{PODS}/p/status"), &both).await.ok();
    assert_eq!(written["status"]["phase"], "Running");
    assert_eq!(written["spec"]["containers"][0]["image"], "i");
    let mut spec = written.clone();
    spec["status"]["phase"] = json!("Failed");
    spec["spec"]["containers"][0]["image"] = json!("other");
    let written = s.put(&format!("{PODS}/p"), &spec).await.ok();
    assert_eq!(written["status"]["phase"], "Running");
    assert_eq!(written["spec"]["containers"][0]["image"], "other");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn budgets_hold_evictions_back() {
    let s = server().await;
    s.post(PODS, &pod("p")).await.ok();
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    s.merge(&format!("{PODS}/p/status"), &running).await.ok();
    let budgets = "/apis/policy/v1/namespaces/ns/poddisruptionbudgets";
    let budget =
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    s.post(budgets, &budget).await.ok();
    let eviction = json!({"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": "p"}});
    let evict = format!("{PODS}/p/eviction");
    let unseen = s.post(&evict, &eviction).await.fails(429);
    assert_eq!(unseen["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(
        unseen["details"]["causes"][0],
        json!({"reason": "DisruptionBudget", "message": "The disruption budget b is still being processed by the server."})
    );
    let status = |allowed: i64| json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}});
    s.merge(&format!("{budgets}/b/status"), &status(0)).await.ok();
    let full = s.post(&evict, &eviction).await.fails(429);
    assert_eq!(
        full["details"]["causes"][0]["message"],
        "The disruption budget b needs 1 healthy pods and has 1 currently"
    );
    s.merge(&format!("{budgets}/b/status"), &status(1)).await.ok();
    assert_eq!(s.post(&evict, &eviction).await.code, 201);
    s.get(&format!("{PODS}/p")).await.fails(404);
    let budget = s.get(&format!("{budgets}/b")).await.ok();
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    assert!(budget["status"]["disruptedPods"]["p"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workloads_are_scaled() {
    let s = server().await;
    let deployments = "/apis/apps/v1/namespaces/ns/deployments";
    let labels = json!({"app": "web"});
    let deployment = json!({
        "metadata": {"name": "d"},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}
    });
    let made = s.post(deployments, &deployment).await.ok();
    assert_eq!(made["metadata"]["generation"], 1);
    let scale = s.get(&format!("{deployments}/d/scale")).await.ok();
    assert_eq!(scale["kind"], "Scale");
    assert_eq!(scale["spec"]["replicas"], 2);
    assert_eq!(scale["status"]["selector"], "app=web");
    let scaled = s.merge(&format!("{deployments}/d/scale"), &json!({"spec": {"replicas": 5}})).await.ok();
    assert_eq!(scaled["spec"]["replicas"], 5);
    let now = s.get(&format!("{deployments}/d")).await.ok();
    assert_eq!((&now["spec"]["replicas"], &now["metadata"]["generation"]), (&json!(5), &json!(2)));
    let mut stale = scale.clone();
    stale["spec"]["replicas"] = json!(7);
    s.put(&format!("{deployments}/d/scale"), &stale).await.fails(409);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ephemeral_containers_are_added_and_stay() {
    let s = server().await;
    let mut pod = s.post(PODS, &pod("p")).await.ok();
    pod["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "d"}]);
    s.put(&format!("{PODS}/p"), &pod).await.fails(422);
    let mut added = s.put(&format!("{PODS}/p/ephemeralcontainers"), &pod).await.ok();
    assert_eq!(added["spec"]["ephemeralContainers"][0]["terminationMessagePolicy"], "File");
    added["spec"]["ephemeralContainers"] = json!([]);
    let message = s.put(&format!("{PODS}/p/ephemeralcontainers"), &added).await.message(422);
    assert!(message.contains("existing ephemeral containers \"debug\" may not be removed"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resources_are_resized_apart() {
    let s = server().await;
    let mut pod = pod("p");
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}});
    let mut made = s.post(PODS, &pod).await.ok();
    made["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("150m");
    s.put(&format!("{PODS}/p"), &made).await.fails(422);
    let resized = s.put(&format!("{PODS}/p/resize"), &made).await.ok();
    assert_eq!(resized["spec"]["containers"][0]["resources"]["requests"]["cpu"], "150m");
    assert_eq!(resized["metadata"]["generation"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_unknown_until_they_are_served() {
    let s = server().await;
    s.post(PODS, &pod("p")).await.ok();
    for sub in
        ["log", "exec", "attach", "portforward", "proxy"].iter().filter(|s| !crate::subresource::stream::handles(s))
    {
        assert_eq!(s.get(&format!("{PODS}/p/{sub}")).await.code, 404, "{sub}");
    }
}
