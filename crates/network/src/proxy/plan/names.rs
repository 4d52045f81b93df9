//! Names of what every table has.

use crate::nftables::SetKind;

/// The bit in packet marks that asks for masquerading (upstream's `--iptables-masquerade-bit=14`).
pub const MASQUERADE_MARK: u32 = 1 << 14;

// Sets and maps.
pub(super) const CLUSTER_IPS: &str = "cluster-ips";
pub(super) const SERVICE_IPS: &str = "service-ips";
pub(super) const NODE_PORTS: &str = "service-nodeports";
pub(super) const NO_ENDPOINT_IPS: &str = "no-endpoint-services";
pub(super) const NO_ENDPOINT_NODE_PORTS: &str = "no-endpoint-nodeports";
pub(super) const FIREWALL_IPS: &str = "firewall-ips";
pub(super) const HAIRPINS: &str = "hairpin-connections";
pub(super) const HOST_PORTS: &str = "host-ports";
pub(super) const HOST_PORT_IPS: &str = "host-port-ips";

// Chains.
pub(super) const SERVICES: &str = "services";
pub(super) const MASQUERADING: &str = "masquerading";
pub(super) const CLUSTER_IPS_CHECK: &str = "cluster-ips-check";
pub(super) const ENDPOINTS_CHECK: &str = "service-endpoints-check";
pub(super) const NODE_PORT_CHECK: &str = "nodeport-endpoints-check";
pub(super) const FIREWALL_CHECK: &str = "firewall-check";
pub(super) const REJECT: &str = "reject-chain";

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
