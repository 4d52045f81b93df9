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

use super::endpoints::{self, Place, Usable};
use super::service::{self, ServicePort};
use crate::nftables::{
    Chain, ChainType, Family, Hook, HookPoint, Key, Lookup, Protocol, Rule, SetKind, Side, Statement as S, Value,
};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

/// The bit in packet marks that asks for masquerading (upstream's `--iptables-masquerade-bit=14`).
pub const MASQUERADE_MARK: u32 = 1 << 14;

const CLUSTER_IPS: &str = "cluster-ips";
const SERVICE_IPS: &str = "service-ips";
const NODE_PORTS: &str = "service-nodeports";
const NO_ENDPOINT_IPS: &str = "no-endpoint-services";
const NO_ENDPOINT_NODE_PORTS: &str = "no-endpoint-nodeports";
const FIREWALL_IPS: &str = "firewall-ips";
const HAIRPINS: &str = "hairpin-connections";
const HOST_PORTS: &str = "host-ports";
const HOST_PORT_IPS: &str = "host-port-ips";

const SERVICES: &str = "services";
const MASQUERADING: &str = "masquerading";
const CLUSTER_IPS_CHECK: &str = "cluster-ips-check";
const ENDPOINTS_CHECK: &str = "service-endpoints-check";
const NODE_PORT_CHECK: &str = "nodeport-endpoints-check";
const FIREWALL_CHECK: &str = "firewall-check";
const REJECT: &str = "reject-chain";

/// The sets and maps every table has.
pub const SETS: &[(&str, SetKind)] = &[
    (CLUSTER_IPS, SetKind::Addresses),
    (SERVICE_IPS, SetKind::ServiceVerdicts),
    (NODE_PORTS, SetKind::PortVerdicts),
    (NO_ENDPOINT_IPS, SetKind::ServiceVerdicts),
    (NO_ENDPOINT_NODE_PORTS, SetKind::PortVerdicts),
    (FIREWALL_IPS, SetKind::ServiceVerdicts),
    (HAIRPINS, SetKind::Flows),
    (HOST_PORTS, SetKind::PortTargets),
    (HOST_PORT_IPS, SetKind::ServiceTargets),
];

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

/// The part of the table that does not depend on services.
pub fn base(node: &Node, family: Family) -> Fragment {
    let mut table = Fragment { sets: SETS.iter().map(|(n, k)| ((*n).to_owned(), *k)).collect(), ..Fragment::default() };
    base_chains(&mut table);
    loopback_guard(&mut table, node, family);
    dispatch(&mut table, node, family);
    checks(&mut table, node, family);
    masquerading(&mut table, node, family);
    table
}

fn base_chains(table: &mut Fragment) {
    const DNAT: i32 = -100;
    const SNAT: i32 = 100;
    use {ChainType::*, HookPoint::*};
    let new = |to: &str| vec![S::NewConnection, S::Jump(to.into())];
    let to = |to: &str| vec![S::Jump(to.into())];
    let mut add = |name: &str, kind, at, priority, rules| {
        table.chains.insert(name.into(), Chain { hook: Some(Hook { kind, at, priority }), rules });
    };
    // Source ranges are checked against the address the client asked for, hence before it is rewritten.
    add("filter-prerouting-pre-dnat", Filter, Prerouting, DNAT - 10, vec![new(FIREWALL_CHECK)]);
    add("filter-output-pre-dnat", Filter, Output, DNAT - 10, vec![new(FIREWALL_CHECK)]);
    add("filter-input", Filter, Input, 0, vec![new(NODE_PORT_CHECK), new(ENDPOINTS_CHECK)]);
    add("filter-forward", Filter, Forward, 0, vec![new(ENDPOINTS_CHECK), new(CLUSTER_IPS_CHECK)]);
    add("filter-output", Filter, Output, 0, vec![new(ENDPOINTS_CHECK), new(CLUSTER_IPS_CHECK)]);
    add("nat-prerouting", Nat, Prerouting, DNAT, vec![to(SERVICES)]);
    add("nat-output", Nat, Output, DNAT, vec![to(SERVICES)]);
    add("nat-postrouting", Nat, Postrouting, SNAT, vec![to(MASQUERADING)]);
    for name in [SERVICES, MASQUERADING, CLUSTER_IPS_CHECK, ENDPOINTS_CHECK, NODE_PORT_CHECK, FIREWALL_CHECK] {
        table.chain(name);
    }
    table.rule(REJECT, vec![S::Reject]);
}

