//! Sending pod statuses: the latest counts, unchanged parts stay at home, failures are tried again.
//!
//! Patches name only what differs from what the API has, so that conditions of others are left alone.

use crate::pod::conditions::OWNED;
use crate::pod::uid;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kaji_client::{Client, Next, WorkQueue};
use kube::api::{Api, DeleteParams, Patch, PatchParams, Preconditions};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// A status was not taken; the queue tries again.
#[derive(Debug, thiserror::Error)]
#[error("could not send the status of pod {pod}")]
struct SendError {
    pod: String,
    #[source]
    cause: kube::Error,
}

struct Waiting {
    pod: Arc<Pod>,
    status: PodStatus,
    number: u64,
}

/// What the API has, as it answered last.
struct Acknowledged {
    version: u64,
    status: PodStatus,
}

/// The statuses of one node's pods.
pub(crate) struct Statuses {
    client: Client,
    queue: Arc<WorkQueue<String>>,
    waiting: Mutex<HashMap<String, Waiting>>,
    acknowledged: Mutex<HashMap<String, Acknowledged>>,
    counter: std::sync::atomic::AtomicU64,
    sent: Notify,
}

impl Statuses {
    pub(crate) fn new(client: Client) -> Arc<Self> {
        Arc::new(Statuses {
            client,
            queue: WorkQueue::new(),
            waiting: Mutex::default(),
            acknowledged: Mutex::default(),
            counter: Default::default(),
            sent: Notify::new(),
        })
    }

    /// Sends what is published until dropped.
    pub(crate) async fn run(self: Arc<Self>, workers: usize) {
        let queue = self.queue.clone();
        queue
            .run("pod status", workers, move |id| {
                let statuses = self.clone();
                async move { statuses.send(&id).await }
            })
            .await;
    }

    /// Makes this the status to send, if it differs from what the API has.
    pub(crate) fn publish(&self, pod: &Arc<Pod>, status: PodStatus) {
        let id = uid(pod).to_owned();
        let mut waiting = self.waiting.lock();
        if !waiting.contains_key(&id) && self.patch(pod, &status).is_none() {
            return;
        }
        let number = self.counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        waiting.insert(id.clone(), Waiting { pod: pod.clone(), status, number });
        drop(waiting);
        self.queue.add(id);
    }

    /// Returns when the pod's status has been taken by the API.
    pub(crate) async fn flushed(&self, id: &str) {
        loop {
            let sent = self.sent.notified();
            if !self.waiting.lock().contains_key(id) {
                return;
            }
            sent.await;
        }
    }

    /// Forgets a pod that is gone.
    pub(crate) fn forget(&self, id: &str) {
        self.acknowledged.lock().remove(id);
        self.waiting.lock().remove(id);
        self.sent.notify_waiters();
    }

    /// Lets the API forget a pod whose containers have ended.
    pub(crate) async fn delete(&self, pod: &Pod) -> Result<(), kube::Error> {
        let params = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(Preconditions { uid: pod.metadata.uid.clone(), resource_version: None }),
            ..DeleteParams::default()
        };
        match self.api(pod).delete(pod.metadata.name.as_deref().unwrap_or_default(), &params).await {
            Err(error) if !is_gone(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn api(&self, pod: &Pod) -> Api<Pod> {
        Api::namespaced(self.client.clone(), pod.metadata.namespace.as_deref().unwrap_or_default())
    }

    async fn send(&self, id: &str) -> Result<Next, SendError> {
        let Some((pod, status, number)) =
            self.waiting.lock().get(id).map(|waiting| (waiting.pod.clone(), waiting.status.clone(), waiting.number))
        else {
            return Ok(Next::Done);
        };
        if let Some(patch) = self.patch(&pod, &status) {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let answer = self.api(&pod).patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
            match answer {
                Ok(pod) => {
                    let known = Acknowledged { version: version(&pod), status: pod.status.unwrap_or_default() };
                    self.acknowledged.lock().insert(id.to_owned(), known);
                }
                // The watch will tell of its end.
                Err(error) if is_gone(&error) => {}
                Err(cause) => return Err(SendError { pod: crate::pod::full_name(&pod), cause }),
            }
        }
        let mut waiting = self.waiting.lock();
        if waiting.get(id).is_some_and(|waiting| waiting.number == number) {
            waiting.remove(id);
        }
        drop(waiting);
        self.sent.notify_waiters();
        Ok(Next::Done)
    }

    /// What to send; none: nothing differs.
    fn patch(&self, pod: &Pod, status: &PodStatus) -> Option<Value> {
        let acknowledged = self.acknowledged.lock();
        let seen = pod.status.clone().unwrap_or_default();
        // Whichever is newer: the informer's, or the answer to our last patch.
        let base = match acknowledged.get(uid(pod)) {
            Some(known) if known.version >= version(pod) => &known.status,
            _ => &seen,
        };
        let changes = difference(base, status);
        (!changes.is_empty()).then(|| json!({ "metadata": { "uid": pod.metadata.uid }, "status": changes }))
    }
}

fn version(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0)
}

/// Not there, or there is another of the name.
fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.code == 409)
}

