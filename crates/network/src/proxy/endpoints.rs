//! Which endpoints a service port uses from this node: readiness, termination, locality, topology hints.

use super::service::ServicePort;
use crate::nftables::Family;
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// An endpoint of one service port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Takes new connections.
    pub ready: bool,
    /// Would be ready, were it not terminating.
    pub serving: bool,
    /// On its way out.
    pub terminating: bool,
    /// On this node.
    pub local: bool,
    /// Hinted for this node; none: no node hints at all.
    pub for_node: Option<bool>,
    /// Hinted for this node's zone; none: no zone hints at all.
    pub for_zone: Option<bool>,
}

impl Endpoint {
    fn draining(&self) -> bool {
        self.serving && self.terminating
    }
}

/// The place of this node, as far as endpoints care.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Name of the node.
    pub node: String,
    /// Its `topology.kubernetes.io/zone`.
    pub zone: String,
}

/// The endpoints a service port uses from here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usable {
    /// For traffic policy `Cluster`.
    pub cluster: Vec<SocketAddr>,
    /// For traffic policy `Local`.
    pub local: Vec<SocketAddr>,
    /// Those of both lists that are on this node.
    pub here: Vec<SocketAddr>,
    /// Whether there is a usable endpoint anywhere.
    pub any: bool,
}

impl Usable {
    /// Both lists as one.
    pub fn all(&self) -> Vec<SocketAddr> {
        let mut all: Vec<SocketAddr> = self.cluster.iter().chain(&self.local).copied().collect();
        all.sort();
        all.dedup();
        all
    }
}

/// The endpoints of a service port in its slices, by address; duplicates count once, live ones before dying ones.
pub fn of_port(port: &ServicePort, slices: &[&EndpointSlice], family: Family, place: &Place) -> Vec<Endpoint> {
    let kind = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    let mut found: BTreeMap<SocketAddr, Endpoint> = BTreeMap::new();
    for slice in slices.iter().filter(|s| s.address_type == kind) {
        for number in ports_named(slice, port) {
            for endpoint in slice.endpoints.iter().flatten().filter_map(|e| endpoint(e, number, place)) {
                if !found.contains_key(&endpoint.address) || !endpoint.terminating {
                    found.insert(endpoint.address, endpoint);
                }
            }
        }
    }
    found.into_values().collect()
}

fn ports_named(slice: &EndpointSlice, port: &ServicePort) -> Vec<u16> {
    let matching = slice.ports.iter().flatten().filter(|p| {
        p.name.as_deref().unwrap_or_default() == port.port_name
            && super::service::protocol(p.protocol.as_deref()) == Some(port.protocol)
    });
    matching.filter_map(|p| p.port.and_then(|n| u16::try_from(n).ok())).filter(|n| *n != 0).collect()
}

fn endpoint(endpoint: &SliceEndpoint, port: u16, place: &Place) -> Option<Endpoint> {
    let address = endpoint.addresses.first()?.parse().ok()?;
    let conditions = endpoint.conditions.clone().unwrap_or_default();
    let hints = endpoint.hints.clone().unwrap_or_default();
    let nodes = hints.for_nodes.filter(|all| !all.is_empty());
    let zones = hints.for_zones.filter(|all| !all.is_empty());
    Some(Endpoint {
        address: SocketAddr::new(address, port),
        ready: conditions.ready.unwrap_or(true),
        serving: conditions.serving.unwrap_or(true),
        terminating: conditions.terminating.unwrap_or(false),
        local: endpoint.node_name.as_deref() == Some(place.node.as_str()) && !place.node.is_empty(),
        for_node: nodes.map(|all| all.iter().any(|n| n.name == place.node)),
        for_zone: zones.map(|all| all.iter().any(|z| z.name == place.zone)),
    })
}

/// Sorts endpoints into those the port uses: ready ones, and where there is none, those that still serve while
/// terminating; for `Cluster` and `Local` each on its own (upstream's `CategorizeEndpoints`).
pub fn usable(port: &ServicePort, endpoints: &[Endpoint]) -> Usable {
    let mut usable = Usable::default();
    let mut here = Vec::new();
    if port.uses_cluster_endpoints() {
        let near = nearness(endpoints);
        let chosen = or_draining(endpoints, near);
        usable.any = !chosen.is_empty();
        here.extend(chosen.iter().filter(|e| e.local).map(|e| e.address));
        usable.cluster = chosen.iter().map(|e| e.address).collect();
    }
    if port.uses_local_endpoints() {
        usable.any |= endpoints.iter().any(|e| e.ready || e.draining());
        let local: Vec<Endpoint> = endpoints.iter().filter(|e| e.local).cloned().collect();
        usable.local = or_draining(&local, |_| true).iter().map(|e| e.address).collect();
        here.extend(&usable.local);
    }
    here.sort();
    here.dedup();
    usable.here = here;
    usable
}

fn or_draining(endpoints: &[Endpoint], near: impl Fn(&Endpoint) -> bool) -> Vec<&Endpoint> {
    let ready: Vec<&Endpoint> = endpoints.iter().filter(|e| e.ready && near(e)).collect();
    if ready.is_empty() { endpoints.iter().filter(|e| e.draining()).collect() } else { ready }
}

/// Hints count only when every ready endpoint has them and one is meant for us: node hints before zone hints.
fn nearness(endpoints: &[Endpoint]) -> fn(&Endpoint) -> bool {
    let ready = || endpoints.iter().filter(|e| e.ready);
    let complete = |hint: fn(&Endpoint) -> Option<bool>| {
        ready().all(|e| hint(e).is_some()) && ready().any(|e| hint(e) == Some(true))
    };
    if complete(|e| e.for_node) {
        |e| e.for_node == Some(true)
    } else if complete(|e| e.for_zone) {
        |e| e.for_zone == Some(true)
    } else {
        |_| true
    }
}
