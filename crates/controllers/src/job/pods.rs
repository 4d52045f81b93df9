//! What a job reads off its pods.

use crate::pod::{condition, phase};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerStatus, EnvVar, EnvVarSource, ObjectFieldSelector, Pod, PodTemplateSpec};
use std::time::Duration;

pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
const IGNORED_FAILURES: &str = "batch.kubernetes.io/job-index-ignored-failure-count";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// A failed pod is replaced after this, doubling up to the longest.
const FIRST_DELAY: Duration = Duration::from_secs(10);
const LONGEST_DELAY: Duration = Duration::from_secs(600);

/// Whether the job has yet to count the pod.
pub(super) fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER)
}

/// The finalizers but ours.
pub(super) fn other_finalizers(pod: &Pod) -> Vec<String> {
    pod.metadata.finalizers.iter().flatten().filter(|f| *f != FINALIZER).cloned().collect()
}

fn number(pod: &Pod, annotation: &str) -> Option<i32> {
    pod.metadata.annotations.as_ref()?.get(annotation)?.parse().ok().filter(|n| *n >= 0)
}

/// The pod's completion index.
pub(super) fn index(pod: &Pod) -> Option<i32> {
    number(pod, INDEX)
}

/// How often its index had failed before this pod.
pub(super) fn index_failures(pod: &Pod) -> i32 {
    number(pod, FAILURES).unwrap_or_default()
}

pub(super) fn ignored_index_failures(pod: &Pod) -> i32 {
    number(pod, IGNORED_FAILURES).unwrap_or_default()
}

/// Whether only pods that have ended are replaced, not those that are ending.
pub(super) fn replaces_failed_only(job: &Job) -> bool {
    let Some(spec) = &job.spec else { return false };
    spec.pod_replacement_policy.as_deref() == Some("Failed") || spec.pod_failure_policy.is_some()
}

pub(super) fn is_failed(pod: &Pod, job: &Job) -> bool {
    phase(pod) == "Failed"
        || (!replaces_failed_only(job) && pod.metadata.deletion_timestamp.is_some() && phase(pod) != "Succeeded")
}

/// When the pod ended, as well as can be told.
pub(super) fn ended_at(pod: &Pod) -> Timestamp {
    let meta = &pod.metadata;
    let unready = || {
        let condition = condition(pod, "Ready").filter(|c| c.status == "False")?;
        condition.last_transition_time.as_ref().map(|t| t.0)
    };
    let deleted = || {
        let grace = SignedDuration::from_secs(meta.deletion_grace_period_seconds.unwrap_or_default());
        meta.deletion_timestamp.as_ref().map(|t| t.0 - grace)
    };
    let created = meta.creation_timestamp.as_ref().map(|t| t.0);
    containers_ended(pod).or_else(unready).or_else(deleted).or(created).unwrap_or(Timestamp::UNIX_EPOCH)
}

fn containers_ended(pod: &Pod) -> Option<Timestamp> {
    let ended = |c: &ContainerStatus| c.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|t| t.0);
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().map(ended).collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// How long the next pod waits after so many failures, the last at this time.
pub(super) fn delay(failures: i32, last: Timestamp, now: Timestamp) -> Duration {
    let Some(doublings) = u32::try_from(failures).ok().and_then(|n| n.checked_sub(1)) else { return Duration::ZERO };
    let delay = FIRST_DELAY.saturating_mul(1 << doublings.min(10)).min(LONGEST_DELAY);
    let passed = now.duration_since(last);
    if passed.is_negative() { delay } else { delay.saturating_sub(passed.unsigned_abs()) }
}

/// The template with the finalizer by which pods are counted, and for indexed jobs the variable.
pub(super) fn template(job: &Job, indexed: bool) -> PodTemplateSpec {
    let mut template = job.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default();
    let finalizers = template.metadata.get_or_insert_default().finalizers.get_or_insert_default();
    if !finalizers.iter().any(|f| f == FINALIZER) {
        finalizers.push(FINALIZER.to_owned());
    }
    if let Some(spec) = template.spec.as_mut().filter(|_| indexed) {
        for container in spec.init_containers.iter_mut().flatten().chain(&mut spec.containers) {
            let variables = container.env.get_or_insert_default();
            if !variables.iter().any(|v| v.name == INDEX_VARIABLE) {
                variables.push(index_variable());
            }
        }
    }
    template
}

fn index_variable() -> EnvVar {
    let field =
        ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), ..ObjectFieldSelector::default() };
    EnvVar {
        name: INDEX_VARIABLE.to_owned(),
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
        ..EnvVar::default()
    }
}

/// Makes a pod the one of an index. `failures`: counted and ignored ones of the index, where they are limited.
pub(super) fn set_index(pod: &mut Pod, job_name: &str, index: i32, failures: Option<(i32, i32)>) {
    let meta = &mut pod.metadata;
    meta.generate_name = Some(format!("{job_name}-{index}-"));
    let annotations = meta.annotations.get_or_insert_default();
    annotations.insert(INDEX.to_owned(), index.to_string());
    if let Some((counted, ignored)) = failures {
        annotations.insert(FAILURES.to_owned(), counted.to_string());
        if ignored > 0 {
            annotations.insert(IGNORED_FAILURES.to_owned(), ignored.to_string());
        }
    }
    meta.labels.get_or_insert_default().insert(INDEX.to_owned(), index.to_string());
    pod.spec.get_or_insert_default().hostname = Some(format!("{job_name}-{index}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_from_the_last_failure_on() {
        let now = Timestamp::from_second(1000).unwrap();
        let last = Timestamp::from_second(995).unwrap();
        let seconds = |failures| delay(failures, last, now).as_secs();
        assert_eq!([0, 1, 2, 3, 20].map(seconds), [0, 5, 15, 35, 595]);
    }
}
