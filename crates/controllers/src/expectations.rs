//! What a controller has done and not seen yet: until its informer shows it, it must not act on that informer.
//!
//! Kept by the owner's uid. An expectation that is not met within five minutes is forgotten, as upstream does.

use kaji_client::informer::{Change, Informer, Kind};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Default)]
pub(crate) struct Expectations {
    by_owner: Mutex<HashMap<String, Pending>>,
}

struct Pending {
    creations: usize,
    deletions: HashSet<String>,
    since: Instant,
}

impl Expectations {
    /// Expectations that an informer's changes meet. To be made before the handlers that put keys into queues.
    pub(crate) fn over<K: Kind>(informer: &Informer<K>) -> Arc<Self> {
        let expected = Arc::new(Expectations::default());
        let seen = expected.clone();
        informer.on_change(move |change| seen.observe(change));
        expected
    }

    fn observe<K: Kind>(&self, change: &Change<K>) {
        let Some(object) = change.new.as_ref().or(change.old.as_ref()) else { return };
        let meta = object.meta();
        let owner = meta.owner_references.iter().flatten().find(|o| o.controller == Some(true));
        let Some(owner) = owner else { return };
        if change.old.is_none() {
            self.created(&owner.uid);
        }
        if change.new.is_none() || meta.deletion_timestamp.is_some() {
            self.deleted(&owner.uid, meta.uid.as_deref().unwrap_or_default());
        }
    }

    pub(crate) fn expect_creations(&self, owner: &str, count: usize) {
        self.change(owner, |pending| pending.creations += count);
    }

    pub(crate) fn expect_deletions<'a>(&self, owner: &str, uids: impl IntoIterator<Item = &'a str>) {
        self.change(owner, |pending| pending.deletions.extend(uids.into_iter().map(str::to_owned)));
    }

    fn change(&self, owner: &str, change: impl FnOnce(&mut Pending)) {
        let mut by_owner = self.by_owner.lock();
        let new = || Pending { creations: 0, deletions: HashSet::new(), since: Instant::now() };
        let pending = by_owner.entry(owner.to_owned()).or_insert_with(new);
        pending.since = Instant::now();
        change(pending);
    }

    /// One creation has been seen, or will never be.
    pub(crate) fn created(&self, owner: &str) {
        if let Some(pending) = self.by_owner.lock().get_mut(owner) {
            pending.creations = pending.creations.saturating_sub(1);
        }
    }

    /// A deletion has been seen, or will never be.
    pub(crate) fn deleted(&self, owner: &str, uid: &str) {
        if let Some(pending) = self.by_owner.lock().get_mut(owner) {
            pending.deletions.remove(uid);
        }
    }

    /// Whether all that was done has been seen.
    pub(crate) fn are_met(&self, owner: &str) -> bool {
        let mut by_owner = self.by_owner.lock();
        let Some(pending) = by_owner.get(owner) else { return true };
        let met = (pending.creations == 0 && pending.deletions.is_empty()) || pending.since.elapsed() > PATIENCE;
        if met {
            by_owner.remove(owner);
        }
        met
    }

    /// Forgets owners when they are gone.
    pub(crate) fn forget_gone<O: Kind>(self: &Arc<Self>, owners: &Informer<O>) {
        let expected = self.clone();
        owners.on_change(move |change| {
            if let (Some(old), None) = (&change.old, &change.new) {
                expected.by_owner.lock().remove(old.meta().uid.as_deref().unwrap_or_default());
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn they_are_met_when_all_is_seen_or_patience_ends() {
        let expected = Expectations::default();
        assert!(expected.are_met("u"));
        expected.expect_creations("u", 1);
        expected.expect_deletions("u", ["p"]);
        expected.created("u");
        assert!(!expected.are_met("u"));
        expected.deleted("u", "p");
        assert!(expected.are_met("u"));
        expected.expect_creations("u", 1);
        tokio::time::advance(PATIENCE + Duration::from_secs(1)).await;
        assert!(expected.are_met("u"));
    }
}
