//! Watches whether nodes are heard of, taints those that aren't, and says so of their pods (upstream
//! `pkg/controller/nodelifecycle`).
//!
//! A lease that is renewed only moves a time in memory; a node's own timer looks whether that time is too long ago.

mod plan;

use crate::Context;
use crate::context::key_of;
use crate::pod::{condition, node as node_of};
use crate::write::gone_is_fine;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kaji_client::event::EventType;
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use parking_lot::Mutex;
use plan::{Expel, ZoneState, expels, labels, no_execute, ready, silenced, taints, zone, zone_state};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// `--node-monitor-grace-period`.
const GRACE: Duration = Duration::from_secs(50);
/// `--node-startup-grace-period`.
const STARTUP_GRACE: Duration = Duration::from_secs(60);
/// `--node-eviction-rate` 0.1 and `--secondary-node-eviction-rate` 0.01, as seconds between two nodes of a zone.
const TURN: Duration = Duration::from_secs(10);
const SLOW_TURN: Duration = Duration::from_secs(100);
/// `--large-cluster-size-threshold`: smaller zones that are partly down lose no more pods.
const LARGE: usize = 50;
const LEASES: &str = "kube-node-lease";

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let (nodes, pods) = (cx.informer::<Node>(), cx.informer::<Pod>());
    let leases = cx.informers.selected::<Lease>(&format!("metadata.namespace={LEASES}"));
    let work = Arc::new(Work {
        cx,
        nodes: nodes.clone(),
        pods: pods.clone(),
        signs: Mutex::default(),
        turns: Mutex::default(),
        all_down: Mutex::new(false),
    });
    work.follow(&leases, &queue);
    nodes.synced().await;
    leases.synced().await;
    pods.synced().await;
    let workers = work.cx.config.workers;
    let reconcile = move |key| {
        let work = work.clone();
        let _followed = &leases;
        async move { work.reconcile(key).await }
    };
    queue.run("node lifecycle", workers, reconcile).await;
}

/// When a node was heard of last, by our clock, and what it said.
struct Sign {
    at: Instant,
    heartbeat: Option<Time>,
    renewed: Option<MicroTime>,
}

struct Work {
    cx: Context,
    nodes: Arc<Informer<Node>>,
    pods: Arc<Informer<Pod>>,
    signs: Mutex<HashMap<String, Sign>>,
    /// When the next node of a zone may lose its pods.
    turns: Mutex<HashMap<String, Instant>>,
    /// Whether no node at all was ready when we looked last.
    all_down: Mutex<bool>,
}

// === hearing

impl Work {
    fn follow(self: &Arc<Self>, leases: &Informer<Lease>, queue: &Arc<WorkQueue<ObjectKey>>) {
        let (work, again) = (Arc::downgrade(self), queue.clone());
        self.nodes.on_change(move |change| {
            let Some(work) = work.upgrade() else { return };
            work.hear(&change.key.name, change.new.as_deref());
            work.tell_of_membership(change.old.as_deref(), change.new.as_deref());
            again.add(change.key.clone());
            let state = |n: &Arc<Node>| (ready(n).to_owned(), zone(n));
            if change.old.as_ref().map(state) != change.new.as_ref().map(state) {
                // Others may get their turn, or lose it.
                work.nodes.list().iter().filter(|n| ready(n) != "True").for_each(|n| again.add(key_of(&**n)));
            }
        });
        let (work, again) = (Arc::downgrade(self), queue.clone());
        leases.on_change(move |change| {
            let (Some(work), Some(lease)) = (work.upgrade(), &change.new) else { return };
            let renewed = lease.spec.as_ref().and_then(|s| s.renew_time.clone());
            if work.renewed(&change.key.name, renewed) {
                again.add(ObjectKey::new("", change.key.name.clone()));
            }
        });
        let (work, again) = (Arc::downgrade(self), queue.clone());
        self.pods.on_change(move |change| {
            let (Some(work), Some(pod)) = (work.upgrade(), &change.new) else { return };
            let bound = !node_of(pod).is_empty() && change.old.as_ref().map(|p| node_of(p)) != Some(node_of(pod));
            let key = ObjectKey::new("", node_of(pod));
            if bound && work.nodes.get(&key).is_some_and(|n| ready(&n) != "True") {
                again.add(key);
            }
        });
    }

    fn tell_of_membership(&self, old: Option<&Node>, new: Option<&Node>) {
        let (node, reason, deed, where_) = match (old, new) {
            (None, Some(node)) => (node, "RegisteredNode", "Registered", "in"),
            (Some(node), None) => (node, "RemovingNode", "Removing", "from"),
            _ => return,
        };
        let name = node.metadata.name.as_deref().unwrap_or_default();
        let message = format!("Node {name} event: {deed} Node {name} {where_} Controller");
        self.cx.recorder.event(&about(node), EventType::Normal, reason, &message);
    }

    /// Takes note of what a node says about itself.
    fn hear(&self, name: &str, node: Option<&Node>) {
        let mut signs = self.signs.lock();
        let Some(node) = node else {
            signs.remove(name);
            return;
        };
        let heartbeat = plan::condition(node, "Ready").and_then(|c| c.last_heartbeat_time.clone());
        match signs.get_mut(name) {
            Some(sign) if sign.heartbeat == heartbeat => {}
            Some(sign) => (sign.at, sign.heartbeat) = (Instant::now(), heartbeat),
            None => {
                signs.insert(name.to_owned(), Sign { at: Instant::now(), heartbeat, renewed: None });
            }
        }
    }

