//! From services to rules, without touching anything.
//!
//! The layout is upstream's nftables proxier's: base chains on the hooks, maps from addresses and ports to a chain
//! per service port and policy, a verdict map for services without endpoints. What differs:
//!
//! - node ports answer on 127.0.0.1 too, where the bridge lets such packets out ([`Node::localhost_node_ports`]);
//! - the cluster DNS address is left alone, since it is answered on the node;
//! - pods get masquerading to the outside and host ports here, as their CNI configuration has no `portmap`;
//! - without `br_netfilter`, connections between pods of one bridge are masqueraded, because their replies would
//!   otherwise go from pod to pod past the address rewriting.

mod base;
mod host_ports;
mod names;
mod services;

pub use base::base;
pub use host_ports::{Published, host_ports, published, udp_host_ports};
pub use names::{MASQUERADE_MARK, SETS};
pub use services::{health_check, service, udp_fronts};

use super::endpoints::Place;
use crate::nftables::{Chain, Key, Rule, SetKind, Value};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// What of this node matters for the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its name and zone.
    pub place: Place,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Pod networks of the whole cluster; what comes from one counts as local traffic.
    pub cluster_cidrs: Vec<IpNet>,
    /// Service networks; packets to unallocated addresses in them are dropped.
    pub service_cidrs: Vec<IpNet>,
    /// The pods' bridge.
    pub bridge: Option<String>,
    /// Networks of this host's addresses that answer node ports; empty: all.
    pub node_port_addresses: Vec<IpNet>,
    /// Cluster DNS addresses that this node answers itself.
    pub cluster_dns: Vec<IpAddr>,
    /// Masquerade everything that goes to cluster IPs.
    pub masquerade_all: bool,
    /// Masquerade what pods send out of the cluster.
    pub masquerade_pods: bool,
    /// Node ports answer on 127.0.0.1; needs `route_localnet` on the bridge.
    pub localhost_node_ports: bool,
    /// Bridged packets pass netfilter (`br_netfilter`).
    pub bridge_filter: bool,
}

/// The rules that one object asks for in one family's table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Chains by name; names of different objects differ.
    pub chains: BTreeMap<String, Chain>,
    /// Sets of its own.
    pub sets: BTreeMap<String, SetKind>,
    /// Elements in sets of the table; several objects may want the same one.
    pub elements: BTreeMap<(&'static str, Key), Value>,
}

impl Fragment {
    fn element(&mut self, set: &'static str, key: Key, value: Value) {
        self.elements.entry((set, key)).or_insert(value);
    }

    fn chain(&mut self, name: &str) -> &mut Chain {
        self.chains.entry(name.to_owned()).or_default()
    }

    fn rule(&mut self, chain: &str, rule: Rule) {
        self.chain(chain).rules.push(rule);
    }
}

/// Where a client sends UDP datagrams that connection tracking remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Front {
    /// An address and port.
    Address(SocketAddr),
    /// A port on every address of the host.
    Port(u16),
}
