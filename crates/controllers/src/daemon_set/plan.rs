//! Which daemons are made and deleted where. No client, no clock.

use super::pod_template::{is_updated, target, tolerate};
use crate::int_or_percent::scaled;
use crate::node_affinity;
use crate::pod::{is_available, is_finished, is_ready, phase};
use crate::taint::{self, untolerated};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetStatus, RollingUpdateDaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod, PodSpec};
use kaji_client::event::EventType;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) const HASH: &str = "controller-revision-hash";

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Nodes that get a daemon.
    pub(super) create: Vec<String>,
    pub(super) delete: Vec<Arc<Pod>>,
    /// Type, reason, message.
    pub(super) events: Vec<(EventType, &'static str, String)>,
    /// Nodes whose daemon failed: the next one is delayed more.
    pub(super) failed_on: Vec<String>,
    /// When a delayed daemon's turn comes.
    pub(super) again: Option<Duration>,
}

impl Plan {
    pub(super) fn is_idle(&self) -> bool {
        self.create.is_empty() && self.delete.is_empty()
    }
}

/// A daemon set, its nodes and its pods on them.
pub(super) struct View<'a> {
    pub(super) set: &'a DaemonSet,
    pub(super) nodes: &'a [Arc<Node>],
    pub(super) pods: BTreeMap<String, Vec<Arc<Pod>>>,
    pub(super) hash: &'a str,
    pub(super) now: Timestamp,
    spec: PodSpec,
}

/// Whether a new daemon would go to a node, and whether one that is there may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fit {
    pub(super) run: bool,
    pub(super) stay: bool,
}

impl<'a> View<'a> {
    pub(super) fn new(
        set: &'a DaemonSet,
        nodes: &'a [Arc<Node>],
        all: &[Arc<Pod>],
        hash: &'a str,
        now: Timestamp,
    ) -> Self {
        let mut pods: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
        for pod in all.iter().filter(|p| !(is_finished(p) && p.metadata.deletion_timestamp.is_some())) {
            if let Some(node) = target(pod) {
                pods.entry(node).or_default().push(pod.clone());
            }
        }
        let mut spec = set.spec.as_ref().and_then(|s| s.template.spec.clone()).unwrap_or_default();
        tolerate(&mut spec);
        View { set, nodes, pods, hash, now, spec }
    }

    pub(super) fn fit(&self, node: &Node) -> Fit {
        let named = self.spec.node_name.as_deref().unwrap_or_default();
        let name = node.metadata.name.as_deref().unwrap_or_default();
        if (!named.is_empty() && named != name) || !node_affinity::matches(&self.spec, node) {
            return Fit { run: false, stay: false };
        }
        let tolerations = self.spec.tolerations.as_deref().unwrap_or_default();
        let refused = |effects: &[&str]| {
            let taints = taint::of(node).iter().filter(|t| effects.contains(&t.effect.as_str()));
            untolerated(taints, tolerations).is_some()
        };
        Fit { run: !refused(&["NoExecute", "NoSchedule"]), stay: !refused(&["NoExecute"]) }
    }

    fn min_ready(&self) -> i32 {
        self.set.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or_default()
    }

    fn is_available(&self, pod: &Pod) -> bool {
        is_available(pod, self.min_ready(), self.now)
    }

    fn rolling(&self) -> Option<&RollingUpdateDaemonSet> {
        let strategy = self.set.spec.as_ref()?.update_strategy.as_ref()?;
        strategy.rolling_update.as_ref().filter(|_| strategy.type_.as_deref() != Some("OnDelete"))
    }

    fn surge(&self, nodes: i32) -> i32 {
        let surge = self.rolling().and_then(|r| r.max_surge.as_ref());
        surge.and_then(|value| scaled(value, nodes, true)).unwrap_or_default()
    }

    /// One daemon on each node that fits, none elsewhere. `delay` tells how long a failed one on a node must wait.
    pub(super) fn manage(&self, delay: &dyn Fn(&str) -> Option<Duration>) -> Plan {
        let mut plan = Plan::default();
        for node in self.nodes {
            let name = node.metadata.name.as_deref().unwrap_or_default();
            let fit = self.fit(node);
            match self.pods.get(name) {
                None if fit.run => plan.create.push(name.to_owned()),
                None => {}
                Some(pods) if fit.stay => self.keep_one(name, fit, pods, delay, &mut plan),
                Some(pods) => plan.delete.extend(pods.iter().filter(|p| !is_deleting(p)).cloned()),
            }
        }
        let known = |name: &String| self.nodes.iter().any(|n| n.metadata.name.as_ref() == Some(name));
        let lost = self.pods.iter().filter(|(name, _)| !known(name)).flat_map(|(_, pods)| pods);
        plan.delete.extend(lost.filter(|p| crate::pod::node(p).is_empty()).cloned());
        plan
    }

