//! Deployments roll their template out through replica sets (upstream `pkg/controller/deployment`).

mod plan;
mod rollback;
mod set;
mod status;

use crate::Context;
use crate::adopt::{claim, controller_of, selector, selects};
use crate::context::{enqueue, enqueue_owner, key_of};
use crate::pod::is_finished;
use crate::write::{gone_is_fine, is_terminating, words};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kaji_client::event::EventType;
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use plan::{Plan, plan};
use set::Set;
use std::sync::Arc;

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let (deployments, sets, pods) = (cx.informer::<Deployment>(), cx.informer::<ReplicaSet>(), cx.informer::<Pod>());
    enqueue(&deployments, &queue);
    enqueue_owner(&sets, "Deployment", &queue);
    enqueue_adopters(&sets, &deployments, &queue);
    enqueue_on_last_pod(&pods, &sets, &deployments, &queue);
    deployments.synced().await;
    sets.synced().await;
    pods.synced().await;
    let workers = cx.config.workers;
    let work = Arc::new(Work { cx, deployments, sets, pods });
    let reconcile = move |key| {
        let work = work.clone();
        async move { work.reconcile(key).await }
    };
    queue.run("deployment", workers, reconcile).await;
}

/// Sets without a controller wake the deployments that select them.
fn enqueue_adopters(
    sets: &Informer<ReplicaSet>,
    deployments: &Arc<Informer<Deployment>>,
    queue: &Arc<WorkQueue<ObjectKey>>,
) {
    let (deployments, queue) = (deployments.clone(), queue.clone());
    sets.on_change(move |change| {
        let Some(set) = change.new.as_ref().filter(|s| controller_of(&***s).is_none()) else { return };
        for deployment in deployments.list_in(&change.key.namespace) {
            let selector = deployment.spec.as_ref().and_then(|s| selector(&s.selector));
            if selector.is_some_and(|s| selects(&s, &**set)) {
                queue.add(key_of(&*deployment));
            }
        }
    });
}

/// A deployment that recreates waits for the last pod of its old sets to go.
fn enqueue_on_last_pod(
    pods: &Informer<Pod>,
    sets: &Arc<Informer<ReplicaSet>>,
    deployments: &Arc<Informer<Deployment>>,
    queue: &Arc<WorkQueue<ObjectKey>>,
) {
    let (sets, deployments, queue) = (sets.clone(), deployments.clone(), queue.clone());
    pods.on_change(move |change| {
        let ended = change.new.as_ref().is_none_or(|p| is_finished(p));
        let Some(pod) = change.new.as_ref().or(change.old.as_ref()).filter(|_| ended) else { return };
        let Some(owner) = controller_of(&**pod).filter(|o| o.kind == "ReplicaSet") else { return };
        let Some(set) = sets.get(&ObjectKey::new(change.key.namespace.clone(), owner.name.clone())) else { return };
        let Some(owner) = controller_of(&*set).filter(|o| o.kind == "Deployment") else { return };
        let key = ObjectKey::new(change.key.namespace.clone(), owner.name.clone());
        if deployments.get(&key).is_some_and(|d| recreates(&d)) {
            queue.add(key);
        }
    });
}

fn recreates(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|s| s.strategy.as_ref());
    strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate")
}

/// Why a deployment could not be moved on.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("request failed")]
    Request(#[from] kube::Error),
    #[error("the name of replica set {0} is taken by another template; trying another name")]
    Collision(String),
    #[error("replica set {0} was made, but is not seen yet")]
    NotSeen(String),
}

struct Work {
    cx: Context,
    deployments: Arc<Informer<Deployment>>,
    sets: Arc<Informer<ReplicaSet>>,
    pods: Arc<Informer<Pod>>,
}