/// `route_localnet` would let pods reach what listens on the host's loopback only. Before connection tracking, no
/// honest packet from the bridge carries a loopback address: replies are still addressed to the bridge.
fn loopback_guard(table: &mut Fragment, node: &Node, family: Family) {
    let (Some(bridge), true, Family::V4) = (&node.bridge, node.localhost_node_ports, family) else { return };
    let incoming = || S::Incoming(false, bridge.clone());
    let rules = vec![
        vec![incoming(), S::Address(Side::Destination, false, loopback(family)), S::Drop],
        vec![incoming(), S::Address(Side::Source, false, loopback(family)), S::Drop],
    ];
    let hook = Hook { kind: ChainType::Filter, at: HookPoint::Prerouting, priority: -300 };
    table.chains.insert("filter-prerouting-raw".into(), Chain { hook: Some(hook), rules });
}

fn dispatch(table: &mut Fragment, node: &Node, family: Family) {
    let to_cluster_ip = S::In(Lookup::Destination, CLUSTER_IPS);
    if node.masquerade_all {
        table.rule(SERVICES, vec![to_cluster_ip, S::Mark(MASQUERADE_MARK)]);
    } else if let Some(outside) = not_from_cluster(node, family) {
        // Somebody may route the service network to any node; the answer must come back through that node.
        let mut rule = vec![to_cluster_ip];
        rule.extend(outside);
        rule.push(S::Mark(MASQUERADE_MARK));
        table.rule(SERVICES, rule);
    }
    table.rule(SERVICES, vec![S::Verdict(Lookup::Service, SERVICE_IPS)]);
    for condition in to_node_ports(node, family) {
        let mut rule = condition.clone();
        rule.push(S::Verdict(Lookup::Port, NODE_PORTS));
        table.rule(SERVICES, rule);
    }
    let mut host_port = vec![S::Local(Side::Destination)];
    if !(node.localhost_node_ports && family == Family::V4) {
        host_port.push(S::Address(Side::Destination, true, loopback(family)));
    }
    // A pod that publishes port 53 must not catch what is meant for the cluster DNS.
    let dns = node.cluster_dns.iter().filter(|a| family.has(a));
    host_port.extend(dns.map(|a| S::Address(Side::Destination, true, IpNet::from(*a))));
    table.rule(SERVICES, with(&host_port, S::RedirectBy(Lookup::Service, HOST_PORT_IPS)));
    table.rule(SERVICES, with(&host_port, S::RedirectBy(Lookup::Port, HOST_PORTS)));
}

fn checks(table: &mut Fragment, node: &Node, family: Family) {
    for dns in node.cluster_dns.iter().filter(|a| family.has(a)) {
        let rule = vec![S::Address(Side::Destination, false, IpNet::from(*dns)), S::Return];
        table.rule(CLUSTER_IPS_CHECK, rule);
    }
    // What still has a cluster IP after rewriting is for a port that no service has.
    table.rule(CLUSTER_IPS_CHECK, vec![S::In(Lookup::Destination, CLUSTER_IPS), S::Reject]);
    for net in node.service_cidrs.iter().filter(|n| family.has_net(n)) {
        table.rule(CLUSTER_IPS_CHECK, vec![S::Address(Side::Destination, false, *net), S::Drop]);
    }
    table.rule(ENDPOINTS_CHECK, vec![S::Verdict(Lookup::Service, NO_ENDPOINT_IPS)]);
    for condition in to_node_ports(node, family) {
        table.rule(NODE_PORT_CHECK, with(&condition, S::Verdict(Lookup::Port, NO_ENDPOINT_NODE_PORTS)));
    }
    table.rule(FIREWALL_CHECK, vec![S::Verdict(Lookup::Service, FIREWALL_IPS)]);
}

