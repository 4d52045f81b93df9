//! How endpoints are laid out over slices: with as few changes of slices as can be.

use k8s_openapi::api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Endpoints with the same ports and kind of address.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) address_type: &'static str,
    pub(crate) ports: Vec<EndpointPort>,
    pub(crate) endpoints: Vec<Endpoint>,
}

#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) create: Vec<EndpointSlice>,
    pub(crate) update: Vec<EndpointSlice>,
    pub(crate) delete: Vec<Arc<EndpointSlice>>,
}

/// What all slices of one owner look like.
pub(crate) struct Shape<'a> {
    /// A new slice without endpoints.
    pub(crate) make: &'a dyn Fn(&'static str, Vec<EndpointPort>) -> EndpointSlice,
    /// The labels they must have.
    pub(crate) labels: &'a BTreeMap<String, String>,
    pub(crate) max: usize,
}

type Identity = (Vec<String>, Option<String>, Option<String>, Option<String>, Option<String>);

/// What makes two endpoints the same one, however it fares.
fn identity(endpoint: &Endpoint) -> Identity {
    let target = endpoint.target_ref.as_ref();
    let (namespace, name) = target.map(|t| (t.namespace.clone(), t.name.clone())).unwrap_or_default();
    (endpoint.addresses.clone(), endpoint.hostname.clone(), endpoint.node_name.clone(), namespace, name)
}

/// A slice's endpoints.
fn endpoints(slice: &EndpointSlice) -> &[Endpoint] {
    slice.endpoints.as_deref().unwrap_or_default()
}

/// Ports in an order that doesn't matter.
pub(crate) fn port_key(ports: &[EndpointPort]) -> Vec<(Option<String>, Option<String>, Option<i32>, Option<String>)> {
    let part = |p: &EndpointPort| (p.name.clone(), p.protocol.clone(), p.port, p.app_protocol.clone());
    let mut key: Vec<_> = ports.iter().map(part).collect();
    key.sort();
    key
}

/// Decides which slices to make, change and delete, so that they hold the groups.
pub(crate) fn plan(groups: Vec<Group>, existing: &[Arc<EndpointSlice>], shape: &Shape<'_>) -> Changes {
    let mut changes = Changes::default();
    let mut left = existing.to_vec();
    for group in groups {
        let key = port_key(&group.ports);
        let fits = |slice: &Arc<EndpointSlice>| {
            slice.address_type == group.address_type && port_key(slice.ports.as_deref().unwrap_or_default()) == key
        };
        let (same, others) = left.into_iter().partition(fits);
        left = others;
        lay_out(group, same, shape, &mut changes);
    }
    changes.delete.extend(left);
    reuse(&mut changes);
    changes
}

/// A slice on its way to what it shall be.
struct Draft {
    slice: EndpointSlice,
    before: Option<Arc<EndpointSlice>>,
    changed: bool,
}

fn lay_out(group: Group, same: Vec<Arc<EndpointSlice>>, shape: &Shape<'_>, changes: &mut Changes) {
    let mut wanted: BTreeMap<Identity, Endpoint> = group.endpoints.into_iter().map(|e| (identity(&e), e)).collect();
    let mut drafts: Vec<Draft> = same.into_iter().map(|slice| keep(slice, &mut wanted, shape)).collect();
    drafts.retain_mut(|draft| {
        let emptied = draft.changed && endpoints(&draft.slice).is_empty();
        if emptied {
            changes.delete.extend(draft.before.take());
        }
        !emptied
    });
    let mut rest: Vec<Endpoint> = wanted.into_values().collect();
    fill_changed(&mut drafts, &mut rest, shape.max);
    while !rest.is_empty() {
        let draft = match room_in_unchanged(&mut drafts, rest.len(), shape.max) {
            Some(draft) => draft,
            None => {
                let slice = (shape.make)(group.address_type, group.ports.clone());
                drafts.push(Draft { slice, before: None, changed: true });
                drafts.last_mut().expect("one was pushed just now")
            }
        };
        draft.changed = true;
        let room = shape.max.saturating_sub(endpoints(&draft.slice).len()).max(1).min(rest.len());
        draft.slice.endpoints.get_or_insert_default().extend(rest.drain(..room));
    }
    for draft in drafts.into_iter().filter(|d| d.changed) {
        match draft.before {
            Some(_) => changes.update.push(draft.slice),
            None => changes.create.push(draft.slice),
        }
    }
}

/// Keeps in a slice what is still wanted there, as it is now.
fn keep(slice: Arc<EndpointSlice>, wanted: &mut BTreeMap<Identity, Endpoint>, shape: &Shape<'_>) -> Draft {
    let mut after = EndpointSlice::clone(&slice);
    if let Some(endpoints) = &mut after.endpoints {
        *endpoints = endpoints.iter().filter_map(|e| wanted.remove(&identity(e))).collect();
    }
    after.metadata.labels = Some(shape.labels.clone());
    let changed = after != *slice;
    Draft { slice: after, before: Some(slice), changed }
}

