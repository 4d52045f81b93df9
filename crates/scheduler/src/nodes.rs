//! The nodes with what runs on them, as the scheduler sees them: the informers' state and the decisions that
//! have not come back yet.

use crate::groups::{Counts, Groups};
use crate::requests::{Amounts, pod_requests, scored_requests};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};
use kaji_api::selector::LabelSelector;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

/// A pod on a node, with what is asked of it again and again.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) pod: Arc<Pod>,
    pub(crate) requests: Amounts,
    pub(crate) scored: Amounts,
    /// Says something about where other pods may be.
    pub(crate) has_affinity: bool,
}

/// One node and its pods.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeInfo {
    pub(crate) name: String,
    /// None while only pods are known.
    pub(crate) node: Option<Arc<Node>>,
    pub(crate) pods: HashMap<String, Placed>,
    /// How many of them have affinities to pods.
    pub(crate) affine: usize,
    pub(crate) requested: Amounts,
    pub(crate) scored: Amounts,
    pub(crate) allocatable: Amounts,
}

/// A state of all nodes; cheap to take.
pub(crate) type Snapshot = Vec<Arc<NodeInfo>>;

#[derive(Default)]
pub(crate) struct Nodes(Mutex<State>);

#[derive(Default)]
struct State {
    nodes: BTreeMap<String, Arc<NodeInfo>>,
    /// Where each placed pod is, by uid.
    places: HashMap<String, String>,
    /// Decided, but not yet seen bound.
    assumed: HashMap<String, String>,
    /// Pods that wait for the room they have made, and where, by uid.
    nominated: HashMap<String, (String, Arc<Pod>)>,
    /// Placed pods, counted per node for selectors.
    groups: Groups,
}

impl NodeInfo {
    /// The node's labels.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.node.as_ref()?.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    pub(crate) fn put(&mut self, uid: &str, placed: Placed) {
        self.take(uid);
        self.requested.add(&placed.requests);
        self.scored.add(&placed.scored);
        self.affine += usize::from(placed.has_affinity);
        self.pods.insert(uid.to_owned(), placed);
    }

    /// Takes a pod off the node.
    pub(crate) fn take(&mut self, uid: &str) -> Option<Placed> {
        let placed = self.pods.remove(uid)?;
        self.requested.subtract(&placed.requests);
        self.scored.subtract(&placed.scored);
        self.affine -= usize::from(placed.has_affinity);
        Some(placed)
    }
}

/// The pod's spec; without one, what an empty one asks for.
pub(crate) fn spec_of(pod: &Pod) -> &PodSpec {
    static EMPTY: LazyLock<PodSpec> = LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// `spec.nodeName`, or empty.
pub(crate) fn node_of(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).unwrap_or_default()
}

/// Succeeded or failed: it needs nothing any more.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(pod.status.as_ref().and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"))
}

/// `spec.priority`, or 0.
pub(crate) fn priority_of(pod: &Pod) -> i32 {
    pod.spec.as_ref().and_then(|s| s.priority).unwrap_or_default()
}

/// `status.nominatedNodeName`, or empty.
pub(crate) fn nomination_of(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.nominated_node_name.as_deref()).unwrap_or_default()
}

impl Placed {
    pub(crate) fn new(pod: Arc<Pod>) -> Self {
        let affinity = pod.spec.as_ref().and_then(|s| s.affinity.as_ref());
        let has_affinity = affinity.is_some_and(|a| a.pod_affinity.is_some() || a.pod_anti_affinity.is_some());
        Placed { requests: pod_requests(&pod), scored: scored_requests(&pod), has_affinity, pod }
    }
}

