//! Making and deleting a workload's pods, with the events that tell of it.

use crate::Context;
use crate::expectations::Expectations;
use crate::write::{gone_is_fine, is_terminating, slow_start, words};
use k8s_openapi::api::core::v1::Pod;
use kaji_client::event::EventType;
use kaji_client::informer::{Informer, Kind};
use kaji_client::{ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube::core::Selector;
use std::sync::Arc;

/// As many pods as one reconcile makes or deletes at most.
pub(crate) const BURST: usize = 500;

/// Makes `count` pods, slowly at first; `make` gives the n-th.
pub(crate) async fn create<O: Kind>(
    cx: &Context,
    owner: &O,
    expected: &Expectations,
    count: usize,
    make: impl Fn(usize) -> Pod,
) -> Result<(), kube::Error> {
    let meta = owner.meta();
    let uid = meta.uid.as_deref().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(cx.client.clone(), meta.namespace.as_deref().unwrap_or_default());
    expected.expect_creations(uid, count);
    let (succeeded, failure) = slow_start(count, |n| {
        let (api, pod) = (&api, make(n));
        async move { created(cx, owner, api.create(&PostParams::default(), &pod).await) }
    })
    .await;
    for _ in succeeded..count {
        expected.created(uid);
    }
    match failure {
        Some(error) if !is_terminating(&error) => Err(error),
        _ => Ok(()),
    }
}

fn created<O: Kind>(cx: &Context, owner: &O, outcome: Result<Pod, kube::Error>) -> Result<Pod, kube::Error> {
    match &outcome {
        Ok(pod) => {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            cx.event(owner, EventType::Normal, "SuccessfulCreate", &format!("Created pod: {name}"));
        }
        Err(error) if is_terminating(error) => {}
        Err(error) => {
            let message = format!("Error creating: {}", words(error));
            cx.event(owner, EventType::Warning, "FailedCreate", &message);
        }
    }
    outcome
}

/// Deletes pods, all at once.
pub(crate) async fn delete<O: Kind>(
    cx: &Context,
    owner: &O,
    expected: &Expectations,
    pods: &[Arc<Pod>],
) -> Result<(), kube::Error> {
    let meta = owner.meta();
    let owner_uid = meta.uid.as_deref().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(cx.client.clone(), meta.namespace.as_deref().unwrap_or_default());
    let uids = || pods.iter().map(|p| p.metadata.uid.as_deref().unwrap_or_default());
    expected.expect_deletions(owner_uid, uids());
    let deletions = pods.iter().map(|pod| delete_one(cx, owner, &api, pod));
    let outcomes = futures::future::join_all(deletions).await;
    let mut first = Ok(());
    for (uid, outcome) in uids().zip(outcomes) {
        if outcome.is_err() {
            expected.deleted(owner_uid, uid);
            if first.is_ok() {
                first = gone_is_fine(outcome);
            }
        }
    }
    first
}

/// Deletes one and tells of it.
pub(crate) async fn delete_one<O: Kind>(cx: &Context, owner: &O, api: &Api<Pod>, pod: &Pod) -> Result<(), kube::Error> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => {
            cx.event(owner, EventType::Normal, "SuccessfulDelete", &format!("Deleted pod: {name}"));
            Ok(())
        }
        Err(error) => {
            if !matches!(&error, kube::Error::Api(status) if status.code == 404) {
                let message = format!("Error deleting: {}", words(&error));
                cx.event(owner, EventType::Warning, "FailedDelete", &message);
            }
            Err(error)
        }
    }
}

/// Puts the owners that select a pod without controller into a queue when such a pod comes or changes its labels.
pub(crate) fn enqueue_selecting<O: Kind>(
    pods: &Informer<Pod>,
    owners: &Arc<Informer<O>>,
    queue: &Arc<WorkQueue<ObjectKey>>,
    selector: impl Fn(&O) -> Option<Selector> + Send + Sync + 'static,
) {
    let (owners, queue) = (Arc::downgrade(owners), queue.clone());
    pods.on_change(move |change| {
        let (Some(pod), Some(owners)) = (&change.new, owners.upgrade()) else { return };
        if crate::adopt::controller_of(&**pod).is_some() || pod.metadata.deletion_timestamp.is_some() {
            return;
        }
        let same = |old: &Arc<Pod>| {
            old.metadata.labels == pod.metadata.labels && crate::adopt::controller_of(&**old).is_none()
        };
        if change.old.as_ref().is_some_and(same) {
            return;
        }
        for owner in owners.list_in(&change.key.namespace) {
            if selector(&owner).is_some_and(|s| crate::adopt::selects(&s, &**pod)) {
                queue.add(crate::context::key_of(&*owner));
            }
        }
    });
}