/// Slices that are written anyway take what they can, the fullest first.
fn fill_changed(drafts: &mut [Draft], rest: &mut Vec<Endpoint>, max: usize) {
    let mut changed: Vec<&mut Draft> = drafts.iter_mut().filter(|d| d.changed).collect();
    changed.sort_by_key(|d| std::cmp::Reverse(endpoints(&d.slice).len()));
    for draft in changed {
        let room = max.saturating_sub(endpoints(&draft.slice).len()).min(rest.len());
        draft.slice.endpoints.get_or_insert_default().extend(rest.drain(..room));
    }
}

/// The slice that would be fullest with all that is left.
fn room_in_unchanged(drafts: &mut [Draft], count: usize, max: usize) -> Option<&mut Draft> {
    let fits = |d: &&mut Draft| !d.changed && count < max && endpoints(&d.slice).len() + count <= max;
    drafts.iter_mut().filter(fits).max_by_key(|d| endpoints(&d.slice).len())
}

/// A slice to delete becomes one to make: one write instead of two.
fn reuse(changes: &mut Changes) {
    let mut kept = Vec::new();
    for doomed in std::mem::take(&mut changes.delete) {
        match changes.create.iter().position(|new| new.address_type == doomed.address_type) {
            Some(at) => {
                let mut new = changes.create.remove(at);
                new.metadata.name = doomed.metadata.name.clone();
                new.metadata.generate_name = doomed.metadata.generate_name.clone();
                new.metadata.resource_version = doomed.metadata.resource_version.clone();
                new.metadata.uid = doomed.metadata.uid.clone();
                changes.update.push(new);
            }
            None => kept.push(doomed),
        }
    }
    changes.delete = kept;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(ip: &str) -> Endpoint {
        Endpoint { addresses: vec![ip.to_owned()], ..Endpoint::default() }
    }

    fn port(number: i32) -> EndpointPort {
        EndpointPort { port: Some(number), ..EndpointPort::default() }
    }

    fn slice(name: &str, number: i32, ips: &[&str]) -> Arc<EndpointSlice> {
        let mut slice = make("IPv4", vec![port(number)]);
        slice.metadata.name = Some(name.to_owned());
        slice.endpoints = Some(ips.iter().map(|ip| endpoint(ip)).collect());
        Arc::new(slice)
    }

    fn make(address_type: &'static str, ports: Vec<EndpointPort>) -> EndpointSlice {
        let mut slice =
            EndpointSlice { address_type: address_type.to_owned(), ports: Some(ports), ..EndpointSlice::default() };
        slice.metadata.labels = Some(BTreeMap::new());
        slice
    }

    /// What a plan comes to: `+` made, `~` changed, `-` deleted, with the addresses.
    fn decide(wanted: &[&str], number: i32, existing: &[Arc<EndpointSlice>]) -> Vec<String> {
        let endpoints = wanted.iter().map(|ip| endpoint(ip)).collect();
        let group = Group { address_type: "IPv4", ports: vec![port(number)], endpoints };
        let labels = BTreeMap::new();
        let changes = plan(vec![group], existing, &Shape { make: &make, labels: &labels, max: 3 });
        let ips = |s: &EndpointSlice| {
            super::endpoints(s).iter().flat_map(|e| e.addresses.clone()).collect::<Vec<_>>().join(",")
        };
        let name = |s: &EndpointSlice| s.metadata.name.clone().unwrap_or_default();
        let mut told: Vec<String> = changes.create.iter().map(|s| format!("+{}", ips(s))).collect();
        told.extend(changes.update.iter().map(|s| format!("~{} {}", name(s), ips(s))));
        told.extend(changes.delete.iter().map(|s| format!("-{}", name(s))));
        told
    }

    #[test]
    fn few_slices_change() {
        let none: [&str; 0] = [];
        assert_eq!(decide(&["1", "2", "3", "4"], 80, &[]), ["+1,2,3", "+4"]);
        assert_eq!(decide(&["1", "2"], 80, &[slice("a", 80, &["1", "2"])]), none);
        assert_eq!(decide(&["1", "3"], 80, &[slice("a", 80, &["1", "2"])]), ["~a 1,3"]);
        // The unchanged slice with the least room that suffices takes it.
        let two = [slice("a", 80, &["1"]), slice("b", 80, &["2", "3"])];
        assert_eq!(decide(&["1", "2", "3", "4"], 80, &two), ["~b 2,3,4"]);
        assert_eq!(decide(&["1"], 80, &two), ["-b"]);
        // Other ports: the old slice becomes the new one.
        assert_eq!(decide(&["1"], 81, &[slice("a", 80, &["1"])]), ["~a 1"]);
    }
}
