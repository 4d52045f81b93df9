//! A Service as the proxy sees it: one value per port and address family.

use crate::nftables::{Family, Protocol};
use ipnet::IpNet;
use k8s_openapi::api::core::v1 as core;
use std::net::IpAddr;

/// Services and slices with this label are somebody else's to serve.
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";
/// `sessionAffinityConfig.clientIP.timeoutSeconds` where it is not set.
const DEFAULT_AFFINITY_SECONDS: u32 = 10800;

/// One port of a Service, in one address family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `namespace/name/protocol/port`: the tail of chain names.
    pub path: String,
    /// The port's name; EndpointSlice ports go by it.
    pub port_name: String,
    /// Cluster IP.
    pub cluster_ip: IpAddr,
    /// Port at the cluster, external and load balancer IPs.
    pub port: u16,
    /// Protocol.
    pub protocol: Protocol,
    /// Port on every node.
    pub node_port: Option<u16>,
    /// Load balancer addresses in VIP mode.
    pub load_balancer_ips: Vec<IpAddr>,
    /// External IPs.
    pub external_ips: Vec<IpAddr>,
    /// Who may come through the load balancer; empty: everyone.
    pub source_ranges: Vec<IpNet>,
    /// Seconds a client stays with an endpoint; none: no affinity.
    pub affinity: Option<u32>,
    /// `externalTrafficPolicy: Local`.
    pub external_local: bool,
    /// `internalTrafficPolicy: Local`.
    pub internal_local: bool,
}

impl ServicePort {
    /// Reachable by more than the cluster IP.
    pub fn externally_accessible(&self) -> bool {
        self.node_port.is_some() || !self.load_balancer_ips.is_empty() || !self.external_ips.is_empty()
    }

    /// Whether any traffic may go to endpoints of all nodes. External traffic from this node always may, whatever
    /// the policy: it counts as coming back in through a load balancer.
    pub fn uses_cluster_endpoints(&self) -> bool {
        !self.internal_local || self.externally_accessible()
    }

    /// Whether any traffic is kept on the node.
    pub fn uses_local_endpoints(&self) -> bool {
        self.internal_local || (self.external_local && self.externally_accessible())
    }
}

/// Whether the service has anything for a proxy: not headless, not a name only, not another proxy's.
pub fn is_ours(service: &core::Service) -> bool {
    let labels = service.metadata.labels.as_ref();
    let spec = service.spec.as_ref();
    let ip = spec.and_then(|s| s.cluster_ip.as_deref()).unwrap_or_default();
    !ip.is_empty()
        && ip != "None"
        && spec.and_then(|s| s.type_.as_deref()) != Some("ExternalName")
        && !labels.is_some_and(|l| l.contains_key(OTHER_PROXY))
}

/// The service's ports in a family; empty where it has no cluster IP of that family.
pub fn ports(service: &core::Service, family: Family) -> Vec<ServicePort> {
    let (Some(spec), true) = (&service.spec, is_ours(service)) else { return Vec::new() };
    let Some(cluster_ip) = cluster_ip(spec, family) else { return Vec::new() };
    let meta = &service.metadata;
    let base =
        format!("{}/{}", meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    spec.ports
        .iter()
        .flatten()
        .filter_map(|port| service_port(&base, service, spec, port, cluster_ip, family))
        .collect()
}

fn service_port(
    base: &str,
    service: &core::Service,
    spec: &core::ServiceSpec,
    port: &core::ServicePort,
    cluster_ip: IpAddr,
    family: Family,
) -> Option<ServicePort> {
    let protocol = protocol(port.protocol.as_deref())?;
    let port_name = port.name.clone().unwrap_or_default();
    let external = matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"))
        || spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty());
    Some(ServicePort {
        path: format!("{base}/{protocol}/{port_name}"),
        port_name,
        cluster_ip,
        port: u16::try_from(port.port).ok()?,
        protocol,
        node_port: port.node_port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0),
        load_balancer_ips: load_balancer_ips(service, family),
        external_ips: addresses(spec.external_ips.iter().flatten(), family),
        source_ranges: source_ranges(spec, family),
        affinity: affinity(spec),
        external_local: external && spec.external_traffic_policy.as_deref() == Some("Local"),
        internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
    })
}

/// A protocol by its API name; none where it is not one of ours.
pub fn protocol(name: Option<&str>) -> Option<Protocol> {
    match name.unwrap_or("TCP") {
        "TCP" => Some(Protocol::Tcp),
        "UDP" => Some(Protocol::Udp),
        "SCTP" => Some(Protocol::Sctp),
        _ => None,
    }
}

fn cluster_ip(spec: &core::ServiceSpec, family: Family) -> Option<IpAddr> {
    let listed = spec.cluster_ips.iter().flatten();
    let all = listed.chain(spec.cluster_ip.as_ref());
    addresses(all, family).into_iter().next()
}

fn addresses<'a>(texts: impl Iterator<Item = &'a String>, family: Family) -> Vec<IpAddr> {
    let mut found: Vec<IpAddr> = Vec::new();
    for address in texts.filter_map(|text| text.parse().ok()).filter(|a| family.has(a)) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

fn load_balancer_ips(service: &core::Service, family: Family) -> Vec<IpAddr> {
    let status = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let ingress = status.and_then(|s| s.ingress.as_ref()).into_iter().flatten();
    // In "Proxy" mode the load balancer addresses us itself, and its IP is not ours to catch.
    let ours = ingress.filter(|i| i.ip_mode.as_deref().unwrap_or("VIP") == "VIP");
    addresses(ours.filter_map(|i| i.ip.as_ref()), family)
}

fn source_ranges(spec: &core::ServiceSpec, family: Family) -> Vec<IpNet> {
    // Upstream's validation lets white space around a range pass.
    let texts = spec.load_balancer_source_ranges.iter().flatten().map(|text| text.trim());
    let nets: Vec<IpNet> = texts.filter_map(|t| t.parse().ok()).filter(|net| family.has_net(net)).collect();
    if nets.iter().any(|net| net.prefix_len() == 0) { Vec::new() } else { nets }
}

fn affinity(spec: &core::ServiceSpec) -> Option<u32> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
    let seconds = config.and_then(|c| c.timeout_seconds).and_then(|s| u32::try_from(s).ok());
    Some(seconds.unwrap_or(DEFAULT_AFFINITY_SECONDS))
}
