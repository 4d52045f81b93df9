//! Cron jobs make jobs when it is time (upstream `pkg/controller/cronjob`).

mod schedule;

use crate::Context;
use crate::adopt::{controller_of, controller_reference};
use crate::context::{enqueue, enqueue_owner, key_of};
use crate::job::plan::is_finished;
use crate::write::{gone_is_fine, is_terminating, words};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kaji_client::event::{EventType, reference};
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use schedule::Schedule;
use std::sync::Arc;
use std::time::Duration;

const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Clocks that differ a little must not make a time come twice.
const SKEW: Duration = Duration::from_millis(100);

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let (crons, jobs) = (cx.informer::<CronJob>(), cx.informer::<Job>());
    enqueue(&crons, &queue);
    enqueue_owner(&jobs, "CronJob", &queue);
    crons.synced().await;
    jobs.synced().await;
    let workers = cx.config.workers;
    let work = Arc::new(Work { cx, crons, jobs });
    let reconcile = move |key| {
        let work = work.clone();
        async move { work.reconcile(key).await }
    };
    queue.run("cron job", workers, reconcile).await;
}

struct Work {
    cx: Context,
    crons: Arc<Informer<CronJob>>,
    jobs: Arc<Informer<Job>>,
}

/// What the schedule says now.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    /// The time to make a job for.
    time: Option<Timestamp>,
    /// Until the time after.
    wait: Option<Duration>,
}

impl Work {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, kube::Error> {
        let Some(cron) = self.crons.get(&key) else { return Ok(Next::Done) };
        let jobs = self.jobs.controlled_by(cron.metadata.uid.as_deref().unwrap_or_default());
        let mut status = self.refresh(&cron, &jobs);
        self.clean_up(&cron, &jobs).await?;
        let next = self.follow_schedule(&cron, &jobs, &mut status).await;
        if cron.status.clone().unwrap_or_default() != status {
            let after = CronJob { status: Some(status), ..CronJob::clone(&cron) };
            let api: Api<CronJob> = Api::namespaced(self.cx.client.clone(), &key.namespace);
            gone_is_fine(api.replace_status(&key.name, &PostParams::default(), &after).await)?;
        }
        next
    }

    /// Brings the list of active jobs up to date.
    fn refresh(&self, cron: &CronJob, jobs: &[Arc<Job>]) -> CronJobStatus {
        let mut status = cron.status.clone().unwrap_or_default();
        let mut active = status.active.take().unwrap_or_default();
        let name = |job: &Job| job.metadata.name.clone().unwrap_or_default();
        for job in jobs {
            let listed = active.iter().position(|r| r.uid == job.metadata.uid);
            match (listed, end(job)) {
                (Some(at), Some((kind, time))) => {
                    active.remove(at);
                    let message = format!("Saw completed job: {}, condition: {kind}", name(job));
                    self.cx.event(cron, EventType::Normal, "SawCompletedJob", &message);
                    note_success(&mut status, kind, time);
                }
                (None, Some((kind, time))) => note_success(&mut status, kind, time),
                (None, None) => {
                    let message = format!("Saw a job that the controller did not create or forgot: {}", name(job));
                    self.cx.event(cron, EventType::Warning, "UnexpectedJob", &message);
                }
                (Some(_), None) => {}
            }
        }
        active.retain(|known| {
            let found = jobs.iter().any(|j| j.metadata.uid == known.uid) || is_recent(&status, known);
            if !found {
                let message = format!("Active job went missing: {}", known.name.as_deref().unwrap_or_default());
                self.cx.event(cron, EventType::Normal, "MissingJob", &message);
            }
            found
        });
        status.active = (!active.is_empty()).then_some(active);
        status
    }