    fn keep_one(
        &self,
        node: &str,
        fit: Fit,
        pods: &[Arc<Pod>],
        delay: &dyn Fn(&str) -> Option<Duration>,
        plan: &mut Plan,
    ) {
        let mut running = Vec::new();
        for pod in pods.iter().filter(|p| !is_deleting(p)) {
            let (namespace, name) = (text(pod.metadata.namespace.as_ref()), text(pod.metadata.name.as_ref()));
            match phase(pod) {
                "Failed" => {
                    if let Some(wait) = delay(node) {
                        plan.again = Some(plan.again.map_or(wait, |w| w.min(wait)));
                        continue;
                    }
                    plan.failed_on.push(node.to_owned());
                    let message =
                        format!("Found failed daemon pod {namespace}/{name} on node {node}, will try to kill it");
                    plan.events.push((EventType::Warning, "FailedDaemonPod", message));
                    plan.delete.push(pod.clone());
                }
                "Succeeded" => {
                    let message =
                        format!("Found succeeded daemon pod {namespace}/{name} on node {node}, will try to delete it");
                    plan.events.push((EventType::Normal, "SucceededDaemonPod", message));
                    plan.delete.push(pod.clone());
                }
                _ => running.push(pod.clone()),
            }
        }
        sort(&mut running);
        if self.surge(1) == 0 {
            plan.delete.extend(running.into_iter().skip(1));
        } else if running.len() > 1 {
            self.keep_old_and_new(running, plan);
        } else if running.is_empty() && fit.run {
            plan.create.push(node.to_owned());
        }
    }

    /// While surging a node has an old daemon beside its new one until that is available.
    fn keep_old_and_new(&self, running: Vec<Arc<Pod>>, plan: &mut Plan) {
        let (new, old): (Vec<_>, Vec<_>) = running
            .into_iter()
            .partition(|p| p.metadata.labels.as_ref().and_then(|l| l.get(HASH)).is_some_and(|h| h == self.hash));
        let pair = new.first().cloned().zip(old.first().cloned());
        plan.delete.extend(new.into_iter().skip(1).chain(old.into_iter().skip(1)));
        if let Some((new, old)) = pair
            && (!is_ready(&old) || self.is_available(&new))
        {
            plan.delete.push(old);
        }
    }

    /// How many nodes shall have a daemon.
    fn desired(&self) -> i32 {
        self.nodes.iter().filter(|n| self.fit(n).run).count() as i32
    }

    /// Replaces daemons of older templates, as many at a time as may be missing or doubled.
    pub(super) fn roll(&self) -> Plan {
        let Some(rolling) = self.rolling() else { return Plan::default() };
        let desired = self.desired();
        let surge = self.surge(desired);
        let unavailable = rolling.max_unavailable.as_ref().and_then(|v| scaled(v, desired, true)).unwrap_or_default();
        if surge == 0 {
            let unavailable = if desired > 0 && unavailable == 0 { 1 } else { unavailable };
            return self.replace_in_place(unavailable);
        }
        self.replace_with_surge(surge, desired)
    }

    /// The one new and the one old daemon of a node; nothing where there are more of a kind.
    fn pair(&self, pods: &[Arc<Pod>]) -> Option<(Option<Arc<Pod>>, Option<Arc<Pod>>)> {
        let alive = pods.iter().filter(|p| !is_deleting(p)).cloned();
        let (new, old): (Vec<_>, Vec<_>) = alive.partition(|p| is_updated(p, self.hash, self.set));
        (new.len() <= 1 && old.len() <= 1).then(|| (new.first().cloned(), old.first().cloned()))
    }

    /// All nodes with daemons, and those that should have one.
    fn sites(&self) -> BTreeMap<String, &[Arc<Pod>]> {
        let mut sites: BTreeMap<String, &[Arc<Pod>]> =
            self.pods.iter().map(|(node, pods)| (node.clone(), pods.as_slice())).collect();
        for node in self.nodes.iter().filter(|n| self.fit(n).run) {
            sites.entry(node.metadata.name.clone().unwrap_or_default()).or_default();
        }
        sites
    }

