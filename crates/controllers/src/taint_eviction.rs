//! Evicts pods that do not tolerate, or no longer, the `NoExecute` taints of their node (upstream
//! `pkg/controller/tainteviction`).

use crate::Context;
use crate::context::key_of;
use crate::disruption_target::{Cause, end};
use crate::pod::node;
use crate::taint::{self, Patience, patience};
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Taint};
use kaji_client::event::{EventType, Recorder};
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::api::DeleteParams;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::time::Instant;

pub(crate) async fn run(mut cx: Context) {
    cx.recorder = Recorder::new(cx.client.clone(), "taint-eviction-controller", "");
    let queue = WorkQueue::new();
    let (nodes, pods) = (cx.informer::<Node>(), cx.informer::<Pod>());
    let again = queue.clone();
    pods.on_change(move |change| {
        let place = |p: &Arc<Pod>| (node(p).to_owned(), p.spec.as_ref().and_then(|s| s.tolerations.clone()));
        if change.old.as_ref().map(place) != change.new.as_ref().map(place) {
            again.add(change.key.clone());
        }
    });
    let (again, on_nodes) = (queue.clone(), pods.clone());
    nodes.on_change(move |change| {
        let expelling = |n: Option<&Arc<Node>>| n.map(|n| no_execute(n)).unwrap_or_default();
        if expelling(change.old.as_ref()) != expelling(change.new.as_ref()) {
            let here = on_nodes.list().into_iter().filter(|p| node(p) == change.key.name);
            here.for_each(|pod| again.add(key_of(&*pod)));
        }
    });
    nodes.synced().await;
    pods.synced().await;
    let workers = cx.config.workers;
    let work = Arc::new(Work { cx, nodes, pods, due: Mutex::default() });
    let reconcile = move |key| {
        let work = work.clone();
        async move { work.reconcile(key).await }
    };
    queue.run("taint eviction", workers, reconcile).await;
}

fn no_execute(node: &Node) -> Vec<Taint> {
    taint::of(node).iter().filter(|t| t.effect == "NoExecute").cloned().collect()
}

struct Work {
    cx: Context,
    nodes: Arc<Informer<Node>>,
    pods: Arc<Informer<Pod>>,
    /// When pods are to go whose patience is limited.
    due: Mutex<HashMap<ObjectKey, Instant>>,
}

impl Work {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, kube::Error> {
        let pod = self.pods.get(&key).filter(|p| p.metadata.deletion_timestamp.is_none());
        let Some(pod) = pod else {
            self.due.lock().remove(&key);
            return Ok(Next::Done);
        };
        let Some(node) = self.nodes.get(&ObjectKey::new("", node(&pod))) else { return Ok(Next::Done) };
        let taints = no_execute(&node);
        let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
        match patience(&taints, tolerations) {
            Patience::Forever => {
                if self.due.lock().remove(&key).is_some() {
                    self.tell(&key, "Cancelling deletion of Pod");
                }
                Ok(Next::Done)
            }
            Patience::None => self.evict(&key, &pod).await,
            Patience::For(time) => {
                // A pod whose time runs keeps it: other taints don't start it again.
                let due = *self.due.lock().entry(key.clone()).or_insert_with(|| Instant::now() + time);
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() { self.evict(&key, &pod).await } else { Ok(Next::After(left)) }
            }
        }
    }

    async fn evict(&self, key: &ObjectKey, pod: &Pod) -> Result<Next, kube::Error> {
        self.tell(key, "Marking for deletion Pod");
        let cause =
            Cause { reason: "DeletionByTaintManager", message: "Taint manager: deleting due to NoExecute taint" };
        end(&self.cx.client, pod, Some(cause), false, &DeleteParams::default()).await?;
        self.due.lock().remove(key);
        Ok(Next::Done)
    }

    fn tell(&self, key: &ObjectKey, what: &str) {
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Pod".to_owned()),
            namespace: Some(key.namespace.clone()),
            name: Some(key.name.clone()),
            ..ObjectReference::default()
        };
        let message = format!("{what} {}/{}", key.namespace, key.name);
        self.cx.recorder.event(&about, EventType::Normal, "TaintManagerEviction", &message);
    }
}