    /// Deletes jobs beyond the history that is kept.
    async fn clean_up(&self, cron: &CronJob, jobs: &[Arc<Job>]) -> Result<(), kube::Error> {
        let spec = &cron.spec;
        for (kind, limit) in
            [("Complete", spec.successful_jobs_history_limit), ("Failed", spec.failed_jobs_history_limit)]
        {
            for job in limit.map(|limit| surplus(jobs, kind, limit)).unwrap_or_default() {
                self.delete(cron, &job).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, cron: &CronJob, job: &Job) -> Result<(), kube::Error> {
        let key = key_of(job);
        let api: Api<Job> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        let outcome = gone_is_fine(api.delete(&key.name, &DeleteParams::background()).await);
        match &outcome {
            Ok(()) => {
                self.cx.event(cron, EventType::Normal, "SuccessfulDelete", &format!("Deleted job {}", key.name));
            }
            Err(error) => {
                let message = format!("Deleted job: {}", words(error));
                self.cx.event(cron, EventType::Warning, "FailedDelete", &message);
            }
        }
        outcome
    }

    async fn follow_schedule(
        &self,
        cron: &CronJob,
        jobs: &[Arc<Job>],
        status: &mut CronJobStatus,
    ) -> Result<Next, kube::Error> {
        let spec = cron.spec.clone();
        if cron.metadata.deletion_timestamp.is_some() || spec.suspend == Some(true) {
            return Ok(Next::Done);
        }
        let Some((schedule, zone)) = self.read(cron, &spec) else { return Ok(Next::Done) };
        let now = Timestamp::now();
        let due = due(cron, &spec, &schedule, &zone, now);
        let next = due.wait.map_or(Next::Done, |wait| Next::After(wait + SKEW));
        let Some(time) = due.time else { return Ok(next) };
        if status.last_schedule_time.as_ref().is_some_and(|t| t.0 >= time) {
            return Ok(next);
        }
        if is_too_late(&spec, time, now) {
            let shown = time.to_zoned(zone).strftime("%a, %d %b %Y %H:%M:%S %z").to_string();
            let message = format!("Missed scheduled time to start a job: {shown}");
            self.cx.event(cron, EventType::Warning, "MissSchedule", &message);
            return Ok(next);
        }
        let active = status.active.as_ref().is_some_and(|a| !a.is_empty());
        match spec.concurrency_policy.as_deref() {
            Some("Forbid") if active => {
                let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
                self.cx.event(cron, EventType::Normal, "JobAlreadyActive", message);
                return Ok(next);
            }
            Some("Replace") => {
                for job in jobs.iter().filter(|j| !is_finished(j)) {
                    self.delete(cron, job).await?;
                    let listed = status.active.iter_mut();
                    listed.for_each(|all| all.retain(|r| r.uid != job.metadata.uid));
                }
            }
            _ => {}
        }
        if let Some(made) = self.create(cron, &spec, time, &zone).await? {
            status.active.get_or_insert_default().push(made);
            status.last_schedule_time = Some(Time(time));
        }
        Ok(next)
    }

    fn read(&self, cron: &CronJob, spec: &CronJobSpec) -> Option<(Schedule, TimeZone)> {
        let zone = match spec.time_zone.as_deref() {
            None => TimeZone::system(),
            Some(name) => match TimeZone::get(name) {
                Ok(zone) => zone,
                Err(error) => {
                    let message = format!("invalid timeZone: {name:?}: {error}");
                    self.cx.event(cron, EventType::Warning, "UnknownTimeZone", &message);
                    return None;
                }
            },
        };
        match Schedule::parse(&spec.schedule) {
            Ok(schedule) => Some((schedule, zone)),
            Err(error) => {
                let message = format!("unparseable schedule: {:?} : {error}", spec.schedule);
                self.cx.event(cron, EventType::Warning, "UnparseableSchedule", &message);
                None
            }
        }
    }

    /// Makes the job of a time; none: the namespace is going.
    async fn create(
        &self,
        cron: &CronJob,
        spec: &CronJobSpec,
        time: Timestamp,
        zone: &TimeZone,
    ) -> Result<Option<ObjectReference>, kube::Error> {
        let job = new_job(cron, spec, time, zone);
        let key = key_of(&job);
        let api: Api<Job> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        match api.create(&PostParams::default(), &job).await {
            Ok(made) => {
                self.cx.event(cron, EventType::Normal, "SuccessfulCreate", &format!("Created job {}", key.name));
                Ok(Some(reference(&made)))
            }
            Err(error) if is_terminating(&error) => Ok(None),
            Err(kube::Error::Api(answer)) if answer.reason == "AlreadyExists" => {
                // We made it and could not note that, or it is another's.
                let found = api.get(&key.name).await?;
                let ours = controller_of(&found).map(|o| &o.uid) == cron.metadata.uid.as_ref();
                if ours { Ok(Some(reference(&found))) } else { Err(kube::Error::Api(answer)) }
            }
            Err(error) => {
                let message = format!("Error creating job: {}", words(&error));
                self.cx.event(cron, EventType::Warning, "FailedCreate", &message);
                Err(error)
            }
        }
    }
}

fn new_job(cron: &CronJob, spec: &CronJobSpec, time: Timestamp, zone: &TimeZone) -> Job {
    let template = spec.job_template.metadata.clone().unwrap_or_default();
    let mut annotations = template.annotations.unwrap_or_default();
    let shown = time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    annotations.insert(SCHEDULED.to_owned(), shown.replace("+00:00", "Z"));
    let name = cron.metadata.name.as_deref().unwrap_or_default();
    Job {
        metadata: ObjectMeta {
            name: Some(format!("{name}-{}", time.as_second() / 60)),
            namespace: cron.metadata.namespace.clone(),
            labels: template.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(cron)]),
            ..ObjectMeta::default()
        },
        spec: spec.job_template.spec.clone(),
        status: None,
    }
}

