//! Replica sets and replication controllers keep a number of pods (upstream `pkg/controller/replicaset`).

use crate::Context;
use crate::adopt::{claim, controller_of, controller_reference, selector, selects};
use crate::context::{enqueue, enqueue_owner};
use crate::expectations::Expectations;
use crate::pod::{self, from_template, is_active, is_available, is_ready, is_terminating, next_available};
use crate::pods;
use crate::write::{gone_is_fine, words};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    Pod, PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kaji_client::informer::{Informer, Kind};
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::PostParams;
use kube::core::{NamespaceResourceScope, Selector, SelectorExt};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What replica sets and replication controllers have in common.
pub(crate) trait Replicated: Kind + serde::Serialize + kube::Resource<Scope = NamespaceResourceScope> {
    const KIND: &'static str;

    fn replicas(&self) -> i32;
    fn min_ready(&self) -> i32;
    fn pod_selector(&self) -> Option<Selector>;
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// The object with this status; none where it has it.
    fn with_status(&self, counts: &Counts) -> Option<Self>;
    /// Sets of the same workload, itself among them: their pods are spread together.
    fn siblings(&self, all: &Informer<Self>) -> Vec<Arc<Self>>;
    /// Whether there is a `ReplicaFailure` condition.
    fn has_failed(&self) -> bool;
}

/// A status, whatever the type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) replicas: i32,
    pub(crate) fully_labeled: i32,
    pub(crate) ready: i32,
    pub(crate) available: i32,
    pub(crate) terminating: i32,
    /// What went wrong with making or deleting pods.
    pub(crate) failure: Failure,
}

/// What becomes of the `ReplicaFailure` condition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    None,
    Keep,
    New { reason: &'static str, message: String },
}

pub(crate) async fn run(cx: Context) {
    run_for::<ReplicaSet>(cx).await;
}

pub(crate) async fn run_for<S: Replicated>(cx: Context) {
    let queue = WorkQueue::new();
    let (sets, all_pods) = (cx.informer::<S>(), cx.informer::<Pod>());
    let expected = Expectations::over(&all_pods);
    expected.forget_gone(&sets);
    enqueue(&sets, &queue);
    enqueue_owner(&all_pods, S::KIND, &queue);
    pods::enqueue_selecting(&all_pods, &sets, &queue, S::pod_selector);
    sets.synced().await;
    all_pods.synced().await;
    let workers = cx.config.workers;
    let work = Arc::new(Work { cx, sets, pods: all_pods, expected });
    let reconcile = move |key| {
        let work = work.clone();
        async move { work.reconcile(key).await }
    };
    queue.run(S::KIND, workers, reconcile).await;
}

struct Work<S> {
    cx: Context,
    sets: Arc<Informer<S>>,
    pods: Arc<Informer<Pod>>,
    expected: Arc<Expectations>,
}

impl<S: Replicated> Work<S> {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, kube::Error> {
        let Some(set) = self.sets.get(&key) else { return Ok(Next::Done) };
        let Some(selector) = set.pod_selector() else { return Ok(Next::Done) };
        let uid = set.meta().uid.clone().unwrap_or_default();
        let met = self.expected.are_met(&uid);
        let active = claim(&self.cx.client, &*set, &selector, &self.pods, is_active).await?;
        let terminating = self.pods.controlled_by(&uid).iter().filter(|p| is_terminating(p)).count();
        let managed =
            if met && set.meta().deletion_timestamp.is_none() { self.manage(&*set, &active).await } else { Ok(()) };
        let now = Timestamp::now();
        let counts = count(&*set, &active, terminating, managed.as_ref().err().map(words), now);
        if let Some(with_status) = set.with_status(&counts) {
            let api: Api<S> = Api::namespaced(self.cx.client.clone(), &key.namespace);
            gone_is_fine(api.replace_status(&key.name, &PostParams::default(), &with_status).await)?;
        }
        managed?;
        if set.min_ready() > 0 && counts.ready != counts.available {
            let whole = Duration::from_secs(set.min_ready().unsigned_abs().into());
            return Ok(Next::After(next_available(&active, set.min_ready(), now).unwrap_or(whole)));
        }
        Ok(Next::Done)
    }

