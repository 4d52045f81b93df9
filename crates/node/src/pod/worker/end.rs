//! The end of a pod: stopped, told of, cleared away.

use super::{Again, Desired, LONGEST_RETRY, Stage, Worker};
use crate::pod::{config, full_name, status, stop, uid};
use crate::runtime::PodView;
use kaji_client::event::EventType;
use tokio::sync::watch;

impl Worker {
    fn grace(&self) -> Option<i64> {
        let deletion = self.pod.metadata.deletion_grace_period_seconds;
        self.pod.metadata.deletion_timestamp.as_ref().and(deletion).map(|grace| grace.max(1))
    }

    pub(super) async fn end(&mut self, desired: &mut watch::Receiver<Desired>) -> Again {
        self.probes.stop_killing();
        let Some(view) = self.view().await else { return self.retry() };
        if !self.settled {
            let (agent, pod) = (self.agent.clone(), self.pod.clone());
            self.probes.follow(&agent, &pod, &view, &self.ips(&view));
            self.compute(&view, false);
            if !self.gone {
                self.publish(true);
            }
        }
        let stopped = self.stop_within_grace(&view, desired).await;
        if let Err(error) = stopped {
            self.event(EventType::Warning, "FailedKillPod", &format!("error killing pod: {error}"));
            return self.retry();
        }
        let Some(view) = self.view().await else { return self.retry() };
        if !view.is_still() {
            return self.retry();
        }
        self.probes.stop();
        if !self.settled {
            self.compute(&view, true);
            status::terminate(&mut self.status, self.initialized);
            self.redo_conditions(&view);
        }
        self.retries = 0;
        self.stage = Stage::Ended;
        None
    }

    /// Stops everything; a grace period that is shortened meanwhile counts at once.
    async fn stop_within_grace(
        &mut self,
        view: &PodView,
        desired: &mut watch::Receiver<Desired>,
    ) -> Result<(), crate::cri::RuntimeError> {
        let mut again = false;
        loop {
            let (pod, grace) = (self.pod.clone(), self.grace());
            let agent = self.agent.clone();
            let stopping = stop::pod(&agent, &pod, view, grace, again);
            let shorter = |desired: &Desired| {
                let deletion = desired.pod.metadata.deletion_grace_period_seconds;
                desired.pod.metadata.deletion_timestamp.is_some()
                    && deletion.is_some_and(|new| grace.is_none_or(|old| new.max(1) < old))
            };
            let mut watched = desired.clone();
            let sooner = async {
                if watched.wait_for(shorter).await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            let done = tokio::select! {
                done = stopping => Some(done),
                () = sooner => None,
            };
            self.take(desired);
            if let Some(done) = done {
                return done;
            }
            again = true;
        }
    }

    pub(super) async fn clean_up(&mut self) -> Again {
        if let Err(error) = self.agent.volumes.tear_down(uid(&self.pod)).await {
            tracing::warn!(pod = %full_name(&self.pod), %error, "volumes not removed");
            return self.retry();
        }
        if let Some(groups) = &self.agent.cgroups {
            groups.remove(&self.pod);
        }
        self.agent.objects.release(uid(&self.pod));
        self.agent.retired(uid(&self.pod));
        if self.gone {
            return self.forget().await;
        }
        self.publish(false);
        self.agent.statuses.flushed(uid(&self.pod)).await;
        if self.pod.metadata.deletion_timestamp.is_none() {
            self.stage = Stage::Resting;
            return None;
        }
        match self.agent.statuses.delete(&self.pod).await {
            // The watch tells when it is gone.
            Ok(()) => Some(LONGEST_RETRY),
            Err(error) => {
                tracing::warn!(pod = %full_name(&self.pod), %error, "pod not deleted");
                self.retry()
            }
        }
    }

    /// Removes what is left of a pod that is gone from the API.
    async fn forget(&mut self) -> Again {
        let Some(view) = self.view().await else { return self.retry() };
        let runtime = &self.agent.runtime;
        for container in &view.containers {
            if let Err(error) = runtime.remove_container(&container.id).await {
                tracing::debug!(%error, "container of a pod that is gone");
                return self.retry();
            }
        }
        for sandbox in &view.sandboxes {
            let stopped = runtime.stop_sandbox(&sandbox.id).await;
            if let Err(error) = stopped.and(runtime.remove_sandbox(&sandbox.id).await) {
                tracing::debug!(%error, "sandbox of a pod that is gone");
                return self.retry();
            }
        }
        if !self.agent.is_simulated() {
            let logs = config::log_dir_of(&self.agent.config.pod_logs_dir, &self.pod);
            let _ = std::fs::remove_dir_all(logs);
        }
        self.agent.forget(uid(&self.pod));
        self.stage = Stage::Over;
        None
    }
}
