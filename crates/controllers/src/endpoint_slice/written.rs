//! Slices as we wrote them last: while the informer shows older ones, planning on it would repeat the writes.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kaji_client::ObjectKey;
use kaji_client::informer::Informer;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// After this a slice that never showed up counts as gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// The generation that was written (none: deleted), and when.
type Mark = (Option<i64>, Instant);

#[derive(Default)]
pub(crate) struct Written {
    by_owner: Mutex<HashMap<ObjectKey, HashMap<String, Mark>>>,
}

impl Written {
    /// Forgets slices that are gone.
    pub(crate) fn over(slices: &Informer<EndpointSlice>, owner: fn(&EndpointSlice) -> Option<ObjectKey>) -> Arc<Self> {
        let written = Arc::new(Written::default());
        let seen = written.clone();
        slices.on_change(move |change| {
            let (Some(old), None) = (&change.old, &change.new) else { return };
            let Some(owner) = owner(old) else { return };
            if let Some(marks) = seen.by_owner.lock().get_mut(&owner) {
                marks.remove(old.metadata.uid.as_deref().unwrap_or_default());
            }
        });
        written
    }

    pub(crate) fn wrote(&self, owner: &ObjectKey, slice: &EndpointSlice) {
        let generation = slice.metadata.generation.unwrap_or_default();
        self.mark(owner, slice, Some(generation));
    }

    pub(crate) fn deleted(&self, owner: &ObjectKey, slice: &EndpointSlice) {
        self.mark(owner, slice, None);
    }

    fn mark(&self, owner: &ObjectKey, slice: &EndpointSlice, generation: Option<i64>) {
        let uid = slice.metadata.uid.clone().unwrap_or_default();
        self.by_owner.lock().entry(owner.clone()).or_default().insert(uid, (generation, Instant::now()));
    }

    /// Whether the slices show everything that was written; what they show is forgotten.
    pub(crate) fn are_shown(&self, owner: &ObjectKey, slices: &[Arc<EndpointSlice>]) -> bool {
        let mut by_owner = self.by_owner.lock();
        let Some(marks) = by_owner.get_mut(owner) else { return true };
        let shown = |uid: &String| slices.iter().find(|s| s.metadata.uid.as_ref() == Some(uid));
        marks.retain(|uid, (generation, at)| {
            let waits = match (*generation, shown(uid)) {
                (None, slice) => slice.is_some(),
                (Some(_), None) => true,
                (Some(generation), Some(slice)) => slice.metadata.generation.unwrap_or_default() < generation,
            };
            waits && at.elapsed() < PATIENCE
        });
        let all = marks.is_empty();
        if all {
            by_owner.remove(owner);
        }
        all
    }
}