/// Fields that the node agent writes.
const FIELDS: [&str; 13] = [
    "phase",
    "reason",
    "message",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "qosClass",
    "observedGeneration",
    "containerStatuses",
    "initContainerStatuses",
    "ephemeralContainerStatuses",
];
/// Lists that a strategic patch merges by key, where we mean to replace.
const MERGED: [&str; 2] = ["hostIPs", "podIPs"];

fn difference(base: &PodStatus, status: &PodStatus) -> Map<String, Value> {
    let as_map = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (old, new) = (as_map(base), as_map(status));
    let mut changes = Map::new();
    for field in FIELDS {
        let (before, after) = (old.get(field), new.get(field));
        if before == after {
            continue;
        }
        let value = match after {
            None => Value::Null,
            Some(Value::Array(items)) if MERGED.contains(&field) && before.is_some() => {
                let replace = std::iter::once(json!({ "$patch": "replace" }));
                Value::Array(replace.chain(items.iter().cloned()).collect())
            }
            Some(value) => value.clone(),
        };
        changes.insert(field.to_owned(), value);
    }
    let conditions = changed_conditions(old.get("conditions"), new.get("conditions"));
    if !conditions.is_empty() {
        changes.insert("conditions".to_owned(), Value::Array(conditions));
    }
    changes
}

fn changed_conditions(old: Option<&Value>, new: Option<&Value>) -> Vec<Value> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let (old, new) = (list(old), list(new));
    let owned = |kind: &Value| kind.as_str().is_some_and(|kind| OWNED.contains(&kind));
    let mut changed: Vec<Value> = old
        .iter()
        .map(|condition| condition["type"].clone())
        .filter(|kind| owned(kind) && !new.iter().any(|condition| condition["type"] == *kind))
        .map(|kind| json!({ "$patch": "delete", "type": kind }))
        .collect();
    for mut condition in new {
        let kind = condition["type"].clone();
        if !owned(&kind) {
            continue;
        }
        let before = old.iter().find(|old| old["type"] == kind);
        if before == Some(&condition) {
            continue;
        }
        if let (Some(Value::Object(before)), Value::Object(after)) = (before, &mut condition) {
            for field in before.keys() {
                after.entry(field.clone()).or_insert(Value::Null);
            }
        }
        changed.push(condition);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> PodStatus {
        serde_json::from_value(value).expect("a status")
    }

    #[test]
    fn only_what_differs_is_sent() {
        let base = status(json!({
            "phase": "Pending", "reason": "X", "podIPs": [{ "ip": "10.0.0.1" }],
            "conditions": [
                { "type": "Ready", "status": "False", "reason": "ContainersNotReady", "message": "m" },
                { "type": "PodScheduled", "status": "True" },
                { "type": "example.com/gate", "status": "True" },
            ],
        }));
        let new = status(json!({
            "phase": "Running", "podIPs": [{ "ip": "10.0.0.2" }],
            "conditions": [{ "type": "Ready", "status": "True" }, { "type": "PodScheduled", "status": "True" }],
        }));
        assert!(difference(&base, &base).is_empty());
        let changes = Value::Object(difference(&base, &new));
        assert_eq!(
            changes,
            json!({
                "phase": "Running",
                "reason": null,
                "podIPs": [{ "$patch": "replace" }, { "ip": "10.0.0.2" }],
                "conditions": [{ "type": "Ready", "status": "True", "reason": null, "message": null }],
            })
        );
    }
}
