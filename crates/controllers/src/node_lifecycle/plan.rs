//! What a node's silence and conditions lead to. No client, no clock.

use crate::taint::{DISK, MEMORY, NETWORK, NOT_READY, PIDS, UNREACHABLE, UNSCHEDULABLE};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;

/// Conditions of which a silent kubelet tells nothing any more.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Labels whose old name must have the new one's value.
const LABELS: [(&str, &str); 2] =
    [("kubernetes.io/os", "beta.kubernetes.io/os"), ("kubernetes.io/arch", "beta.kubernetes.io/arch")];

/// A node's condition of this type.
pub(super) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == kind)
}

/// The node's Ready state; empty: it never said.
pub(super) fn ready(node: &Node) -> &str {
    condition(node, "Ready").map(|c| c.status.as_str()).unwrap_or_default()
}

/// The node after its kubelet fell silent; none: that is noted already.
pub(super) fn silenced(node: &Node, now: Timestamp) -> Option<Node> {
    let mut after = node.clone();
    let conditions = after.status.get_or_insert_default().conditions.get_or_insert_default();
    for kind in REPORTED {
        match conditions.iter_mut().find(|c| c.type_ == kind) {
            None => conditions.push(NodeCondition {
                type_: kind.to_owned(),
                status: "Unknown".to_owned(),
                reason: Some("NodeStatusNeverUpdated".to_owned()),
                message: Some("Kubelet never posted node status.".to_owned()),
                last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                last_transition_time: Some(Time(now)),
            }),
            Some(known) if known.status != "Unknown" => {
                known.status = "Unknown".to_owned();
                known.reason = Some("NodeStatusUnknown".to_owned());
                known.message = Some("Kubelet stopped posting node status.".to_owned());
                known.last_transition_time = Some(Time(now));
            }
            Some(_) => {}
        }
    }
    (condition(node, "Ready") != condition(&after, "Ready")).then_some(after)
}

/// The keys that keep new pods away, from conditions and the wish to be left alone.
fn no_schedule(node: &Node) -> Vec<&'static str> {
    let is = |kind: &str, state: &str| condition(node, kind).is_some_and(|c| c.status == state);
    let states = [
        ("Ready", "False", NOT_READY),
        ("Ready", "Unknown", UNREACHABLE),
        ("MemoryPressure", "True", MEMORY),
        ("DiskPressure", "True", DISK),
        ("NetworkUnavailable", "True", NETWORK),
        ("PIDPressure", "True", PIDS),
    ];
    let mut keys: Vec<_> = states.into_iter().filter(|(kind, state, _)| is(kind, state)).map(|(.., key)| key).collect();
    if node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true) {
        keys.push(UNSCHEDULABLE);
    }
    keys
}

/// The key of the taint that drives pods off.
pub(super) fn no_execute(node: &Node) -> Option<&'static str> {
    match ready(node) {
        "False" => Some(NOT_READY),
        "Unknown" => Some(UNREACHABLE),
        _ => None,
    }
}

/// Whether pods are being driven off already.
pub(super) fn expels(node: &Node) -> bool {
    let ours = |t: &&Taint| t.effect == "NoExecute" && (t.key == NOT_READY || t.key == UNREACHABLE);
    crate::taint::of(node).iter().any(|t| ours(&t))
}

/// What becomes of the taint that drives pods off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expel {
    /// As the Ready condition says.
    AsReady,
    /// As it is: its turn has not come.
    Wait,
    /// Off: when all nodes are silent, we may be the one who is cut off.
    Never,
}

/// The node's taints as they should be; none: as they are.
pub(super) fn taints(node: &Node, expel: Expel, now: Timestamp) -> Option<Vec<Taint>> {
    let scheduling = [NOT_READY, UNREACHABLE, MEMORY, DISK, NETWORK, PIDS, UNSCHEDULABLE];
    let mut wanted: Vec<(&str, &str)> = no_schedule(node).into_iter().map(|key| (key, "NoSchedule")).collect();
    match expel {
        Expel::Never => {}
        Expel::AsReady => wanted.extend(no_execute(node).map(|key| (key, "NoExecute"))),
        Expel::Wait => {}
    }
    let before = crate::taint::of(node);
    let keep = |t: &&Taint| {
        let stays = expel == Expel::Wait || ready(node).is_empty();
        match t.effect.as_str() {
            "NoSchedule" if scheduling.contains(&t.key.as_str()) => wanted.contains(&(t.key.as_str(), "NoSchedule")),
            "NoExecute" if t.key == NOT_READY || t.key == UNREACHABLE => {
                stays || wanted.contains(&(t.key.as_str(), "NoExecute"))
            }
            _ => true,
        }
    };
    let mut after: Vec<Taint> = before.iter().filter(keep).cloned().collect();
    for (key, effect) in wanted {
        if !after.iter().any(|t| t.key == key && t.effect == effect) {
            let time_added = Some(Time(now));
            after.push(Taint { key: key.to_owned(), effect: effect.to_owned(), time_added, ..Taint::default() });
        }
    }
    (after != before).then_some(after)
}