fn masquerading(table: &mut Fragment, node: &Node, family: Family) {
    let marked = vec![S::Marked(MASQUERADE_MARK), S::Flip(MASQUERADE_MARK), S::Masquerade];
    table.rule(MASQUERADING, marked);
    table.rule(MASQUERADING, vec![S::Redirected, S::In(Lookup::Flow, HAIRPINS), S::Masquerade]);
    if node.localhost_node_ports && family == Family::V4 {
        let from_loopback = S::Address(Side::Source, false, loopback(family));
        table.rule(MASQUERADING, vec![S::Redirected, from_loopback, S::Outgoing(true, "lo".into()), S::Masquerade]);
    }
    let Some(bridge) = &node.bridge else { return };
    let pods: Vec<IpNet> = node.cluster_cidrs.iter().filter(|n| family.has_net(n)).copied().collect();
    for net in &pods {
        let from_pod = S::Address(Side::Source, false, *net);
        if !node.bridge_filter {
            let rule = vec![S::Redirected, from_pod.clone(), S::Outgoing(false, bridge.clone()), S::Masquerade];
            table.rule(MASQUERADING, rule);
        }
        if node.masquerade_pods {
            let mut rule = vec![from_pod];
            rule.extend(pods.iter().map(|pods| S::Address(Side::Destination, true, *pods)));
            rule.push(S::Address(Side::Destination, true, multicast(family)));
            rule.push(S::Outgoing(true, bridge.clone()));
            rule.push(S::Masquerade);
            table.rule(MASQUERADING, rule);
        }
    }
}

fn with(conditions: &[S], last: S) -> Rule {
    conditions.iter().cloned().chain([last]).collect()
}

fn loopback(family: Family) -> IpNet {
    let text = match family {
        Family::V4 => "127.0.0.0/8",
        Family::V6 => "::1/128",
    };
    text.parse().expect("a valid network")
}

fn multicast(family: Family) -> IpNet {
    let text = match family {
        Family::V4 => "224.0.0.0/4",
        Family::V6 => "ff00::/8",
    };
    text.parse().expect("a valid network")
}

/// Conditions for "a packet to a node port": one rule each.
fn to_node_ports(node: &Node, family: Family) -> Vec<Rule> {
    let local = S::Local(Side::Destination);
    if !node.node_port_addresses.is_empty() {
        let nets = node.node_port_addresses.iter().filter(|n| family.has_net(n));
        return nets.map(|net| vec![local.clone(), S::Address(Side::Destination, false, *net)]).collect();
    }
    let mut condition = vec![local];
    if !(node.localhost_node_ports && family == Family::V4) {
        condition.push(S::Address(Side::Destination, true, loopback(family)));
    }
    vec![condition]
}

fn not_from_cluster(node: &Node, family: Family) -> Option<Rule> {
    let nets: Vec<&IpNet> = node.cluster_cidrs.iter().filter(|n| family.has_net(n)).collect();
    (!nets.is_empty()).then(|| nets.iter().map(|net| S::Address(Side::Source, true, **net)).collect())
}

/// The rules of one service, from its slices.
pub fn service(service: &Service, slices: &[&EndpointSlice], node: &Node, family: Family) -> Fragment {
    let mut table = Fragment::default();
    for port in service::ports(service, family) {
        let endpoints = endpoints::of_port(&port, slices, family, &node.place);
        let usable = endpoints::usable(&port, &endpoints);
        PortRules { port: &port, usable: &usable, node, family, table: &mut table }.write();
    }
    table
}

