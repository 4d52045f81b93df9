//! Stateful sets keep numbered pods with their own storage (upstream `pkg/controller/statefulset`).

mod identity;
mod plan;

use crate::Context;
use crate::adopt::{claim, selector};
use crate::context::{enqueue, enqueue_owner, key_of};
use crate::history::{self, template_of};
use crate::pods;
use crate::write::{gone_is_fine, is_terminating, words};
use identity::{claim_owners, claims, is_stale, name_of, ordinal, revision};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kaji_client::event::EventType;
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{DeleteParams, PostParams, Preconditions};
use plan::{Plan, Step, View};
use std::sync::Arc;

const HASH: &str = "controller.kubernetes.io/hash";

/// Why a set could not be moved on.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("request failed")]
    Request(#[from] kube::Error),
    #[error("history could not be brought up to date")]
    History(#[from] history::Error),
    #[error("pvc {0} is being deleted")]
    ClaimGoes(String),
}

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let (sets, all_pods) = (cx.informer::<StatefulSet>(), cx.informer::<Pod>());
    let (claims, revisions) = (cx.informer::<PersistentVolumeClaim>(), cx.informer::<ControllerRevision>());
    enqueue(&sets, &queue);
    enqueue_owner(&all_pods, "StatefulSet", &queue);
    pods::enqueue_selecting(&all_pods, &sets, &queue, |set: &StatefulSet| selector(&set.spec.as_ref()?.selector));
    sets.synced().await;
    all_pods.synced().await;
    claims.synced().await;
    revisions.synced().await;
    let workers = cx.config.workers;
    let work = Arc::new(Work { cx, sets, pods: all_pods, claims, revisions });
    let reconcile = move |key| {
        let work = work.clone();
        async move { work.reconcile(key).await }
    };
    queue.run("stateful set", workers, reconcile).await;
}

struct Work {
    cx: Context,
    sets: Arc<Informer<StatefulSet>>,
    pods: Arc<Informer<Pod>>,
    claims: Arc<Informer<PersistentVolumeClaim>>,
    revisions: Arc<Informer<ControllerRevision>>,
}

