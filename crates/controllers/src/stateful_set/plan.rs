//! The next steps of a stateful set: in order of number, one at a time, unless it allows all at once. No client.

use super::identity::{identify, new_pod, ordinal, revision};
use crate::pod::{is_available, is_finished, is_ready, next_available, phase};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) enum Step {
    /// Makes the pod of this number, its claims first.
    Create(i32, Box<Pod>),
    Delete(Arc<Pod>),
    /// Makes missing claims of a pod that waits for them.
    Claims(i32, Arc<Pod>),
    /// Puts labels of its identity right.
    Identify(Box<Pod>),
    /// Sees to whom the claims of a pod belong; whether its number is in range.
    Own(i32, Arc<Pod>, bool),
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) status: StatefulSetStatus,
    pub(super) again: Option<Duration>,
}

/// A set with its two revisions and its pods.
pub(super) struct View<'a> {
    pub(super) set: &'a StatefulSet,
    /// Name and template of the revision that is rolled out, and of the one to come.
    pub(super) current: (&'a str, &'a PodTemplateSpec),
    pub(super) update: (&'a str, &'a PodTemplateSpec),
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) now: Timestamp,
}

impl View<'_> {
    fn want(&self) -> i32 {
        self.set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn start(&self) -> i32 {
        self.set.spec.as_ref().and_then(|s| s.ordinals.as_ref()).and_then(|o| o.start).unwrap_or_default()
    }

    fn min_ready(&self) -> i32 {
        self.set.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or_default()
    }

    fn strategy(&self) -> &str {
        let strategy = self.set.spec.as_ref().and_then(|s| s.update_strategy.as_ref());
        strategy.and_then(|s| s.type_.as_deref()).unwrap_or("RollingUpdate")
    }

    fn partition(&self) -> Option<i32> {
        let strategy = self.set.spec.as_ref()?.update_strategy.as_ref()?;
        strategy.rolling_update.as_ref().map(|r| r.partition.unwrap_or_default())
    }

    fn in_order(&self) -> bool {
        self.set.spec.as_ref().and_then(|s| s.pod_management_policy.as_deref()) != Some("Parallel")
    }

    fn is_available(&self, pod: &Pod) -> bool {
        is_available(pod, self.min_ready(), self.now) && pod.metadata.deletion_timestamp.is_none()
    }

    /// The pods by number: those in range, and those beyond it from the highest down.
    fn sort(&self) -> (BTreeMap<i32, Arc<Pod>>, Vec<(i32, Arc<Pod>)>) {
        let range = self.start()..self.start() + self.want();
        let all: BTreeMap<i32, Arc<Pod>> =
            self.pods.iter().filter_map(|p| Some((ordinal(self.set, p)?, p.clone()))).collect();
        let (inside, beyond): (BTreeMap<_, _>, BTreeMap<_, _>) = all.into_iter().partition(|(n, _)| range.contains(n));
        (inside, beyond.into_iter().rev().collect())
    }

    pub(super) fn plan(&self) -> Plan {
        let mut steps = Vec::new();
        if self.set.metadata.deletion_timestamp.is_none() {
            self.advance(&mut steps);
        }
        let again = (self.min_ready() > 0).then(|| next_available(self.pods, self.min_ready(), self.now)).flatten();
        Plan { steps, status: self.status(), again }
    }

    /// Notes steps until one has to be waited for.
    fn advance(&self, steps: &mut Vec<Step>) {
        let (inside, beyond) = self.sort();
        for number in self.start()..self.start() + self.want() {
            if self.tend(number, inside.get(&number), steps) && self.in_order() {
                return;
            }
        }
        steps.extend(beyond.iter().map(|(number, pod)| Step::Own(*number, pod.clone(), false)));
        let missing = (inside.len() as i32) < self.want();
        let mut upwards = inside.values().chain(beyond.iter().rev().map(|(_, pod)| pod));
        let first = upwards.find(|p| !self.is_available(p)).cloned();
        for (_, pod) in &beyond {
            let is_first = !missing && first.as_ref().is_some_and(|f| Arc::ptr_eq(f, pod));
            match pod.metadata.deletion_timestamp.is_some() {
                true if self.in_order() => return,
                true => continue,
                false if self.in_order() && !self.is_available(pod) && !is_first => return,
                false => steps.push(Step::Delete(pod.clone())),
            }
            if self.in_order() {
                return;
            }
        }
        if self.strategy() != "OnDelete" {
            self.roll(&inside, steps);
        }
    }

    /// Sees to one number; true when the next has to wait for it.
    fn tend(&self, number: i32, pod: Option<&Arc<Pod>>, steps: &mut Vec<Step>) -> bool {
        let Some(pod) = pod else {
            steps.push(Step::Create(number, Box::new(self.new_pod(number))));
            return true;
        };
        let deleting = pod.metadata.deletion_timestamp.is_some();
        if is_finished(pod) {
            if !deleting {
                steps.push(Step::Delete(pod.clone()));
            }
            return true;
        }
        if phase(pod) == "Pending" {
            steps.push(Step::Claims(number, pod.clone()));
        }
        let well = phase(pod) == "Running" && self.is_available(pod);
        if !well && self.in_order() {
            return true;
        }
        let mut identified = Pod::clone(pod);
        if identify(self.set, &mut identified, number) {
            steps.push(Step::Identify(Box::new(identified)));
        }
        steps.push(Step::Own(number, pod.clone(), true));
        false
    }

    /// Below the partition, or while the former revision still has pods, a lost pod comes back as it was.
    fn new_pod(&self, number: i32) -> Pod {
        let status = self.set.status.as_ref();
        let kept = match self.partition() {
            Some(partition) => partition,
            None if self.strategy() == "RollingUpdate" => status.and_then(|s| s.current_replicas).unwrap_or_default(),
            None => 0,
        };
        let (revision, template) = if number < self.start() + kept { self.current } else { self.update };
        new_pod(self.set, template, revision, number)
    }

    /// Replaces the highest pod of an older revision, once those above it are available.
    fn roll(&self, inside: &BTreeMap<i32, Arc<Pod>>, steps: &mut Vec<Step>) {
        let lowest = self.start() + self.partition().unwrap_or_default();
        for number in (lowest..self.start() + self.want()).rev() {
            let Some(pod) = inside.get(&number) else { return };
            if revision(pod) != self.update.0 && pod.metadata.deletion_timestamp.is_none() {
                steps.push(Step::Delete(pod.clone()));
                return;
            }
            if !self.is_available(pod) {
                return;
            }
        }
    }

    fn status(&self) -> StatefulSetStatus {
        let old = self.set.status.clone().unwrap_or_default();
        let number = |wanted: &dyn Fn(&Pod) -> bool| self.pods.iter().filter(|p| wanted(p)).count() as i32;
        let made = |p: &Pod| !phase(p).is_empty();
        let stays = |p: &Pod| made(p) && p.metadata.deletion_timestamp.is_none();
        let runs = |p: &Pod| phase(p) == "Running" && is_ready(p);
        let mut status = StatefulSetStatus {
            observed_generation: self.set.metadata.generation,
            replicas: number(&made),
            ready_replicas: crate::replica_set::nonzero(number(&runs)),
            available_replicas: Some(number(&|p| runs(p) && is_available(p, self.min_ready(), self.now))),
            current_replicas: crate::replica_set::nonzero(number(&|p| stays(p) && revision(p) == self.current.0)),
            updated_replicas: crate::replica_set::nonzero(number(&|p| stays(p) && revision(p) == self.update.0)),
            current_revision: Some(self.current.0.to_owned()),
            update_revision: Some(self.update.0.to_owned()),
            collision_count: Some(old.collision_count.unwrap_or_default()),
            conditions: old.conditions,
        };
        let all = |count: Option<i32>| count.unwrap_or_default() == self.want();
        let rolled_out = all(status.updated_replicas) && all(status.ready_replicas) && status.replicas == self.want();
        if self.strategy() == "RollingUpdate" && rolled_out {
            status.current_replicas = status.updated_replicas;
            status.current_revision = status.update_revision.clone();
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::super::identity::REVISION;
    use super::*;

    fn set(replicas: i32, more: &serde_json::Value) -> StatefulSet {
        let mut spec = serde_json::json!({"replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"a": "b"}}, "template": {},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {}}]});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        serde_json::from_value(
            serde_json::json!({"metadata": {"name": "db", "namespace": "n", "uid": "s"}, "spec": spec}),
        )
        .unwrap()
    }

    fn pod(number: i32, revision: &str, ready: bool, deleting: bool) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        Arc::new(
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": format!("db-{number}"), "uid": number.to_string(), "labels": {REVISION: revision},
                    "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z")},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}}))
            .unwrap(),
        )
    }

    fn decide(set: &StatefulSet, pods: &[Arc<Pod>]) -> Vec<String> {
        let template = PodTemplateSpec::default();
        let view =
            View { set, current: ("old", &template), update: ("new", &template), pods, now: Timestamp::UNIX_EPOCH };
        let told = |step: &Step| match step {
            Step::Create(number, pod) => Some(format!("+{number} {}", revision(pod))),
            Step::Delete(pod) => Some(format!("-{}", pod.metadata.name.as_deref().unwrap())),
            _ => None,
        };
        view.plan().steps.iter().filter_map(told).collect()
    }

    #[test]
    fn pods_come_and_go_one_at_a_time() {
        let none: [&str; 0] = [];
        let three = set(3, &serde_json::json!({}));
        assert_eq!(decide(&three, &[]), ["+0 new"]);
        assert_eq!(decide(&three, &[pod(0, "new", false, false)]), none);
        assert_eq!(decide(&three, &[pod(0, "new", true, false)]), ["+1 new"]);
        let one = set(1, &serde_json::json!({}));
        let all = [pod(0, "new", true, false), pod(1, "new", true, false), pod(2, "new", true, false)];
        assert_eq!(decide(&one, &all), ["-db-2"]);
        let going = [pod(0, "new", true, false), pod(1, "new", true, false), pod(2, "new", true, true)];
        assert_eq!(decide(&one, &going), none);
        let parallel = set(2, &serde_json::json!({"podManagementPolicy": "Parallel"}));
        assert_eq!(decide(&parallel, &[]), ["+0 new", "+1 new"]);
    }

    #[test]
    fn updates_go_from_the_top_down_to_the_partition() {
        let all = |revisions: [&str; 3], ready: [bool; 3]| {
            [0, 1, 2].map(|n| pod(n, revisions[n as usize], ready[n as usize], false))
        };
        let plain = set(3, &serde_json::json!({}));
        assert_eq!(decide(&plain, &all(["old", "old", "old"], [true; 3])), ["-db-2"]);
        assert_eq!(decide(&plain, &all(["old", "old", "new"], [true; 3])), ["-db-1"]);
        assert!(decide(&plain, &all(["old", "old", "new"], [true, true, false])).is_empty());
        let partition = set(
            3,
            &serde_json::json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}}),
        );
        assert!(decide(&partition, &all(["old", "old", "new"], [true; 3])).is_empty());
        assert_eq!(decide(&partition, &[pod(0, "old", true, false)]), ["+1 old"]);
        let on_delete = set(3, &serde_json::json!({"updateStrategy": {"type": "OnDelete"}}));
        assert!(decide(&on_delete, &all(["old", "old", "old"], [true; 3])).is_empty());
    }

    #[test]
    fn pods_know_their_name_and_claims() {
        let made = new_pod(&set(1, &serde_json::json!({})), &PodTemplateSpec::default(), "new", 4);
        let spec = made.spec.unwrap();
        assert_eq!((spec.hostname.as_deref(), spec.subdomain.as_deref()), (Some("db-4"), Some("db")));
        let volumes = spec.volumes.unwrap();
        assert_eq!(volumes[0].persistent_volume_claim.as_ref().unwrap().claim_name, "data-db-4");
    }
}
