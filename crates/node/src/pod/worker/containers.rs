//! The sandbox and the containers in it: started, and cleared away when dead.

use super::{Again, Worker};
use crate::pod::backoff::go_duration;
use crate::pod::plan::Plan;
use crate::pod::start::{self, Place};
use crate::pod::{ephemeral, full_name, reference, uid};
use crate::runtime::{PodView, State};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod};
use kaji_client::event::EventType;
use std::sync::Arc;
use std::time::Duration;

impl Worker {
    /// Starts what the plan names; how long until the next of it may start.
    pub(super) async fn start_all(&mut self, place: &Place<'_>, plan: &Plan) -> Again {
        let spec = place.pod.spec.clone().unwrap_or_default();
        let mut wait: Again = None;
        let sooner = |wait: Again, other: Again| [wait, other].into_iter().flatten().min();
        let ephemerals = ephemeral(place.pod);
        let targets = spec.ephemeral_containers.as_deref().unwrap_or_default();
        for at in &plan.start_ephemeral {
            let target = targets.get(*at).and_then(|container| container.target_container_name.clone());
            let target = target.filter(|name| !name.is_empty());
            let _ = self.start_one(place, &ephemerals[*at], target.as_deref()).await;
        }
        for at in &plan.start_init {
            let container = &spec.init_containers.as_deref().unwrap_or_default()[*at];
            if let Err(again) = self.start_one(place, container, None).await {
                wait = sooner(wait, again);
                if !crate::resources::is_sidecar(container) {
                    return wait;
                }
            }
        }
        for at in &plan.start {
            if let Err(again) = self.start_one(place, &spec.containers[*at], None).await {
                wait = sooner(wait, again);
            }
        }
        wait
    }

    async fn start_one(&mut self, place: &Place<'_>, container: &Container, target: Option<&str>) -> Result<(), Again> {
        let name = &container.name;
        let ended = place.view.containers.iter().find(|view| view.name == *name && view.state == State::Exited);
        if let Some(ended) = ended {
            let since = Timestamp::now().as_nanosecond() - i128::from(ended.finished_at);
            let since = Duration::from_nanos(u64::try_from(since).unwrap_or(0));
            if let Some(left) = self.restarts.remaining(name, since) {
                let wait = go_duration(self.restarts.wait(name));
                let pod = full_name(place.pod);
                let about = reference(place.pod, Some(name));
                let message = format!("Back-off restarting failed container {name} in pod {pod}");
                place.agent.recorder.event(&about, EventType::Warning, "BackOff", &message);
                let message = format!("back-off {wait} restarting failed container={name} pod={pod}");
                self.reasons.insert(name.clone(), ("CrashLoopBackOff".to_owned(), message));
                return Err(Some(left));
            }
            self.restarts.next(name, since);
        }
        match start::container(place, container, &mut self.pulls, target).await {
            Ok(()) => {
                self.reasons.remove(name);
                Ok(())
            }
            Err((reason, message)) => {
                self.reasons.insert(name.clone(), (reason, message));
                Err(self.retry().map(|wait| wait.max(Duration::from_secs(1))))
            }
        }
    }

    /// The sandbox to use, made if the plan says so.
    pub(super) async fn sandbox(&mut self, pod: &Arc<Pod>, plan: &Plan, view: &mut PodView) -> Option<String> {
        if !plan.create_sandbox {
            return plan.sandbox.clone();
        }
        let made = match start::sandbox_config(&self.agent, pod, plan.attempt) {
            Ok(config) => start::sandbox(&self.agent, pod, config).await,
            Err(error) => Err(error),
        };
        match made {
            Ok(id) => {
                *view = self.view().await?;
                self.compute(view, false);
                self.publish(true);
                Some(id)
            }
            Err(error) => {
                let message = format!("Failed to create pod sandbox: {error}");
                self.event(EventType::Warning, "FailedCreatePodSandBox", &message);
                None
            }
        }
    }

    /// Of each container the newest dead one is kept, for its logs.
    pub(super) async fn prune(&self, pod: &Arc<Pod>) {
        let Ok(view) = self.agent.runtime.pod(uid(pod)).await else { return };
        let mut dead: std::collections::HashMap<&str, usize> = std::collections::HashMap::new();
        for container in view.containers.iter().filter(|view| view.state == State::Exited) {
            let count = dead.entry(&container.name).or_default();
            *count += 1;
            if *count > 1 {
                let _ = self.agent.runtime.remove_container(&container.id).await;
                let _ = std::fs::remove_file(&container.log_path);
            }
        }
        for sandbox in view.sandboxes.iter().skip(1).filter(|sandbox| !sandbox.ready) {
            let used = |view: &PodView| view.containers.iter().any(|c| c.state == State::Running);
            if !used(&view) || view.sandboxes[0].ready {
                let _ = self.agent.runtime.remove_sandbox(&sandbox.id).await;
            }
        }
    }
}
