//! Deletes jobs some time after they are over (upstream `pkg/controller/ttlafterfinished`).

use crate::Context;
use crate::context::enqueue;
use crate::job::plan::is_finished;
use crate::write::gone_is_fine;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use std::sync::Arc;
use std::time::Duration;

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let jobs = cx.informer::<Job>();
    enqueue(&jobs, &queue);
    jobs.synced().await;
    let workers = cx.config.workers;
    let work = move |key| reconcile(cx.clone(), jobs.clone(), key);
    queue.run("ttl after finished", workers, work).await;
}

async fn reconcile(cx: Context, jobs: Arc<Informer<Job>>, key: ObjectKey) -> Result<Next, kube::Error> {
    let Some(left) = jobs.get(&key).and_then(|job| left(&job, Timestamp::now())) else { return Ok(Next::Done) };
    if !left.is_zero() {
        return Ok(Next::After(left));
    }
    let api: Api<Job> = Api::namespaced(cx.client, &key.namespace);
    // The server's own state decides: the time to live may have been changed just now.
    let Some(job) = api.get_opt(&key.name).await? else { return Ok(Next::Done) };
    match self::left(&job, Timestamp::now()) {
        None => Ok(Next::Done),
        Some(left) if !left.is_zero() => Ok(Next::After(left)),
        Some(_) => {
            let preconditions = Preconditions { uid: job.metadata.uid.clone(), resource_version: None };
            let how = DeleteParams::foreground().preconditions(preconditions);
            gone_is_fine(api.delete(&key.name, &how).await).map(|()| Next::Done)
        }
    }
}

/// The time a job that is over has left; none: it may stay.
fn left(job: &Job, now: Timestamp) -> Option<Duration> {
    let ttl = job.spec.as_ref()?.ttl_seconds_after_finished?;
    if !is_finished(job) || job.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let conditions = job.status.as_ref()?.conditions.as_ref()?.iter();
    let end = conditions.filter(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True");
    let end = end.filter_map(|c| c.last_transition_time.as_ref()).next()?.0;
    let left = SignedDuration::from_secs(ttl.into()) - now.duration_since(end);
    Some(left.max(SignedDuration::ZERO).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_over_goes() {
        let job = |conditions: &str| -> Job {
            serde_json::from_str(&format!(
                r#"{{"spec": {{"template": {{}}, "ttlSecondsAfterFinished": 10}}, "status": {{"conditions": {conditions}}}}}"#
            ))
            .unwrap()
        };
        let now = Timestamp::from_second(4).unwrap();
        assert_eq!(left(&job("[]"), now), None);
        let done = r#"[{"type": "Complete", "status": "True", "lastTransitionTime": "1970-01-01T00:00:00Z"}]"#;
        assert_eq!(left(&job(done), now), Some(Duration::from_secs(6)));
        assert_eq!(left(&job(done), Timestamp::from_second(99).unwrap()), Some(Duration::ZERO));
    }
}
