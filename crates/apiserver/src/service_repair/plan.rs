//! What is wrong with a service's addresses, or with a claim to one, and what to do about it.

use crate::strategy::service::addresses::{ORPHANED_SECONDS, held, is_owner};
use crate::validation::ip;
use crate::validation::service::family_of;
use jiff::Timestamp;
use kaji_api::Value;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a claim may be younger than its service without being the service's: one that is refused gives it back.
const GIVING_BACK_SECONDS: i64 = 5;
const OF_SERVICE: &str = "ClusterIPAllocation";
const OF_CLAIM: &str = "IPAddressAllocation";

/// What there is.
pub(super) trait Look {
    /// Whether any range has the address.
    fn in_range(&self, address: IpAddr) -> bool;
    /// The claim to an address.
    fn claim(&self, name: &str) -> Option<Arc<Value>>;
    /// A service.
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Value>>;
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Tell people, in an event about the object.
    Tell { reason: &'static str, action: &'static str, note: String },
    /// Claim the address for the service.
    Claim(IpAddr),
    /// Remove this claim to the address, then claim it for the service.
    Replace { claim: Arc<Value>, address: IpAddr },
    /// Remove the claim.
    Remove,
    /// Look again after this time.
    Later(Duration),
}

fn tell(reason: &'static str, action: &'static str, note: String) -> Step {
    Step::Tell { reason, action, note }
}

/// What a service needs.
pub(super) fn service(service: &Value, look: &dyn Look) -> Vec<Step> {
    held(service).into_iter().flat_map(|address| service_address(service, address, look)).collect()
}

fn service_address(service: &Value, ip: IpAddr, look: &dyn Look) -> Vec<Step> {
    let (family, namespace, name) = (family_of(ip), service.namespace(), service.name());
    let warn = |reason, note| tell(reason, OF_SERVICE, note);
    if !look.in_range(ip) {
        let why = "is not within any configured Service CIDR; please recreate service";
        return vec![warn("ClusterIPOutOfRange", format!("Cluster IP [{family}]: {ip} {why}"))];
    }
    let Some(claim) = look.claim(&ip.to_string()) else {
        let note = format!("Cluster IP [{family}]: {ip} is not allocated; repairing");
        return vec![warn("ClusterIPNotAllocated", note), Step::Claim(ip)];
    };
    let replace = || Step::Replace { claim: claim.clone(), address: ip };
    let wrong = || {
        let what = format!("the ClusterIP [{family}]: {ip} for Service {namespace}/{name}");
        vec![warn("ClusterIPNotAllocated", format!("{what} has a wrong reference; repairing")), replace()]
    };
    if !is_services(&claim) {
        return wrong();
    }
    let mut steps = Vec::new();
    if !is_owner(&claim, service) {
        let parent = &claim["spec"]["parentRef"];
        let Some(other) = look.service(parent["namespace"].str(), parent["name"].str()) else { return wrong() };
        if held(&other).contains(&ip) {
            let note = format!("Cluster IP [{family}]:{ip} was assigned to multiple services; please recreate service");
            steps.push(warn("ClusterIPAlreadyAllocated", note));
        }
    }
    if !is_ours(&claim) || claim["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"].str() != family {
        steps.push(replace());
    }
    steps
}

/// What is to become of a claim.
pub(super) fn claim(claim: &Value, look: &dyn Look, now: Timestamp) -> Vec<Step> {
    if !is_ours(claim) {
        return Vec::new();
    }
    let (name, parent) = (claim.name(), &claim["spec"]["parentRef"]);
    let remove = |reason, note| vec![tell(reason, OF_CLAIM, note), Step::Remove];
    if !is_services(claim) {
        let part = |field: &str| parent[field].str();
        let (group, resource) = (part("group"), part("resource"));
        let (of, named) = (part("namespace"), part("name"));
        let shown =
            format!("&ParentReference{{Group:{group},Resource:{resource},Namespace:{of},Name:{named},}}: cleaning up");
        let note = format!("IPAddress {name} appears to have been modified, not referencing a Service {shown}");
        return remove("IPAddressNotAllocated", note);
    }
    let made = claim.meta("creationTimestamp").parse::<Timestamp>().unwrap_or(now);
    let age = now.as_second() - made.as_second();
    let left = |of: i64| Step::Later(Duration::from_secs((of - age).max(1).unsigned_abs()));
    let (namespace, service) = (parent["namespace"].str(), parent["name"].str());
    let Some(found) = look.service(namespace, service) else {
        // The service may be on its way.
        return match age > ORPHANED_SECONDS {
            false => vec![left(ORPHANED_SECONDS + 1)],
            true => {
                let what = format!("IPAddress: {name} for Service {namespace}/{service}");
                remove("IPAddressNotAllocated", format!("{what} appears to have leaked: cleaning up"))
            }
        };
    };
    if found["spec"]["clusterIPs"].items().iter().any(|a| ip::sloppy(a.str()).is_some_and(|a| a.to_string() == name)) {
        return Vec::new();
    }
    // It may be about to become one that has an address.
    if found["spec"]["type"].str() == "ExternalName" && age < ORPHANED_SECONDS {
        return vec![left(ORPHANED_SECONDS)];
    }
    let before = found.meta("creationTimestamp").parse::<Timestamp>().is_ok_and(|service| service < made);
    if before && age < GIVING_BACK_SECONDS {
        return vec![left(GIVING_BACK_SECONDS)];
    }
    let what = format!("IPAddress: {name} for Service {namespace}/{service}");
    remove("IPAddressWrongReference", format!("{what} has a wrong reference; cleaning up"))
}

