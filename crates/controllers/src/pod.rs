//! What controllers read off a pod, and which of several pods goes first.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ObjectMeta;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// The phase; empty: not set.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// The node it is bound to; empty: none.
pub(crate) fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default()
}

/// A condition of this type.
pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == kind)
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Neither finished nor being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Being deleted while it may still run.
pub(crate) fn is_terminating(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_some()
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready").filter(|c| c.status == "True")?.last_transition_time.as_ref().map(|t| t.0)
}

/// Ready for at least so many seconds.
pub(crate) fn is_available(pod: &Pod, min_ready: i32, now: Timestamp) -> bool {
    is_ready(pod) && (min_ready == 0 || until_available(pod, min_ready, now) == Some(Duration::ZERO))
}

/// How long a ready pod takes to count as available; none: it isn't ready.
pub(crate) fn until_available(pod: &Pod, min_ready: i32, now: Timestamp) -> Option<Duration> {
    let since = ready_since(pod)?;
    let wait = i64::from(min_ready) * 1000 - now.duration_since(since).as_millis() as i64;
    Some(Duration::from_millis(wait.max(0).unsigned_abs()))
}

/// The next time one of the pods becomes available.
pub(crate) fn next_available<'a>(
    pods: impl IntoIterator<Item = &'a Arc<Pod>>,
    min_ready: i32,
    now: Timestamp,
) -> Option<Duration> {
    pods.into_iter().filter_map(|p| until_available(p, min_ready, now)).filter(|d| !d.is_zero()).min()
}

/// How often the container that restarted most did so.
pub(crate) fn max_restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|c| c.restart_count).max().unwrap_or_default()
}

/// Labels, or none.
pub(crate) fn labels(meta: &ObjectMeta) -> BTreeMap<String, String> {
    meta.labels.clone().unwrap_or_default()
}

/// A pod to be made from a template; the server completes its name.
pub(crate) fn from_template(template: &PodTemplateSpec, owner_name: &str, owner: OwnerReference) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{owner_name}-")),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Sorts pods so that those to delete come first (upstream's `ActivePodsWithRanks`): `rank` is how many active
/// pods of the same workload share the pod's node.
pub(crate) fn sort_for_deletion(pods: &mut [Arc<Pod>], rank: &BTreeMap<String, usize>, now: Timestamp) {
    pods.sort_by(|a, b| deletion_order(a, b, rank, now));
}

fn deletion_order(a: &Pod, b: &Pod, rank: &BTreeMap<String, usize>, now: Timestamp) -> Ordering {
    let ranked = |p: &Pod| rank.get(node(p)).copied().unwrap_or_default();
    let ready = (is_ready(a), is_ready(b));
    (!node(a).is_empty())
        .cmp(&!node(b).is_empty())
        .then_with(|| phase_order(a).cmp(&phase_order(b)))
        .then_with(|| ready.0.cmp(&ready.1))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| ranked(b).cmp(&ranked(a)))
        .then_with(|| {
            if ready == (true, true) { younger(ready_since(a), ready_since(b), a, b, now) } else { Ordering::Equal }
        })
        .then_with(|| max_restarts(b).cmp(&max_restarts(a)))
        .then_with(|| younger(created(a), created(b), a, b, now))
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|t| t.0)
}

fn phase_order(pod: &Pod) -> u8 {
    match phase(pod) {
        "Pending" => 0,
        "Running" => 2,
        _ => 1,
    }
}

fn deletion_cost(pod: &Pod) -> i32 {
    let text = pod.metadata.annotations.as_ref().and_then(|a| a.get(DELETION_COST));
    text.and_then(|t| t.parse().ok()).unwrap_or_default()
}

/// The younger goes first; ages of the same power of two count as equal, and the uid decides, so that the
/// youngest isn't always the one to go.
fn younger(x: Option<Timestamp>, y: Option<Timestamp>, a: &Pod, b: &Pod, now: Timestamp) -> Ordering {
    if x == y {
        return Ordering::Equal;
    }
    let (Some(x), Some(y)) = (x, y) else { return x.is_some().cmp(&y.is_some()) };
    let magnitude = |t: Timestamp| {
        let age = now.duration_since(t).as_nanos();
        if age <= 0 { -1 } else { i64::from(age.unsigned_abs().ilog2()) }
    };
    magnitude(x).cmp(&magnitude(y)).then_with(|| a.metadata.uid.cmp(&b.metadata.uid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, node: &str, phase: &str, ready: bool, cost: i32) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        Arc::new(
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": name, "uid": name, "annotations": {DELETION_COST: cost.to_string()}},
                "spec": {"containers": [], "nodeName": node},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}
            }))
            .unwrap(),
        )
    }

    #[test]
    fn the_least_useful_goes_first() {
        let mut pods = vec![
            pod("dear", "a", "Running", true, 5),
            pod("doubled", "b", "Running", true, 0),
            pod("alone", "a", "Running", true, 0),
            pod("unready", "a", "Running", false, 0),
            pod("pending", "a", "Pending", false, 0),
            pod("unbound", "", "Pending", false, 0),
        ];
        let rank = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
        sort_for_deletion(&mut pods, &rank, Timestamp::UNIX_EPOCH);
        let names: Vec<_> = pods.iter().map(|p| p.metadata.name.clone().unwrap()).collect();
        assert_eq!(names, ["unbound", "pending", "unready", "doubled", "alone", "dear"]);
    }
}
