//! The plugins: two tables, in upstream's order (`apis/config/v1/default_plugins.go`).

pub(crate) mod affinity;
pub(crate) mod inter_pod;
mod node;
mod resources;
pub(crate) mod spread;
mod taints;
pub(crate) mod volumes;

use crate::cycle::Cycle;
use crate::nodes::NodeInfo;
use crate::queue::Wake;
use std::sync::Arc;

/// Scores go from 0 to this.
pub(crate) const MAX: i64 = 100;

/// Why a node will not do.
#[derive(Debug)]
pub(crate) struct No {
    /// Upstream's texts.
    pub(crate) texts: Vec<String>,
    /// Whether it could do with fewer pods on it: preemption is worth a thought.
    pub(crate) room_helps: bool,
}

impl No {
    /// Fewer pods on the node could help.
    fn room(text: &str) -> Self {
        No { texts: vec![text.to_owned()], room_helps: true }
    }

    /// The node is wrong, whatever runs on it.
    fn node(text: &str) -> Self {
        No { texts: vec![text.to_owned()], room_helps: false }
    }
}

/// Says why a node will not do.
pub(crate) struct Filter {
    pub(crate) filter: fn(&Cycle<'_>, &NodeInfo) -> Result<(), No>,
    /// Which changes may turn its no into a yes.
    pub(crate) wakes: &'static [Wake],
}

/// Rates nodes that will do, 0 to [`MAX`].
pub(crate) struct Scorer {
    pub(crate) weight: i64,
    pub(crate) score: fn(&Cycle<'_>, &[&Arc<NodeInfo>]) -> Vec<i64>,
}

const NODE: &[Wake] = &[Wake::NodeAdded, Wake::NodeChanged];
const NODE_AND_ROOM: &[Wake] = &[Wake::NodeAdded, Wake::NodeChanged, Wake::PodRemoved];
const NODE_AND_PODS: &[Wake] = &[Wake::NodeAdded, Wake::NodeChanged, Wake::PodAdded, Wake::PodRemoved];

pub(crate) const FILTERS: &[Filter] = &[
    Filter { filter: node::unschedulable, wakes: NODE },
    Filter { filter: node::name, wakes: NODE },
    Filter { filter: taints::filter, wakes: NODE },
    Filter { filter: affinity::filter, wakes: NODE },
    Filter { filter: node::ports, wakes: NODE_AND_ROOM },
    Filter { filter: resources::filter, wakes: NODE_AND_ROOM },
    Filter { filter: volumes::filter, wakes: &[Wake::NodeAdded, Wake::NodeChanged, Wake::Volume] },
    Filter { filter: spread::filter, wakes: NODE_AND_PODS },
    Filter { filter: inter_pod::filter, wakes: NODE_AND_PODS },
];

pub(crate) const SCORERS: &[Scorer] = &[
    Scorer { weight: 3, score: taints::score },
    Scorer { weight: 2, score: affinity::score },
    Scorer { weight: 1, score: resources::least_allocated },
    Scorer { weight: 2, score: spread::preferred::score },
    Scorer { weight: 2, score: inter_pod::score },
    Scorer { weight: 1, score: resources::balanced },
    Scorer { weight: 1, score: node::image_locality },
];

/// Stretches raw scores to 0..=100, the highest becoming 100; `reverse`: the lowest does.
pub(crate) fn normalized(raw: Vec<i64>, reverse: bool) -> Vec<i64> {
    let top = raw.iter().copied().max().unwrap_or_default();
    let stretch = |score: i64| {
        let score = if top == 0 { 0 } else { score * MAX / top };
        if reverse { MAX - score } else { score }
    };
    raw.into_iter().map(stretch).collect()
}
