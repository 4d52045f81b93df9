//! Resources of containers that run already.

use super::Worker;
use crate::pod::plan::{self, Plan};
use crate::pod::resize::{self, Open, Resize};
use crate::pod::uid;
use crate::runtime::{PodView, State};
use k8s_openapi::api::core::v1::{Container, Pod};
use kaji_client::event::EventType;
use std::sync::Arc;

impl Worker {
    pub(super) fn open_resize(&self, view: &PodView) -> Option<Open> {
        let spec = self.pod.spec.as_ref()?;
        let differs = |container: &Container| {
            let running = view.container(&container.name).filter(|view| view.state == State::Running);
            running.is_some_and(|view| resize::of(container, view) != Resize::None)
        };
        if self.must_end() || !crate::resources::containers(spec).any(differs) {
            return None;
        }
        let node = self.agent.node()?;
        let others = self.agent.admitted_besides(uid(&self.pod));
        Some(resize::must_wait(&self.pod, &node, &others).map_or(Open::InProgress, Open::Waits))
    }

    /// Gives running containers the resources that the pod asks for now, if the node has them; whether anything
    /// changed.
    pub(super) async fn resize(&mut self, pod: &Arc<Pod>, plan: &mut Plan) -> bool {
        let restarts = |kill: &plan::Kill| kill.message.contains(plan::RESIZE);
        if matches!(self.resize, Some(Open::Waits(_))) {
            plan.update.clear();
            let waiting: Vec<String> = plan.kill.extract_if(.., |kill| restarts(kill)).map(|kill| kill.name).collect();
            let spec = pod.spec.clone().unwrap_or_default();
            plan.start.retain(|at| !waiting.contains(&spec.containers[*at].name));
            return false;
        }
        if plan.update.is_empty() {
            return false;
        }
        let facts = self.agent.facts();
        for (id, name) in &plan.update {
            let Some(container) = crate::pod::container(pod, name) else { continue };
            match self.agent.runtime.update_resources(id, resize::update(pod, &container, &facts)).await {
                Ok(()) => {
                    let resources = serde_json::to_string(&container.resources).unwrap_or_default();
                    self.resized.insert(id.clone(), resources);
                }
                Err(error) => {
                    let message = format!("resize of container {name} failed: {error}");
                    self.event(EventType::Warning, "ResizeError", &message);
                }
            }
        }
        if let Some(groups) = &self.agent.cgroups {
            // Limits that shrink can only be set now that the containers' have.
            let _ = groups.ensure(pod);
        }
        true
    }
}
