//! What a controller has done and its informer has not shown yet: until then the informer's view is not to
//! be trusted (upstream `ControllerExpectations`).

use kaji_client::ObjectKey;
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::time::Instant;

/// After this long the informer is believed again.
const PATIENCE: Duration = Duration::from_secs(300);

/// Pending creations (a count) and deletions (uids) by owner.
#[derive(Default)]
pub(crate) struct Expectations(Mutex<HashMap<ObjectKey, Pending>>);

struct Pending {
    creations: usize,
    deletions: HashSet<String>,
    since: Instant,
}

impl Expectations {
    /// Whether all that was done has been seen.
    pub(crate) fn satisfied(&self, owner: &ObjectKey) -> bool {
        self.0
            .lock()
            .get(owner)
            .is_none_or(|p| p.creations == 0 && p.deletions.is_empty() || p.since.elapsed() > PATIENCE)
    }

    /// So many creations and these deletions are about to be done.
    pub(crate) fn expect(&self, owner: &ObjectKey, creations: usize, deletions: impl IntoIterator<Item = String>) {
        let pending = Pending { creations, deletions: deletions.into_iter().collect(), since: Instant::now() };
        self.0.lock().insert(owner.clone(), pending);
    }

    /// A creation was seen, or failed.
    pub(crate) fn created(&self, owner: &ObjectKey) {
        if let Some(pending) = self.0.lock().get_mut(owner) {
            pending.creations = pending.creations.saturating_sub(1);
        }
    }

    /// A deletion was seen (its beginning counts), or failed.
    pub(crate) fn deleted(&self, owner: &ObjectKey, uid: &str) {
        if let Some(pending) = self.0.lock().get_mut(owner) {
            pending.deletions.remove(uid);
        }
    }

    /// The owner is gone.
    pub(crate) fn forget(&self, owner: &ObjectKey) {
        self.0.lock().remove(owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_view_is_trusted_once_everything_was_seen() {
        let expectations = Expectations::default();
        let owner = ObjectKey::new("n", "web");
        expectations.expect(&owner, 1, ["u".to_owned()]);
        expectations.created(&owner);
        assert!(!expectations.satisfied(&owner));
        expectations.deleted(&owner, "u");
        assert!(expectations.satisfied(&owner));
    }
}
