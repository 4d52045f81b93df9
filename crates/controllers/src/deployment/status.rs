//! A deployment's counts and conditions.

use super::plan::Rollout;
use super::set::Set;
use crate::replica_set::nonzero;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::time::Duration;

pub(crate) const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const FAILURE: &str = "ReplicaFailure";
const COMPLETE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

pub(crate) fn condition<'a>(status: &'a DeploymentStatus, kind: &str) -> Option<&'a DeploymentCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == kind)
}

/// A condition that changed now.
pub(crate) fn new(kind: &str, state: &str, reason: &str, message: &str, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.to_owned(),
        status: state.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// Puts a condition in, unless one of the same state and reason is there.
pub(crate) fn set(status: &mut DeploymentStatus, mut condition: DeploymentCondition) {
    if let Some(old) = self::condition(status, &condition.type_).filter(|c| c.status == condition.status) {
        if old.reason == condition.reason {
            return;
        }
        condition.last_transition_time = old.last_transition_time.clone();
    }
    remove(status, &condition.type_.clone());
    status.conditions.get_or_insert_default().push(condition);
}

pub(crate) fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|c| c.type_ != kind);
    }
    status.conditions = status.conditions.take().filter(|c| !c.is_empty());
}

/// Seconds a rollout may go without progress.
pub(crate) fn deadline(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref()?.progress_deadline_seconds.filter(|s| *s != i32::MAX)
}

