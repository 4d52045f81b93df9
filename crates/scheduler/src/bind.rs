//! Carrying decisions out: bindings, conditions and events.

use crate::decide::NoFit;
use crate::nodes::{Nodes, nomination_of};
use crate::queue::{Queue, Waiting};
use http::Request;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kaji_client::Client;
use kaji_client::event::{EventType, Recorder, reference};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) struct Binder {
    client: Client,
    recorder: Recorder,
    nodes: Arc<Nodes>,
    queue: Arc<Queue>,
    slots: Arc<Semaphore>,
}

impl Binder {
    pub(crate) fn new(client: Client, recorder: Recorder, nodes: Arc<Nodes>, queue: Arc<Queue>, slots: usize) -> Self {
        Binder { client, recorder, nodes, queue, slots: Arc::new(Semaphore::new(slots.max(1))) }
    }

    /// Waits until one more binding may be under way.
    pub(crate) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        self.slots.clone().acquire_owned().await.ok()
    }

    /// Binds an assumed pod; takes the assumption back when that fails.
    pub(crate) async fn bind(&self, pod: Arc<Pod>, node: String, waiting: Waiting, permit: OwnedSemaphorePermit) {
        let (namespace, name) = (waiting.key.namespace.clone(), waiting.key.name.clone());
        match self.post(&pod, &node).await {
            Ok(()) => {
                let text = format!("Successfully assigned {namespace}/{name} to {node}");
                self.recorder.event(&reference(&*pod), EventType::Normal, "Scheduled", &text);
            }
            Err(error) => {
                self.nodes.forget(&waiting.uid);
                if !matches!(&error, kube::Error::Api(status) if status.code == 404) {
                    let text = format!("running Bind plugin \"DefaultBinder\": {error}");
                    self.recorder.event(&reference(&*pod), EventType::Warning, "FailedScheduling", &text);
                    self.queue.retry(waiting);
                }
            }
        }
        drop(permit);
    }

    async fn post(&self, pod: &Pod, node: &str) -> Result<(), kube::Error> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let binding = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod.metadata.uid},
            "target": {"kind": "Node", "name": node},
        });
        let request = Request::post(format!("/api/v1/namespaces/{namespace}/pods/{name}/binding"))
            .header("content-type", "application/json")
            .body(binding.to_string().into_bytes())
            .map_err(kube::Error::HttpError)?;
        self.client.request::<serde_json::Value>(request).await.map(drop)
    }

    /// Tells that no node will do, and leaves the pod in the queue until something helps. `nomination`: what
    /// becomes of `status.nominatedNodeName`; None leaves it, an empty name clears it.
    pub(crate) fn refused(&self, pod: Arc<Pod>, refusal: NoFit, nomination: Option<String>, waiting: Waiting) {
        self.recorder.event(&reference(&*pod), EventType::Warning, "FailedScheduling", &refusal.message);
        let client = self.client.clone();
        let message = refusal.message.clone();
        tokio::spawn(async move {
            if let Err(error) = set_unschedulable(client, &pod, &message, nomination.as_deref()).await {
                tracing::debug!(%error, "could not write why a pod is not scheduled");
            }
        });
        self.queue.refuse(waiting, refusal.until);
    }
}

async fn set_unschedulable(
    client: Client,
    pod: &Pod,
    message: &str,
    nomination: Option<&str>,
) -> Result<(), kube::Error> {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let known = conditions.iter().find(|c| c.type_ == "PodScheduled");
    let same = known.is_some_and(|c| c.status == "False" && c.message.as_deref() == Some(message));
    let nomination = nomination.filter(|name| *name != nomination_of(pod));
    if same && nomination.is_none() {
        return Ok(());
    }
    let since = known
        .filter(|c| c.status == "False")
        .and_then(|c| c.last_transition_time.clone())
        .map_or_else(Timestamp::now, |t| t.0);
    let mut change = json!({"status": {"conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        "lastProbeTime": null, "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        "observedGeneration": pod.metadata.generation,
    }]}});
    if let Some(name) = nomination {
        change["status"]["nominatedNodeName"] = json!((!name.is_empty()).then_some(name));
    }
    let api: Api<Pod> = Api::namespaced(client, pod.metadata.namespace.as_deref().unwrap_or_default());
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    match api.patch_status(name, &PatchParams::default(), &Patch::Strategic(change)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}
