//! Aggregation: groups and versions that other API servers answer, as `APIService` objects register them
//! (upstream `kube-aggregator`).
//!
//! [`service`] is one registration, compiled; [`Aggregation`] the registrations as they are now, and what is known
//! of the servers behind them. A request whose path a remote registration names is passed on by [`proxy`] with the
//! identity of its user; [`watcher`] asks every server whether it is there ([`availability`]), writes the answer
//! into the registration's status, and keeps its discovery documents ([`discovery`]).
//!
//! Authentication, impersonation and authorization happen here first, so a remote group behaves like a local one.

mod availability;
pub(crate) mod discovery;
mod metrics;
mod openapi;
pub(crate) mod proxy;
pub(crate) mod register;
mod service;
mod watcher;

pub(crate) use service::Service;
pub(crate) use watcher::run;

use crate::authz::objects::{Change, Feed, News, Objects};
use crate::context::RequestInfo;
use crate::server::Api;
use discovery::Documents;
use kaji_api::GroupResource;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The resource of registrations.
pub(crate) const API_SERVICES: GroupResource = GroupResource::of("apiregistration.k8s.io", "apiservices");

/// The registrations now.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// By the object's name: `VERSION.GROUP`.
    pub(crate) services: BTreeMap<String, Arc<Service>>,
    /// Whether any is answered by others.
    pub(crate) has_remote: bool,
}

impl Snapshot {
    /// The registration of a group and version.
    pub(crate) fn get(&self, group: &str, version: &str) -> Option<&Arc<Service>> {
        self.services.get(&format!("{version}.{group}"))
    }

    /// Those that others answer.
    pub(crate) fn remote(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values().filter(|service| service.remote.is_some())
    }
}

/// The registrations, and what is known of the servers behind them.
#[derive(Default)]
pub(crate) struct Aggregation {
    followed: OnceLock<RwLock<Followed>>,
    /// What remote servers serve.
    pub(crate) documents: Documents,
    /// What they add to OpenAPI.
    pub(crate) openapi: openapi::Parts,
    /// Numbers of the servers' availability.
    pub(crate) metrics: metrics::Metrics,
}

struct Followed {
    feed: Box<dyn Feed>,
    now: Arc<Snapshot>,
}

impl Aggregation {
    /// The registrations now; cheap where nothing has changed.
    pub(crate) fn snapshot(&self, api: &Api) -> Arc<Snapshot> {
        let followed = self.followed.get_or_init(|| {
            let row = kaji_api::resource::find("apiregistration.k8s.io", "v1", "apiservices");
            let prefix = row.map_or("apiregistration.k8s.io/apiservices", |row| row.prefix);
            RwLock::new(Followed { feed: api.caches().follow(prefix), now: Arc::default() })
        });
        {
            let followed = followed.read();
            if !followed.feed.has_news() {
                return followed.now.clone();
            }
        }
        let mut followed = followed.write();
        if followed.feed.has_news() {
            let before = followed.now.clone();
            followed.now = Arc::new(catch_up(api, &before, followed.feed.news()));
        }
        followed.now.clone()
    }

    /// Who answers a path instead of this server, if anybody.
    pub(crate) fn remote(&self, api: &Api, path: &str) -> Option<Arc<Service>> {
        let snapshot = self.snapshot(api);
        if !snapshot.has_remote {
            return None;
        }
        let (group, version) = group_version(path)?;
        let service = snapshot.get(group, version)?;
        service.remote.is_some().then(|| service.clone())
    }
}

/// The group and version that a path belongs to; all of `/api` is one. Its OpenAPI document belongs to it, too.
fn group_version(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix("/openapi/v3/").unwrap_or(path);
    let mut parts = path.trim_start_matches('/').split('/');
    match parts.next()? {
        "api" => Some(("", "v1")),
        "apis" => Some((parts.next().filter(|g| !g.is_empty())?, parts.next().filter(|v| !v.is_empty())?)),
        _ => None,
    }
}

fn catch_up(api: &Api, before: &Snapshot, news: News) -> Snapshot {
    let (mut services, changes) = match news {
        News::All(changes) => (BTreeMap::new(), changes),
        News::Changes(changes) => (before.services.clone(), changes),
    };
    for Change { name, object, .. } in changes {
        match object {
            None => drop(services.remove(&name)),
            Some(object) => {
                let old = before.services.get(&name);
                services.insert(name, Arc::new(Service::compile(api, &object.value(), old.map(AsRef::as_ref))));
            }
        }
    }
    let has_remote = services.values().any(|service| service.remote.is_some());
    Snapshot { services, has_remote }
}

/// Whether a request asks what a group version serves: such answers are waited for only shortly.
pub(crate) fn is_discovery(info: &RequestInfo) -> bool {
    !info.is_resource && info.path.trim_matches('/').split('/').count() == 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_belong_to_registrations() {
        for (path, expected) in [
            ("/apis/a.b/v1/things", Some(("a.b", "v1"))),
            ("/apis/a.b/v1", Some(("a.b", "v1"))),
            ("/apis/a.b/v1/", Some(("a.b", "v1"))),
            ("/apis/a.b", None),
            ("/apis/a.b/", None),
            ("/apis", None),
            ("/api/v1/pods", Some(("", "v1"))),
            ("/openapi/v3/apis/a.b/v1", Some(("a.b", "v1"))),
            ("/openapi/v3", None),
            ("/healthz", None),
            ("/", None),
        ] {
            assert_eq!(group_version(path), expected, "{path}");
        }
    }
}
