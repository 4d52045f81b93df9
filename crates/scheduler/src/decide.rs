//! Which node? Filters, then scores; pure.

use crate::cycle::Cycle;
use crate::nodes::NodeInfo;
use crate::plugins::{FILTERS, No, SCORERS};
use crate::queue::Wake;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Below so many nodes all are looked at (upstream `minFeasibleNodesToFind`).
const ENOUGH: usize = 100;

/// The answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fit {
    /// The node's name.
    pub(crate) node: String,
}

/// No node will do, and why.
#[derive(Debug)]
pub(crate) struct NoFit {
    /// Upstream's text: `0/3 nodes are available: …`.
    pub(crate) message: String,
    /// Changes that may help.
    pub(crate) until: Vec<Wake>,
    /// Nodes that could do with fewer pods on them.
    pub(crate) crowded: Vec<Arc<NodeInfo>>,
}

/// Finds the best node. `start`: where the last attempt stopped looking, so that large clusters are used evenly.
pub(crate) fn decide(cycle: &Cycle<'_>, start: &mut usize) -> Result<Fit, NoFit> {
    let total = cycle.nodes.len();
    if total == 0 {
        let message = "no nodes available to schedule pods".to_owned();
        return Err(NoFit { message, until: vec![Wake::NodeAdded], crowded: Vec::new() });
    }
    if let Err(why) = &cycle.volumes {
        return Err(NoFit {
            message: format!("0/{total} nodes are available: {why}."),
            until: vec![Wake::Volume, Wake::NodeAdded],
            crowded: Vec::new(),
        });
    }
    if let Some(node) = nominated(cycle) {
        return Ok(Fit { node });
    }
    let wanted = enough(total);
    let mut feasible = Vec::new();
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut until = Vec::new();
    let mut crowded = Vec::new();
    for i in 0..total {
        let node = &cycle.nodes[(*start + i) % total];
        match filter(cycle, node) {
            Ok(()) => feasible.push(node),
            Err((no, wakes)) => {
                no.texts.into_iter().for_each(|text| *reasons.entry(text).or_default() += 1);
                let news: Vec<Wake> = wakes.iter().filter(|w| !until.contains(*w)).copied().collect();
                until.extend(news);
                if no.room_helps {
                    crowded.push(node.clone());
                }
            }
        }
        if feasible.len() >= wanted {
            *start = (*start + i + 1) % total;
            break;
        }
    }
    best(cycle, &feasible).ok_or_else(|| NoFit { message: message(total, &reasons), until, crowded })
}

/// How many feasible nodes are enough to choose from (upstream `numFeasibleNodesToFind`).
fn enough(total: usize) -> usize {
    if total < ENOUGH {
        return total;
    }
    let percent = 50usize.saturating_sub(total / 125).max(5);
    (total * percent / 100).max(ENOUGH)
}

/// The node that the pod has made room on, if it will do now (upstream `evaluateNominatedNode`).
fn nominated(cycle: &Cycle<'_>) -> Option<String> {
    let name = cycle.pod.status.as_ref()?.nominated_node_name.as_deref().filter(|n| !n.is_empty())?;
    let node = cycle.nodes.iter().find(|n| n.name == name)?;
    filter(cycle, node).is_ok().then(|| name.to_owned())
}

pub(crate) fn filter(cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), (No, &'static [Wake])> {
    FILTERS.iter().try_for_each(|plugin| (plugin.filter)(cycle, node).map_err(|no| (no, plugin.wakes)))
}

pub(crate) fn message(total: usize, reasons: &BTreeMap<String, usize>) -> String {
    let mut texts: Vec<String> = reasons.iter().map(|(text, count)| format!("{count} {text}")).collect();
    texts.sort();
    format!("0/{total} nodes are available: {}.", texts.join(", "))
}

fn best(cycle: &Cycle<'_>, feasible: &[&Arc<NodeInfo>]) -> Option<Fit> {
    if let [only] = feasible {
        return Some(Fit { node: only.name.clone() });
    }
    let mut totals = vec![0i64; feasible.len()];
    for scorer in SCORERS {
        for (sum, score) in totals.iter_mut().zip((scorer.score)(cycle, feasible)) {
            *sum += score * scorer.weight;
        }
    }
    let top = *totals.iter().max()?;
    let tied: Vec<usize> = totals.iter().enumerate().filter(|(_, s)| **s == top).map(|(i, _)| i).collect();
    // Upstream draws lots among equals; the pod's identity does as well, and the same question has the same answer.
    let lot = cycle
        .pod
        .metadata
        .uid
        .as_deref()
        .unwrap_or_default()
        .bytes()
        .fold(0usize, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
    Some(Fit { node: feasible[tied[lot % tied.len()]].name.clone() })
}

#[cfg(test)]
mod tests;