    /// Takes note of a lease; true when the node was not known to be well.
    fn renewed(&self, name: &str, renewed: Option<MicroTime>) -> bool {
        if let Some(sign) = self.signs.lock().get_mut(name)
            && sign.renewed < renewed
        {
            (sign.at, sign.renewed) = (Instant::now(), renewed);
        }
        self.nodes.get(&ObjectKey::new("", name)).is_some_and(|n| ready(&n) != "True")
    }
}

// === acting

impl Work {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, kube::Error> {
        let Some(node) = self.nodes.get(&key) else { return Ok(Next::Done) };
        self.label(&node).await?;
        let grace = if ready(&node).is_empty() { STARTUP_GRACE } else { GRACE };
        let heard = self.signs.lock().get(&key.name).map(|s| s.at);
        let left = grace.saturating_sub(heard.map(|at| at.elapsed()).unwrap_or_default());
        if left.is_zero()
            && let Some(after) = silenced(&node, Timestamp::now())
        {
            let api: Api<Node> = Api::all(self.cx.client.clone());
            gone_is_fine(api.replace_status(&key.name, &PostParams::default(), &after).await)?;
            if ready(&node) == "True" {
                let message = format!("Node {} status is now: NodeNotReady", key.name);
                self.cx.recorder.event(&about(&node), EventType::Normal, "NodeNotReady", &message);
            }
            // The change comes back to us and is acted upon then.
            return Ok(Next::Done);
        }
        if !matches!(ready(&node), "True" | "") {
            self.mark_pods(&key.name).await?;
        }
        let turn = self.taint(&node).await?;
        let look = if left.is_zero() { None } else { Some(left) };
        Ok([turn, look].into_iter().flatten().min().map_or(Next::Done, Next::After))
    }

    async fn label(&self, node: &Node) -> Result<(), kube::Error> {
        let labels = labels(node);
        if labels.is_empty() {
            return Ok(());
        }
        let api: Api<Node> = Api::all(self.cx.client.clone());
        let change = Patch::Strategic(serde_json::json!({"metadata": {"labels": labels}}));
        let name = node.metadata.name.as_deref().unwrap_or_default();
        gone_is_fine(api.patch(name, &PatchParams::default(), &change).await)
    }

    /// Sets the taints; gives the time until the node's turn to lose its pods.
    async fn taint(&self, node: &Node) -> Result<Option<Duration>, kube::Error> {
        let (expel, wait) = self.expel(node);
        if let Some(taints) = taints(node, expel, Timestamp::now()) {
            let api: Api<Node> = Api::all(self.cx.client.clone());
            let change = serde_json::json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": taints}});
            let name = node.metadata.name.as_deref().unwrap_or_default();
            gone_is_fine(api.patch(name, &PatchParams::default(), &Patch::Merge(change)).await)?;
        }
        Ok(wait)
    }

    fn expel(&self, node: &Node) -> (Expel, Option<Duration>) {
        let mut zones: HashMap<String, (usize, usize)> = HashMap::new();
        for other in self.nodes.list() {
            let count = zones.entry(zone(&other)).or_default();
            count.0 += usize::from(ready(&other) == "True");
            count.1 += 1;
        }
        let state = |(ready, total): (usize, usize)| zone_state(ready, total);
        let all_down = zones.values().all(|count| state(*count) == ZoneState::Full);
        if std::mem::replace(&mut *self.all_down.lock(), all_down) && !all_down {
            // We hear again: nobody is to be blamed for the time we were cut off.
            self.signs.lock().values_mut().for_each(|sign| sign.at = Instant::now());
        }
        if all_down {
            return (Expel::Never, None);
        }
        if no_execute(node).is_none() || expels(node) {
            return (Expel::AsReady, None);
        }
        let count = zones.get(&zone(node)).copied().unwrap_or_default();
        let pace = match state(count) {
            ZoneState::Partial if count.1 <= LARGE => return (Expel::Wait, None),
            ZoneState::Partial => SLOW_TURN,
            ZoneState::Normal | ZoneState::Full => TURN,
        };
        let now = Instant::now();
        let mut turns = self.turns.lock();
        let turn = turns.entry(zone(node)).or_insert(now);
        if *turn > now {
            return (Expel::Wait, Some(*turn - now));
        }
        *turn = now + pace;
        (Expel::AsReady, None)
    }

    /// Pods of a node that isn't ready aren't either.
    async fn mark_pods(&self, node: &str) -> Result<(), kube::Error> {
        let here = self.pods.list().into_iter().filter(|p| node_of(p) == node);
        for pod in here.filter(|p| condition(p, "Ready").is_some_and(|c| c.status == "True")) {
            let key = key_of(&*pod);
            let api: Api<Pod> = Api::namespaced(self.cx.client.clone(), &key.namespace);
            let ready =
                serde_json::json!({"type": "Ready", "status": "False", "lastTransitionTime": Time(Timestamp::now())});
            let change = serde_json::json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [ready]}});
            gone_is_fine(api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(change)).await)?;
            self.cx.event(&*pod, EventType::Warning, "NodeNotReady", "Node is not ready");
        }
        Ok(())
    }
}

fn about(node: &Node) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Node".to_owned()),
        name: node.metadata.name.clone(),
        uid: node.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}