fn is_ours(claim: &Value) -> bool {
    claim["metadata"]["labels"]["ipaddress.kubernetes.io/managed-by"].str() == "ipallocator.k8s.io"
}

fn is_services(claim: &Value) -> bool {
    let parent = &claim["spec"]["parentRef"];
    parent["group"].str().is_empty() && parent["resource"].str() == "services"
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    struct World(Vec<Arc<Value>>, Vec<Arc<Value>>);

    impl Look for World {
        fn in_range(&self, address: IpAddr) -> bool {
            address.to_string().starts_with("10.96.")
        }

        fn claim(&self, name: &str) -> Option<Arc<Value>> {
            self.1.iter().find(|c| c.name() == name).cloned()
        }

        fn service(&self, namespace: &str, name: &str) -> Option<Arc<Value>> {
            self.0.iter().find(|s| s.namespace() == namespace && s.name() == name).cloned()
        }
    }

    fn svc(name: &str, kind: &str, address: &str) -> Value {
        value!({
            "metadata": {"name": (name.to_owned()), "namespace": "n", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"type": (kind.to_owned()), "clusterIPs": [(address.to_owned())]},
        })
    }

    /// A claim for service `name`, made a minute after all services.
    fn held_by(resource: &str, name: &str, address: &str, family: &str) -> Value {
        value!({
            "metadata": {
                "name": (address.to_owned()),
                "creationTimestamp": "2026-01-01T00:01:00Z",
                "labels": {
                    "ipaddress.kubernetes.io/ip-family": (family.to_owned()),
                    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
                },
            },
            "spec": {"parentRef": {
                "resource": (resource.to_owned()), "namespace": "n", "name": (name.to_owned()),
            }},
        })
    }

    /// Steps, shortly.
    fn shown(steps: &[Step]) -> String {
        let one = |step: &Step| match step {
            Step::Tell { reason, .. } => (*reason).to_owned(),
            Step::Claim(_) => "claim".to_owned(),
            Step::Replace { .. } => "replace".to_owned(),
            Step::Remove => "remove".to_owned(),
            Step::Later(time) => format!("later {}", time.as_secs()),
        };
        steps.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_service_gets_the_claim_it_needs() {
        let other = |address| svc("b", "ClusterIP", address);
        let good = |name| held_by("services", name, "10.96.0.7", "IPv4");
        let rows = [
            ("10.96.0.7", Some(good("a")), None, ""),
            ("10.96.0.7", None, None, "ClusterIPNotAllocated claim"),
            ("10.1.0.7", None, None, "ClusterIPOutOfRange"),
            ("None", None, None, ""),
            ("10.96.0.7", Some(held_by("gateways", "a", "10.96.0.7", "IPv4")), None, "ClusterIPNotAllocated replace"),
            ("10.96.0.7", Some(good("b")), None, "ClusterIPNotAllocated replace"),
            ("10.96.0.7", Some(good("b")), Some(other("10.96.0.7")), "ClusterIPAlreadyAllocated"),
            ("10.96.0.7", Some(good("b")), Some(other("10.96.0.8")), ""),
            ("10.96.0.7", Some(held_by("services", "a", "10.96.0.7", "IPv6")), None, "replace"),
        ];
        for (address, claim, other, wanted) in rows {
            let world = World(other.into_iter().map(Arc::new).collect(), claim.into_iter().map(Arc::new).collect());
            let steps = service(&svc("a", "ClusterIP", address), &world);
            assert_eq!(shown(&steps), wanted, "{address} {:?} {:?}", world.0, world.1);
        }
    }

    #[test]
    fn a_claim_goes_when_nobody_needs_it() {
        let at =
            |seconds: i64| "2026-01-01T00:01:00Z".parse::<Timestamp>().unwrap() + Duration::from_secs(seconds as u64);
        let good = || held_by("services", "a", "10.96.0.7", "IPv4");
        let mut foreign = good();
        foreign.entry("metadata").remove("labels");
        let rows = [
            (good(), Some(svc("a", "ClusterIP", "10.96.0.7")), 0, ""),
            (foreign, None, 500, ""),
            (held_by("gateways", "a", "10.96.0.7", "IPv4"), None, 0, "IPAddressNotAllocated remove"),
            (good(), None, 59, "later 2"),
            (good(), None, 61, "IPAddressNotAllocated remove"),
            (good(), Some(svc("a", "ClusterIP", "10.96.0.8")), 1, "later 4"),
            (good(), Some(svc("a", "ClusterIP", "10.96.0.8")), 6, "IPAddressWrongReference remove"),
            (good(), Some(svc("a", "ExternalName", "")), 6, "later 54"),
            (good(), Some(svc("a", "ExternalName", "")), 61, "IPAddressWrongReference remove"),
        ];
        for (held, found, age, wanted) in rows {
            let world = World(found.into_iter().map(Arc::new).collect(), Vec::new());
            assert_eq!(shown(&claim(&held, &world, at(age))), wanted, "{held:?} {age}");
        }
    }

    #[test]
    fn notes_are_upstreams() {
        let world = World(Vec::new(), Vec::new());
        let steps = claim(&held_by("gateways", "a", "10.96.0.7", "IPv4"), &world, Timestamp::UNIX_EPOCH);
        let Step::Tell { note, .. } = &steps[0] else { panic!("{steps:?}") };
        assert_eq!(
            note,
            "IPAddress 10.96.0.7 appears to have been modified, not referencing a Service \
             &ParentReference{Group:,Resource:gateways,Namespace:n,Name:a,}: cleaning up"
        );
    }
}
