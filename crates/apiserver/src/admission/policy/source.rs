//! Policies and bindings as they are now, compiled when they change.

use super::frame::{Binding, Compiled};
use crate::authz::objects::{Change, Feed, News, Objects};
use crate::server::Api;
use kaji_api::Value;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// A policy and its bindings, by name.
pub(super) struct Bound<P> {
    pub(super) policy: Arc<P>,
    pub(super) bindings: Vec<Arc<Binding>>,
}

/// All policies of a kind that are bound, by name.
pub(super) type Policies<P> = Arc<[Bound<P>]>;

/// Follows one kind of policy and its bindings.
pub(super) struct Source<P> {
    policies: &'static str,
    bindings: &'static str,
    followed: OnceLock<RwLock<Followed<P>>>,
}

struct Followed<P> {
    policies: Kind<P>,
    bindings: Kind<Binding>,
    bound: Policies<P>,
}

/// Objects of one kind.
struct Kind<T> {
    feed: Box<dyn Feed>,
    by_name: BTreeMap<String, Arc<T>>,
    compile: fn(&Value) -> T,
}

impl<P: Compiled> Source<P> {
    pub(super) fn new(policies: &'static str, bindings: &'static str) -> Self {
        Source { policies, bindings, followed: OnceLock::new() }
    }

    /// The policies now; cheap where nothing has changed.
    pub(super) fn policies(&self, api: &Api) -> Policies<P> {
        let followed = self.followed.get_or_init(|| RwLock::new(self.follow(api)));
        {
            let now = followed.read();
            if !now.policies.feed.has_news() && !now.bindings.feed.has_news() {
                return now.bound.clone();
            }
        }
        followed.write().catch_up()
    }

    fn follow(&self, api: &Api) -> Followed<P> {
        Followed {
            policies: Kind::new(api, self.policies, P::compile),
            bindings: Kind::new(api, self.bindings, Binding::compile),
            bound: Arc::from([]),
        }
    }
}

impl<P> Followed<P> {
    fn catch_up(&mut self) -> Policies<P> {
        // Somebody else may have been first.
        if self.policies.catch_up() | self.bindings.catch_up() {
            let bound = |(name, policy): (&String, &Arc<P>)| {
                let bindings = self.bindings.by_name.values().filter(|b| b.policy == *name);
                let bindings: Vec<Arc<Binding>> = bindings.cloned().collect();
                (!bindings.is_empty()).then(|| Bound { policy: policy.clone(), bindings })
            };
            self.bound = self.policies.by_name.iter().filter_map(bound).collect();
        }
        self.bound.clone()
    }
}

impl<T> Kind<T> {
    fn new(api: &Api, plural: &str, compile: fn(&Value) -> T) -> Self {
        let row = kaji_api::resource::find("admissionregistration.k8s.io", "v1", plural);
        let row = row.expect("policies are built in");
        Kind { feed: api.caches().follow(row.prefix), by_name: BTreeMap::new(), compile }
    }

    /// Whether anything has changed.
    fn catch_up(&mut self) -> bool {
        if !self.feed.has_news() {
            return false;
        }
        let changes = match self.feed.news() {
            News::All(changes) => {
                self.by_name.clear();
                changes
            }
            News::Changes(changes) => changes,
        };
        changes.into_iter().for_each(|change| self.apply(change));
        true
    }

    fn apply(&mut self, change: Change) {
        match change.object {
            None => drop(self.by_name.remove(&change.name)),
            Some(object) => {
                let compiled = (self.compile)(&object.value());
                self.by_name.insert(change.name, Arc::new(compiled));
            }
        }
    }
}
