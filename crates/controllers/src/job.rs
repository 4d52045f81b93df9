//! Jobs run pods until enough of them succeed (upstream `pkg/controller/job`).

mod indexes;
pub(crate) mod plan;
mod pods;
mod policy;
mod track;

use crate::Context;
use crate::adopt::{claim, controller_of, controller_reference, selector};
use crate::context::{enqueue, enqueue_owner, key_of};
use crate::expectations::Expectations;
use crate::pod::{from_template, is_ready};
use crate::pods as control;
use crate::write::gone_is_fine;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kaji_client::event::EventType;
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use parking_lot::Mutex;
use plan::{BackOff, View, condition, is_finished, uid};
use pods::{is_tracked, other_finalizers};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

const OURS: &str = "kubernetes.io/job-controller";

pub(crate) async fn run(cx: Context) {
    let (queue, orphans) = (WorkQueue::new(), WorkQueue::new());
    let (jobs, all_pods) = (cx.informer::<Job>(), cx.informer::<Pod>());
    let expected = Expectations::over(&all_pods);
    expected.forget_gone(&jobs);
    let workers = cx.config.workers;
    let work = Arc::new(Work {
        cx,
        jobs: jobs.clone(),
        pods: all_pods.clone(),
        expected,
        released: Mutex::default(),
        back_offs: Mutex::default(),
        ended: Mutex::default(),
    });
    work.follow(&orphans);
    enqueue(&jobs, &queue);
    enqueue_owner(&all_pods, "Job", &queue);
    control::enqueue_selecting(&all_pods, &jobs, &queue, |job: &Job| selector(job.spec.as_ref()?.selector.as_ref()?));
    jobs.synced().await;
    all_pods.synced().await;
    let releaser = work.clone();
    let reconcile = queue.run("job", workers, move |key| {
        let work = work.clone();
        async move { work.reconcile(key).await }
    });
    let release = orphans.run("job orphans", 1, move |key: ObjectKey| {
        let work = releaser.clone();
        async move { work.release_orphan(key).await }
    });
    tokio::join!(reconcile, release);
}

struct Work {
    cx: Context,
    jobs: Arc<Informer<Job>>,
    pods: Arc<Informer<Pod>>,
    expected: Arc<Expectations>,
    /// Pods whose finalizer we removed though the informer doesn't show it yet.
    released: Mutex<HashSet<String>>,
    /// Failures by the job's uid.
    back_offs: Mutex<HashMap<String, BackOff>>,
    /// Jobs whose end we wrote though the informer doesn't show it yet.
    ended: Mutex<HashSet<String>>,
}

// === following

impl Work {
    fn follow(self: &Arc<Self>, orphans: &Arc<WorkQueue<ObjectKey>>) {
        let (work, queue) = (Arc::downgrade(self), orphans.clone());
        self.pods.on_change(move |change| {
            let Some(work) = work.upgrade() else { return };
            let Some(pod) = change.new.as_ref().or(change.old.as_ref()) else { return };
            if change.new.is_none() || !is_tracked(pod) {
                work.released.lock().remove(uid(pod));
            } else if work.is_orphan(pod) {
                queue.add(change.key.clone());
            }
        });
        let (work, queue) = (Arc::downgrade(self), orphans.clone());
        self.jobs.on_change(move |change| {
            let Some(work) = work.upgrade() else { return };
            let over = change.new.as_ref().is_none_or(|j| is_finished(j));
            let Some(job) = change.new.as_ref().or(change.old.as_ref()).filter(|_| over) else { return };
            let uid = job.metadata.uid.as_deref().unwrap_or_default();
            work.back_offs.lock().remove(uid);
            work.ended.lock().remove(uid);
            work.pods.controlled_by(uid).iter().filter(|p| is_tracked(p)).for_each(|p| queue.add(key_of(&**p)));
        });
    }

    /// Whether no job will count the pod any more.
    fn is_orphan(&self, pod: &Pod) -> bool {
        let Some(owner) = controller_of(pod) else { return true };
        if owner.kind != "Job" || !self.jobs.is_synced() {
            return false;
        }
        let key = ObjectKey::new(pod.metadata.namespace.clone().unwrap_or_default(), owner.name.clone());
        match self.jobs.get(&key).filter(|j| j.metadata.uid.as_ref() == Some(&owner.uid)) {
            Some(job) => is_ours(&job) && is_finished(&job),
            None => true,
        }
    }

