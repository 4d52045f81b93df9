//! Replica sets: as many pods as asked for (upstream `pkg/controller/replicaset`).

use crate::Context;
use crate::context::{enqueue, enqueue_owner};
use crate::pods::{self, Expectations, claim, rank_for_deletion};
use crate::write::{gone_is_fine, is_terminating, selector_of};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kaji_client::informer::{Change, Informer};
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::PostParams;
use std::sync::Arc;

/// Pods made or removed in one go.
const BURST: usize = 500;

struct Controller {
    cx: Context,
    sets: Arc<Informer<ReplicaSet>>,
    pods: Arc<Informer<Pod>>,
    expectations: Expectations,
}

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let (sets, pods) = (cx.informer::<ReplicaSet>(), cx.informer::<Pod>());
    let workers = cx.config.workers;
    let controller = Arc::new(Controller { cx, sets, pods, expectations: Expectations::default() });
    enqueue(&controller.sets, &queue);
    let seen = Arc::downgrade(&controller);
    // Before the key is queued: the worker must find the expectation lowered.
    controller.pods.on_change(move |change| {
        if let Some(controller) = seen.upgrade() {
            controller.observe(change);
        }
    });
    enqueue_owner(&controller.pods, "ReplicaSet", &queue);
    let (orphans, again) = (Arc::downgrade(&controller), queue.clone());
    controller.pods.on_change(move |change| {
        if let (Some(controller), Some(pod)) = (orphans.upgrade(), &change.new) {
            controller.selecting(pod).into_iter().for_each(|key| again.add(key));
        }
    });
    controller.sets.synced().await;
    controller.pods.synced().await;
    queue
        .run("replica set", workers, move |key| {
            let controller = controller.clone();
            async move { controller.reconcile(key).await }
        })
        .await;
}

impl Controller {
    /// Lowers what is expected of the pod's owner.
    fn observe(&self, change: &Change<Pod>) {
        let Some(pod) = change.new.as_ref().or(change.old.as_ref()) else { return };
        let owners = pod.metadata.owner_references.iter().flatten();
        let Some(owner) = owners.clone().find(|o| o.controller == Some(true) && o.kind == "ReplicaSet") else { return };
        let key = ObjectKey::new(change.key.namespace.clone(), owner.name.clone());
        if change.old.is_none() {
            self.expectations.created(&key);
        }
        if change.new.is_none() || pod.metadata.deletion_timestamp.is_some() {
            self.expectations.deleted(&key, pod.metadata.uid.as_deref().unwrap_or_default());
        }
    }

    /// The sets that would adopt a pod without controller.
    fn selecting(&self, pod: &Pod) -> Vec<ObjectKey> {
        if pod.metadata.owner_references.iter().flatten().any(|o| o.controller == Some(true)) {
            return Vec::new();
        }
        let labels = pod.metadata.labels.as_ref();
        let label = |key: &str| labels.and_then(|l| l.get(key)).map(String::as_str);
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let sets = self.sets.list_in(namespace).into_iter();
        let selects =
            |s: &Arc<ReplicaSet>| s.spec.as_ref().is_some_and(|spec| selector_of(&spec.selector).matches(label));
        sets.filter(selects).map(|s| ObjectKey::new(namespace, s.metadata.name.clone().unwrap_or_default())).collect()
    }

