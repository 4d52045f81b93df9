//! Which pods go first when there are too many (upstream `ActivePodsWithRanks`).

use super::{is_ready, phase, ready_since};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

const COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Sorts pods so that those to be removed come first. `related`: pods of the same application, which are best spread
/// over nodes.
pub(crate) fn rank_for_deletion(pods: &mut [Arc<Pod>], related: &[Arc<Pod>], now: Timestamp) {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|p| super::is_active(p)) {
        *on_node.entry(node(pod)).or_default() += 1;
    }
    let crowd = |pod: &Pod| on_node.get(node(pod)).copied().unwrap_or_default();
    pods.sort_by(|a, b| {
        let fixed = |p: &Pod| (!node(p).is_empty(), stage(p), is_ready(p), cost(p), Reverse(crowd(p)));
        fixed(a).cmp(&fixed(b)).then_with(|| by_age(a, b, now))
    });
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default()
}

fn stage(pod: &Pod) -> u8 {
    match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    }
}

fn cost(pod: &Pod) -> i32 {
    let annotations = pod.metadata.annotations.as_ref();
    annotations.and_then(|a| a.get(COST)).and_then(|c| c.parse().ok()).unwrap_or_default()
}

/// Ready most recently, restarted most often, made most recently; times count by order of magnitude.
fn by_age(a: &Pod, b: &Pod, now: Timestamp) -> Ordering {
    let ready = |p: &Pod| if is_ready(p) { ready_since(p) } else { None };
    let made = |p: &Pod| p.metadata.creation_timestamp.as_ref().map(|t| t.0);
    let magnitude = |t: Option<Timestamp>| t.map(|t| now.duration_since(t).as_secs().max(1).ilog2());
    magnitude(ready(a))
        .cmp(&magnitude(ready(b)))
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| magnitude(made(a)).cmp(&magnitude(made(b))))
        .then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|c| c.restart_count).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(name: &str, node: &str, phase: &str, ready: &str, cost: &str) -> Arc<Pod> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "uid": name, "annotations": {COST: cost}}, "spec": {"nodeName": node, "containers": []},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:00Z"}]}
            }))
            .unwrap(),
        )
    }

    #[test]
    fn the_least_useful_pod_goes_first() {
        let related = [pod("x", "n2", "Running", "True", "0")];
        let mut pods = [
            pod("dear", "n1", "Running", "True", "5"),
            pod("crowded", "n2", "Running", "True", "0"),
            pod("ready", "n1", "Running", "True", "0"),
            pod("unready", "n1", "Running", "False", "0"),
            pod("pending", "n1", "Pending", "False", "0"),
            pod("unassigned", "", "Pending", "False", "0"),
        ];
        rank_for_deletion(&mut pods, &related, "2026-01-02T00:00:00Z".parse().unwrap());
        let names: Vec<_> = pods.iter().map(|p| p.metadata.name.as_deref().unwrap()).collect();
        assert_eq!(names, ["unassigned", "pending", "unready", "crowded", "ready", "dear"]);
    }
}
