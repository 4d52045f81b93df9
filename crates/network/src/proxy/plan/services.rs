//! What a service asks for.

use super::names::{
    CLUSTER_IPS, FIREWALL_IPS, HAIRPINS, MASQUERADE_MARK, NO_ENDPOINT_IPS, NO_ENDPOINT_NODE_PORTS, NODE_PORTS, REJECT,
    SERVICE_IPS,
};
use super::{Fragment, Front, Node};
use crate::nftables::{Family, Key, Protocol, SetKind, Side, Statement as S, Value};
use crate::proxy::endpoints::{self, Place, Usable};
use crate::proxy::service::{self, ServicePort};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

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
