//! Making room: the pods that have to go are marked, deleted and told why (upstream `framework/preemption/executor.go`).

use crate::nodes::{Nodes, priority_of};
use crate::preempt::Plan;
use crate::queue::Queue;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kaji_client::event::{EventType, Recorder, reference};
use kaji_client::{Client, ObjectKey};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;

/// Carries out plans, beside the scheduling loop.
pub(crate) struct Evictor {
    client: Client,
    recorder: Recorder,
    nodes: Arc<Nodes>,
    queue: Arc<Queue>,
    /// Whom the condition names.
    scheduler: String,
}

impl Evictor {
    pub(crate) fn new(
        client: Client,
        recorder: Recorder,
        nodes: Arc<Nodes>,
        queue: Arc<Queue>,
        scheduler: &str,
    ) -> Self {
        Evictor { client, recorder, nodes, queue, scheduler: scheduler.to_owned() }
    }

    /// Starts making room for a pod. Should that fail, the pod is tried again at once.
    pub(crate) fn evict(self: &Arc<Self>, pod: Arc<Pod>, plan: Plan) {
        let evictor = self.clone();
        tokio::spawn(async move {
            evictor.displace(&pod, &plan.node).await;
            for victim in plan.victims.iter().filter(|v| v.metadata.deletion_timestamp.is_none()) {
                if let Err(error) = evictor.remove(&pod, victim, &plan.node).await {
                    tracing::warn!(%error, victim = victim.metadata.name, "could not preempt a pod");
                    evictor.requeue(&pod);
                    return;
                }
            }
        });
    }

    /// Less important pods that wait for room on the same node must look elsewhere.
    async fn displace(&self, pod: &Pod, node: &str) {
        for other in self.nodes.displace(node, priority_of(pod)) {
            let change = json!({"status": {"nominatedNodeName": null}});
            let pods = self.pods(&other);
            if let Err(error) = pods.patch_status(name(&other), &PatchParams::default(), &Patch::Merge(change)).await {
                tracing::debug!(%error, "could not clear a nomination");
            }
            self.requeue(&other);
        }
    }

    async fn remove(&self, pod: &Pod, victim: &Pod, node: &str) -> Result<(), kube::Error> {
        let pods = self.pods(victim);
        let scheduler = &self.scheduler;
        let change = json!({"metadata": {"uid": victim.metadata.uid}, "status": {"conditions": [{
            "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
            "message": format!("{scheduler}: preempting to accommodate a higher priority pod"),
            "lastTransitionTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "observedGeneration": victim.metadata.generation,
        }]}});
        let gone = |outcome: Result<(), kube::Error>| match outcome {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(true),
            other => other.map(|()| false),
        };
        let marked = pods.patch_status(name(victim), &PatchParams::default(), &Patch::Strategic(change)).await;
        if gone(marked.map(drop))? {
            return Ok(());
        }
        if gone(pods.delete(name(victim), &DeleteParams::default()).await.map(drop))? {
            return Ok(());
        }
        let text = format!("Preempted by pod {} on node {node}", pod.metadata.uid.as_deref().unwrap_or_default());
        self.recorder.event(&reference(victim), EventType::Normal, "Preempted", &text);
        Ok(())
    }

    fn requeue(&self, pod: &Pod) {
        let key = ObjectKey::new(pod.metadata.namespace.clone().unwrap_or_default(), name(pod));
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        self.queue.add(key, uid, priority_of(pod), Timestamp::now());
    }

    fn pods(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default())
    }
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}
