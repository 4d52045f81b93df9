//! How many pods of a budget may be disrupted now; evictions ask for it (upstream `pkg/controller/disruption`).

use crate::Context;
use crate::adopt::{controller_of, selects};
use crate::context::{enqueue, key_of};
use crate::int_or_percent::scaled;
use crate::pod::{condition, is_finished, is_ready};
use crate::write::{gone_is_fine, words};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, ReplicationController};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget as Budget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kaji_client::event::{EventType, Recorder};
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, Selector};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// An evicted pod that is not deleted within this counts again.
const DELETION: SignedDuration = SignedDuration::from_mins(2);
/// A pod that was to be disrupted and wasn't for this long is as others again.
const STALE: SignedDuration = SignedDuration::from_mins(2);

pub(crate) async fn run(mut cx: Context) {
    cx.recorder = Recorder::new(cx.client.clone(), "controllermanager", "");
    let (queue, stale) = (WorkQueue::new(), WorkQueue::new());
    let work = Arc::new(Work {
        budgets: cx.informer(),
        pods: cx.informer(),
        replica_sets: cx.informer(),
        controllers: cx.informer(),
        deployments: cx.informer(),
        stateful_sets: cx.informer(),
        cx,
    });
    enqueue(&work.budgets, &queue);
    work.follow(&queue, &stale);
    work.budgets.synced().await;
    work.pods.synced().await;
    work.replica_sets.synced().await;
    work.controllers.synced().await;
    work.deployments.synced().await;
    work.stateful_sets.synced().await;
    let other = work.clone();
    let budgets = queue.run("disruption", 1, move |key| {
        let work = work.clone();
        async move { work.reconcile(key).await }
    });
    let pods = stale.run("stale disruption", 1, move |key: ObjectKey| {
        let work = other.clone();
        async move { work.clean_stale(key).await }
    });
    tokio::join!(budgets, pods);
}

struct Work {
    cx: Context,
    budgets: Arc<Informer<Budget>>,
    pods: Arc<Informer<Pod>>,
    replica_sets: Arc<Informer<ReplicaSet>>,
    controllers: Arc<Informer<ReplicationController>>,
    deployments: Arc<Informer<Deployment>>,
    stateful_sets: Arc<Informer<StatefulSet>>,
}

/// What a budget comes to.
#[derive(Debug, PartialEq, Eq)]
struct Count {
    healthy: i32,
    desired: i32,
    expected: i32,
}

/// The budget's selector; unlike elsewhere an empty one selects everything.
fn selector(spec: &PodDisruptionBudgetSpec) -> Option<Selector> {
    Selector::try_from(spec.selector.clone()?).ok()
}