    async fn reconcile(&self, key: ObjectKey) -> Result<Next, kube::Error> {
        let Some(set) = self.sets.get(&key) else {
            self.expectations.forget(&key);
            return Ok(Next::Done);
        };
        let Some(spec) = &set.spec else { return Ok(Next::Done) };
        let selector = selector_of(&spec.selector);
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let label = |pod: &Pod, key: &str| pod.metadata.labels.as_ref().and_then(|l| l.get(key)).cloned();
        let candidates: Vec<Arc<Pod>> = self
            .pods
            .list_in(&key.namespace)
            .into_iter()
            .filter(|p| {
                let controller = p.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true));
                match controller {
                    Some(owner) => owner.uid == uid,
                    None => {
                        let labels: Vec<(String, Option<String>)> =
                            selector.requirements().iter().map(|r| (r.key.clone(), label(p, &r.key))).collect();
                        selector.matches(|k| labels.iter().find(|(key, _)| key == k).and_then(|(_, v)| v.as_deref()))
                    }
                }
            })
            .collect();
        let all = claim(&self.cx, &*set, &selector, candidates).await?;
        let (active, rest): (Vec<_>, Vec<_>) = all.into_iter().partition(|p| pods::is_active(p));
        let now = Timestamp::now();
        let managed = if self.expectations.satisfied(&key) && set.metadata.deletion_timestamp.is_none() {
            self.manage(&key, &set, active.clone(), now).await
        } else {
            Ok(())
        };
        let terminating =
            rest.iter().filter(|p| p.metadata.deletion_timestamp.is_some() && !pods::is_finished(p)).count();
        let status = status(&set, &active, terminating, managed.as_ref().err(), now);
        let min_ready = spec.min_ready_seconds.unwrap_or_default();
        let updated = self.update_status(&set, status).await;
        managed?;
        updated?;
        let active: Vec<&Pod> = active.iter().map(|p| &**p).collect();
        Ok(pods::next_available(&active, min_ready, now).map_or(Next::Done, Next::After))
    }

    /// Makes or removes pods until there are as many as asked for.
    async fn manage(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        mut active: Vec<Arc<Pod>>,
        now: Timestamp,
    ) -> Result<(), kube::Error> {
        let wanted = usize::try_from(set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)).unwrap_or_default();
        if active.len() < wanted {
            return self.create(key, set, (wanted - active.len()).min(BURST)).await;
        }
        let surplus = (active.len() - wanted).min(BURST);
        if surplus == 0 {
            return Ok(());
        }
        let related = self.related(set);
        rank_for_deletion(&mut active, &related, now);
        active.truncate(surplus);
        let uid = |p: &Pod| p.metadata.uid.clone().unwrap_or_default();
        self.expectations.expect(key, 0, active.iter().map(|p| uid(p)));
        let removals = active.iter().map(|pod| async move {
            let outcome = pods::delete(&self.cx, set, pod).await;
            if outcome.is_err() {
                self.expectations.deleted(key, &uid(pod));
            }
            outcome
        });
        futures::future::join_all(removals).await.into_iter().collect()
    }

    /// Makes pods in batches of 1, 2, 4, …: a quota that refuses the first spares the server the rest.
    async fn create(&self, key: &ObjectKey, set: &ReplicaSet, count: usize) -> Result<(), kube::Error> {
        let Some(template) = set.spec.as_ref().and_then(|s| s.template.as_ref()) else { return Ok(()) };
        let prefix = format!("{}-", set.metadata.name.as_deref().unwrap_or_default());
        let pod = pods::from_template(template, set, &prefix);
        self.expectations.expect(key, count, []);
        let (mut left, mut batch) = (count, 1);
        while left > 0 {
            let size = batch.min(left);
            let outcomes = futures::future::join_all((0..size).map(|_| pods::create(&self.cx, set, &pod))).await;
            left -= size;
            batch *= 2;
            let failures: Vec<kube::Error> = outcomes.into_iter().filter_map(Result::err).collect();
            failures.iter().for_each(|_| self.expectations.created(key));
            if let Some(first) = failures.into_iter().next() {
                (0..left).for_each(|_| self.expectations.created(key));
                return if is_terminating(&first) { Ok(()) } else { Err(first) };
            }
        }
        Ok(())
    }

    /// Pods of all sets with the same controller (a deployment's), or of this one alone.
    fn related(&self, set: &ReplicaSet) -> Vec<Arc<Pod>> {
        let owners = set.metadata.owner_references.iter().flatten();
        let controller = owners.clone().find(|o| o.controller == Some(true)).map(|o| o.uid.clone());
        let own = set.metadata.uid.clone().unwrap_or_default();
        let uids = match controller {
            Some(uid) => self.sets.controlled_by(&uid).iter().filter_map(|s| s.metadata.uid.clone()).collect(),
            None => vec![own],
        };
        uids.iter().flat_map(|uid| self.pods.controlled_by(uid)).collect()
    }

    async fn update_status(&self, set: &ReplicaSet, status: ReplicaSetStatus) -> Result<(), kube::Error> {
        if set.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut set = set.clone();
        set.status = Some(status);
        let namespace = set.metadata.namespace.clone().unwrap_or_default();
        let name = set.metadata.name.clone().unwrap_or_default();
        let api: Api<ReplicaSet> = Api::namespaced(self.cx.client.clone(), &namespace);
        gone_is_fine(api.replace_status(&name, &PostParams::default(), &set).await)
    }
}

/// The status that describes these pods.
fn status(
    set: &ReplicaSet,
    active: &[Arc<Pod>],
    terminating: usize,
    failure: Option<&kube::Error>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let spec = set.spec.clone().unwrap_or_default();
    let template =
        spec.template.as_ref().and_then(|t| t.metadata.as_ref()).and_then(|m| m.labels.clone()).unwrap_or_default();
    let labelled = |p: &&Arc<Pod>| {
        let labels = p.metadata.labels.clone().unwrap_or_default();
        template.iter().all(|(k, v)| labels.get(k) == Some(v))
    };
    let min_ready = spec.min_ready_seconds.unwrap_or_default();
    let count = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
    let some = |n: usize| Some(count(n)).filter(|n| *n > 0);
    let old = set.status.clone().unwrap_or_default();
    ReplicaSetStatus {
        replicas: count(active.len()),
        fully_labeled_replicas: some(active.iter().filter(labelled).count()),
        ready_replicas: some(active.iter().filter(|p| pods::is_ready(p)).count()),
        available_replicas: some(active.iter().filter(|p| pods::is_available(p, min_ready, now)).count()),
        terminating_replicas: Some(count(terminating)),
        observed_generation: set.metadata.generation,
        conditions: conditions(old.conditions, active.len(), spec.replicas.unwrap_or(1), failure, now),
    }
}

/// `ReplicaFailure` while pods cannot be made or removed.
fn conditions(
    old: Option<Vec<ReplicaSetCondition>>,
    active: usize,
    wanted: i32,
    failure: Option<&kube::Error>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    const KIND: &str = "ReplicaFailure";
    let mut all = old.unwrap_or_default();
    let present = all.iter().any(|c| c.type_ == KIND);
    match failure {
        Some(error) if !present => {
            let creating = i64::try_from(active).unwrap_or(i64::MAX) < i64::from(wanted);
            all.push(ReplicaSetCondition {
                type_: KIND.to_owned(),
                status: "True".to_owned(),
                reason: Some(if creating { "FailedCreate" } else { "FailedDelete" }.to_owned()),
                message: Some(crate::write::words(error)),
                last_transition_time: Some(Time(now)),
            });
        }
        None => all.retain(|c| c.type_ != KIND),
        Some(_) => {}
    }
    (!all.is_empty()).then_some(all)
}
