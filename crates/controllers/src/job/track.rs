//! Counting a job's pods once: the status names a finished pod before its finalizer goes, and counts it after.

use super::plan::{View, condition, has, uid};
use super::pods::{is_failed, is_tracked};
use super::policy::{Verdict, judge};
use crate::pod::phase;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::HashSet;
use std::sync::Arc;

/// More are counted in the next round.
const MOST: usize = 500;

/// How the counting goes on.
pub(super) struct Tracking {
    /// To be written before finalizers are removed.
    pub(super) status: JobStatus,
    /// Pods whose finalizer may go once that is written.
    pub(super) release: Vec<Arc<Pod>>,
    /// All pods that still have theirs.
    tracked: HashSet<String>,
    /// The condition to end with, once nothing is left to count.
    pub(super) finished: Option<JobCondition>,
    overflow: bool,
}

/// Starts a round. `status` has the numbers of active pods; `finished`: the job is over, or about to be.
pub(super) fn start(
    view: &mut View,
    mut status: JobStatus,
    finished: Option<JobCondition>,
    now: Timestamp,
) -> Tracking {
    if view.is_indexed() {
        view.pods.sort_by_key(|p| super::pods::index(p).unwrap_or(-1));
    }
    let counts = |p: &&Arc<Pod>| is_tracked(p) && !view.released.contains(uid(p));
    let tracked: HashSet<String> = view.pods.iter().filter(counts).map(|p| uid(p).to_owned()).collect();
    count_released(&mut status, &tracked);
    let mut uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
    let (mut release, mut indexes, mut overflow) = (Vec::new(), Vec::new(), false);
    for pod in view.pods.iter().filter(counts) {
        let failed = is_failed(pod, &view.job);
        if !may_release(view, pod, failed, finished.is_some()) {
            continue;
        }
        release.push(pod.clone());
        let listed = |list: &Option<Vec<String>>| list.iter().flatten().any(|known| known == uid(pod));
        let ended = finished.as_ref().is_some_and(|f| f.type_ != "SuccessCriteriaMet");
        if phase(pod) == "Succeeded" && !listed(&view.uncounted.failed) {
            if view.is_indexed() {
                indexes.extend(view.valid_index(pod).filter(|i| !view.succeeded_before.has(*i)));
            } else if !listed(&view.uncounted.succeeded) {
                uncounted.succeeded.get_or_insert_default().push(uid(pod).to_owned());
            }
        } else if (failed || ended) && !listed(&view.uncounted.failed) {
            let ours = !view.is_indexed() || view.valid_index(pod).is_some();
            if ours && judge(view.spec(), pod) != Verdict::Ignore {
                uncounted.failed.get_or_insert_default().push(uid(pod).to_owned());
            }
        }
        let waiting = |list: &Option<Vec<String>>| list.as_ref().map(Vec::len).unwrap_or_default();
        if indexes.len() + waiting(&uncounted.succeeded) + waiting(&uncounted.failed) >= MOST {
            overflow = true;
            break;
        }
    }
    status.uncounted_terminated_pods = Some(uncounted);
    if view.is_indexed() {
        let mut succeeded = view.succeeded_before.clone();
        succeeded.extend(indexes);
        status.succeeded = Some(succeeded.len()).filter(|n| *n != 0);
        status.completed_indexes = Some(succeeded.to_string()).filter(|text| !text.is_empty());
        status.failed_indexes = view.failed_indexes.as_ref().map(ToString::to_string);
    }
    let finished = announce(view, &mut status, finished, now);
    Tracking { status, release, tracked, finished, overflow }
}

/// Whether the pod's finalizer has done its duty.
fn may_release(view: &View, pod: &Pod, failed: bool, finished: bool) -> bool {
    if view.job.metadata.deletion_timestamp.is_some() || finished || phase(pod) == "Succeeded" {
        return true;
    }
    // The last failed pod of an index stays until the one that replaces it is made.
    let stays = view.has_limit_per_index() && view.replaced.values().any(|kept| uid(kept) == uid(pod));
    failed && !stays
}

