//! How many watches a write will have to be told to (apiserver `util/flowcontrol/watch_tracker.go`).

use crate::context::RequestInfo;
use crate::registry::options::Query;
use kaji_api::selector::FieldSelector;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

/// Counts of watches. Scopes are kept by their hashes: a collision, should there ever be one, only makes an
/// estimate worse.
#[derive(Default)]
pub(crate) struct Watches {
    hasher: RandomState,
    counts: Mutex<HashMap<u64, usize>>,
}

/// Counts as one watch until dropped.
pub(crate) struct Registered {
    watches: Arc<Watches>,
    scope: Option<u64>,
}

impl Watches {
    /// A watch begins.
    pub(crate) fn register(self: &Arc<Self>, info: &RequestInfo) -> Registered {
        // Watches of one node's pods are told only of these.
        let narrow = info.resource == "pods" && names_a_node(&info.query);
        let scope = (!narrow).then(|| self.scope(info, &info.namespace, &info.name));
        if let Some(scope) = scope {
            *self.counts.lock().entry(scope).or_default() += 1;
        }
        Registered { watches: self.clone(), scope }
    }

    /// The watches that may be interested in what a request writes.
    pub(crate) fn interested(&self, info: &RequestInfo) -> usize {
        let mut scopes = [Some(self.scope(info, "", "")), None, None];
        if !info.namespace.is_empty() {
            scopes[1] = Some(self.scope(info, &info.namespace, ""));
        }
        if !info.name.is_empty() {
            scopes[2] = Some(self.scope(info, &info.namespace, &info.name));
        }
        let counts = self.counts.lock();
        scopes.into_iter().flatten().filter_map(|scope| counts.get(&scope)).sum()
    }

    fn scope(&self, info: &RequestInfo, namespace: &str, name: &str) -> u64 {
        self.hasher.hash_one((info.group.as_str(), info.resource.as_str(), namespace, name))
    }
}

fn names_a_node(query: &str) -> bool {
    if !query.contains("fieldSelector") {
        return false;
    }
    let fields = FieldSelector::parse(Query::parse(query).get("fieldSelector"));
    let node = |(field, equal, value): &(String, bool, String)| *equal && field == "spec.nodeName" && !value.is_empty();
    fields.is_ok_and(|fields| fields.terms.iter().any(node))
}

impl Drop for Registered {
    fn drop(&mut self) {
        let Some(scope) = self.scope else { return };
        let mut counts = self.watches.counts.lock();
        if let Some(count) = counts.get_mut(&scope) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&scope);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(namespace: &str, name: &str, query: &str) -> RequestInfo {
        let (resource, query) = ("pods".to_owned(), query.to_owned());
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        RequestInfo { is_resource: true, resource, namespace, name, query, ..RequestInfo::default() }
    }

    #[test]
    fn writes_interest_watches_around_them() {
        let watches = Arc::new(Watches::default());
        let all = watches.register(&of("", "", "watch=1"));
        let _here = watches.register(&of("a", "", "watch=1"));
        let _this = watches.register(&of("a", "p", "fieldSelector=metadata.name%3Dp"));
        let _node = watches.register(&of("", "", "fieldSelector=spec.nodeName%3Dn1"));
        let _unbound = watches.register(&of("", "", "fieldSelector=spec.nodeName%3D"));
        assert_eq!(watches.interested(&of("a", "p", "")), 4);
        assert_eq!(watches.interested(&of("a", "", "")), 3);
        assert_eq!(watches.interested(&of("b", "p", "")), 2);
        drop(all);
        assert_eq!(watches.interested(&of("b", "p", "")), 1);
        assert_eq!(watches.counts.lock().len(), 3);
    }
}
