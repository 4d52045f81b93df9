//! What a range needs.

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub(super) const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
/// How long a range that is to go waits until every API server knows, and gives out no more of its addresses.
const KNOWN_EVERYWHERE: Duration = Duration::from_secs(10);
const IN_USE: &str =
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Add the finalizer.
    Protect,
    /// Take it away.
    LetGo,
    /// Write the condition.
    Say(Condition),
    /// Look again after this time.
    Later(Duration),
}

/// What to do about a range, in order. Addresses are asked for only if they matter.
pub(super) fn steps(
    range: &ServiceCIDR,
    all: &[Arc<ServiceCIDR>],
    addresses: impl FnOnce() -> Vec<Arc<IPAddress>>,
    now: Timestamp,
) -> Vec<Step> {
    let protected = range.metadata.finalizers.iter().flatten().any(|f| f == FINALIZER);
    let Some(Time(since)) = &range.metadata.deletion_timestamp else {
        let protect = (!protected).then_some(Step::Protect);
        return protect.into_iter().chain(say(range, ("True", "", "Kubernetes Service CIDR is ready"), now)).collect();
    };
    if !is_contained(range, all) && is_needed(range, all, &addresses()) {
        return say(range, ("False", "Terminating", IN_USE), now).into_iter().collect();
    }
    let waited = Duration::try_from(now.duration_since(*since)).unwrap_or_default();
    match KNOWN_EVERYWHERE.checked_sub(waited).filter(|left| !left.is_zero()) {
        Some(left) => vec![Step::Later(left)],
        None => protected.then_some(Step::LetGo).into_iter().collect(),
    }
}

/// The condition, unless it is there already.
fn say(range: &ServiceCIDR, (status, reason, message): (&str, &str, &str), now: Timestamp) -> Option<Step> {
    let mut conditions = range.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let said = conditions.find(|c| c.type_ == "Ready");
    if said.is_some_and(|c| c.status == status && c.reason == reason && c.message == message) {
        return None;
    }
    Some(Step::Say(Condition {
        type_: "Ready".to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: Time(now),
        observed_generation: None,
    }))
}

fn nets(range: &ServiceCIDR) -> impl Iterator<Item = IpNet> {
    range.spec.iter().flat_map(|s| s.cidrs.iter().flatten()).filter_map(|c| c.parse().ok())
}

/// Whether other ranges have all that this one has.
fn is_contained(range: &ServiceCIDR, all: &[Arc<ServiceCIDR>]) -> bool {
    let other = |o: &&Arc<ServiceCIDR>| o.metadata.name != range.metadata.name;
    nets(range).all(|net| all.iter().filter(other).any(|o| nets(o).any(|outer| outer.contains(&net))))
}

/// Whether a service's address is in no other range.
fn is_needed(range: &ServiceCIDR, all: &[Arc<ServiceCIDR>], addresses: &[Arc<IPAddress>]) -> bool {
    let ours = |a: &&Arc<IPAddress>| {
        let labels = a.metadata.labels.as_ref();
        labels.and_then(|l| l.get("ipaddress.kubernetes.io/managed-by")).is_some_and(|by| by == "ipallocator.k8s.io")
    };
    let other = |o: &&Arc<ServiceCIDR>| o.metadata.name != range.metadata.name;
    addresses.iter().filter(ours).filter_map(|a| a.metadata.name.as_ref()?.parse().ok()).any(|address| {
        let within = |r: &ServiceCIDR| nets(r).any(|net| has(net, address));
        within(range) && !all.iter().filter(other).any(|o| within(o))
    })
}

/// Whether services may have the address: neither the range's own nor, in IPv4, the broadcast one.
fn has(net: IpNet, address: IpAddr) -> bool {
    let broadcast = net.addr().is_ipv4() && address == net.broadcast() && net.max_prefix_len() != net.prefix_len();
    net.contains(&address) && address != net.network() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn range(name: &str, cidr: &str, ready: Option<&str>, finalizers: &[&str], going: bool) -> ServiceCIDR {
        let conditions: Vec<_> = ready
            .iter()
            .map(|status| {
                json!({"type": "Ready", "status": status, "reason": "", "message": "Kubernetes Service CIDR is ready",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        let at = going.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({"metadata": {"name": name, "finalizers": finalizers, "deletionTimestamp": at},
            "spec": {"cidrs": [cidr]}, "status": {"conditions": conditions}}))
        .unwrap()
    }

    fn address(name: &str, by: &str) -> Arc<IPAddress> {
        let labels = json!({"ipaddress.kubernetes.io/managed-by": by});
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap())
    }

    fn shown(steps: &[Step]) -> String {
        let one = |step: &Step| match step {
            Step::Protect => "protect".to_owned(),
            Step::LetGo => "let go".to_owned(),
            Step::Later(time) => format!("later {}", time.as_secs()),
            Step::Say(condition) => format!("{}{}", condition.status, condition.reason),
        };
        steps.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_range_is_ready_until_it_goes_and_goes_when_nobody_needs_it() {
        let (own, ours) = ("10.1.0.0/24", "ipallocator.k8s.io");
        let used = [address("10.1.0.9", ours)];
        let going = || range("a", own, Some("True"), &[FINALIZER], true);
        let other = |cidr: &str| range("b", cidr, Some("True"), &[FINALIZER], false);
        let rows: Vec<(ServiceCIDR, Option<ServiceCIDR>, &[Arc<IPAddress>], i64, &str)> = vec![
            (range("a", own, None, &[], false), None, &[], 0, "protect, True"),
            (range("a", own, Some("True"), &[FINALIZER], false), None, &used, 0, ""),
            (range("a", own, Some("Unknown"), &[FINALIZER], false), None, &[], 0, "True"),
            (going(), None, &used, 60, "FalseTerminating"),
            (going(), Some(other("10.1.0.0/25")), &used, 60, "let go"),
            (going(), Some(other("10.1.0.0/16")), &used, 60, "let go"),
            (going(), Some(other("10.2.0.0/16")), &used, 60, "FalseTerminating"),
            (going(), None, &[], 3, "later 7"),
            (going(), None, &[], 10, "let go"),
            (range("a", own, Some("True"), &["other"], true), None, &[], 10, ""),
        ];
        let others = [address("10.2.0.9", ours), address("10.1.0.9", "somebody"), address("10.1.0.0", ours)];
        let free = (going(), None, &others[..], 60, "let go");
        for (range, other, addresses, seconds, wanted) in rows.into_iter().chain([free]) {
            let now = "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(seconds as u64);
            let all: Vec<_> = [Some(range.clone()), other].into_iter().flatten().map(Arc::new).collect();
            let steps = steps(&range, &all, || addresses.to_vec(), now);
            assert_eq!(shown(&steps), wanted, "{all:?} {addresses:?} {seconds}");
        }
    }
}
