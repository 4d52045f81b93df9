//! Tables over whole decisions.

use super::*;
use crate::nodes::{Nodes, spec_of};
use crate::plugins::spread::preferred::{Preferred, score};
use k8s_openapi::api::core::v1::{Node, Pod};
use kaji_api::selector::LabelSelector;
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
    place_with(nodes, placed, wanted, "")
}

/// The same, where `belonging` selects the pods that belong with it.
fn place_with(
    nodes: &[Arc<Node>],
    placed: &[(&str, Arc<Pod>)],
    wanted: &Pod,
    belonging: &str,
) -> Result<String, String> {
    let state = Nodes::default();
    for node in nodes {
        state.set_node(node.metadata.name.as_deref().unwrap(), Some(node.clone()));
    }
    for (name, pod) in placed {
        state.assume(pod, name);
    }
    let snapshot = state.snapshot();
    let belonging = || LabelSelector::parse(belonging).unwrap();
    let preferred = Preferred::new(wanted, spec_of(wanted), belonging, |selector| state.counts("n", selector));
    let cycle = Cycle::new(wanted, &snapshot, &|_| None, Ok(Vec::new())).preferring(preferred);
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

/// Scores of upstream's plugin for the same pods and nodes, worked out by its formula.
#[test]
fn pods_that_belong_together_spread_without_saying_so() {
    let host = |name: &str, zone: Option<&str>| {
        let mut labels = json!({"kubernetes.io/hostname": name});
        zone.iter().for_each(|zone| labels["topology.kubernetes.io/zone"] = json!(zone));
        node(name, labels, json!({}), room())
    };
    let zoned = [host("a1", Some("a")), host("a2", Some("a")), host("b1", Some("b"))];
    let bare = [host("a1", None), host("a2", None), host("b1", None)];
    let partly = [host("a1", Some("a")), host("a2", None), host("b1", Some("b"))];
    let web = |name: &str| pod(name, json!({"app": "web"}), json!({}));
    let gone = |name: &str| {
        let mut pod = (*web(name)).clone();
        let now = k8s_openapi::jiff::Timestamp::UNIX_EPOCH;
        pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
        Arc::new(pod)
    };
    let said = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {"app": "web"}}}]});
    let insisting = json!({"topologySpreadConstraints": [{"maxSkew": 9, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]});
    let anything = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}}]});
    type Case<'a> = (&'a str, &'a [Arc<Node>], Vec<(&'a str, Arc<Pod>)>, Value, &'a str, [i64; 3]);
    let cases: [Case<'_>; 9] = [
        ("nothing runs", &zoned, vec![], json!({}), "app=web", [100, 100, 100]),
        // a1: 1 × ln 5 + 2 + 1 × ln 4 + 4 = 9; a2: 2 + 1.39 + 4 = 7; b1: 6.
        ("one in zone a", &zoned, vec![("a1", web("x"))], json!({}), "app=web", [66, 88, 100]),
        ("one, no zones", &bare, vec![("a1", web("x"))], json!({}), "app=web", [50, 100, 100]),
        // a1: 1.61 + 2 + 1.61 + 4 = 9; a2: 2; b1: 2 + 4 = 6. Those without a zone are one of three.
        ("one, some zones", &partly, vec![("a1", web("x"))], json!({}), "app=web", [22, 100, 55]),
        ("nobody belongs", &zoned, vec![("a1", web("x"))], json!({}), "", [0, 0, 0]),
        ("others do not count", &zoned, vec![("a1", web("x"))], json!({}), "app=db", [100, 100, 100]),
        ("what ends does not count", &zoned, vec![("a1", gone("x"))], json!({}), "app=web", [100, 100, 100]),
        ("a wish of its own", &zoned, vec![("a1", web("x"))], said, "tier", [0, 100, 100]),
        ("only insisting", &zoned, vec![("a1", web("x"))], insisting, "app=web", [0, 0, 0]),
    ];
    let scores = |nodes: &[Arc<Node>], placed: &[(&str, Arc<Pod>)], spec: Value, belonging: &str| {
        let state = Nodes::default();
        nodes.iter().for_each(|n| state.set_node(n.metadata.name.as_deref().unwrap(), Some(n.clone())));
        placed.iter().for_each(|(name, pod)| state.assume(pod, name));
        let (snapshot, wanted) = (state.snapshot(), pod("p", json!({"app": "web"}), spec));
        let belonging = || LabelSelector::parse(belonging).unwrap();
        let preferred = Preferred::new(&wanted, spec_of(&wanted), belonging, |selector| state.counts("n", selector));
        let cycle = Cycle::new(&wanted, &snapshot, &|_| None, Ok(Vec::new())).preferring(preferred);
        score(&cycle, &snapshot.iter().collect::<Vec<_>>())
    };
    for (name, nodes, placed, spec, belonging, want) in cases {
        assert_eq!(scores(nodes, &placed, spec, belonging), want, "{name}");
    }
    let everything = scores(&zoned, &[("a1", web("x"))], anything, "");
    assert_eq!(everything, [100, 100, 100], "a selector of everything counts nothing");
    // The emptier node is not the better one where its zone is full.
    let crowd: Vec<_> = ["x", "y", "z"].into_iter().map(|name| ("a1", web(name))).collect();
    assert_eq!(place_with(&zoned, &crowd, &web("p"), "app=web").unwrap(), "b1");
}

#[test]
fn large_clusters_are_searched_in_part() {
    assert_eq!((enough(50), enough(100), enough(1000), enough(10_000)), (50, 100, 420, 500));
}