/// Notes that the deployment was paused or resumed.
pub(crate) fn note_pause(deployment: &mut Deployment, now: Timestamp) {
    if deadline(deployment).is_none() {
        return;
    }
    let paused = deployment.spec.as_ref().and_then(|s| s.paused) == Some(true);
    let status = deployment.status.get_or_insert_default();
    let reason = condition(status, PROGRESSING).and_then(|c| c.reason.clone()).unwrap_or_default();
    match (paused, reason == PAUSED) {
        _ if reason == TIMED_OUT => {}
        (true, false) => set(status, new(PROGRESSING, "Unknown", PAUSED, "Deployment is paused", now)),
        (false, true) => {
            set(status, new(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed", now));
        }
        _ => {}
    }
}

/// Whether all pods are of the new template and available.
pub(crate) fn is_complete(want: i32, generation: Option<i64>, status: &DeploymentStatus) -> bool {
    status.updated_replicas.unwrap_or_default() == want
        && status.replicas.unwrap_or_default() == want
        && status.available_replicas.unwrap_or_default() == want
        && status.observed_generation.unwrap_or_default() >= generation.unwrap_or_default()
}

impl Rollout {
    /// The counts, and whether enough is available.
    pub(super) fn counted(&self) -> DeploymentStatus {
        let old = self.deployment.status.clone().unwrap_or_default();
        let all: Vec<&Set> = self.all().collect();
        let total = |count: fn(&Set) -> i32| all.iter().map(|s| count(s)).sum::<i32>();
        let available = total(Set::available);
        let mut status = DeploymentStatus {
            observed_generation: self.deployment.metadata.generation,
            replicas: nonzero(total(Set::actual)),
            updated_replicas: nonzero(self.new.as_ref().map(Set::actual).unwrap_or_default()),
            ready_replicas: nonzero(total(Set::ready)),
            available_replicas: nonzero(available),
            unavailable_replicas: nonzero((total(Set::size) - available).max(0)),
            terminating_replicas: all.iter().map(|s| s.terminating()).sum(),
            collision_count: old.collision_count,
            conditions: old.conditions,
        };
        let minimum = if available >= self.want() - self.max_unavailable() {
            new(AVAILABLE, "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", self.now)
        } else {
            let message = "Deployment does not have minimum availability.";
            new(AVAILABLE, "False", "MinimumReplicasUnavailable", message, self.now)
        };
        set(&mut status, minimum);
        status
    }

    /// The status of a rollout: counts, progress, failures.
    pub(super) fn progressed(&self) -> DeploymentStatus {
        let old = self.deployment.status.clone().unwrap_or_default();
        let mut status = self.counted();
        let current = condition(&old, PROGRESSING);
        let was_complete = status.replicas == status.updated_replicas
            && current.is_some_and(|c| c.reason.as_deref() == Some(COMPLETE));
        match deadline(&self.deployment) {
            None => remove(&mut status, PROGRESSING),
            Some(_) if was_complete => {}
            Some(seconds) => self.note_progress(&old, &mut status, seconds),
        }
        match self.failure() {
            Some(failure) => set(&mut status, failure),
            None => remove(&mut status, FAILURE),
        }
        status
    }

    fn note_progress(&self, old: &DeploymentStatus, status: &mut DeploymentStatus, deadline: i32) {
        let who = match &self.new {
            Some(set) => format!("ReplicaSet {:?}", set.name()),
            None => format!("Deployment {:?}", self.name()),
        };
        let current = condition(old, PROGRESSING);
        if is_complete(self.want(), self.deployment.metadata.generation, status) {
            let message = format!("{who} has successfully progressed.");
            set(status, new(PROGRESSING, "True", COMPLETE, &message, self.now));
        } else if is_progressing(old, status) {
            let message = format!("{who} is progressing.");
            let mut condition = new(PROGRESSING, "True", "ReplicaSetUpdated", &message, self.now);
            if let Some(current) = current {
                if current.status == "True" {
                    condition.last_transition_time = current.last_transition_time.clone();
                }
                remove(status, PROGRESSING);
            }
            set(status, condition);
        } else if has_timed_out(status, deadline, self.now) {
            let message = format!("{who} has timed out progressing.");
            set(status, new(PROGRESSING, "False", TIMED_OUT, &message, self.now));
        }
    }

    /// The new set's failure, else any.
    fn failure(&self) -> Option<DeploymentCondition> {
        let found = self.new.iter().chain(&self.old).find_map(|set| {
            set.object.status.as_ref()?.conditions.iter().flatten().find(|c| c.type_ == FAILURE).cloned()
        })?;
        Some(DeploymentCondition {
            type_: found.type_,
            status: found.status,
            reason: found.reason,
            message: found.message,
            last_update_time: found.last_transition_time.clone(),
            last_transition_time: found.last_transition_time,
        })
    }

    /// When to look again whether the rollout is stuck.
    pub(super) fn look_again(&self, status: &DeploymentStatus) -> Option<Duration> {
        let seconds = deadline(&self.deployment)?;
        let current = condition(status, PROGRESSING)?;
        let settled = current.reason.as_deref() == Some(TIMED_OUT)
            || is_complete(self.want(), self.deployment.metadata.generation, status);
        if settled {
            return None;
        }
        let due = current.last_update_time.as_ref()?.0 + SignedDuration::from_secs(i64::from(seconds) + 1);
        let left = due.duration_since(self.now).max(SignedDuration::from_secs(1));
        Some(left.unsigned_abs())
    }
}

fn is_progressing(old: &DeploymentStatus, new: &DeploymentStatus) -> bool {
    let n = |count: Option<i32>| count.unwrap_or_default();
    let outdated = |s: &DeploymentStatus| n(s.replicas) - n(s.updated_replicas);
    n(new.updated_replicas) > n(old.updated_replicas)
        || outdated(new) < outdated(old)
        || n(new.ready_replicas) > n(old.ready_replicas)
        || n(new.available_replicas) > n(old.available_replicas)
}

fn has_timed_out(status: &DeploymentStatus, deadline: i32, now: Timestamp) -> bool {
    let Some(current) = condition(status, PROGRESSING) else { return false };
    match current.reason.as_deref() {
        Some(COMPLETE) => false,
        Some(TIMED_OUT) => true,
        _ => {
            let since = current.last_update_time.as_ref().map_or(now, |t| t.0);
            now.duration_since(since) > SignedDuration::from_secs(deadline.into())
        }
    }
}
