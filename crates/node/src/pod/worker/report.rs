//! What the API is told of a pod.

use super::Worker;
use crate::pod::status::{self, Input};
use crate::pod::{conditions, is_terminal, plan};
use crate::runtime::PodView;
use jiff::Timestamp;

impl Worker {
    pub(super) fn compute(&mut self, view: &PodView, done: bool) {
        self.initialized |= plan::any_created(&self.pod, view);
        self.resize = self.open_resize(view);
        let facts = self.agent.facts();
        self.status = status::compute(&Input {
            pod: &self.pod,
            view,
            old: &self.status,
            reasons: &self.reasons,
            health: &self.probes,
            host_ips: &facts.host_ips,
            runtime: self.agent.runtime.kind(),
            resize: self.resize.as_ref(),
            done,
            now: Timestamp::now(),
        });
    }

    /// Sends the status; while containers may still run, a final phase is held back.
    pub(super) fn publish(&self, may_run: bool) {
        let mut status = self.status.clone();
        if may_run && is_terminal(status.phase.as_deref()) {
            let known = self.pod.status.clone().unwrap_or_default();
            if !is_terminal(known.phase.as_deref()) {
                (status.phase, status.reason, status.message) = (known.phase, known.reason, known.message);
            }
        }
        self.agent.statuses.publish(&self.pod, status);
    }

    /// Conditions of a pod that has just reached its final phase.
    pub(super) fn redo_conditions(&mut self, view: &PodView) {
        let statuses: Vec<_> = self
            .status
            .container_statuses
            .iter()
            .flatten()
            .chain(self.status.init_container_statuses.iter().flatten())
            .cloned()
            .collect();
        let phase = self.status.phase.clone().unwrap_or_default();
        let old = self.status.conditions.clone().unwrap_or_default();
        let now = status::seconds(Timestamp::now());
        self.status.conditions = Some(conditions::all(&self.pod, view, &statuses, &phase, &old, &now));
    }
}
