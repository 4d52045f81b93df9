//! Tables over whole decisions.

use super::*;
use crate::nodes::Nodes;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

fn node(name: &str, labels: Value, spec: Value, allocatable: Value) -> Arc<Node> {
    let node =
        json!({"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"allocatable": allocatable}});
    Arc::new(serde_json::from_value(node).unwrap())
}

fn room() -> Value {
    json!({"cpu": "1", "memory": "1Gi", "pods": "10"})
}

fn pod(name: &str, labels: Value, spec: Value) -> Arc<Pod> {
    let mut full = json!({"containers": [{"name": "c", "image": "i"}]});
    full.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    Arc::new(
        serde_json::from_value(
            json!({"metadata": {"name": name, "namespace": "n", "uid": name, "labels": labels}, "spec": full}),
        )
        .unwrap(),
    )
}

/// Places `wanted` among nodes that run `placed` (node, pod).
fn place(nodes: &[Arc<Node>], placed: &[(&str, Arc<Pod>)], wanted: &Pod) -> Result<String, String> {
    let state = Nodes::default();
    for node in nodes {
        state.set_node(node.metadata.name.as_deref().unwrap(), Some(node.clone()));
    }
    for (name, pod) in placed {
        state.assume(pod, name);
    }
    let snapshot = state.snapshot();
    let cycle = Cycle::new(wanted, &snapshot, &|_| None, Ok(Vec::new()));
    decide(&cycle, &mut 0).map(|fit| fit.node).map_err(|no| no.message)
}

fn plain(name: &str) -> Arc<Node> {
    node(name, json!({"kubernetes.io/hostname": name, "zone": "z1"}), json!({}), room())
}

#[test]
fn reasons_are_counted_in_upstreams_words() {
    let nodes = [
        node("a", json!({}), json!({"unschedulable": true}), room()),
        node("b", json!({}), json!({"taints": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}), room()),
        node("c", json!({}), json!({}), json!({"cpu": "100m", "memory": "1Mi", "pods": "0"})),
    ];
    let wanted = pod(
        "p",
        json!({}),
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m", "memory": "2Mi"}}}]}),
    );
    let want = "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 Too many pods, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable.";
    assert_eq!(place(&nodes, &[], &wanted).unwrap_err(), want);
    assert_eq!(place(&[], &[], &wanted).unwrap_err(), "no nodes available to schedule pods");
}

#[test]
fn the_emptier_node_is_taken() {
    let big = pod("big", json!({}), json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "800m"}}}]}));
    assert_eq!(place(&[plain("a"), plain("b")], &[("a", big)], &pod("p", json!({}), json!({}))).unwrap(), "b");
}

#[test]
fn selectors_tolerations_and_ports_decide() {
    let tainted = node("t", json!({"disk": "ssd"}), json!({"taints": [{"key": "k", "effect": "NoExecute"}]}), room());
    let nodes = [plain("a"), tainted];
    let selecting = json!({"nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "k", "operator": "Exists"}]});
    assert_eq!(place(&nodes, &[], &pod("p", json!({}), selecting)).unwrap(), "t");
    let port = |ip: &str| json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 80, "hostIP": ip}]}]});
    let taken = [("a", pod("x", json!({}), port("127.0.0.1")))];
    assert!(
        place(&nodes, &taken, &pod("p", json!({}), port("0.0.0.0")))
            .unwrap_err()
            .contains("1 node(s) didn't have free ports")
    );
    assert_eq!(place(&nodes, &taken, &pod("p", json!({}), port("10.0.0.1"))).unwrap(), "a");
}

#[test]
fn affinity_between_pods_draws_and_repels() {
    let near = |anti: bool| {
        let terms = json!([{"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "db"}}}]);
        let kind = if anti { "podAntiAffinity" } else { "podAffinity" };
        json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": terms}}})
    };
    let nodes = [plain("a"), plain("b")];
    let placed = [("b", pod("db", json!({"app": "db"}), json!({})))];
    assert_eq!(place(&nodes, &placed, &pod("p", json!({}), near(false))).unwrap(), "b");
    assert_eq!(place(&nodes, &placed, &pod("p", json!({}), near(true))).unwrap(), "a");
    let first = place(&nodes, &[], &pod("p", json!({"app": "db"}), near(false)));
    assert!(first.is_ok(), "the first of its kind may go anywhere: {first:?}");
    let repelling = [("a", pod("x", json!({}), near(true))), ("b", pod("y", json!({}), near(true)))];
    assert_eq!(
        place(&nodes, &repelling, &pod("p", json!({"app": "db"}), json!({}))).unwrap_err(),
        "0/2 nodes are available: 2 node(s) didn't satisfy existing pods anti-affinity rules."
    );
}

#[test]
fn pods_spread_over_zones() {
    let zone = |name: &str, zone: &str| node(name, json!({"zone": zone}), json!({}), room());
    let nodes = [zone("a1", "a"), zone("a2", "a"), zone("b1", "b")];
    let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}}}]});
    let web = |name: &str| pod(name, json!({"app": "web"}), spread.clone());
    assert_eq!(place(&nodes, &[("a1", web("x"))], &web("p")).unwrap(), "b1");
    let unlabelled = [node("n", json!({}), json!({}), room())];
    assert!(place(&unlabelled, &[], &web("p")).unwrap_err().contains("(missing required label)"));
}

#[test]
fn large_clusters_are_searched_in_part() {
    assert_eq!((enough(50), enough(100), enough(1000), enough(10_000)), (50, 100, 420, 500));
}