/// Notes that the end is near, before the pods are counted; gives the condition of the end itself.
fn announce(
    view: &View,
    status: &mut JobStatus,
    finished: Option<JobCondition>,
    now: Timestamp,
) -> Option<JobCondition> {
    let finished = finished?;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let last = match finished.type_.as_str() {
        "FailureTarget" => "Failed",
        "SuccessCriteriaMet" => "Complete",
        _ => return Some(finished),
    };
    let end = condition(last, "True", &text(&finished.reason), &text(&finished.message), now);
    if has(&view.job, &finished.type_).is_none() {
        status.conditions.get_or_insert_default().push(finished);
    }
    Some(end)
}

/// Counts pods that were named in the status and have lost their finalizer since.
fn count_released(status: &mut JobStatus, tracked: &HashSet<String>) {
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let take = |list: &mut Option<Vec<String>>| {
        let before = list.as_ref().map(Vec::len).unwrap_or_default();
        if let Some(uids) = list {
            uids.retain(|uid| tracked.contains(uid));
        }
        let after = list.as_ref().map(Vec::len).unwrap_or_default();
        *list = list.take().filter(|l| !l.is_empty());
        (before - after) as i32
    };
    let (succeeded, failed) = (take(&mut uncounted.succeeded), take(&mut uncounted.failed));
    let add = |count: &mut Option<i32>, more: i32| *count = Some(count.unwrap_or_default() + more).filter(|n| *n != 0);
    add(&mut status.succeeded, succeeded);
    add(&mut status.failed, failed);
}

impl Tracking {
    /// The status after these pods lost their finalizers, and whether the job has ended with it.
    pub(super) fn end(
        mut self,
        status: JobStatus,
        released: &[String],
        terminating: i32,
        now: Timestamp,
    ) -> (JobStatus, Option<JobCondition>) {
        self.tracked.retain(|uid| !released.contains(uid));
        let mut status = status;
        count_released(&mut status, &self.tracked);
        let left =
            status.uncounted_terminated_pods.as_ref().is_some_and(|u| u.succeeded.is_some() || u.failed.is_some());
        let Some(finished) = self.finished.filter(|_| !left && !self.overflow && terminating == 0) else {
            return (status, None);
        };
        status.conditions.get_or_insert_default().push(finished.clone());
        if finished.type_ == "Complete" {
            status.completion_time = Some(Time(now));
        }
        (status, Some(finished))
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::BackOff;
    use super::super::pods::FINALIZER;
    use super::*;
    use k8s_openapi::api::batch::v1::Job;

    #[test]
    fn pods_are_named_then_counted_then_the_job_ends() {
        let job: Job = serde_json::from_value(
            serde_json::json!({"metadata": {"name": "j"}, "spec": {"completions": 2, "template": {}},
            "status": {"succeeded": 1, "uncountedTerminatedPods": {"succeeded": ["gone"]}}}),
        )
        .unwrap();
        let pod: Pod = serde_json::from_value(
            serde_json::json!({"metadata": {"name": "a", "uid": "a", "finalizers": [FINALIZER]},
            "status": {"phase": "Succeeded"}}),
        )
        .unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let mut view = View::new(&job, vec![Arc::new(pod)], HashSet::new(), BackOff::default(), now);
        assert_eq!(view.succeeded, 3);
        let status = view.job.status.clone().unwrap();
        let met = condition("SuccessCriteriaMet", "True", "CompletionsReached", "", now);
        let tracking = start(&mut view, status, Some(met), now);
        assert_eq!(tracking.status.succeeded, Some(2));
        let uncounted = tracking.status.uncounted_terminated_pods.clone().unwrap();
        assert_eq!(uncounted.succeeded, Some(vec!["a".to_owned()]));
        let status = tracking.status.clone();
        let (status, end) = tracking.end(status, &["a".to_owned()], 0, now);
        assert_eq!((status.succeeded, end.unwrap().type_.as_str()), (Some(3), "Complete"));
        assert!(status.completion_time.is_some());
    }
}
