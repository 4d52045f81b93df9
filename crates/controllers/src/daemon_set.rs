//! Daemon sets keep one pod on every node that fits (upstream `pkg/controller/daemon`).

mod plan;
mod pod_template;

use crate::Context;
use crate::adopt::{claim, controller_reference, selector};
use crate::context::{enqueue, enqueue_owner, key_of};
use crate::expectations::Expectations;
use crate::history::{self, History};
use crate::pod::from_template;
use crate::pods;
use crate::write::gone_is_fine;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet};
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kaji_client::event::EventType;
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::PostParams;
use parking_lot::Mutex;
use plan::{HASH, Plan, View, matters};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// As many pods as one reconcile makes or deletes at most.
const BURST: usize = 250;
/// Daemons that failed are replaced after this, doubling up to the longest.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(15 * 60);

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let (sets, all_pods) = (cx.informer::<DaemonSet>(), cx.informer::<Pod>());
    let (nodes, revisions) = (cx.informer::<Node>(), cx.informer::<ControllerRevision>());
    let expected = Expectations::over(&all_pods);
    expected.forget_gone(&sets);
    enqueue(&sets, &queue);
    enqueue_owner(&all_pods, "DaemonSet", &queue);
    enqueue_owner(&revisions, "DaemonSet", &queue);
    pods::enqueue_selecting(&all_pods, &sets, &queue, |set: &DaemonSet| selector(&set.spec.as_ref()?.selector));
    let (again, known) = (queue.clone(), sets.clone());
    nodes.on_change(move |change| {
        if matters(change.old.as_deref(), change.new.as_deref()) {
            known.list().iter().for_each(|set| again.add(key_of(&**set)));
        }
    });
    sets.synced().await;
    all_pods.synced().await;
    nodes.synced().await;
    revisions.synced().await;
    let workers = cx.config.workers;
    let failures = Mutex::default();
    let work = Arc::new(Work { cx, sets, pods: all_pods, nodes, revisions, expected, failures });
    let reconcile = move |key| {
        let work = work.clone();
        async move { work.reconcile(key).await }
    };
    queue.run("daemon set", workers, reconcile).await;
}

/// A set's uid and generation, and a node.
type FailureKey = (String, Option<i64>, String);

struct Work {
    cx: Context,
    sets: Arc<Informer<DaemonSet>>,
    pods: Arc<Informer<Pod>>,
    nodes: Arc<Informer<Node>>,
    revisions: Arc<Informer<ControllerRevision>>,
    expected: Arc<Expectations>,
    /// How long the next failed daemon of a node waits, and since when.
    failures: Mutex<HashMap<FailureKey, (Duration, Instant)>>,
}

impl Work {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, history::Error> {
        let Some(set) = self.sets.get(&key).filter(|s| s.metadata.deletion_timestamp.is_none()) else {
            return Ok(Next::Done);
        };
        let Some(spec) = &set.spec else { return Ok(Next::Done) };
        if spec.selector == LabelSelector::default() {
            let message = "This daemon set is selecting all pods. A non-empty selector is required.";
            self.cx.event(&*set, EventType::Warning, "SelectingAll", message);
            return Ok(Next::Done);
        }
        let Some(selector) = selector(&spec.selector) else { return Ok(Next::Done) };
        let collisions = set.status.as_ref().and_then(|s| s.collision_count);
        let synced = history::sync(&self.cx, &*set, &selector, &self.revisions, &spec.template, collisions, HASH).await;
        let history = match synced {
            Err(error @ history::Error::Collision(_)) => {
                self.count_collision(&set).await?;
                return Err(error);
            }
            other => other?,
        };
        let hash = history.current.metadata.labels.as_ref().and_then(|l| l.get(HASH)).cloned().unwrap_or_default();
        let nodes = self.nodes.list();
        let pods = claim(&self.cx.client, &*set, &selector, &self.pods, |_| true).await?;
        let view = View::new(&set, &nodes, &pods, &hash, Timestamp::now());
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        let met = self.expected.are_met(uid);
        let acted = if met { self.act(&set, &view, &history, &pods).await } else { Ok(None) };
        let status = view.status(met);
        let ready = (status.number_ready, status.number_available.unwrap_or_default());
        if set.status.as_ref() != Some(&status) {
            let after = DaemonSet { status: Some(status), ..DaemonSet::clone(&set) };
            self.write_status(&after).await?;
        }
        let again = acted?;
        let min_ready = spec.min_ready_seconds.unwrap_or_default().unsigned_abs();
        let becoming = (min_ready > 0 && ready.0 != ready.1).then(|| Duration::from_secs(min_ready.into()));
        Ok([again, becoming].into_iter().flatten().min().map_or(Next::Done, Next::After))
    }

