//! NodeResourcesFit and NodeResourcesBalancedAllocation.

use super::{MAX, No};
use crate::cycle::Cycle;
use crate::nodes::NodeInfo;
use std::sync::Arc;

pub(super) fn filter(cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), No> {
    let mut reasons = Vec::new();
    let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
    if pods + 1 > node.allocatable.get("pods") {
        reasons.push("Too many pods".to_owned());
    }
    let short =
        |(name, wanted): &(&str, i64)| *wanted > node.allocatable.get(name) - node.requested.get(name) && *wanted > 0;
    // Upstream names the common ones first, in this order.
    let rank = |name: &str| ["cpu", "memory", "ephemeral-storage"].iter().position(|n| *n == name).unwrap_or(3);
    let mut lacking: Vec<&str> = cycle.requests.iter().filter(short).map(|(name, _)| name).collect();
    lacking.sort_by_key(|name| (rank(name), (*name).to_owned()));
    reasons.extend(lacking.iter().map(|name| format!("Insufficient {name}")));
    if reasons.is_empty() {
        return Ok(());
    }
    // What the empty node lacks, no removal gives.
    let room_helps = cycle.requests.iter().all(|(name, wanted)| wanted <= node.allocatable.get(name));
    Err(No { texts: reasons, room_helps })
}

/// CPU and memory after placement, as shares of what there is.
fn shares(cycle: &Cycle<'_>, node: &NodeInfo) -> impl Iterator<Item = (i64, i64)> {
    let share = |name: &str| (node.scored.get(name) + cycle.scored.get(name), node.allocatable.get(name));
    [share("cpu"), share("memory")].into_iter().filter(|(_, capacity)| *capacity > 0)
}

/// The emptier, the better.
pub(super) fn least_allocated(cycle: &Cycle<'_>, nodes: &[&Arc<NodeInfo>]) -> Vec<i64> {
    let score = |node: &&Arc<NodeInfo>| {
        let free = |(used, capacity): (i64, i64)| if used > capacity { 0 } else { (capacity - used) * MAX / capacity };
        let (sum, count) = shares(cycle, node).map(free).fold((0, 0), |(sum, count), free| (sum + free, count + 1));
        sum / count.max(1)
    };
    nodes.iter().map(score).collect()
}

/// The more evenly CPU and memory are used, the better.
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "shares between 0 and 1")]
pub(super) fn balanced(cycle: &Cycle<'_>, nodes: &[&Arc<NodeInfo>]) -> Vec<i64> {
    let score = |node: &&Arc<NodeInfo>| {
        let mut fractions = shares(cycle, node).map(|(used, capacity)| (used as f64 / capacity as f64).min(1.0));
        let deviation = match (fractions.next(), fractions.next()) {
            (Some(a), Some(b)) => (a - b).abs() / 2.0,
            _ => 0.0,
        };
        ((1.0 - deviation) * MAX as f64) as i64
    };
    nodes.iter().map(score).collect()
}
