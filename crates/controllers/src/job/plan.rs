//! What a job's pods lead to: pods to make and delete, and whether the job is over. No client, no clock.

use super::indexes::Indexes;
use super::pods::{
    delay, ended_at, ignored_index_failures, index, index_failures, is_failed, is_tracked, replaces_failed_only,
};
use super::policy::{Verdict, judge, suffices};
use crate::pod::{is_active, is_ready, is_terminating, phase, sort_for_deletion};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, UncountedTerminatedPods};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// As many pods as one reconcile makes or deletes at most.
const MOST: usize = 500;

/// Failures since the last success, by which the next pod is delayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BackOff {
    pub(super) failures: i32,
    pub(super) last: Option<Timestamp>,
}

/// A job and its pods at one moment.
pub(super) struct View {
    pub(super) job: Job,
    pub(super) pods: Vec<Arc<Pod>>,
    pub(super) active: Vec<Arc<Pod>>,
    pub(super) uncounted: UncountedTerminatedPods,
    /// Pods whose finalizer has been removed though the informer does not show it.
    pub(super) released: HashSet<String>,
    pub(super) succeeded: i32,
    pub(super) failed: i32,
    pub(super) back_off: BackOff,
    /// Indexes that succeeded as the status has it, and by now.
    pub(super) succeeded_before: Indexes,
    pub(super) succeeded_indexes: Indexes,
    pub(super) failed_indexes: Option<Indexes>,
    /// Failed pods that stay, by index, until the one that replaces them is made: it counts on from them.
    pub(super) replaced: BTreeMap<i32, Arc<Pod>>,
    now: Timestamp,
}

/// What is to be done with pods.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Step {
    pub(super) delete: Vec<Arc<Pod>>,
    /// Pods to make; their index, for indexed jobs.
    pub(super) create: Vec<Option<i32>>,
    pub(super) again: Option<Duration>,
}

pub(super) fn condition(kind: &str, state: &str, reason: &str, message: &str, now: Timestamp) -> JobCondition {
    JobCondition {
        type_: kind.to_owned(),
        status: state.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// A true condition of this type.
pub(super) fn has<'a>(job: &'a Job, kind: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == kind && c.status == "True")
}

/// Whether the job is over.
pub(crate) fn is_finished(job: &Job) -> bool {
    has(job, "Complete").or_else(|| has(job, "Failed")).is_some()
}

pub(super) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

fn contains(list: &Option<Vec<String>>, pod: &Pod) -> bool {
    list.iter().flatten().any(|known| known == uid(pod))
}

impl View {
    pub(super) fn new(
        job: &Job,
        pods: Vec<Arc<Pod>>,
        released: HashSet<String>,
        known: BackOff,
        now: Timestamp,
    ) -> Self {
        let mut job = job.clone();
        let uncounted = job.status.get_or_insert_default().uncounted_terminated_pods.get_or_insert_default().clone();
        let mut view = View {
            active: pods.iter().filter(|p| is_active(p)).cloned().collect(),
            job,
            pods,
            uncounted,
            released,
            succeeded: 0,
            failed: 0,
            back_off: known,
            succeeded_before: Indexes::default(),
            succeeded_indexes: Indexes::default(),
            failed_indexes: None,
            replaced: BTreeMap::new(),
            now,
        };
        view.count(known);
        if view.is_indexed() {
            view.count_indexes();
        }
        view
    }

    pub(super) fn spec(&self) -> &JobSpec {
        self.job.spec.as_ref().expect("a job without spec is not looked at")
    }

    pub(super) fn is_indexed(&self) -> bool {
        self.spec().completion_mode.as_deref() == Some("Indexed")
    }

    pub(super) fn is_suspended(&self) -> bool {
        self.spec().suspend == Some(true)
    }

    pub(super) fn completions(&self) -> i32 {
        self.spec().completions.unwrap_or_default()
    }

    pub(super) fn has_limit_per_index(&self) -> bool {
        self.spec().backoff_limit_per_index.is_some()
    }

    pub(super) fn ready(&self) -> i32 {
        self.active.iter().filter(|p| is_ready(p)).count() as i32
    }

    pub(super) fn terminating(&self) -> i32 {
        self.pods.iter().filter(|p| is_terminating(p)).count() as i32
    }

