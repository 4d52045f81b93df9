//! Removes pods that no kubelet will: of nodes that are gone or out of service, never bound, or finished in too great
//! a number (upstream `pkg/controller/podgc`).

use crate::Context;
use crate::context::key_of;
use crate::disruption_target::{Cause, end};
use crate::pod::{is_finished, node};
use crate::taint;
use k8s_openapi::api::core::v1::{Node, Pod};
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::DeleteParams;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A node that disappears for less is not mourned.
const QUARANTINE: Duration = Duration::from_secs(40);
/// `--terminated-pod-gc-threshold`.
const FINISHED: usize = 12_500;

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let (nodes, pods) = (cx.informer::<Node>(), cx.informer::<Pod>());
    let (again, all) = (queue.clone(), Arc::downgrade(&pods));
    pods.on_change(move |change| {
        let Some(pod) = &change.new else { return };
        again.add(change.key.clone());
        let ended = is_finished(pod) && !change.old.as_ref().is_some_and(|p| is_finished(p));
        let crowded = all.upgrade().filter(|pods| ended && pods.len() > FINISHED);
        for doomed in crowded.map(|pods| surplus(pods.list(), FINISHED)).unwrap_or_default() {
            again.add(key_of(&*doomed));
        }
    });
    let (again, on_nodes) = (queue.clone(), pods.clone());
    nodes.on_change(move |change| {
        let expelled = |n: &Arc<Node>| taint::of(n).iter().any(|t| t.key == taint::OUT_OF_SERVICE);
        if change.new.as_ref().is_none_or(expelled) {
            let here = on_nodes.list().into_iter().filter(|p| node(p) == change.key.name);
            here.for_each(|pod| again.add(key_of(&*pod)));
        }
    });
    nodes.synced().await;
    pods.synced().await;
    let work = Arc::new(Work { cx, nodes, pods, missing: Mutex::default() });
    let reconcile = move |key| {
        let work = work.clone();
        async move { work.reconcile(key).await }
    };
    queue.run("pod gc", 2, reconcile).await;
}

/// Finished pods beyond the threshold: evicted ones first, then the oldest.
fn surplus(pods: Vec<Arc<Pod>>, threshold: usize) -> Vec<Arc<Pod>> {
    let mut finished: Vec<_> = pods.into_iter().filter(|p| is_finished(p)).collect();
    let evicted = |p: &Pod| p.status.as_ref().and_then(|s| s.reason.as_deref()) == Some("Evicted");
    finished.sort_by_key(|p| (!evicted(p), p.metadata.creation_timestamp.clone(), p.metadata.name.clone()));
    finished.truncate(finished.len().saturating_sub(threshold));
    finished
}

struct Work {
    cx: Context,
    nodes: Arc<Informer<Node>>,
    pods: Arc<Informer<Pod>>,
    /// Since when nodes that pods are bound to are missing.
    missing: Mutex<HashMap<String, Instant>>,
}

impl Work {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, kube::Error> {
        let Some(pod) = self.pods.get(&key) else { return Ok(Next::Done) };
        let now = DeleteParams::default().grace_period(0);
        let deleting = pod.metadata.deletion_timestamp.is_some();
        let name = node(&pod);
        if name.is_empty() {
            if deleting {
                end(&self.cx.client, &pod, None, true, &now).await?;
            }
            return Ok(Next::Done);
        }
        let Some(node) = self.nodes.get(&ObjectKey::new("", name)) else {
            return self.mourn(name, &pod, &now).await;
        };
        self.missing.lock().remove(name);
        let out = !is_node_ready(&node) && taint::of(&node).iter().any(|t| t.key == taint::OUT_OF_SERVICE);
        let crowded = is_finished(&pod) && self.pods.len() > FINISHED && self.is_surplus(&key);
        if (deleting && out) || crowded {
            end(&self.cx.client, &pod, None, true, &now).await?;
        }
        Ok(Next::Done)
    }

    fn is_surplus(&self, key: &ObjectKey) -> bool {
        surplus(self.pods.list(), FINISHED).iter().any(|p| key_of(&**p) == *key)
    }

    /// The pod's node is missing: after a while, and if the server agrees, the pod goes too.
    async fn mourn(&self, name: &str, pod: &Pod, how: &DeleteParams) -> Result<Next, kube::Error> {
        let since = *self.missing.lock().entry(name.to_owned()).or_insert_with(Instant::now);
        let left = QUARANTINE.saturating_sub(since.elapsed());
        if !left.is_zero() {
            return Ok(Next::After(left));
        }
        let nodes: Api<Node> = Api::all(self.cx.client.clone());
        if nodes.get_metadata_opt(name).await?.is_none() {
            let cause = Cause { reason: "DeletionByPodGC", message: "PodGC: node no longer exists" };
            end(&self.cx.client, pod, Some(cause), true, how).await?;
        }
        if !self.pods.list().iter().any(|p| node(p) == name) {
            self.missing.lock().remove(name);
        }
        Ok(Next::Done)
    }
}

/// Whether the node's Ready condition is true.
pub(crate) fn is_node_ready(node: &Node) -> bool {
    let conditions = node.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions.filter(|c| c.type_ == "Ready").any(|c| c.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evicted_and_old_pods_go_first() {
        let pod = |name: &str, phase: &str, reason: &str, second: u8| {
            let json = serde_json::json!({"metadata": {"name": name, "creationTimestamp": format!("2026-01-01T00:00:0{second}Z")},
                "status": {"phase": phase, "reason": reason}});
            Arc::new(serde_json::from_value::<Pod>(json).unwrap())
        };
        let pods = vec![
            pod("runs", "Running", "", 0),
            pod("young", "Failed", "", 3),
            pod("old", "Succeeded", "", 1),
            pod("evicted", "Failed", "Evicted", 4),
        ];
        let names: Vec<_> = surplus(pods, 1).iter().map(|p| p.metadata.name.clone().unwrap()).collect();
        assert_eq!(names, ["evicted", "old"]);
    }
}
