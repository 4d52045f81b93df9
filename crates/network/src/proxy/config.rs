//! What the service proxy has to know of its node and its cluster.

use super::endpoints::Place;
use super::{plan, sysctl};
use crate::nftables::Family;
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What the proxy has to know. Upstream's flags are named where they mean the same.
#[derive(Clone, Debug)]
pub struct Config {
    /// Name of the nftables tables, unique on the machine (`kaji-ab12cd`).
    pub table: String,
    /// This node's name (`--hostname-override`).
    pub node_name: String,
    /// This node's addresses, one per family.
    pub node_ips: Vec<IpAddr>,
    /// Pod networks of the cluster (`--cluster-cidr`), by which traffic of pods is told from traffic from outside
    /// (`--detect-local-mode=ClusterCIDR`). Families without one get no table.
    pub cluster_cidrs: Vec<IpNet>,
    /// Service networks. Packets to addresses in them that no service has are dropped.
    pub service_cidrs: Vec<IpNet>,
    /// The bridge that this node's pods hang on; none with another pod network.
    pub bridge: Option<String>,
    /// Cluster DNS addresses that are answered on this node; the service there is left alone. Empty if the DNS runs
    /// as a Deployment.
    pub cluster_dns: Vec<IpAddr>,
    /// `--masquerade-all`.
    pub masquerade_all: bool,
    /// Masquerade what pods send out of the cluster, and publish pods' host ports; false where the pod network's
    /// own plugins do so.
    pub pod_network: bool,
    /// `--nodeport-addresses`. Empty, our default, means all local addresses, and 127.0.0.1 too where the kernel
    /// lets the bridge carry such packets; upstream's nftables mode defaults to `primary` and never has loopback.
    pub node_port_addresses: Vec<IpNet>,
    /// `--nftables-min-sync-period`: changes within it are written together. Upstream's default is 1 s; a batch
    /// here costs only what changed, so 20 ms do.
    pub min_sync_period: Duration,
    /// `--healthz-bind-address`; upstream's port is 10256, port 0 picks one.
    pub healthz_bind_address: Option<SocketAddr>,
    /// `--metrics-bind-address`; upstream's is 127.0.0.1:10249.
    pub metrics_bind_address: Option<SocketAddr>,
}

impl Config {
    /// The usual settings for a node on its own bridge.
    pub fn new(table: &str, node_name: &str) -> Self {
        Self {
            table: table.to_owned(),
            node_name: node_name.to_owned(),
            node_ips: Vec::new(),
            cluster_cidrs: Vec::new(),
            service_cidrs: Vec::new(),
            bridge: None,
            cluster_dns: Vec::new(),
            masquerade_all: false,
            pod_network: true,
            node_port_addresses: Vec::new(),
            min_sync_period: Duration::from_millis(20),
            healthz_bind_address: None,
            metrics_bind_address: None,
        }
    }

    pub(super) fn families(&self) -> Vec<Family> {
        let nets = || self.cluster_cidrs.iter().chain(&self.service_cidrs);
        let mut families = vec![Family::V4];
        if nets().any(|net| Family::V6.has_net(net)) {
            families.push(Family::V6);
        }
        families
    }

    pub(super) fn node(&self, abilities: sysctl::Abilities) -> plan::Node {
        plan::Node {
            place: Place { node: self.node_name.clone(), zone: String::new() },
            addresses: self.node_ips.clone(),
            cluster_cidrs: self.cluster_cidrs.clone(),
            service_cidrs: self.service_cidrs.clone(),
            bridge: self.bridge.clone(),
            node_port_addresses: self.node_port_addresses.clone(),
            cluster_dns: self.cluster_dns.clone(),
            masquerade_all: self.masquerade_all,
            masquerade_pods: self.pod_network,
            localhost_node_ports: abilities.bridge_localnet,
            bridge_filter: abilities.bridge_filter,
        }
    }
}
