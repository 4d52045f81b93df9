//! The configurations as they are now, compiled when they change.

use super::GROUP;
use super::credentials::Credentials;
use super::hook::{self, Hook};
use crate::authz::objects::{Change, Feed, News, Objects};
use crate::server::Api;
use arc_swap::ArcSwap;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// All webhooks of one kind, in the order in which they are called.
pub(super) type Hooks = Arc<[Arc<Hook>]>;

/// Follows one kind of configuration.
pub(super) struct Source {
    plural: &'static str,
    /// As whom they are called; replaced as a whole.
    credentials: ArcSwap<Credentials>,
    followed: OnceLock<RwLock<Followed>>,
}

struct Followed {
    feed: Box<dyn Feed>,
    /// What they were compiled with.
    credentials: Arc<Credentials>,
    /// By the configuration's name, which is the order they are called in.
    by_name: BTreeMap<String, Vec<Arc<Hook>>>,
    all: Hooks,
}

impl Source {
    pub(super) fn new(plural: &'static str) -> Self {
        Source { plural, credentials: ArcSwap::default(), followed: OnceLock::new() }
    }

    /// The webhooks now; cheap where nothing has changed.
    pub(super) fn hooks(&self, api: &Api) -> Hooks {
        let followed = self.followed.get_or_init(|| RwLock::new(self.follow(api)));
        {
            let now = followed.read();
            if !now.feed.has_news() && self.is_right(&now) {
                return now.all.clone();
            }
        }
        let mut now = followed.write();
        if !self.is_right(&now) {
            let by_name = std::mem::take(&mut now.by_name);
            *now = Followed { by_name, ..self.follow(api) };
        }
        now.catch_up(api)
    }

    /// Has them called by others from now on.
    pub(super) fn identify(&self, credentials: Credentials) {
        self.credentials.store(Arc::new(credentials));
    }

    fn is_right(&self, now: &Followed) -> bool {
        Arc::ptr_eq(&now.credentials, &self.credentials.load())
    }

    fn follow(&self, api: &Api) -> Followed {
        let row = kaji_api::resource::find(GROUP, "v1", self.plural).expect("configurations are built in");
        Followed {
            feed: api.caches().follow(row.prefix),
            credentials: self.credentials.load_full(),
            by_name: BTreeMap::new(),
            all: Arc::default(),
        }
    }
}

impl Followed {
    fn catch_up(&mut self, api: &Api) -> Hooks {
        // Somebody else may have been first.
        if self.feed.has_news() {
            let old = std::mem::take(&mut self.by_name);
            let changes = match self.feed.news() {
                News::All(changes) => changes,
                News::Changes(changes) => {
                    self.by_name.clone_from(&old);
                    changes
                }
            };
            changes.into_iter().for_each(|change| self.apply(api, change, &old));
            self.all = self.by_name.values().flatten().cloned().collect();
        }
        self.all.clone()
    }

    fn apply(&mut self, api: &Api, change: Change, old: &BTreeMap<String, Vec<Arc<Hook>>>) {
        match change.object {
            None => drop(self.by_name.remove(&change.name)),
            Some(object) => {
                let before = old.get(&change.name).map_or(&[][..], Vec::as_slice);
                let hooks = hook::compile(api, &self.credentials, &object.value(), before);
                self.by_name.insert(change.name, hooks);
            }
        }
    }
}
