//! NodeUnschedulable, NodeName, NodePorts, ImageLocality.

use super::{MAX, No};
use crate::cycle::Cycle;
use crate::nodes::NodeInfo;
use k8s_openapi::api::core::v1::{ContainerPort, PodSpec, Taint};
use std::sync::Arc;

pub(super) fn unschedulable(cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), No> {
    let closed = node.node.as_ref().and_then(|n| n.spec.as_ref()).and_then(|s| s.unschedulable).unwrap_or_default();
    let taint = || Taint {
        key: "node.kubernetes.io/unschedulable".to_owned(),
        effect: "NoSchedule".to_owned(),
        ..Taint::default()
    };
    match closed && !super::taints::tolerated(cycle.spec, &taint()) {
        true => Err(No::node("node(s) were unschedulable")),
        false => Ok(()),
    }
}

pub(super) fn name(cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), No> {
    match cycle.spec.node_name.as_deref() {
        Some(name) if !name.is_empty() && name != node.name => {
            Err(No::node("node(s) didn't match the requested node name"))
        }
        _ => Ok(()),
    }
}

/// The ports that containers (sidecars too) take on the node.
fn host_ports(spec: &PodSpec) -> impl Iterator<Item = &ContainerPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    ports.filter(|p| p.host_port.is_some_and(|port| port > 0))
}

fn conflict(a: &ContainerPort, b: &ContainerPort) -> bool {
    let protocol = |p: &ContainerPort| p.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
    let ip = |p: &ContainerPort| p.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned());
    let any = |ip: &str| ip == "0.0.0.0" || ip == "::";
    let (x, y) = (ip(a), ip(b));
    a.host_port == b.host_port && protocol(a) == protocol(b) && (x == y || any(&x) || any(&y))
}

pub(super) fn ports(cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), No> {
    let wanted: Vec<&ContainerPort> = host_ports(cycle.spec).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let specs = node.pods.values().filter_map(|p| p.pod.spec.as_ref());
    let taken = specs.flat_map(host_ports).any(|used| wanted.iter().any(|port| conflict(port, used)));
    if taken { Err(No::room("node(s) didn't have free ports for the requested pod ports")) } else { Ok(()) }
}

/// Nodes that have the images, and large ones above all, are preferred (upstream `imagelocality`).
pub(super) fn image_locality(cycle: &Cycle<'_>, nodes: &[&Arc<NodeInfo>]) -> Vec<i64> {
    const MIB: i64 = 1024 * 1024;
    const LEAST: i64 = 23 * MIB;
    const MOST_PER_CONTAINER: i64 = 1000 * MIB;
    let images: Vec<String> = cycle.spec.containers.iter().filter_map(|c| c.image.as_deref()).map(full_name).collect();
    let most = MOST_PER_CONTAINER * i64::try_from(images.len().max(1)).unwrap_or(1);
    let total = i64::try_from(cycle.nodes.len().max(1)).unwrap_or(1);
    let size_on = |node: &NodeInfo, image: &String| -> Option<i64> {
        let listed = node.node.as_ref()?.status.as_ref()?.images.as_ref()?;
        let found = listed.iter().find(|i| i.names.iter().flatten().any(|n| n == image))?;
        found.size_bytes
    };
    let having = |image: &String| cycle.nodes.iter().filter(|n| size_on(n, image).is_some()).count();
    let spread: Vec<i64> = images.iter().map(|i| i64::try_from(having(i)).unwrap_or_default()).collect();
    let score = |node: &&Arc<NodeInfo>| {
        let sum: i64 =
            images.iter().zip(&spread).map(|(i, on)| size_on(node, i).unwrap_or_default() * on / total).sum();
        MAX * (sum.clamp(LEAST, most) - LEAST) / (most - LEAST)
    };
    nodes.iter().map(score).collect()
}

/// An image's name with the tag that stands for none.
fn full_name(image: &str) -> String {
    let last = image.rsplit('/').next().unwrap_or(image);
    if last.contains(':') || last.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}