/// Labels that are to be added for those who know only the old names.
pub(super) fn labels(node: &Node) -> BTreeMap<&'static str, String> {
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let missing = |(new, old): &(&'static str, &'static str)| {
        let value = labels.get(*new)?;
        (labels.get(*old) != Some(value)).then(|| (*old, value.clone()))
    };
    LABELS.iter().filter_map(missing).collect()
}

/// Where a node is, for judging how many fail together.
pub(super) fn zone(node: &Node) -> String {
    let label = |name: &str| node.metadata.labels.as_ref().and_then(|l| l.get(name)).cloned().unwrap_or_default();
    format!("{}:\0:{}", label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"))
}

/// How a zone fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ZoneState {
    Normal,
    /// More than two, and more than half (`--unhealthy-zone-threshold` 0.55), are not ready.
    Partial,
    /// None is ready.
    Full,
}

pub(super) fn zone_state(ready: usize, total: usize) -> ZoneState {
    let unready = total - ready;
    if ready == 0 && unready > 0 {
        ZoneState::Full
    } else if unready > 2 && unready * 100 >= total * 55 {
        ZoneState::Partial
    } else {
        ZoneState::Normal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(ready: &str, taints: &[(&str, &str)]) -> Node {
        let taints: Vec<_> = taints.iter().map(|(k, e)| serde_json::json!({"key": k, "effect": e})).collect();
        let conditions =
            if ready.is_empty() { vec![] } else { vec![serde_json::json!({"type": "Ready", "status": ready})] };
        serde_json::from_value(serde_json::json!({"metadata": {"name": "n", "labels": {"kubernetes.io/os": "linux"}},
            "spec": {"taints": taints}, "status": {"conditions": conditions}}))
        .unwrap()
    }

    fn decide(node: &Node, expel: Expel) -> Option<Vec<String>> {
        let told = |t: &Taint| format!("{}:{}", t.key.trim_start_matches("node.kubernetes.io/"), t.effect);
        taints(node, expel, Timestamp::UNIX_EPOCH).map(|all| all.iter().map(told).collect())
    }

    #[test]
    fn taints_follow_the_ready_condition() {
        let want = |list: &[&str]| Some(list.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        assert_eq!(decide(&node("True", &[]), Expel::AsReady), None);
        assert_eq!(decide(&node("False", &[]), Expel::AsReady), want(&["not-ready:NoSchedule", "not-ready:NoExecute"]));
        assert_eq!(decide(&node("False", &[]), Expel::Wait), want(&["not-ready:NoSchedule"]));
        let swapped = node("Unknown", &[(NOT_READY, "NoSchedule"), (NOT_READY, "NoExecute"), ("x", "NoExecute")]);
        let taints = ["x:NoExecute", "unreachable:NoSchedule", "unreachable:NoExecute"];
        assert_eq!(decide(&swapped, Expel::AsReady), want(&taints));
        assert_eq!(decide(&swapped, Expel::Never), want(&["x:NoExecute", "unreachable:NoSchedule"]));
        assert_eq!(decide(&node("", &[(NOT_READY, "NoExecute")]), Expel::AsReady), None);
        assert_eq!(decide(&node("True", &[(NOT_READY, "NoSchedule")]), Expel::AsReady), want(&[]));
    }

    #[test]
    fn silence_is_noted_once() {
        let now = Timestamp::UNIX_EPOCH;
        let after = silenced(&node("True", &[]), now).unwrap();
        let ready = condition(&after, "Ready").unwrap();
        assert_eq!((ready.status.as_str(), ready.reason.as_deref()), ("Unknown", Some("NodeStatusUnknown")));
        assert_eq!(condition(&after, "DiskPressure").unwrap().reason.as_deref(), Some("NodeStatusNeverUpdated"));
        assert!(silenced(&after, now).is_none());
    }

    #[test]
    fn zones_and_labels() {
        assert_eq!(zone_state(0, 1), ZoneState::Full);
        assert_eq!(zone_state(1, 3), ZoneState::Normal);
        assert_eq!(zone_state(1, 4), ZoneState::Partial);
        assert_eq!(labels(&node("True", &[])), BTreeMap::from([("beta.kubernetes.io/os", "linux".to_owned())]));
    }
}