struct PortRules<'a> {
    port: &'a ServicePort,
    usable: &'a Usable,
    node: &'a Node,
    family: Family,
    table: &'a mut Fragment,
}

impl PortRules<'_> {
    fn write(mut self) {
        for address in &self.usable.here {
            let key = Key::Flow(address.ip(), self.port.protocol, address.port());
            self.table.element(HAIRPINS, key, Value::Present);
        }
        self.cluster_ip();
        self.external_ips();
        self.node_port();
        if self.usable.any && self.port.externally_accessible() {
            self.external_chain();
        }
        self.firewall();
        self.endpoints();
    }

    fn chain(&self, prefix: &str) -> String {
        format!("{prefix}-{}", self.port.path)
    }

    fn policy_chain(&self, local: bool) -> String {
        self.chain(if local { "local" } else { "service" })
    }

    /// Whether traffic under a policy finds an endpoint.
    fn served(&self, local: bool) -> bool {
        self.usable.any && !(local && self.usable.local.is_empty())
    }

    /// No endpoint at all is refused aloud; none on this node is dropped, so that others can answer.
    fn unserved(&self) -> Value {
        if self.usable.any { Value::Drop } else { Value::Goto(REJECT.into()) }
    }

    fn at(&self, address: IpAddr) -> Key {
        Key::Service(address, self.port.protocol, self.port.port)
    }

    fn cluster_ip(&mut self) {
        let (ip, local) = (self.port.cluster_ip, self.port.internal_local);
        if self.node.cluster_dns.contains(&ip) {
            return;
        }
        self.table.element(CLUSTER_IPS, Key::Address(ip), Value::Present);
        if self.served(local) {
            let chain = Value::Goto(self.policy_chain(local));
            self.table.element(SERVICE_IPS, self.at(ip), chain);
        } else {
            let verdict = self.unserved();
            self.table.element(NO_ENDPOINT_IPS, self.at(ip), verdict);
        }
    }

    fn external_ips(&mut self) {
        for ip in self.port.external_ips.iter().chain(&self.port.load_balancer_ips) {
            if self.usable.any {
                let chain = Value::Goto(self.chain("external"));
                self.table.element(SERVICE_IPS, self.at(*ip), chain);
            }
            if !self.served(self.port.external_local) {
                let verdict = self.unserved();
                self.table.element(NO_ENDPOINT_IPS, self.at(*ip), verdict);
            }
        }
    }

    fn node_port(&mut self) {
        let Some(number) = self.port.node_port else { return };
        let key = Key::Port(self.port.protocol, number);
        if self.usable.any {
            let chain = Value::Goto(self.chain("external"));
            self.table.element(NODE_PORTS, key.clone(), chain);
        }
        if !self.served(self.port.external_local) {
            let verdict = self.unserved();
            self.table.element(NO_ENDPOINT_NODE_PORTS, key, verdict);
        }
    }

    fn external_chain(&mut self) {
        let chain = self.chain("external");
        let everywhere = self.policy_chain(false);
        if self.port.external_local {
            // Pods and this host count as coming through the load balancer: no policy holds them back.
            for net in self.node.cluster_cidrs.iter().filter(|n| self.family.has_net(n)) {
                let rule = vec![S::Address(Side::Source, false, *net), S::Goto(everywhere.clone())];
                self.table.rule(&chain, rule);
            }
            self.table.rule(&chain, vec![S::Local(Side::Source), S::Mark(MASQUERADE_MARK)]);
            self.table.rule(&chain, vec![S::Local(Side::Source), S::Goto(everywhere)]);
        } else {
            // The endpoint may be on another node, and its reply must come back through this one.
            self.table.rule(&chain, vec![S::Mark(MASQUERADE_MARK)]);
        }
        if self.served(self.port.external_local) {
            let policy = self.policy_chain(self.port.external_local);
            self.table.rule(&chain, vec![S::Goto(policy)]);
        }
    }

    fn firewall(&mut self) {
        if self.port.load_balancer_ips.is_empty() || self.port.source_ranges.is_empty() {
            return;
        }
        let chain = self.chain("firewall");
        let mut allowed = self.port.source_ranges.clone();
        // This node's own packets to the balancer's address loop back with that address as their source.
        if allowed.iter().any(|net| self.node.addresses.iter().any(|a| net.contains(a))) {
            allowed.extend(self.port.load_balancer_ips.iter().map(|ip| IpNet::from(*ip)));
        }
        for net in allowed {
            self.table.rule(&chain, vec![S::Address(Side::Source, false, net), S::Return]);
        }
        self.table.rule(&chain, vec![S::Drop]);
        for ip in &self.port.load_balancer_ips {
            let key = self.at(*ip);
            self.table.element(FIREWALL_IPS, key, Value::Goto(chain.clone()));
        }
    }

    fn endpoints(&mut self) {
        for (local, chosen) in [(false, &self.usable.cluster), (true, &self.usable.local)] {
            if chosen.is_empty() {
                // An external chain may still name it; nothing in it means that nothing is rewritten.
                if !local && self.usable.any && self.port.externally_accessible() {
                    let chain = self.policy_chain(local);
                    self.table.chain(&chain);
                }
                continue;
            }
            let chain = self.policy_chain(local);
            if self.port.affinity.is_none() {
                self.table.rule(&chain, vec![S::Redirect(chosen.clone())]);
                continue;
            }
            for address in chosen {
                let rule = vec![S::Remembered(self.of("affinity", address)), S::Goto(self.of("endpoint", address))];
                self.table.rule(&chain, rule);
            }
            let spread = chosen.iter().map(|a| self.of("endpoint", a)).collect();
            self.table.rule(&chain, vec![S::Spread(spread)]);
        }
        let Some(seconds) = self.port.affinity else { return };
        for address in self.usable.all() {
            let (set, chain) = (self.of("affinity", &address), self.of("endpoint", &address));
            self.table.rule(&chain, vec![S::Remember(set.clone())]);
            self.table.rule(&chain, vec![S::Redirect(vec![address])]);
            self.table.sets.insert(set, SetKind::Affinity(seconds));
        }
    }

    /// Name of an endpoint's chain or set; colons are not allowed in names.
    fn of(&self, prefix: &str, address: &SocketAddr) -> String {
        let ip = address.ip().to_string().replace(':', ".");
        format!("{prefix}-{}__{ip}/{}", self.port.path, address.port())
    }
}