    async fn manage(&self, set: &S, active: &[Arc<Pod>]) -> Result<(), kube::Error> {
        match plan(set.replicas(), active, &self.ranks(set), Timestamp::now()) {
            Step::Nothing => Ok(()),
            Step::Create(count) => {
                let Some(template) = set.template() else { return Ok(()) };
                let name = set.meta().name.as_deref().unwrap_or_default();
                let make = |_| from_template(template, name, controller_reference(set));
                pods::create(&self.cx, set, &self.expected, count, make).await
            }
            Step::Delete(doomed) => pods::delete(&self.cx, set, &self.expected, &doomed).await,
        }
    }

    /// How many active pods of the workload are on each node.
    fn ranks(&self, set: &S) -> BTreeMap<String, usize> {
        let mut ranks = BTreeMap::new();
        let namespace = set.meta().namespace.as_deref().unwrap_or_default();
        for sibling in set.siblings(&self.sets) {
            let uid = sibling.meta().uid.as_deref().unwrap_or_default();
            let Some(selector) = sibling.pod_selector() else { continue };
            let own = self.pods.controlled_by(uid).into_iter().chain(self.pods.uncontrolled_in(namespace));
            for pod in own.filter(|p| is_active(p) && selects(&selector, &**p)) {
                *ranks.entry(pod::node(&pod).to_owned()).or_default() += 1;
            }
        }
        ranks
    }
}

