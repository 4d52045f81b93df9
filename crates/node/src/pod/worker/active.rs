//! Keeping a pod running.

use super::{Again, Stage, Worker};
use crate::objects::references;
use crate::pod::start::{self, Place};
use crate::pod::{full_name, is_terminal, plan, stop, uid};
use crate::runtime::PodView;
use crate::volume::Mounted;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kaji_client::event::EventType;
use std::sync::Arc;
use std::time::Duration;

impl Worker {
    pub(super) async fn keep_running(&mut self) -> Again {
        let Some(view) = self.view().await else { return self.retry() };
        if !self.agent.is_simulated() {
            self.agent.objects.hold(uid(&self.pod), self.namespace(), &references(&self.pod));
        }
        let pod = self.pod.clone();
        let agent = self.agent.clone();
        self.probes.follow(&agent, &pod, &view, &self.ips(&view));
        self.compute(&view, false);
        if is_terminal(self.status.phase.as_deref()) {
            self.publish(true);
            self.stage = Stage::Ending;
            return None;
        }
        if let Some(left) = self.deadline()
            && left.is_zero()
        {
            self.event(
                EventType::Normal,
                "DeadlineExceeded",
                "Pod was active on the node longer than the specified deadline",
            );
            self.settle("DeadlineExceeded", "Pod was active on the node longer than the specified deadline".to_owned());
            self.publish(true);
            return None;
        }
        self.publish(true);
        match self.prepare(&view).await {
            Ok(mounted) => self.carry_out(&pod, view, &mounted).await,
            Err(again) => again,
        }
    }

    /// How much of the active deadline is left.
    fn deadline(&self) -> Option<Duration> {
        let seconds = self.pod.spec.as_ref()?.active_deadline_seconds?;
        let start = self.status.start_time.as_ref()?.0;
        let age = Duration::try_from(Timestamp::now().duration_since(start)).unwrap_or_default();
        Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)).saturating_sub(age))
    }

    /// Network, groups, volumes: what must be there before anything starts.
    async fn prepare(&mut self, view: &PodView) -> Result<Mounted, Again> {
        if let Some(problem) = self.agent.network_problem().filter(|_| !self.on_host()) {
            let message = format!("network is not ready: container runtime network not ready: {problem}");
            self.event(EventType::Warning, "NetworkNotReady", &message);
            return Err(self.retry());
        }
        if let Some(groups) = &self.agent.cgroups
            && let Err(error) = groups.ensure(&self.pod)
        {
            let message = format!("unable to ensure pod container exists: {error}");
            self.event(EventType::Warning, "FailedCreatePodContainer", &message);
            return Err(self.retry());
        }
        let ips = self.ips(view);
        match self.agent.volumes.set_up(&self.pod, &ips, &self.agent.facts()).await {
            Ok(mounted) => Ok(mounted),
            Err(error) => {
                self.event(EventType::Warning, "FailedMount", &error.to_string());
                Err(self.retry())
            }
        }
    }

    async fn carry_out(&mut self, pod: &Arc<Pod>, mut view: PodView, mounted: &Mounted) -> Again {
        let mut plan = plan::plan(pod, &view, &self.probes);
        let resized = self.resize(pod, &mut plan).await;
        let mut again: Again = [mounted.renew_in, self.deadline()].into_iter().flatten().min();
        if plan.kill_pod && !view.sandboxes.is_empty() {
            if plan.create_sandbox && plan.sandbox.is_some() {
                self.event(
                    EventType::Normal,
                    "SandboxChanged",
                    "Pod sandbox changed, it will be killed and re-created.",
                );
            }
            if let Err(error) = stop::pod(&self.agent, pod, &view, None, false).await {
                tracing::warn!(pod = %full_name(pod), %error, "pod not stopped");
                return self.retry();
            }
            if !plan.create_sandbox {
                return self.look_again(again).await;
            }
        }
        let killed = futures::future::join_all(plan.kill.iter().map(|kill| {
            let spec = crate::pod::container(pod, &kill.name)
                .unwrap_or_else(|| Container { name: kill.name.clone(), ..Default::default() });
            let (agent, ips) = (&self.agent, self.ips(&view));
            async move {
                let killing = stop::Killing {
                    id: &kill.id,
                    message: Some(&kill.message),
                    reason: kill.reason,
                    ..Default::default()
                };
                stop::container(agent, pod, &spec, killing, &ips).await
            }
        }))
        .await;
        if killed.iter().any(Result::is_err) {
            return self.retry();
        }
        let busy = plan.create_sandbox
            || !(plan.kill.is_empty()
                && plan.start.is_empty()
                && plan.start_init.is_empty()
                && plan.start_ephemeral.is_empty());
        if !busy {
            if resized {
                return self.look_again(again).await;
            }
            self.retries = 0;
            return again;
        }
        let Some(sandbox) = self.sandbox(pod, &plan, &mut view).await else { return self.retry() };
        let Ok(sandbox_config) = start::sandbox_config(&self.agent, pod, plan.attempt) else { return self.retry() };
        if !plan.kill.is_empty() {
            let Some(fresh) = self.view().await else { return self.retry() };
            view = fresh;
        }
        let ips = self.ips(&view);
        let agent = self.agent.clone();
        let place = Place {
            agent: &agent,
            pod,
            view: &view,
            sandbox: &sandbox,
            sandbox_config: &sandbox_config,
            ips: &ips,
            mounted,
        };
        let wait = self.start_all(&place, &plan).await;
        again = [again, wait].into_iter().flatten().min();
        self.prune(pod).await;
        self.look_again(again).await
    }

    /// Looks at what came of it and says so.
    async fn look_again(&mut self, again: Again) -> Again {
        let Some(view) = self.view().await else { return self.retry() };
        let (agent, pod) = (self.agent.clone(), self.pod.clone());
        self.probes.follow(&agent, &pod, &view, &self.ips(&view));
        self.compute(&view, false);
        self.publish(true);
        if self.reasons.is_empty() {
            self.retries = 0;
        }
        // What ended meanwhile or what comes next must not wait for a sign.
        let next = plan::plan(&self.pod, &view, &self.probes);
        let more = next.create_sandbox || next.kill_pod || !next.start_init.is_empty() || !next.start.is_empty();
        match (more, again) {
            (true, None) => Some(Duration::ZERO),
            (_, again) => again,
        }
    }
}