/// The port at which load balancers ask whether this node serves a service of external policy `Local`, and the number
/// of its ready endpoints here.
pub fn health_check(service: &Service, slices: &[&EndpointSlice], place: &Place) -> Option<(u16, usize)> {
    let spec = service.spec.as_ref().filter(|_| service::is_ours(service))?;
    let port = u16::try_from(spec.health_check_node_port?).ok().filter(|port| *port != 0)?;
    let local =
        spec.type_.as_deref() == Some("LoadBalancer") && spec.external_traffic_policy.as_deref() == Some("Local");
    let mut here = BTreeSet::new();
    for family in [Family::V4, Family::V6] {
        for port in service::ports(service, family) {
            let all = endpoints::of_port(&port, slices, family, place);
            here.extend(all.iter().filter(|e| e.local && e.ready).map(|e| e.address.ip()));
        }
    }
    local.then_some((port, here.len()))
}

/// The host ports of a pod on this node.
pub fn host_ports(pod: &Pod, family: Family) -> Fragment {
    let mut table = Fragment::default();
    for port in published(pod, family) {
        let (ip, host_port) = (port.target.ip(), port.host_port);
        let value = Value::Target(port.target);
        match port.host_ip {
            Some(host) => table.element(HOST_PORT_IPS, Key::Service(host, port.protocol, host_port), value),
            None => table.element(HOST_PORTS, Key::Port(port.protocol, host_port), value),
        }
        table.element(HAIRPINS, Key::Flow(ip, port.protocol, port.target.port()), Value::Present);
    }
    table
}