    async fn release_orphan(&self, key: ObjectKey) -> Result<Next, kube::Error> {
        let orphan = self.pods.get(&key).filter(|p| is_tracked(p) && self.is_orphan(p));
        if let Some(pod) = orphan {
            self.release(&pod).await?;
        }
        Ok(Next::Done)
    }

    /// Removes the finalizer.
    async fn release(&self, pod: &Pod) -> Result<(), kube::Error> {
        let key = key_of(pod);
        let api: Api<Pod> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        let change = serde_json::json!({"metadata": {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version,
            "finalizers": other_finalizers(pod)}});
        self.released.lock().insert(uid(pod).to_owned());
        let outcome = gone_is_fine(api.patch(&key.name, &PatchParams::default(), &Patch::Merge(change)).await);
        if outcome.is_err() || self.pods.get(&key).is_none_or(|p| !is_tracked(&p)) {
            self.released.lock().remove(uid(pod));
        }
        outcome
    }
}

fn is_ours(job: &Job) -> bool {
    let manager = job.spec.as_ref().and_then(|s| s.managed_by.as_deref());
    manager.is_none_or(|m| m == OURS)
}

// === reconciling

/// The numbers of the pods that go on.
struct Running {
    active: i32,
    ready: i32,
    terminating: i32,
}

impl Work {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, kube::Error> {
        let Some(job) = self.jobs.get(&key).filter(|j| is_ours(j) && !is_finished(j)) else { return Ok(Next::Done) };
        let owner = job.metadata.uid.clone().unwrap_or_default();
        let spec = job.spec.as_ref();
        let Some(selector) = spec.and_then(|s| s.selector.as_ref()).and_then(selector) else { return Ok(Next::Done) };
        if self.ended.lock().contains(&owner) {
            return Ok(Next::Done);
        }
        let met = self.expected.are_met(&owner);
        let pods = claim(&self.cx.client, &*job, &selector, &self.pods, |_| true).await?;
        let known = self.back_offs.lock().get(&owner).copied().unwrap_or_default();
        let now = Timestamp::now();
        let mut started = Job::clone(&job);
        let suspended = spec.and_then(|s| s.suspend) == Some(true);
        if !suspended {
            started.status.get_or_insert_default().start_time.get_or_insert(Time(now));
        }
        let released = self.released.lock().clone();
        let mut view = View::new(&started, pods, released, known, now);
        let (finished, running, again, outcome) = self.act(&mut view, met).await;
        let ended = self.track(&job, &mut view, finished, &running, now).await?;
        outcome?;
        let deadline = view.deadline().filter(|left| !left.is_zero() && !ended);
        Ok([again, deadline].into_iter().flatten().min().map_or(Next::Done, Next::After))
    }

    /// Makes and deletes pods; gives what the job is to end with.
    async fn act(
        &self,
        view: &mut View,
        met: bool,
    ) -> (Option<JobCondition>, Running, Option<Duration>, Result<(), kube::Error>) {
        let mut running =
            Running { active: view.active.len() as i32, ready: view.ready(), terminating: view.terminating() };
        if let Some(finished) = view.verdict() {
            let doomed = view.active.clone();
            let outcome = self.delete(view, &doomed, &mut running, false).await;
            let all = running.active == 0 && met;
            return (Some(finished).filter(|_| all), running, None, outcome);
        }
        let managed = met && view.job.metadata.deletion_timestamp.is_none();
        let (mut again, mut outcome) = (None, Ok(()));
        if managed {
            let step = view.manage();
            again = step.again;
            if !step.delete.is_empty() {
                outcome = self.delete(view, &step.delete, &mut running, true).await;
            } else if !step.create.is_empty() {
                outcome = self.create(view, &step.create, &mut running).await;
            }
        }
        if view.is_complete(running.active) {
            let message = "Reached expected number of succeeded pods";
            let met = condition("SuccessCriteriaMet", "True", "CompletionsReached", message, Timestamp::now());
            return (Some(met), running, again, outcome);
        }
        if managed {
            self.note_suspension(view);
        }
        (None, running, again, outcome)
    }

    async fn create(&self, view: &View, indexes: &[Option<i32>], running: &mut Running) -> Result<(), kube::Error> {
        let template = pods::template(&view.job, view.is_indexed());
        let name = view.job.metadata.name.as_deref().unwrap_or_default();
        let make = |n: usize| {
            let mut pod = from_template(&template, name, controller_reference(&view.job));
            if let Some(index) = indexes[n] {
                pods::set_index(&mut pod, name, index, view.failures_so_far(index));
            }
            pod
        };
        let outcome = control::create(&self.cx, &view.job, &self.expected, indexes.len(), make).await;
        if outcome.is_ok() {
            running.active += indexes.len() as i32;
        }
        outcome
    }

