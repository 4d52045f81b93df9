//! What a pod's host ports ask for.

use super::names::{HAIRPINS, HOST_PORT_IPS, HOST_PORTS};
use super::{Fragment, Front};
use crate::nftables::{Family, Key, Protocol, Value};
use crate::proxy::service;
use k8s_openapi::api::core::v1::Pod;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

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

/// The UDP fronts of a pod's host ports, each with the pod.
pub fn udp_host_ports(pod: &Pod, family: Family) -> BTreeMap<Front, BTreeSet<SocketAddr>> {
    let udp = published(pod, family).into_iter().filter(|p| p.protocol == Protocol::Udp);
    udp.map(|p| {
        let front = p.host_ip.map_or(Front::Port(p.host_port), |ip| Front::Address(SocketAddr::new(ip, p.host_port)));
        (front, BTreeSet::from([p.target]))
    })
    .collect()
}