    async fn act(
        &self,
        set: &DaemonSet,
        view: &View<'_>,
        history: &History,
        pods: &[Arc<Pod>],
    ) -> Result<Option<Duration>, kube::Error> {
        let managed = view.manage(&|node| self.delay(set, node));
        let again = managed.again;
        let idle = managed.is_idle();
        self.carry_out(set, managed, view.hash).await?;
        if idle {
            self.carry_out(set, view.roll(), view.hash).await?;
        }
        let hash =
            |labels: Option<&std::collections::BTreeMap<String, String>>| labels.and_then(|l| l.get(HASH)).cloned();
        let in_use = |revision: &ControllerRevision| {
            let wanted = hash(revision.metadata.labels.as_ref());
            pods.iter().any(|p| wanted.is_some() && hash(p.metadata.labels.as_ref()) == wanted)
        };
        let limit = set.spec.as_ref().and_then(|s| s.revision_history_limit);
        history::clean_up(&self.cx, &history.old, limit, in_use).await?;
        Ok(again)
    }

    async fn carry_out(&self, set: &DaemonSet, mut plan: Plan, hash: &str) -> Result<(), kube::Error> {
        for (kind, reason, message) in &plan.events {
            self.cx.event(set, *kind, reason, message);
        }
        plan.failed_on.iter().for_each(|node| self.delay_more(set, node));
        plan.create.truncate(BURST);
        plan.delete.truncate(BURST);
        let template = pod_template::template(set, hash);
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let make = |n: usize| {
            let mut pod = from_template(&template, name, controller_reference(set));
            pod_template::bind(pod.spec.get_or_insert_default(), &plan.create[n]);
            pod
        };
        let created = if plan.create.is_empty() {
            Ok(())
        } else {
            pods::create(&self.cx, set, &self.expected, plan.create.len(), make).await
        };
        if !plan.delete.is_empty() {
            pods::delete(&self.cx, set, &self.expected, &plan.delete).await?;
        }
        created
    }

    async fn write_status(&self, set: &DaemonSet) -> Result<(), kube::Error> {
        let api: Api<DaemonSet> =
            Api::namespaced(self.cx.client.clone(), set.metadata.namespace.as_deref().unwrap_or_default());
        let name = set.metadata.name.as_deref().unwrap_or_default();
        gone_is_fine(api.replace_status(name, &PostParams::default(), set).await)
    }

    async fn count_collision(&self, set: &DaemonSet) -> Result<(), kube::Error> {
        let mut after = set.clone();
        let count = &mut after.status.get_or_insert_default().collision_count;
        *count = Some(count.unwrap_or_default() + 1);
        self.write_status(&after).await
    }

    fn failure_key(set: &DaemonSet, node: &str) -> FailureKey {
        let generation = set.status.as_ref().and_then(|s| s.observed_generation);
        (set.metadata.uid.clone().unwrap_or_default(), generation, node.to_owned())
    }

    /// How long a failed daemon on a node still has to wait.
    fn delay(&self, set: &DaemonSet, node: &str) -> Option<Duration> {
        let failures = self.failures.lock();
        let (delay, since) = failures.get(&Self::failure_key(set, node))?;
        Some(delay.saturating_sub(since.elapsed())).filter(|left| !left.is_zero())
    }

    fn delay_more(&self, set: &DaemonSet, node: &str) {
        let mut failures = self.failures.lock();
        failures.retain(|_, (_, since)| since.elapsed() < 2 * LONGEST_DELAY);
        let next = failures.get(&Self::failure_key(set, node)).map_or(FIRST_DELAY, |(delay, _)| *delay * 2);
        failures.insert(Self::failure_key(set, node), (next.min(LONGEST_DELAY), Instant::now()));
    }
}
