//! Every node has a range of pod addresses of its own (upstream `pkg/controller/nodeipam`, range allocator).

use crate::Context;
use crate::context::enqueue;
use ipnet::{IpNet, Ipv4Net};
use k8s_openapi::api::core::v1::Node;
use kaji_client::event::EventType;
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{Patch, PatchParams};
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

pub(crate) async fn run(cx: Context) {
    let Some(IpNet::V4(cluster)) = cx.config.cluster_cidr else { return std::future::pending().await };
    let queue = WorkQueue::new();
    let nodes = cx.informer::<Node>();
    enqueue(&nodes, &queue);
    nodes.synced().await;
    // One worker: two would hand out the same range.
    let given = Arc::new(parking_lot::Mutex::new(HashSet::new()));
    let work = move |key| reconcile(cx.clone(), nodes.clone(), cluster, given.clone(), key);
    queue.run("node ipam", 1, work).await;
}

async fn reconcile(
    cx: Context,
    nodes: Arc<Informer<Node>>,
    cluster: Ipv4Net,
    given: Arc<parking_lot::Mutex<HashSet<Ipv4Net>>>,
    key: ObjectKey,
) -> Result<Next, kube::Error> {
    let Some(node) = nodes.get(&key) else { return Ok(Next::Done) };
    if range_of(&node).is_some() || node.metadata.deletion_timestamp.is_some() {
        return Ok(Next::Done);
    }
    let mut used: HashSet<Ipv4Net> = nodes.list().iter().filter_map(|n| range_of(n)).collect();
    // Ranges given a moment ago may not have come back through the informer yet.
    given.lock().retain(|range| !used.contains(range));
    used.extend(given.lock().iter().copied());
    let Some(range) = free_range(cluster, cx.config.node_cidr_mask, &used) else {
        cx.event(
            &*node,
            EventType::Normal,
            "CIDRNotAvailable",
            &format!("Node {} status is now: CIDRNotAvailable", key.name),
        );
        return Ok(Next::After(std::time::Duration::from_secs(60)));
    };
    given.lock().insert(range);
    let change = serde_json::json!({"spec": {"podCIDR": range, "podCIDRs": [range]}});
    let api: Api<Node> = Api::all(cx.client);
    let outcome = api.patch(&key.name, &PatchParams::default(), &Patch::Strategic(change)).await;
    if outcome.is_err() {
        given.lock().remove(&range);
    }
    crate::write::gone_is_fine(outcome).map(|()| Next::Done)
}

fn range_of(node: &Node) -> Option<Ipv4Net> {
    node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()
}

/// The first range of that size in the cluster's that isn't used.
fn free_range(cluster: Ipv4Net, mask: u8, used: &HashSet<Ipv4Net>) -> Option<Ipv4Net> {
    let count = 1u32.checked_shl(u32::from(mask.checked_sub(cluster.prefix_len())?))?;
    let size = 1u32.checked_shl(u32::from(32 - mask))?;
    let base = u32::from(cluster.network());
    (0..count)
        .filter_map(|i| Ipv4Net::new(Ipv4Addr::from(base + i * size), mask).ok())
        .find(|range| !used.contains(range))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_given_once_until_there_are_none() {
        let cluster = "10.244.0.0/23".parse().unwrap();
        let mut used = HashSet::new();
        for want in ["10.244.0.0/24", "10.244.1.0/24"] {
            let range = free_range(cluster, 24, &used).unwrap();
            assert_eq!(range.to_string(), want);
            used.insert(range);
        }
        assert_eq!(free_range(cluster, 24, &used), None);
    }
}