/// What brings the number of pods nearer to what is wanted.
#[derive(Debug)]
enum Step {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

fn plan(want: i32, active: &[Arc<Pod>], ranks: &BTreeMap<String, usize>, now: Timestamp) -> Step {
    let want = usize::try_from(want).unwrap_or_default();
    if active.len() < want {
        return Step::Create((want - active.len()).min(pods::BURST));
    }
    let surplus = (active.len() - want).min(pods::BURST);
    if surplus == 0 {
        return Step::Nothing;
    }
    let mut doomed = active.to_vec();
    if surplus < doomed.len() {
        pod::sort_for_deletion(&mut doomed, ranks, now);
        doomed.truncate(surplus);
    }
    Step::Delete(doomed)
}

fn count<S: Replicated>(
    set: &S,
    active: &[Arc<Pod>],
    terminating: usize,
    failure: Option<String>,
    now: Timestamp,
) -> Counts {
    let template = set.template().and_then(|t| t.metadata.as_ref()).map(pod::labels).unwrap_or_default();
    let template = Selector::from_iter(template);
    let number = |wanted: &dyn Fn(&Pod) -> bool| active.iter().filter(|p| wanted(p)).count() as i32;
    let failure = match failure {
        None => Failure::None,
        Some(_) if set.has_failed() => Failure::Keep,
        Some(message) if (active.len() as i32) < set.replicas() => Failure::New { reason: "FailedCreate", message },
        Some(message) => Failure::New { reason: "FailedDelete", message },
    };
    Counts {
        replicas: active.len() as i32,
        fully_labeled: number(&|p| template.matches(&pod::labels(&p.metadata))),
        ready: number(&is_ready),
        available: number(&|p| is_available(p, set.min_ready(), now)),
        terminating: terminating as i32,
        failure,
    }
}

/// The conditions after a change of the failure; other types stay.
fn conditions<C: Clone>(
    before: Option<&Vec<C>>,
    failure: &Failure,
    is_failure: impl Fn(&C) -> bool,
    new: impl Fn(&str, &str) -> C,
) -> Option<Vec<C>> {
    let mut conditions = before.cloned().unwrap_or_default();
    match failure {
        Failure::Keep => {}
        Failure::None => conditions.retain(|c| !is_failure(c)),
        Failure::New { reason, message } => {
            conditions.retain(|c| !is_failure(c));
            conditions.push(new(reason, message));
        }
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// Counters appear in the API only where they aren't zero.
pub(crate) fn nonzero(n: i32) -> Option<i32> {
    (n != 0).then_some(n)
}

const FAILURE: &str = "ReplicaFailure";

impl Replicated for ReplicaSet {
    const KIND: &'static str = "ReplicaSet";

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn min_ready(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or_default()
    }

    fn pod_selector(&self) -> Option<Selector> {
        selector(&self.spec.as_ref()?.selector)
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn with_status(&self, counts: &Counts) -> Option<Self> {
        let old = self.status.clone().unwrap_or_default();
        let new = |reason: &str, message: &str| ReplicaSetCondition {
            type_: FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: Some(Time(Timestamp::now())),
        };
        let status = ReplicaSetStatus {
            replicas: counts.replicas,
            fully_labeled_replicas: nonzero(counts.fully_labeled),
            ready_replicas: nonzero(counts.ready),
            available_replicas: nonzero(counts.available),
            terminating_replicas: Some(counts.terminating),
            observed_generation: self.metadata.generation,
            conditions: conditions(old.conditions.as_ref(), &counts.failure, |c| c.type_ == FAILURE, new),
        };
        (status != old).then(|| ReplicaSet { status: Some(status), ..self.clone() })
    }

    fn siblings(&self, all: &Informer<Self>) -> Vec<Arc<Self>> {
        match controller_of(self) {
            Some(owner) => all.controlled_by(&owner.uid),
            None => vec![Arc::new(self.clone())],
        }
    }

    fn has_failed(&self) -> bool {
        self.status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == FAILURE)
    }
}

impl Replicated for ReplicationController {
    const KIND: &'static str = "ReplicationController";

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn min_ready(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or_default()
    }

    fn pod_selector(&self) -> Option<Selector> {
        let labels = self.spec.as_ref()?.selector.clone().filter(|s| !s.is_empty())?;
        Some(Selector::from_iter(labels))
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn with_status(&self, counts: &Counts) -> Option<Self> {
        let old = self.status.clone().unwrap_or_default();
        let new = |reason: &str, message: &str| ReplicationControllerCondition {
            type_: FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: Some(Time(Timestamp::now())),
        };
        let status = ReplicationControllerStatus {
            replicas: counts.replicas,
            fully_labeled_replicas: nonzero(counts.fully_labeled),
            ready_replicas: nonzero(counts.ready),
            available_replicas: nonzero(counts.available),
            observed_generation: self.metadata.generation,
            conditions: conditions(old.conditions.as_ref(), &counts.failure, |c| c.type_ == FAILURE, new),
        };
        (status != old).then(|| ReplicationController { status: Some(status), ..self.clone() })
    }

    fn siblings(&self, _: &Informer<Self>) -> Vec<Arc<Self>> {
        vec![Arc::new(self.clone())]
    }

    fn has_failed(&self) -> bool {
        self.status.iter().flat_map(|s| s.conditions.iter().flatten()).any(|c| c.type_ == FAILURE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(replicas: i32) -> ReplicaSet {
        serde_json::from_value(
            serde_json::json!({"metadata": {"name": "web", "generation": 2}, "spec": {"replicas": replicas,
            "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}}}}),
        )
        .unwrap()
    }

    fn pod(name: &str, ready: bool) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        Arc::new(
            serde_json::from_value(serde_json::json!({"metadata": {"name": name, "labels": {"a": "b"}},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}}))
            .unwrap(),
        )
    }

    #[test]
    fn pods_are_made_or_deleted_up_to_the_burst() {
        let now = Timestamp::UNIX_EPOCH;
        let pods = [pod("a", true), pod("b", false)];
        assert!(matches!(plan(2, &pods, &BTreeMap::new(), now), Step::Nothing));
        assert!(matches!(plan(5, &pods, &BTreeMap::new(), now), Step::Create(3)));
        assert!(matches!(plan(5000, &pods, &BTreeMap::new(), now), Step::Create(500)));
        let Step::Delete(doomed) = plan(1, &pods, &BTreeMap::new(), now) else { panic!("a pod too many") };
        assert_eq!(doomed[0].metadata.name.as_deref(), Some("b"));
    }

    #[test]
    fn the_status_counts_and_keeps_the_first_failure() {
        let now = Timestamp::UNIX_EPOCH;
        let counts = count(&set(3), &[pod("a", true), pod("b", false)], 1, Some("no".to_owned()), now);
        let want = Failure::New { reason: "FailedCreate", message: "no".to_owned() };
        assert_eq!(
            counts,
            Counts { replicas: 2, fully_labeled: 2, ready: 1, available: 1, terminating: 1, failure: want }
        );
        let failed = set(3).with_status(&counts).unwrap();
        assert!(failed.has_failed());
        let again = count(&failed, &[pod("a", true), pod("b", false)], 1, Some("other".to_owned()), now);
        assert!(failed.with_status(&again).is_none());
    }
}