/// A host port and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The one host address it answers on; none: all.
    pub host_ip: Option<IpAddr>,
    /// Port on the host.
    pub host_port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// The pod's address and the container's port.
    pub target: SocketAddr,
}

/// The host ports of a pod, while it has an address and has not ended. Pods on the host's network need none.
pub fn published(pod: &Pod, family: Family) -> Vec<Published> {
    let (Some(spec), Some(status)) = (&pod.spec, &pod.status) else { return Vec::new() };
    let over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
    let ips = status.pod_ips.iter().flatten().map(|ip| &ip.ip).chain(&status.pod_ip);
    let pod_ip = ips.filter_map(|ip| ip.parse().ok()).find(|ip: &IpAddr| family.has(ip));
    let (Some(pod_ip), false, false) = (pod_ip, over, spec.host_network.unwrap_or(false)) else { return Vec::new() };
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    ports.filter_map(|port| publish(port, pod_ip, family)).collect()
}

fn publish(port: &k8s_openapi::api::core::v1::ContainerPort, pod_ip: IpAddr, family: Family) -> Option<Published> {
    let host_port = port.host_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0)?;
    let host_ip: Option<IpAddr> = port.host_ip.as_deref().filter(|ip| !ip.is_empty()).and_then(|ip| ip.parse().ok());
    if host_ip.is_some_and(|ip| !family.has(&ip)) {
        return None;
    }
    Some(Published {
        host_ip: host_ip.filter(|ip| !ip.is_unspecified()),
        host_port,
        protocol: service::protocol(port.protocol.as_deref())?,
        target: SocketAddr::new(pod_ip, u16::try_from(port.container_port).ok()?),
    })
}

/// Where a client sends UDP datagrams that connection tracking remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Front {
    /// An address and port.
    Address(SocketAddr),
    /// A port on every address of the host.
    Port(u16),
}

/// The UDP fronts of a service with the endpoints that may answer there. Fronts without endpoints are left out, as
/// upstream does: their packets are rejected anyhow.
pub fn udp_fronts(
    service: &Service,
    slices: &[&EndpointSlice],
    node: &Node,
    family: Family,
) -> BTreeMap<Front, BTreeSet<SocketAddr>> {
    let mut fronts = BTreeMap::new();
    for port in service::ports(service, family).iter().filter(|p| p.protocol == Protocol::Udp) {
        let all = endpoints::of_port(port, slices, family, &node.place);
        let serving: BTreeSet<SocketAddr> = all.iter().filter(|e| e.serving).map(|e| e.address).collect();
        if serving.is_empty() || node.cluster_dns.contains(&port.cluster_ip) {
            continue;
        }
        let ips = [port.cluster_ip].into_iter().chain(port.external_ips.clone()).chain(port.load_balancer_ips.clone());
        for ip in ips {
            fronts.insert(Front::Address(SocketAddr::new(ip, port.port)), serving.clone());
        }
        if let Some(number) = port.node_port {
            fronts.insert(Front::Port(number), serving);
        }
    }
    fronts
}

/// The same for a pod's host ports.
pub fn udp_host_ports(pod: &Pod, family: Family) -> BTreeMap<Front, BTreeSet<SocketAddr>> {
    let udp = published(pod, family).into_iter().filter(|p| p.protocol == Protocol::Udp);
    udp.map(|p| {
        let front = p.host_ip.map_or(Front::Port(p.host_port), |ip| Front::Address(SocketAddr::new(ip, p.host_port)));
        (front, BTreeSet::from([p.target]))
    })
    .collect()
}