    fn replace_in_place(&self, max: i32) -> Plan {
        let (mut unavailable, mut delete, mut candidates) = (0, Vec::new(), Vec::new());
        for pods in self.sites().into_values() {
            match self.pair(pods) {
                Some((None, Some(old))) if !self.is_available(&old) => {
                    delete.push(old);
                    unavailable += 1;
                }
                Some((None, Some(old))) => candidates.push(old),
                Some((Some(new), None)) if self.is_available(&new) => {}
                _ => unavailable += 1,
            }
        }
        let room = usize::try_from(max - unavailable).unwrap_or_default();
        delete.extend(candidates.into_iter().take(room));
        Plan { delete, ..Plan::default() }
    }

    fn replace_with_surge(&self, max: i32, desired: i32) -> Plan {
        let mut plan = Plan::default();
        let (mut surging, mut available, mut candidates, mut unwanted) = (0, 0, Vec::new(), Vec::new());
        for (node, pods) in self.sites() {
            let Some((new, old)) = self.pair(pods) else {
                surging += 1;
                continue;
            };
            let up = |pod: &Option<Arc<Pod>>| pod.as_ref().is_some_and(|p| self.is_available(p));
            available += i32::from(up(if old.is_some() { &old } else { &new }));
            let object = self.nodes.iter().find(|n| n.metadata.name.as_ref() == Some(&node));
            let wanted = object.is_some_and(|n| self.fit(n).run);
            match (new, old) {
                (_, None) => {}
                (None, Some(old)) => match (self.is_available(&old), wanted) {
                    (false, false) => plan.delete.push(old),
                    (false, true) => plan.create.push(node),
                    (true, false) => unwanted.push(old),
                    (true, true) => candidates.push(node),
                },
                (Some(new), Some(_)) if !self.is_available(&new) => surging += 1,
                (Some(_), Some(old)) => plan.delete.push(old),
            }
        }
        let count = |n: i32| usize::try_from(n).unwrap_or_default();
        plan.delete.extend(unwanted.into_iter().take(count(available - desired)));
        plan.create.extend(candidates.into_iter().take(count(max - surging)));
        plan
    }

    /// The status; `observed` tells whether the present generation has been acted upon.
    pub(super) fn status(&self, observed: bool) -> DaemonSetStatus {
        let old = self.set.status.clone().unwrap_or_default();
        let (mut desired, mut current, mut misplaced, mut ready, mut updated, mut available) = (0, 0, 0, 0, 0, 0);
        for node in self.nodes {
            let mut pods =
                self.pods.get(node.metadata.name.as_deref().unwrap_or_default()).cloned().unwrap_or_default();
            let run = self.fit(node).run;
            desired += i32::from(run);
            if pods.is_empty() {
                continue;
            }
            if !run {
                misplaced += 1;
                continue;
            }
            current += 1;
            sort(&mut pods);
            ready += i32::from(is_ready(&pods[0]));
            available += i32::from(self.is_available(&pods[0]));
            updated += i32::from(is_updated(&pods[0], self.hash, self.set));
        }
        let some = |n: i32| (n != 0).then_some(n);
        DaemonSetStatus {
            current_number_scheduled: current,
            number_misscheduled: misplaced,
            desired_number_scheduled: desired,
            number_ready: ready,
            updated_number_scheduled: some(updated),
            number_available: some(available),
            number_unavailable: some(desired - available),
            observed_generation: if observed { self.set.metadata.generation } else { old.observed_generation },
            collision_count: old.collision_count,
            conditions: old.conditions,
        }
    }
}

fn text(field: Option<&String>) -> &str {
    field.map(String::as_str).unwrap_or_default()
}

fn is_deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Bound before unbound, then the oldest first.
fn sort(pods: &mut [Arc<Pod>]) {
    pods.sort_by_key(|p| {
        (crate::pod::node(p).is_empty(), p.metadata.creation_timestamp.clone(), p.metadata.name.clone())
    });
}