    /// Deletes active pods. Those that are merely too many lose their finalizer first: they don't count as failed.
    async fn delete(
        &self,
        view: &View,
        doomed: &[Arc<Pod>],
        running: &mut Running,
        uncounted: bool,
    ) -> Result<(), kube::Error> {
        if doomed.is_empty() {
            return Ok(());
        }
        if uncounted {
            for pod in doomed.iter().filter(|p| is_tracked(p)) {
                self.release(pod).await?;
            }
        }
        control::delete(&self.cx, &view.job, &self.expected, doomed).await?;
        running.active -= doomed.len() as i32;
        running.terminating += doomed.len() as i32;
        running.ready -= doomed.iter().filter(|p| is_ready(p)).count() as i32;
        Ok(())
    }

    fn note_suspension(&self, view: &mut View) {
        let now = Timestamp::now();
        let (suspended, mut job) = (view.is_suspended(), view.job.clone());
        let status = job.status.get_or_insert_default();
        let conditions = status.conditions.get_or_insert_default();
        let known = conditions.iter().position(|c| c.type_ == "Suspended");
        let wanted = if suspended {
            condition("Suspended", "True", "JobSuspended", "Job suspended", now)
        } else {
            condition("Suspended", "False", "JobResumed", "Job resumed", now)
        };
        match known {
            Some(at) if conditions[at].status == wanted.status => return,
            Some(at) => conditions[at] = wanted,
            None if suspended => conditions.push(wanted),
            None => return,
        }
        status.start_time = if suspended { None } else { Some(Time(now)) };
        let (reason, message) = if suspended { ("Suspended", "Job suspended") } else { ("Resumed", "Job resumed") };
        self.cx.event(&view.job, EventType::Normal, reason, message);
        view.job = job;
    }

    /// Counts pods and writes the status; true when the job has ended.
    async fn track(
        &self,
        before: &Job,
        view: &mut View,
        finished: Option<JobCondition>,
        running: &Running,
        now: Timestamp,
    ) -> Result<bool, kube::Error> {
        let mut status = view.job.status.clone().unwrap_or_default();
        status.active = crate::replica_set::nonzero(running.active);
        status.ready = Some(running.ready);
        status.terminating = Some(running.terminating);
        let tracking = track::start(view, status, finished, now);
        let written = self.write_status(before, tracking.status.clone()).await?;
        let owner = before.metadata.uid.clone().unwrap_or_default();
        self.back_offs.lock().insert(owner.clone(), view.back_off);
        let mut released = Vec::new();
        let mut outcome = Ok(());
        for pod in &tracking.release {
            match self.release(pod).await {
                Ok(()) => released.push(uid(pod).to_owned()),
                Err(error) => outcome = Err(error),
            }
        }
        let (status, end) =
            tracking.end(written.status.clone().unwrap_or_default(), &released, running.terminating, now);
        let end = end.filter(|_| outcome.is_ok());
        self.write_status(&written, status).await?;
        if let Some(end) = &end {
            self.ended.lock().insert(owner);
            self.tell_end(&written, end);
        }
        outcome.map(|()| end.is_some())
    }

    async fn write_status(&self, job: &Job, status: JobStatus) -> Result<Job, kube::Error> {
        if job.status.as_ref() == Some(&status) {
            return Ok(job.clone());
        }
        let key = key_of(job);
        let api: Api<Job> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        let after = Job { status: Some(status), ..job.clone() };
        api.replace_status(&key.name, &PostParams::default(), &after).await
    }

    fn tell_end(&self, job: &Job, end: &JobCondition) {
        let completions = job.spec.as_ref().and_then(|s| s.completions);
        let succeeded = job.status.as_ref().and_then(|s| s.succeeded).unwrap_or_default();
        if end.type_ != "Complete" {
            let (reason, message) =
                (end.reason.as_deref().unwrap_or_default(), end.message.as_deref().unwrap_or_default());
            self.cx.event(job, EventType::Warning, reason, message);
            return;
        }
        if completions.is_some_and(|most| succeeded > most) {
            let message = "Too many succeeded pods running after completion count reached";
            self.cx.event(job, EventType::Warning, "TooManySucceededPods", message);
        }
        self.cx.event(job, EventType::Normal, "Completed", "Job completed");
    }
}