/// How and when a job ended.
fn end(job: &Job) -> Option<(&str, Option<Timestamp>)> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    let last = conditions.iter().find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")?;
    let completed = job.status.as_ref()?.completion_time.as_ref().map(|t| t.0);
    Some((&last.type_, completed))
}

fn note_success(status: &mut CronJobStatus, kind: &str, time: Option<Timestamp>) {
    let Some(time) = time.filter(|_| kind == "Complete") else { return };
    if status.last_successful_time.as_ref().is_none_or(|t| t.0 < time) {
        status.last_successful_time = Some(Time(time));
    }
}

/// Whether an active job may be one we made a moment ago that the informer doesn't show yet.
fn is_recent(status: &CronJobStatus, known: &ObjectReference) -> bool {
    let Some(last) = &status.last_schedule_time else { return false };
    let of_last = known.name.as_ref().is_some_and(|n| n.ends_with(&format!("-{}", last.0.as_second() / 60)));
    of_last && Timestamp::now().duration_since(last.0) < SignedDuration::from_secs(5)
}

/// The oldest jobs that ended so, beyond the limit.
fn surplus(jobs: &[Arc<Job>], kind: &str, limit: i32) -> Vec<Arc<Job>> {
    let mut ended: Vec<_> = jobs.iter().filter(|j| end(j).is_some_and(|(k, _)| k == kind)).cloned().collect();
    let started = |j: &Arc<Job>| j.status.as_ref().and_then(|s| s.start_time.clone());
    ended.sort_by_key(|j| (started(j), j.metadata.name.clone()));
    ended.truncate(ended.len().saturating_sub(usize::try_from(limit).unwrap_or_default()));
    ended.retain(|j| j.metadata.deletion_timestamp.is_none());
    ended
}

fn due(cron: &CronJob, spec: &CronJobSpec, schedule: &Schedule, zone: &TimeZone, now: Timestamp) -> Due {
    let created = cron.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
    let last = cron.status.as_ref().and_then(|s| s.last_schedule_time.as_ref()).map(|t| t.0);
    let mut earliest = last.unwrap_or(created);
    if let Some(deadline) = spec.starting_deadline_seconds {
        earliest = earliest.max(now - SignedDuration::from_secs(deadline));
    }
    let time = schedule.last(earliest, now, zone);
    let from = match schedule {
        // Counted from the last time, not from now.
        Schedule::Every(_) => time.unwrap_or(earliest),
        Schedule::Times(_) => now,
    };
    let next = schedule.next(from, zone);
    Due { time, wait: next.map(|next| next.duration_since(now).max(SignedDuration::ZERO).unsigned_abs()) }
}

fn is_too_late(spec: &CronJobSpec, time: Timestamp, now: Timestamp) -> bool {
    spec.starting_deadline_seconds.is_some_and(|s| now > time + SignedDuration::from_secs(s))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cron(last: Option<&str>, deadline: Option<i64>) -> CronJob {
        serde_json::from_value(serde_json::json!({"metadata": {"name": "c", "creationTimestamp": "2026-01-01T00:30:00Z"},
            "spec": {"schedule": "0 * * * *", "startingDeadlineSeconds": deadline, "jobTemplate": {}}, "status": {"lastScheduleTime": last}}))
        .unwrap()
    }

    fn decide(cron: &CronJob, now: &str) -> (Option<String>, Option<u64>) {
        let spec = &cron.spec;
        let schedule = Schedule::parse(&spec.schedule).unwrap();
        let found = due(cron, spec, &schedule, &TimeZone::UTC, now.parse().unwrap());
        (found.time.map(|t| t.to_string()), found.wait.map(|w| w.as_secs()))
    }

    #[test]
    fn only_the_last_missed_time_is_made_up_for() {
        assert_eq!(decide(&cron(None, None), "2026-01-01T00:59:00Z"), (None, Some(60)));
        assert_eq!(
            decide(&cron(None, None), "2026-01-01T05:10:00Z"),
            (Some("2026-01-01T05:00:00Z".to_owned()), Some(3000))
        );
        assert_eq!(decide(&cron(Some("2026-01-01T05:00:00Z"), None), "2026-01-01T05:10:00Z").0, None);
        assert_eq!(decide(&cron(None, Some(60)), "2026-01-01T05:10:00Z").0, None);
    }

    #[test]
    fn jobs_are_named_after_their_minute() {
        let cron = cron(None, None);
        let time = "2026-01-01T05:00:00Z".parse().unwrap();
        let job = new_job(&cron, &cron.spec, time, &TimeZone::UTC);
        assert_eq!(job.metadata.name.as_deref(), Some("c-29454060"));
        assert_eq!(job.metadata.annotations.unwrap()[SCHEDULED], "2026-01-01T05:00:00Z");
    }
}
