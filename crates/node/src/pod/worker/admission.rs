//! Whether a pod may be here at all.

use super::{Again, Stage, Worker};
use crate::pod::status;
use crate::pod::{admission, is_terminal, uid};
use jiff::Timestamp;
use kaji_client::event::EventType;

impl Worker {
    pub(super) async fn admit(&mut self) -> Again {
        if is_terminal(self.status.phase.as_deref()) {
            self.settled = true;
            self.stage = Stage::Ending;
            return None;
        }
        let Some(view) = self.view().await else { return self.retry() };
        if !self.must_end() && view.sandboxes.is_empty() && view.containers.is_empty() {
            let Some(node) = self.agent.node() else { return self.retry() };
            let others = self.agent.admitted_besides(uid(&self.pod));
            if let Err((reason, message)) = admission::admit(&self.pod, &node, &others) {
                self.refuse(&reason, &message);
                return None;
            }
        }
        self.agent.admitted(uid(&self.pod));
        self.stage = if self.must_end() { Stage::Ending } else { Stage::Active };
        None
    }

    fn refuse(&mut self, reason: &str, message: &str) {
        self.event(EventType::Warning, reason, message);
        self.settle(reason, format!("Pod was rejected: {message}"));
        self.publish(false);
    }

    /// Fails the pod for good.
    pub(super) fn settle(&mut self, reason: &str, message: String) {
        self.status.phase = Some("Failed".to_owned());
        self.status.reason = Some(reason.to_owned());
        self.status.message = Some(message);
        self.status.start_time.get_or_insert_with(|| status::seconds(Timestamp::now()));
        self.status.observed_generation = self.pod.metadata.generation;
        self.settled = true;
        self.stage = Stage::Ending;
    }
}