impl Work {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(set) = self.sets.get(&key) else { return Ok(Next::Done) };
        let Some(spec) = &set.spec else { return Ok(Next::Done) };
        let Some(selector) = selector(&spec.selector) else { return Ok(Next::Done) };
        let status = set.status.clone().unwrap_or_default();
        let collisions = Some(status.collision_count.unwrap_or_default());
        let synced = history::sync(&self.cx, &*set, &selector, &self.revisions, &spec.template, collisions, HASH).await;
        let history = match synced {
            Err(error @ history::Error::Collision(_)) => {
                let mut after = StatefulSet::clone(&set);
                after.status.get_or_insert_default().collision_count = collisions.map(|n| n + 1);
                self.write_status(&after).await?;
                return Err(error.into());
            }
            other => other?,
        };
        let name = |r: &ControllerRevision| r.metadata.name.clone().unwrap_or_default();
        let named = |r: &&Arc<ControllerRevision>| Some(name(r)) == status.current_revision;
        let current = history.old.iter().find(named).unwrap_or(&history.current);
        let pods = claim(&self.cx.client, &*set, &selector, &self.pods, |p| ordinal(&set, p).is_some()).await?;
        let (current_name, update_name) = (name(current), name(&history.current));
        let current_template = template_of(current).unwrap_or_else(|| spec.template.clone());
        let view = View {
            set: &set,
            current: (&current_name, &current_template),
            update: (&update_name, &spec.template),
            pods: &pods,
            now: Timestamp::now(),
        };
        let Plan { steps, status, again } = view.plan();
        let outcome = self.carry_out(&set, steps).await;
        if set.status.as_ref() != Some(&status) {
            let after = StatefulSet { status: Some(status), ..StatefulSet::clone(&set) };
            self.write_status(&after).await?;
        }
        outcome?;
        let in_use = |r: &ControllerRevision| {
            let name = name(r);
            name == current_name || pods.iter().any(|p| revision(p) == name)
        };
        history::clean_up(&self.cx, &history.old, spec.revision_history_limit, in_use).await?;
        Ok(again.map_or(Next::Done, Next::After))
    }

    async fn write_status(&self, set: &StatefulSet) -> Result<(), kube::Error> {
        let key = key_of(set);
        let api: Api<StatefulSet> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        gone_is_fine(api.replace_status(&key.name, &PostParams::default(), set).await)
    }

    async fn carry_out(&self, set: &StatefulSet, steps: Vec<Step>) -> Result<(), Error> {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.cx.client.clone(), namespace);
        for step in steps {
            match step {
                Step::Create(number, pod) => self.create(set, &api, number, &pod).await?,
                Step::Delete(pod) => {
                    let uid = pod.metadata.uid.clone();
                    // By now another pod may have the name.
                    let how = DeleteParams::default().preconditions(Preconditions { uid, resource_version: None });
                    let outcome = gone_is_fine(api.delete(name(&pod), &how).await);
                    self.tell(set, "delete", name(&pod), outcome)?;
                }
                Step::Claims(number, pod) => {
                    self.make_claims(set, number, name(&pod), pod.metadata.uid.as_ref()).await?
                }
                Step::Identify(pod) => {
                    let outcome = api.replace(name(&pod), &PostParams::default(), &pod).await.map(drop);
                    self.tell(set, "update", name(&pod), outcome)?;
                }
                Step::Own(number, pod, in_range) => self.own_claims(set, number, &pod, in_range).await?,
            }
        }
        Ok(())
    }

    fn tell(
        &self,
        set: &StatefulSet,
        deed: &str,
        pod: &str,
        outcome: Result<(), kube::Error>,
    ) -> Result<(), kube::Error> {
        let mut word = deed.to_owned();
        word[..1].make_ascii_uppercase();
        let what = format!("{deed} Pod {pod} in StatefulSet {}", name_of(set));
        match &outcome {
            Ok(()) => {
                self.cx.event(set, EventType::Normal, &format!("Successful{word}"), &format!("{what} successful"));
            }
            Err(error) => {
                let message = format!("{what} failed error: {}", words(error));
                self.cx.event(set, EventType::Warning, &format!("Failed{word}"), &message);
            }
        }
        outcome
    }

    async fn create(&self, set: &StatefulSet, api: &Api<Pod>, number: i32, pod: &Pod) -> Result<(), Error> {
        let stale = |(_, claim): &(String, PersistentVolumeClaim)| {
            self.claims.get(&key_of(claim)).is_some_and(|found| is_stale(None, name(pod), &found))
        };
        if claims(set, number).iter().any(stale) {
            // It goes with the former pod; the collector sees to it.
            return Err(Error::ClaimGoes(name(pod).to_owned()));
        }
        self.make_claims(set, number, name(pod), None).await?;
        match api.create(&PostParams::default(), pod).await {
            Err(error) if is_terminating(&error) => Ok(()),
            other => Ok(self.tell(set, "create", name(pod), other.map(drop))?),
        }
    }

    async fn make_claims(&self, set: &StatefulSet, number: i32, pod: &str, uid: Option<&String>) -> Result<(), Error> {
        for (_, mut claim) in claims(set, number) {
            let key = key_of(&claim);
            match self.claims.get(&key) {
                Some(found) if found.metadata.deletion_timestamp.is_some() => return Err(Error::ClaimGoes(key.name)),
                Some(_) => continue,
                None => {}
            }
            let mut owner = Pod::default();
            owner.metadata.name = Some(pod.to_owned());
            owner.metadata.uid = uid.cloned();
            claim.metadata.owner_references = claim_owners(set, &owner, true, &claim);
            let api: Api<PersistentVolumeClaim> = Api::namespaced(self.cx.client.clone(), &key.namespace);
            let outcome = crate::write::exists_is_fine(api.create(&PostParams::default(), &claim).await);
            let set_name = name_of(set);
            match &outcome {
                Ok(()) => {
                    let message = format!("create Claim {} Pod {pod} in StatefulSet {set_name} success", key.name);
                    self.cx.event(set, EventType::Normal, "SuccessfulCreate", &message);
                }
                Err(error) => {
                    let what = format!("create Claim {} for Pod {pod} in StatefulSet {set_name}", key.name);
                    let message = format!("{what} failed error: {}", words(error));
                    self.cx.event(set, EventType::Warning, "FailedCreate", &message);
                }
            }
            outcome?;
        }
        Ok(())
    }

    /// Hands claims to the set or the pod, as the retention policy says.
    async fn own_claims(&self, set: &StatefulSet, number: i32, pod: &Pod, in_range: bool) -> Result<(), Error> {
        for (_, claim) in claims(set, number) {
            let key = key_of(&claim);
            let Some(found) = self.claims.get(&key) else { continue };
            if let Some(owners) = claim_owners(set, pod, in_range, &found) {
                let mut after = PersistentVolumeClaim::clone(&found);
                after.metadata.owner_references = Some(owners);
                let api: Api<PersistentVolumeClaim> = Api::namespaced(self.cx.client.clone(), &key.namespace);
                // Not a patch: the controller's role has no such verb on claims.
                gone_is_fine(api.replace(&key.name, &PostParams::default(), &after).await)?;
            }
        }
        Ok(())
    }
}

fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}