/// Whether a change of a node may matter to any daemon set.
pub(super) fn matters(old: Option<&Node>, new: Option<&Node>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return true };
    old.metadata.labels != new.metadata.labels || taint::of(old) != taint::of(new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(strategy: &serde_json::Value) -> DaemonSet {
        serde_json::from_value(serde_json::json!({"metadata": {"name": "d", "namespace": "n", "generation": 3},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": strategy},
                "template": {"spec": {"containers": []}}}}))
        .unwrap()
    }

    fn node(name: &str, taints: &serde_json::Value) -> Arc<Node> {
        Arc::new(
            serde_json::from_value(serde_json::json!({"metadata": {"name": name}, "spec": {"taints": taints}}))
                .unwrap(),
        )
    }

    fn nodes(names: &[&str]) -> Vec<Arc<Node>> {
        names.iter().map(|n| node(n, &serde_json::json!([]))).collect()
    }

    fn pod(name: &str, node: &str, hash: &str, phase: &str, ready: bool) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        Arc::new(
            serde_json::from_value(
                serde_json::json!({"metadata": {"name": name, "namespace": "n", "labels": {HASH: hash}},
                "spec": {"containers": [], "nodeName": node},
                "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}}),
            )
            .unwrap(),
        )
    }

    fn told(plan: &Plan) -> (Vec<&str>, Vec<&str>) {
        let deleted = plan.delete.iter().filter_map(|p| p.metadata.name.as_deref()).collect();
        (plan.create.iter().map(String::as_str).collect(), deleted)
    }

    fn view<'a>(set: &'a DaemonSet, nodes: &'a [Arc<Node>], pods: &[Arc<Pod>]) -> View<'a> {
        View::new(set, nodes, pods, "new", Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn every_fitting_node_has_one() {
        let set = set(&serde_json::json!({"maxUnavailable": 1}));
        let no_schedule = serde_json::json!([{"key": "x", "effect": "NoSchedule"}]);
        let no_execute = serde_json::json!([{"key": "x", "effect": "NoExecute"}]);
        let unready = serde_json::json!([{"key": taint::NOT_READY, "effect": "NoExecute"}]);
        let mut all = nodes(&["a", "b"]);
        all.extend([node("c", &no_schedule), node("d", &no_execute), node("e", &unready)]);
        let pods = [
            pod("b1", "b", "new", "Running", true),
            pod("b2", "b", "new", "Running", true),
            pod("c1", "c", "new", "Running", true),
            pod("d1", "d", "new", "Running", true),
        ];
        let plan = view(&set, &all, &pods).manage(&|_| None);
        assert_eq!(told(&plan), (vec!["a", "e"], vec!["b2", "d1"]));
        let status = view(&set, &all, &pods).status(true);
        assert_eq!(
            (status.desired_number_scheduled, status.current_number_scheduled, status.number_misscheduled),
            (3, 1, 2)
        );
        assert_eq!((status.number_available, status.number_unavailable), (Some(1), Some(2)));
    }

    #[test]
    fn failed_daemons_are_replaced_ever_more_slowly() {
        let set = set(&serde_json::json!({"maxUnavailable": 1}));
        let (all, pods) = (nodes(&["a"]), [pod("a1", "a", "new", "Failed", false)]);
        let plan = view(&set, &all, &pods).manage(&|_| None);
        assert_eq!(told(&plan), (vec![], vec!["a1"]));
        assert_eq!(plan.events[0].2, "Found failed daemon pod n/a1 on node a, will try to kill it");
        let plan = view(&set, &all, &pods).manage(&|_| Some(Duration::from_secs(2)));
        assert_eq!((told(&plan), plan.again), ((vec![], vec![]), Some(Duration::from_secs(2))));
    }

    #[test]
    fn old_daemons_are_replaced_as_many_at_a_time_as_may_be_missing() {
        let set = set(&serde_json::json!({"maxUnavailable": 1}));
        let all = nodes(&["a", "b", "c"]);
        let old = |node: &str, ready| pod(&format!("{node}1"), node, "old", "Running", ready);
        let plan = view(&set, &all, &[old("a", true), old("b", true), old("c", true)]).roll();
        assert_eq!(told(&plan), (vec![], vec!["a1"]));
        let plan = view(&set, &all, &[old("a", true), old("b", false), old("c", true)]).roll();
        assert_eq!(told(&plan), (vec![], vec!["b1"]));
        let plan = view(&set, &all, &[pod("a2", "a", "new", "Running", false), old("b", true), old("c", true)]).roll();
        assert_eq!(told(&plan), (vec![], vec![]));
    }

    #[test]
    fn with_a_surge_the_new_daemon_comes_first() {
        let set = set(&serde_json::json!({"maxUnavailable": 0, "maxSurge": 1}));
        let all = nodes(&["a", "b"]);
        let old = |node: &str| pod(&format!("{node}1"), node, "old", "Running", true);
        assert_eq!(told(&view(&set, &all, &[old("a"), old("b")]).roll()), (vec!["a"], vec![]));
        let both = [old("a"), pod("a2", "a", "new", "Running", true), old("b")];
        assert_eq!(told(&view(&set, &all, &both).manage(&|_| None)), (vec![], vec!["a1"]));
    }
}