impl Work {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(deployment) = self.deployments.get(&key) else { return Ok(Next::Done) };
        let Some(selector) = deployment.spec.as_ref().and_then(|s| selector(&s.selector)) else {
            return self.refuse_everything(&deployment).await;
        };
        let sets = claim(&self.cx.client, &*deployment, &selector, &self.sets, |_| true).await?;
        let paused = deployment.spec.as_ref().and_then(|s| s.paused) == Some(true);
        let alive = deployment.metadata.deletion_timestamp.is_none();
        if let Some(back) = rollback::plan(&deployment, &sets).filter(|_| alive && !paused) {
            self.api(&deployment).replace(&key.name, &PostParams::default(), &back.deployment).await?;
            self.cx.event(&*deployment, back.kind, back.reason, &back.message);
            return Ok(Next::Done);
        }
        let runs = |uid: &str| self.pods.controlled_by(uid).iter().any(|p| !is_finished(p));
        self.carry_out(&deployment, plan(&deployment, &sets, runs, Timestamp::now())).await
    }

    fn api(&self, deployment: &Deployment) -> Api<Deployment> {
        Api::namespaced(self.cx.client.clone(), deployment.metadata.namespace.as_deref().unwrap_or_default())
    }

    /// A selector of everything is none at all.
    async fn refuse_everything(&self, deployment: &Deployment) -> Result<Next, Error> {
        let everything = deployment.spec.as_ref().is_some_and(|s| s.selector == LabelSelector::default());
        if everything {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.cx.event(deployment, EventType::Warning, "SelectingAll", message);
        }
        let mut after = deployment.clone();
        after.status.get_or_insert_default().observed_generation = deployment.metadata.generation;
        if after != *deployment {
            self.write_status(&after).await?;
        }
        Ok(Next::Done)
    }

    async fn carry_out(&self, deployment: &Deployment, plan: Plan) -> Result<Next, Error> {
        for set in &plan.sets {
            self.write_set(deployment, plan.status.as_ref(), set).await?;
        }
        let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
        let sets: Api<ReplicaSet> = Api::namespaced(self.cx.client.clone(), namespace);
        for name in &plan.cleanup {
            gone_is_fine(sets.delete(name, &DeleteParams::default()).await)?;
        }
        if let Some(after) = &plan.status {
            self.write_status(after).await?;
        }
        Ok(plan.again.map_or(Next::Done, Next::After))
    }

    async fn write_status(&self, deployment: &Deployment) -> Result<(), kube::Error> {
        let name = deployment.metadata.name.as_deref().unwrap_or_default();
        gone_is_fine(self.api(deployment).replace_status(name, &PostParams::default(), deployment).await)
    }

    async fn write_set(&self, deployment: &Deployment, after: Option<&Deployment>, set: &Set) -> Result<(), Error> {
        let namespace = deployment.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<ReplicaSet> = Api::namespaced(self.cx.client.clone(), namespace);
        match &set.before {
            Some(_) => {
                api.replace(set.name(), &PostParams::default(), &set.object).await?;
            }
            None => match api.create(&PostParams::default(), &set.object).await {
                Err(kube::Error::Api(status)) if status.reason == "AlreadyExists" => {
                    return self.resolve_collision(deployment, set).await;
                }
                Err(error) if !is_terminating(&error) => {
                    self.tell_of_failure(after.unwrap_or(deployment), set, &error).await?;
                    return Err(error.into());
                }
                other => drop(other?),
            },
        }
        for message in &set.events {
            self.cx.event(deployment, EventType::Normal, "ScalingReplicaSet", message);
        }
        Ok(())
    }

    /// The name is taken: by our own set that the informer doesn't show yet, or by another template.
    async fn resolve_collision(&self, deployment: &Deployment, set: &Set) -> Result<(), Error> {
        let key = key_of(&set.object);
        let ours = |found: &Arc<ReplicaSet>| {
            controller_of(&**found).map(|o| &o.uid) == deployment.metadata.uid.as_ref()
                && set::same_template(&Set::existing(found.clone()).template(), &set.template())
        };
        match self.sets.get(&key) {
            None => Err(Error::NotSeen(key.name)),
            Some(found) if ours(&found) => Ok(()),
            Some(_) => {
                let mut after = deployment.clone();
                let count = &mut after.status.get_or_insert_default().collision_count;
                *count = Some(count.unwrap_or_default() + 1);
                self.write_status(&after).await?;
                Err(Error::Collision(key.name))
            }
        }
    }

    async fn tell_of_failure(
        &self,
        deployment: &Deployment,
        set: &Set,
        error: &kube::Error,
    ) -> Result<(), kube::Error> {
        let message = format!("Failed to create new replica set {:?}: {}", set.name(), words(error));
        self.cx.event(deployment, EventType::Warning, "ReplicaSetCreateError", &message);
        if status::deadline(deployment).is_none() {
            return Ok(());
        }
        let mut after = deployment.clone();
        let condition = status::new(status::PROGRESSING, "False", "ReplicaSetCreateError", &message, Timestamp::now());
        status::set(after.status.get_or_insert_default(), condition);
        self.write_status(&after).await
    }
}