    /// The pod's index if it is one of the job's.
    pub(super) fn valid_index(&self, pod: &Pod) -> Option<i32> {
        index(pod).filter(|i| *i < self.completions())
    }

    /// Pods still to be counted, but for those on this list.
    fn countable(&self, except: &Option<Vec<String>>, wanted: impl Fn(&Pod) -> bool) -> Vec<Arc<Pod>> {
        let fits = |p: &&Arc<Pod>| {
            is_tracked(p)
                && !self.released.contains(uid(p))
                && !contains(except, p)
                && (!self.is_indexed() || self.valid_index(p).is_some())
                && wanted(p)
        };
        self.pods.iter().filter(fits).cloned().collect()
    }

    fn count(&mut self, known: BackOff) {
        let succeeded = self.countable(&self.uncounted.succeeded, |p| phase(p) == "Succeeded");
        let failed = self.countable(&self.uncounted.failed, |p| is_failed(p, &self.job));
        let status = self.job.status.clone().unwrap_or_default();
        let waiting = |list: &Option<Vec<String>>| list.as_ref().map(Vec::len).unwrap_or_default() as i32;
        let counted = failed.iter().filter(|p| judge(self.spec(), p) != Verdict::Ignore).count() as i32;
        self.succeeded =
            status.succeeded.unwrap_or_default() + succeeded.len() as i32 + waiting(&self.uncounted.succeeded);
        self.failed = status.failed.unwrap_or_default() + counted + waiting(&self.uncounted.failed);
        self.back_off = back_off(known, &succeeded, &failed);
    }

    fn count_indexes(&mut self) {
        let status = self.job.status.clone().unwrap_or_default();
        let completions = self.completions();
        self.succeeded_before = Indexes::parse(status.completed_indexes.as_deref().unwrap_or_default(), completions);
        let tracked: Vec<Arc<Pod>> = self.pods.iter().filter(|p| is_tracked(p)).cloned().collect();
        let of = |wanted: &dyn Fn(&Pod) -> bool| -> Vec<i32> {
            tracked.iter().filter(|p| wanted(p)).filter_map(|p| self.valid_index(p)).collect()
        };
        let succeeded = of(&|p| phase(p) == "Succeeded");
        let limit = self.spec().backoff_limit_per_index;
        let failed = limit.map(|limit| of(&|p| self.fails_index(p, limit)));
        self.succeeded_indexes = self.succeeded_before.clone();
        self.succeeded_indexes.extend(succeeded);
        self.succeeded = self.succeeded_indexes.len();
        if let Some(failed) = failed {
            let mut indexes = Indexes::parse(status.failed_indexes.as_deref().unwrap_or_default(), completions);
            indexes.extend(failed);
            self.failed_indexes = Some(indexes);
            self.replaced = self.to_be_replaced();
        }
    }

    fn fails_index(&self, pod: &Pod, limit: i32) -> bool {
        is_failed(pod, &self.job)
            && match judge(self.spec(), pod) {
                Verdict::FailIndex => true,
                Verdict::Ignore => false,
                Verdict::Count | Verdict::FailJob(_) => index_failures(pod) >= limit,
            }
    }

    fn has_failed_index(&self, index: i32) -> bool {
        self.failed_indexes.as_ref().is_some_and(|f| f.has(index))
    }

    /// The last failed pod of each index that is to be tried again.
    fn to_be_replaced(&self) -> BTreeMap<i32, Arc<Pod>> {
        let active: BTreeSet<i32> = self.active.iter().filter_map(|p| index(p)).collect();
        let total = |p: &Pod| index_failures(p) + ignored_index_failures(p);
        let mut found: BTreeMap<i32, Arc<Pod>> = BTreeMap::new();
        for pod in self.countable(&None, |p| is_failed(p, &self.job)) {
            let Some(index) = self.valid_index(&pod) else { continue };
            if self.succeeded_indexes.has(index) || self.has_failed_index(index) || active.contains(&index) {
                continue;
            }
            let later = found.get(&index).is_none_or(|p| total(p) <= total(&pod) && ended_at(p) <= ended_at(&pod));
            if later {
                found.insert(index, pod);
            }
        }
        found
    }