impl Work {
    fn follow(self: &Arc<Self>, queue: &Arc<WorkQueue<ObjectKey>>, stale: &Arc<WorkQueue<ObjectKey>>) {
        let (work, again, stale) = (Arc::downgrade(self), queue.clone(), stale.clone());
        self.pods.on_change(move |change| {
            let Some(work) = work.upgrade() else { return };
            for budget in work.budgets.list_in(&change.key.namespace) {
                let Some(selector) = budget.spec.as_ref().and_then(selector) else { continue };
                if [&change.old, &change.new].into_iter().flatten().any(|pod| selects(&selector, &**pod)) {
                    again.add(key_of(&*budget));
                }
            }
            if change.new.as_ref().is_some_and(|p| stale_after(p, Timestamp::now()).is_some()) {
                stale.add(change.key.clone());
            }
        });
        // The size of a workload counts too: its budgets are few, so all of the namespace are looked at.
        follow_size(&self.replica_sets, &self.budgets, queue, |s: &ReplicaSet| s.spec.as_ref()?.replicas);
        follow_size(&self.controllers, &self.budgets, queue, |s: &ReplicationController| s.spec.as_ref()?.replicas);
        follow_size(&self.deployments, &self.budgets, queue, |d: &Deployment| d.spec.as_ref()?.replicas);
        follow_size(&self.stateful_sets, &self.budgets, queue, |s: &StatefulSet| s.spec.as_ref()?.replicas);
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Next, kube::Error> {
        let Some(budget) = self.budgets.get(&key) else { return Ok(Next::Done) };
        let now = Timestamp::now();
        let spec = budget.spec.clone().unwrap_or_default();
        let pods: Vec<Arc<Pod>> = match selector(&spec) {
            Some(selector) => {
                self.pods.list_in(&key.namespace).into_iter().filter(|p| selects(&selector, &**p)).collect()
            }
            None => Vec::new(),
        };
        if pods.is_empty() {
            self.cx.event(&*budget, EventType::Normal, "NoPods", "No matching pods found");
        }
        let (disrupted, again) = self.disrupted(&budget, &pods, now);
        let status = match self.count(&spec, &pods, &disrupted, now).await {
            Ok(count) => status(&budget, &count, disrupted, now),
            Err(message) => {
                let text = format!("Failed to calculate the number of expected pods: {message}");
                self.cx.event(&*budget, EventType::Warning, "CalculateExpectedPodCountFailed", &text);
                fail_safe(&budget, &message, now)
            }
        };
        if budget.status.as_ref() != Some(&status) {
            let after = Budget { status: Some(status), ..Budget::clone(&budget) };
            let api: Api<Budget> = Api::namespaced(self.cx.client.clone(), &key.namespace);
            gone_is_fine(api.replace_status(&key.name, &PostParams::default(), &after).await)?;
        }
        Ok(again.map_or(Next::Done, Next::After))
    }

    /// Evicted pods that have yet to go, and when the first of them counts again.
    fn disrupted(
        &self,
        budget: &Budget,
        pods: &[Arc<Pod>],
        now: Timestamp,
    ) -> (BTreeMap<String, Time>, Option<Duration>) {
        let known = budget.status.as_ref().and_then(|s| s.disrupted_pods.clone()).unwrap_or_default();
        let (mut left, mut again) = (BTreeMap::new(), None::<SignedDuration>);
        for pod in pods.iter().filter(|p| p.metadata.deletion_timestamp.is_none()) {
            let name = pod.metadata.name.clone().unwrap_or_default();
            let Some(since) = known.get(&name) else { continue };
            let time = DELETION - now.duration_since(since.0);
            if time.is_negative() {
                let namespace = budget.metadata.namespace.as_deref().unwrap_or_default();
                let message = format!("Pod was expected by PDB {namespace}/{namespace} to be deleted but it wasn't");
                self.cx.event(&**pod, EventType::Warning, "NotDeleted", &message);
            } else {
                again = Some(again.map_or(time, |t| t.min(time)));
                left.insert(name, since.clone());
            }
        }
        (left, again.map(SignedDuration::unsigned_abs))
    }

    async fn count(
        &self,
        spec: &PodDisruptionBudgetSpec,
        pods: &[Arc<Pod>],
        disrupted: &BTreeMap<String, Time>,
        now: Timestamp,
    ) -> Result<Count, String> {
        let healthy = healthy(pods, disrupted, now);
        let share = |value: &IntOrString, of: i32| {
            scaled(value, of, true).ok_or_else(|| format!("invalid value for IntOrString: {value:?}"))
        };
        if let Some(most) = &spec.max_unavailable {
            let expected = self.expected(pods).await?;
            return Ok(Count { healthy, desired: (expected - share(most, expected)?).max(0), expected });
        }
        match &spec.min_available {
            Some(IntOrString::Int(least)) => Ok(Count { healthy, desired: *least, expected: pods.len() as i32 }),
            Some(least) => {
                let expected = self.expected(pods).await?;
                Ok(Count { healthy, desired: share(least, expected)?, expected })
            }
            None => Ok(Count { healthy, desired: 0, expected: 0 }),
        }
    }

    /// How many pods the workloads of these pods shall have.
    async fn expected(&self, pods: &[Arc<Pod>]) -> Result<i32, String> {
        let mut sizes: BTreeMap<String, i32> = BTreeMap::new();
        let mut seen = std::collections::HashSet::new();
        for pod in pods {
            let Some(owner) = controller_of(&**pod).filter(|o| seen.insert(o.uid.clone())) else { continue };
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let Some((uid, size)) = self.workload(owner, namespace).await? else {
                return Err(format!(
                    "found no controllers for pod {:?}",
                    pod.metadata.name.as_deref().unwrap_or_default()
                ));
            };
            sizes.insert(uid, size);
        }
        Ok(sizes.values().sum())
    }

    /// The workload behind an owner and its size: a replica set's deployment stands for it.
    async fn workload(&self, owner: &OwnerReference, namespace: &str) -> Result<Option<(String, i32)>, String> {
        let key = ObjectKey::new(namespace, owner.name.clone());
        let ours = |uid: &Option<String>| uid.as_ref() == Some(&owner.uid);
        match owner.kind.as_str() {
            "ReplicaSet" if owner.api_version == "apps/v1" => {
                let Some(set) = self.replica_sets.get(&key).filter(|s| ours(&s.metadata.uid)) else { return Ok(None) };
                let above = controller_of(&*set).filter(|o| o.kind == "Deployment");
                let deployment = above.and_then(|o| self.deployments.get(&ObjectKey::new(namespace, o.name.clone())));
                let (uid, size) = match (above, deployment) {
                    (Some(above), Some(d)) => (above.uid.clone(), d.spec.as_ref().and_then(|s| s.replicas)),
                    _ => (owner.uid.clone(), set.spec.as_ref().and_then(|s| s.replicas)),
                };
                Ok(Some((uid, size.unwrap_or(1))))
            }
            "ReplicationController" => {
                let found = self.controllers.get(&key).filter(|c| ours(&c.metadata.uid));
                Ok(found.map(|c| (owner.uid.clone(), c.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1))))
            }
            "StatefulSet" if owner.api_version == "apps/v1" => {
                let found = self.stateful_sets.get(&key).filter(|s| ours(&s.metadata.uid));
                Ok(found.map(|s| (owner.uid.clone(), s.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1))))
            }
            _ => self.scale(owner, namespace).await,
        }
    }

    /// The size of any other workload, by its scale subresource.
    async fn scale(&self, owner: &OwnerReference, namespace: &str) -> Result<Option<(String, i32)>, String> {
        let found = crate::discovery::resources(&self.cx.client).await.map_err(|e| words(&e))?;
        let served =
            found.into_iter().find(|f| f.resource.kind == owner.kind && f.resource.api_version == owner.api_version);
        let Some(served) = served.filter(|f| f.namespaced) else { return Ok(None) };
        let api: Api<DynamicObject> = Api::namespaced_with(self.cx.client.clone(), namespace, &served.resource);
        match api.get_scale(&owner.name).await {
            Ok(scale) => Ok(Some((owner.uid.clone(), scale.spec.and_then(|s| s.replicas).unwrap_or_default()))),
            Err(kube::Error::Api(status)) if status.code == 404 => Err(format!(
                "{}.{} does not implement the scale subresource",
                served.resource.plural, served.resource.group
            )),
            Err(error) => Err(words(&error)),
        }
    }

    async fn clean_stale(&self, key: ObjectKey) -> Result<Next, kube::Error> {
        let Some(pod) = self.pods.get(&key) else { return Ok(Next::Done) };
        match stale_after(&pod, Timestamp::now()) {
            None => Ok(Next::Done),
            Some(wait) if !wait.is_zero() => Ok(Next::After(wait)),
            Some(_) => {
                let fresh = serde_json::json!({"type": "DisruptionTarget", "status": "False", "reason": null, "message": null,
                    "lastTransitionTime": Time(Timestamp::now())});
                let change =
                    serde_json::json!({"metadata": {"uid": pod.metadata.uid}, "status": {"conditions": [fresh]}});
                let api: Api<Pod> = Api::namespaced(self.cx.client.clone(), &key.namespace);
                gone_is_fine(api.patch_status(&key.name, &PatchParams::default(), &Patch::Strategic(change)).await)?;
                Ok(Next::Done)
            }
        }
    }
}

