//! Where pods may run, as namespaces and nodes say.

use super::Server;
use super::admission::configured;
use serde_json::{Value as Json, json};

const PODS: &str = "/api/v1/namespaces/ns/pods";

fn pod(name: &str, spec: &Json) -> Json {
    let mut spec = spec.clone();
    spec["containers"] = json!([{"name": "c", "image": "i"}]);
    json!({"metadata": {"name": name}, "spec": spec})
}

async fn annotate(s: &Server, annotations: &Json) {
    s.merge("/api/v1/namespaces/ns", &json!({"metadata": {"annotations": annotations}})).await.ok();
    s.api.fresh().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_choose_nodes() {
    let told = "- name: PodNodeSelector\n  configuration:\n    podNodeSelectorPluginConfig:\n      \
                clusterDefaultNodeSelector: disk=any\n      ns: disk=any,disk2=ssd,zone=a\n";
    let s = configured(&["PodNodeSelector"], told).await;
    let made = s.post(PODS, &pod("a", &json!({}))).await.ok();
    assert_eq!(made["spec"]["nodeSelector"], json!({"disk": "any"}));
    let refused = s.post(PODS, &pod("b", &json!({"nodeSelector": {"disk": "ssd"}}))).await.message(403);
    let why = "pod node label selector conflicts with its namespace node label selector";
    assert_eq!(refused, format!("pods \"b\" is forbidden: {why}"));
    annotate(&s, &json!({"scheduler.alpha.kubernetes.io/node-selector": "zone=a"})).await;
    let made = s.post(PODS, &pod("c", &json!({"nodeSelector": {"disk2": "ssd"}}))).await.ok();
    assert_eq!(made["spec"]["nodeSelector"], json!({"disk2": "ssd", "zone": "a"}));
    let refused = s.post(PODS, &pod("d", &json!({"nodeSelector": {"other": "x"}}))).await.message(403);
    let why = "pod node label selector labels conflict with its namespace whitelist";
    assert_eq!(refused, format!("pods \"d\" is forbidden: {why}"));
    annotate(&s, &json!({"scheduler.alpha.kubernetes.io/node-selector": "zone"})).await;
    assert_eq!(s.post(PODS, &pod("e", &json!({}))).await.message(500), "invalid selector: [zone]");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespaces_bound_tolerations() {
    let told = "- name: PodTolerationRestriction\n  configuration:\n    apiVersion: \
                podtolerationrestriction.admission.k8s.io/v1alpha1\n    kind: Configuration\n    default: [{key: a, \
                operator: Exists}]\n    whitelist: [{key: a, operator: Exists}, {effect: NoExecute, operator: \
                Exists}, {key: node.kubernetes.io/memory-pressure, operator: Exists}]\n";
    let s = configured(&["PodTolerationRestriction"], told).await;
    let made = s.post(PODS, &pod("a", &json!({}))).await.ok();
    let keys = |pod: &Json| {
        let all = pod["spec"]["tolerations"].as_array().unwrap().iter();
        all.filter_map(|t| t["key"].as_str()).filter(|key| key.len() < 2).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(keys(&made), ["a"]);
    let other = pod("b", &json!({"tolerations": [{"key": "b", "operator": "Exists", "effect": "NoSchedule"}]}));
    let why = "pod tolerations (possibly merged with namespace default tolerations) conflict with its";
    assert_eq!(s.post(PODS, &other).await.message(500), format!("{why} cluster whitelist"));
    let list = |key: &str| format!("[{{\"key\":\"{key}\",\"operator\":\"Exists\"}}]");
    annotate(
        &s,
        &json!({
            "scheduler.alpha.kubernetes.io/defaultTolerations": list("b"),
            "scheduler.alpha.kubernetes.io/tolerationsWhitelist": "",
        }),
    )
    .await;
    assert_eq!(keys(&s.post(PODS, &other).await.ok()), ["b"]);
    annotate(&s, &json!({"scheduler.alpha.kubernetes.io/tolerationsWhitelist": list("c")})).await;
    assert_eq!(s.post(PODS, &pod("c", &json!({}))).await.message(500), format!("{why} namespace whitelist"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_get_the_place_of_their_node() {
    let s = configured(&[], "- name: AlwaysAdmit\n").await;
    let labels = json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "other": "x"});
    s.post("/api/v1/nodes", &json!({"metadata": {"name": "n1", "labels": labels}})).await.ok();
    s.api.fresh().await.unwrap();
    let place = json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"});
    s.post(PODS, &pod("bound", &json!({}))).await.ok();
    let binding = json!({"metadata": {"name": "bound"}, "target": {"kind": "Node", "name": "n1"}});
    s.post(&format!("{PODS}/bound/binding"), &binding).await.ok();
    assert_eq!(s.get(&format!("{PODS}/bound")).await.ok()["metadata"]["labels"], place);
    let made = s.post(PODS, &pod("placed", &json!({"nodeName": "n1"}))).await.ok();
    assert_eq!(made["metadata"]["labels"], place);
    let made = s.post(PODS, &pod("elsewhere", &json!({"nodeName": "n2"}))).await.ok();
    assert!(made["metadata"]["labels"].is_null());
}
