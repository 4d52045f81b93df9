//! The part of a table that depends on the node alone.

use super::names::{
    CLUSTER_IPS, CLUSTER_IPS_CHECK, ENDPOINTS_CHECK, FIREWALL_CHECK, FIREWALL_IPS, HAIRPINS, HOST_PORT_IPS, HOST_PORTS,
    MASQUERADE_MARK, MASQUERADING, NO_ENDPOINT_IPS, NO_ENDPOINT_NODE_PORTS, NODE_PORT_CHECK, NODE_PORTS, REJECT,
    SERVICE_IPS, SERVICES, SETS,
};
use super::{Fragment, Node};
use crate::nftables::{Chain, ChainType, Family, Hook, HookPoint, Lookup, Rule, Side, Statement as S};
use ipnet::IpNet;

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