/// Looks at a namespace's budgets when a workload there changes its size.
fn follow_size<K: kaji_client::informer::Kind>(
    workloads: &Informer<K>,
    budgets: &Arc<Informer<Budget>>,
    queue: &Arc<WorkQueue<ObjectKey>>,
    size: fn(&K) -> Option<i32>,
) {
    let (budgets, queue) = (budgets.clone(), queue.clone());
    workloads.on_change(move |change| {
        let of = |object: &Option<Arc<K>>| object.as_ref().map(|o| size(o));
        if of(&change.old) != of(&change.new) {
            budgets.list_in(&change.key.namespace).iter().for_each(|b| queue.add(key_of(&**b)));
        }
    });
}

/// Ready pods, but for those that are going or evicted.
fn healthy(pods: &[Arc<Pod>], disrupted: &BTreeMap<String, Time>, now: Timestamp) -> i32 {
    let going = |pod: &Pod| {
        let since = disrupted.get(pod.metadata.name.as_deref().unwrap_or_default());
        since.is_some_and(|t| now.duration_since(t.0) < DELETION)
    };
    pods.iter().filter(|p| p.metadata.deletion_timestamp.is_none() && !going(p) && is_ready(p)).count() as i32
}

fn status(
    budget: &Budget,
    count: &Count,
    disrupted: BTreeMap<String, Time>,
    now: Timestamp,
) -> PodDisruptionBudgetStatus {
    let old = budget.status.clone().unwrap_or_default();
    let allowed = if count.expected <= 0 { 0 } else { (count.healthy - count.desired).max(0) };
    let (state, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    PodDisruptionBudgetStatus {
        current_healthy: Some(count.healthy),
        desired_healthy: Some(count.desired),
        expected_pods: Some(count.expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: budget.metadata.generation,
        conditions: Some(conditions(old.conditions, state, reason, "", budget.metadata.generation, now)),
    }
}

/// When nothing is known nothing may be disrupted.
fn fail_safe(budget: &Budget, message: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let old = budget.status.clone().unwrap_or_default();
    let conditions = conditions(old.conditions.clone(), "False", "SyncFailed", message, old.observed_generation, now);
    PodDisruptionBudgetStatus { disruptions_allowed: Some(0), conditions: Some(conditions), ..old }
}

fn conditions(
    before: Option<Vec<Condition>>,
    state: &str,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut all = before.unwrap_or_default();
    let known = all.iter().position(|c| c.type_ == "DisruptionAllowed");
    let since = known.map(|at| &all[at]).filter(|c| c.status == state).map(|c| c.last_transition_time.clone());
    let condition = Condition {
        type_: "DisruptionAllowed".to_owned(),
        status: state.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: generation,
        last_transition_time: since.unwrap_or(Time(now)),
    };
    match known {
        Some(at) => all[at] = condition,
        None => all.push(condition),
    }
    all
}

/// How long until a pod that was to be disrupted is as others again; none: it is not one of those.
fn stale_after(pod: &Pod, now: Timestamp) -> Option<Duration> {
    let target = condition(pod, "DisruptionTarget").filter(|c| c.status == "True")?;
    if pod.metadata.deletion_timestamp.is_some()
        || is_finished(pod)
        || target.reason.as_deref() == Some("TerminationByKubelet")
    {
        return None;
    }
    let since = target.last_transition_time.as_ref().map_or(now, |t| t.0);
    Some((STALE - now.duration_since(since)).max(SignedDuration::ZERO).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_healthy_beyond_need_may_be_disrupted() {
        let pod = |name: &str, ready: &str| -> Arc<Pod> {
            Arc::new(
                serde_json::from_value(serde_json::json!({"metadata": {"name": name},
                    "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
                .unwrap(),
            )
        };
        let now = Timestamp::from_second(100).unwrap();
        let pods = [pod("a", "True"), pod("b", "True"), pod("c", "False")];
        assert_eq!(healthy(&pods, &BTreeMap::new(), now), 2);
        let evicted = BTreeMap::from([("a".to_owned(), Time(now))]);
        assert_eq!(healthy(&pods, &evicted, now), 1);
        let count = Count { healthy: 2, desired: 1, expected: 3 };
        let status = status(&Budget::default(), &count, evicted, now);
        assert_eq!(status.disruptions_allowed, Some(1));
        assert_eq!(status.conditions.unwrap()[0].reason, "SufficientPods");
        let failed = fail_safe(&Budget::default(), "no", now);
        assert_eq!(
            (failed.disruptions_allowed, failed.conditions.unwrap()[0].reason.as_str()),
            (Some(0), "SyncFailed")
        );
    }
}