impl Nodes {
    /// All nodes that exist, by name.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.0.lock().nodes.values().filter(|n| n.node.is_some()).cloned().collect()
    }

    /// The same for one pod: those at least as important that wait for room count as if they had it.
    pub(crate) fn snapshot_for(&self, pod: &Pod) -> Snapshot {
        let mut snapshot = self.snapshot();
        let state = self.0.lock();
        for (uid, (name, other)) in &state.nominated {
            if Some(uid) == pod.metadata.uid.as_ref() || priority_of(other) < priority_of(pod) {
                continue;
            }
            if let Some(node) = snapshot.iter_mut().find(|n| n.name == *name) {
                Arc::make_mut(node).put(uid, Placed::new(other.clone()));
            }
        }
        snapshot
    }

    /// The pods of a namespace that a selector selects, per node; those that only wait for room are not counted.
    pub(crate) fn counts(&self, namespace: &str, selector: &LabelSelector) -> Arc<Counts> {
        let State { groups, nodes, .. } = &mut *self.0.lock();
        groups.count(namespace, selector, || {
            nodes.values().flat_map(|node| node.pods.values().map(|placed| (node.name.as_str(), &*placed.pod)))
        })
    }

    /// Keeps room for a pod on a node; an empty name gives it up.
    pub(crate) fn nominate(&self, pod: &Arc<Pod>, node: &str) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut state = self.0.lock();
        if node.is_empty() {
            state.nominated.remove(&uid);
        } else {
            state.nominated.insert(uid, (node.to_owned(), pod.clone()));
        }
    }

    /// Gives up the room kept on a node for pods less important than this; they must look elsewhere.
    pub(crate) fn displace(&self, node: &str, priority: i32) -> Vec<Arc<Pod>> {
        let mut state = self.0.lock();
        let less = |(name, pod): &(String, Arc<Pod>)| name == node && priority_of(pod) < priority;
        let gone: Vec<Arc<Pod>> = state.nominated.values().filter(|n| less(n)).map(|(_, pod)| pod.clone()).collect();
        state.nominated.retain(|_, n| !less(n));
        gone
    }

    pub(crate) fn set_node(&self, name: &str, node: Option<Arc<Node>>) {
        let mut state = self.0.lock();
        let info = state.info(name);
        info.allocatable =
            Amounts::of(node.as_ref().and_then(|n| n.status.as_ref()).and_then(|s| s.allocatable.as_ref()));
        info.node = node;
        if info.node.is_none() && info.pods.is_empty() {
            state.nodes.remove(name);
        }
    }

    /// A pod that is bound, as the server tells; a finished one frees its place.
    pub(crate) fn set_pod(&self, pod: &Arc<Pod>) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut state = self.0.lock();
        state.remove(&uid);
        if !is_finished(pod) {
            state.put(&uid, node_of(pod), pod.clone());
        }
    }

    pub(crate) fn remove_pod(&self, uid: &str) {
        self.0.lock().remove(uid);
    }

    /// Counts a pod as placed before the server has said so.
    pub(crate) fn assume(&self, pod: &Arc<Pod>, node: &str) {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let mut state = self.0.lock();
        state.put(&uid, node, pod.clone());
        state.assumed.insert(uid, node.to_owned());
    }

    /// Takes an assumption back: the binding failed.
    pub(crate) fn forget(&self, uid: &str) {
        let mut state = self.0.lock();
        if state.assumed.contains_key(uid) {
            state.remove(uid);
        }
    }

    pub(crate) fn is_assumed(&self, uid: &str) -> bool {
        self.0.lock().assumed.contains_key(uid)
    }
}

impl State {
    fn info(&mut self, name: &str) -> &mut NodeInfo {
        let info = self
            .nodes
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(NodeInfo { name: name.to_owned(), ..NodeInfo::default() }));
        Arc::make_mut(info)
    }

    fn put(&mut self, uid: &str, node: &str, pod: Arc<Pod>) {
        self.nominated.remove(uid);
        self.displace(uid);
        self.groups.put(node, &pod);
        self.info(node).put(uid, Placed::new(pod));
        self.places.insert(uid.to_owned(), node.to_owned());
    }

    fn remove(&mut self, uid: &str) {
        self.nominated.remove(uid);
        self.assumed.remove(uid);
        self.displace(uid);
    }

    /// Takes a pod from its place, if it has one.
    fn displace(&mut self, uid: &str) {
        let Some(node) = self.places.remove(uid) else { return };
        let info = self.info(&node);
        let placed = info.take(uid);
        if info.node.is_none() && info.pods.is_empty() {
            self.nodes.remove(&node);
        }
        if let Some(placed) = placed {
            self.groups.take(&node, &placed.pod);
        }
    }
}