    /// The condition by which the job is over, or about to be.
    pub(super) fn verdict(&self) -> Option<JobCondition> {
        if let Some(met) = has(&self.job, "SuccessCriteriaMet") {
            return Some(met.clone());
        }
        if let Some(target) = has(&self.job, "FailureTarget") {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            return Some(condition("Failed", "True", &text(&target.reason), &text(&target.message), self.now));
        }
        let failure = self.failure();
        failure.map(|(reason, message)| condition("FailureTarget", "True", reason, &message, self.now)).or_else(|| {
            let policy = self.spec().success_policy.as_ref().filter(|_| self.is_indexed());
            let message = suffices(policy, self.completions(), &self.succeeded_indexes)?;
            Some(condition("SuccessCriteriaMet", "True", "SuccessPolicy", &message, self.now))
        })
    }

    fn failure(&self) -> Option<(&'static str, String)> {
        let failed = self.pods.iter().filter(|p| is_failed(p, &self.job));
        let by_policy = failed.map(|p| judge(self.spec(), p)).find_map(|v| match v {
            Verdict::FailJob(message) => Some(message),
            _ => None,
        });
        if let Some(message) = by_policy {
            return Some(("PodFailurePolicy", message));
        }
        if self.failed > self.spec().backoff_limit.unwrap_or(6) || self.restarts_exceed() {
            return Some(("BackoffLimitExceeded", "Job has reached the specified backoff limit".to_owned()));
        }
        if self.deadline().is_some_and(|left| left.is_zero()) {
            return Some(("DeadlineExceeded", "Job was active longer than specified deadline".to_owned()));
        }
        let indexes = self.failed_indexes.as_ref()?;
        if self.spec().max_failed_indexes.is_some_and(|most| indexes.len() > most) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(("MaxFailedIndexesExceeded", message.to_owned()));
        }
        let all_tried = indexes.len() + self.succeeded_indexes.len() >= self.completions();
        (!indexes.is_empty() && all_tried).then(|| ("FailedIndexes", "Job has failed indexes".to_owned()))
    }

    /// Whether containers were restarted in place too often.
    fn restarts_exceed(&self) -> bool {
        let policy = self.spec().template.spec.as_ref().and_then(|s| s.restart_policy.as_deref());
        if policy != Some("OnFailure") {
            return false;
        }
        let running = self.pods.iter().filter(|p| matches!(phase(p), "Running" | "Pending"));
        let statuses = running
            .filter_map(|p| p.status.as_ref())
            .flat_map(|s| s.init_container_statuses.iter().flatten().chain(s.container_statuses.iter().flatten()));
        let restarts: i32 = statuses.map(|c| c.restart_count).sum();
        match self.spec().backoff_limit.unwrap_or(6) {
            0 => restarts > 0,
            limit => restarts >= limit,
        }
    }

    /// The time left to an active job.
    pub(super) fn deadline(&self) -> Option<Duration> {
        let seconds = self.spec().active_deadline_seconds.filter(|_| !self.is_suspended())?;
        let start = self.job.status.as_ref()?.start_time.as_ref()?.0;
        let left = SignedDuration::from_secs(seconds) - self.now.duration_since(start);
        Some(left.max(SignedDuration::ZERO).unsigned_abs())
    }

    /// Whether enough pods succeeded, given how many are still active.
    pub(super) fn is_complete(&self, active: i32) -> bool {
        let enough = match self.spec().completions {
            None => self.succeeded > 0,
            Some(completions) => self.succeeded >= completions,
        };
        enough && active == 0
    }

    /// Which pods to make or delete while the job goes on.
    pub(super) fn manage(&self) -> Step {
        let active = self.active.len();
        if self.is_suspended() {
            return Step { delete: self.superfluous(active), ..Step::default() };
        }
        let parallelism = usize::try_from(self.spec().parallelism.unwrap_or(1)).unwrap_or_default();
        let wanted = match self.spec().completions {
            None if self.succeeded > 0 => active,
            None => parallelism,
            Some(all) => usize::try_from(all - self.succeeded).unwrap_or_default().min(parallelism),
        };
        let mut delete = self.superfluous(active.saturating_sub(wanted));
        delete.truncate(MOST);
        if !delete.is_empty() {
            return Step { delete, ..Step::default() };
        }
        let ending = if replaces_failed_only(&self.job) { self.terminating() } else { 0 };
        let missing = wanted.saturating_sub(active).saturating_sub(ending.unsigned_abs() as usize).min(MOST);
        if missing == 0 { Step::default() } else { self.make(missing) }
    }

    fn make(&self, count: usize) -> Step {
        let waiting = |time: Duration| Step { again: Some(time), ..Step::default() };
        if !self.has_limit_per_index() {
            let wait = self.back_off.last.map(|last| delay(self.back_off.failures, last, self.now));
            if let Some(wait) = wait.filter(|w| !w.is_zero()) {
                return waiting(wait);
            }
        }
        if !self.is_indexed() {
            return Step { create: vec![None; count], ..Step::default() };
        }
        let pending = self.pending(count);
        let (ready, delayed): (Vec<_>, Vec<_>) = pending.into_iter().partition(|i| self.index_delay(*i).is_zero());
        match delayed.iter().map(|i| self.index_delay(*i)).min() {
            Some(wait) if ready.is_empty() => waiting(wait),
            again => Step { create: ready.into_iter().map(Some).collect(), again, ..Step::default() },
        }
    }

    /// How long an index waits for its next pod.
    fn index_delay(&self, index: i32) -> Duration {
        let Some(pod) = self.replaced.get(&index).filter(|_| self.has_limit_per_index()) else { return Duration::ZERO };
        delay(index_failures(pod) + ignored_index_failures(pod) + 1, ended_at(pod), self.now)
    }

    /// The first indexes that have no pod and need one.
    fn pending(&self, count: usize) -> Vec<i32> {
        let mut taken: BTreeSet<i32> = self.active.iter().filter_map(|p| index(p)).collect();
        if replaces_failed_only(&self.job) {
            taken.extend(self.pods.iter().filter(|p| is_terminating(p)).filter_map(|p| index(p)));
        }
        let free = |i: &i32| !taken.contains(i) && !self.succeeded_indexes.has(*i) && !self.has_failed_index(*i);
        (0..self.completions()).filter(free).take(count).collect()
    }

    /// The failures the pod of an index starts with: counted and ignored.
    pub(super) fn failures_so_far(&self, index: i32) -> Option<(i32, i32)> {
        self.has_limit_per_index().then(|| match self.replaced.get(&index) {
            None => (0, 0),
            Some(pod) => {
                let ignored = judge(self.spec(), pod) == Verdict::Ignore;
                (index_failures(pod) + i32::from(!ignored), ignored_index_failures(pod) + i32::from(ignored))
            }
        })
    }

    /// At least so many active pods to delete: for indexed jobs first those of no or the same index.
    fn superfluous(&self, at_least: usize) -> Vec<Arc<Pod>> {
        let (mut doomed, mut left) = (Vec::new(), self.active.clone());
        sort_for_deletion(&mut left, &BTreeMap::new(), self.now);
        if self.is_indexed() {
            // Of those with the same index the last in that order stays.
            let mut seen = BTreeSet::new();
            left.reverse();
            left.retain(|pod| {
                let keep = self.valid_index(pod).is_some_and(|i| seen.insert(i));
                if !keep {
                    doomed.push(pod.clone());
                }
                keep
            });
            left.reverse();
        }
        let more = at_least.saturating_sub(doomed.len());
        doomed.extend(left.into_iter().take(more));
        doomed
    }
}

fn back_off(known: BackOff, succeeded: &[Arc<Pod>], failed: &[Arc<Pod>]) -> BackOff {
    let last_success = succeeded.iter().map(|p| ended_at(p)).max();
    let last_failure = failed.iter().map(|p| ended_at(p)).max();
    match (last_success, last_failure) {
        (None, None) => known,
        (None, last) => BackOff { failures: known.failures + failed.len() as i32, last },
        (Some(success), _) => {
            let since: Vec<Timestamp> = failed.iter().map(|p| ended_at(p)).filter(|at| *at > success).collect();
            BackOff { failures: since.len() as i32, last: since.into_iter().max() }
        }
    }
}

#[cfg(test)]
mod tests;
