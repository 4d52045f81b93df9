//! Who has to go.

use super::*;
use crate::decide::decide;
use crate::nodes::Nodes;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

fn node(name: &str) -> (String, Arc<Node>) {
    let allocatable = json!({"cpu": "1", "memory": "1Gi", "pods": "10"});
    let node = json!({"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}, "spec": {},
        "status": {"allocatable": allocatable}});
    (name.to_owned(), Arc::new(serde_json::from_value(node).unwrap()))
}

/// A pod that asks for thousandths of a CPU; `more` goes into its spec.
fn pod(name: &str, priority: i32, cpu: u32, more: Value) -> Arc<Pod> {
    let mut spec = json!({"priority": priority,
        "containers": [{"name": "c", "resources": {"requests": {"cpu": format!("{cpu}m")}}}]});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let meta = json!({"name": name, "namespace": "n", "uid": name, "labels": {"app": name}});
    let start = format!("2026-01-01T00:00:{:02}Z", name.len());
    Arc::new(serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": {"startTime": start}})).unwrap())
}

fn small(name: &str, priority: i32, cpu: u32) -> Arc<Pod> {
    pod(name, priority, cpu, json!({}))
}

/// `NODE: victims`, or why there are none.
fn room(nodes: &[&str], placed: &[(&str, Arc<Pod>)], budgets: &[Value], wanted: &Pod) -> String {
    let state = Nodes::default();
    nodes.iter().map(|n| node(n)).for_each(|(name, node)| state.set_node(&name, Some(node)));
    placed.iter().for_each(|(name, pod)| state.assume(pod, name));
    let snapshot = state.snapshot_for(wanted);
    let mut cycle = Cycle::new(wanted, &snapshot, &|_| None, Ok(Vec::new()));
    let refusal = decide(&cycle, &mut 0).expect_err("it must not fit");
    let budgets = budgets.iter().map(|b| Arc::new(serde_json::from_value(b.clone()).unwrap())).collect();
    match make_room(&mut cycle, &refusal.crowded, || budgets) {
        Room::Made(plan) => {
            let names: Vec<&str> = plan.victims.iter().filter_map(|v| v.metadata.name.as_deref()).collect();
            format!("{}: {}", plan.node, names.join(" "))
        }
        Room::Awaited(why) | Room::None(why) => why,
        Room::Nowhere => "nowhere".to_owned(),
    }
}

fn budget(app: &str, allowed: i32) -> Value {
    json!({"metadata": {"name": app, "namespace": "n"}, "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1}})
}

#[test]
fn the_fewest_and_least_important_go() {
    let placed = [("a", small("low", 1, 300)), ("a", small("lower", 0, 300)), ("a", small("mid", 5, 300))];
    let cases: [(Arc<Pod>, &str); 5] = [
        (small("p", 9, 300), "a: lower"),
        (small("p", 9, 600), "a: low lower"),
        (small("p", 5, 900), "0/1 nodes are available: 1 Insufficient cpu."),
        (small("p", 0, 300), "0/1 nodes are available: 1 No preemption victims found for incoming pod."),
        (small("p", 9, 2000), "0/1 nodes are available: 1 Preemption is not helpful for scheduling."),
    ];
    for (wanted, want) in cases {
        assert_eq!(room(&["a"], &placed, &[], &wanted), want);
    }
}

#[test]
fn budgets_priorities_and_counts_choose_the_node() {
    let placed = [("a", small("x", 1, 900)), ("b", small("y", 0, 900))];
    assert_eq!(room(&["a", "b"], &placed, &[], &small("p", 9, 500)), "b: y");
    assert_eq!(room(&["a", "b"], &placed, &[budget("y", 0)], &small("p", 9, 500)), "a: x");
    assert_eq!(room(&["a", "b"], &placed, &[budget("y", 1)], &small("p", 9, 500)), "b: y");
    let many = [("a", small("x", 1, 450)), ("a", small("xx", 1, 450)), ("b", small("y", 1, 900))];
    assert_eq!(room(&["a", "b"], &many, &[], &small("p", 9, 900)), "b: y");
}

#[test]
fn who_must_not_preempt_waits() {
    let placed = [("a", small("x", 1, 900))];
    let never = pod("p", 9, 500, json!({"preemptionPolicy": "Never"}));
    assert_eq!(room(&["a"], &placed, &[], &never), "not eligible due to preemptionPolicy=Never.");
    let mut ending = (*small("x", 1, 900)).clone();
    ending.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    ending.status.as_mut().unwrap().conditions = serde_json::from_value(
        json!([{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]),
    )
    .unwrap();
    let mut nominated = (*small("p", 9, 500)).clone();
    nominated.status.as_mut().unwrap().nominated_node_name = Some("a".to_owned());
    assert_eq!(
        room(&["a"], &[("a", Arc::new(ending))], &[], &nominated),
        "not eligible due to a terminating pod on the nominated node."
    );
}

#[test]
fn anti_affinity_and_spread_count_what_would_remain() {
    let far = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}]}}});
    let placed = [("a", small("x", 1, 100)), ("a", small("y", 0, 100))];
    assert_eq!(room(&["a"], &placed, &[], &pod("p", 9, 100, far)), "a: x");
}

#[test]
fn room_kept_for_the_more_important_is_taken() {
    let state = Nodes::default();
    let (name, object) = node("a");
    state.set_node(&name, Some(object));
    state.nominate(&small("important", 9, 900), "a");
    let fits = |priority: i32| {
        let wanted = small("p", priority, 500);
        let snapshot = state.snapshot_for(&wanted);
        decide(&Cycle::new(&wanted, &snapshot, &|_| None, Ok(Vec::new())), &mut 0).is_ok()
    };
    assert!(!fits(8) && !fits(9) && fits(10));
    assert_eq!(state.displace("a", 10).len(), 1);
    assert!(fits(8));
}
