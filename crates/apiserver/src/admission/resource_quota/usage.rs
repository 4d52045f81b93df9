//! What an object costs, and which quotas count it: pure functions of the object, for admission and for whoever
//! recounts (upstream `pkg/quota/v1/evaluator/core`).

use crate::validation::qos;
use crate::validation::resources::{self, is_extended, is_huge_page, is_native, quantity};
use jiff::{SignedDuration, Timestamp};
use kaji_api::quantity::Quantity;
use kaji_api::{GroupResource, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Amounts by resource name.
pub(super) type List = BTreeMap<String, Quantity>;

const CLASS_SUFFIX: &str = ".storageclass.storage.k8s.io/";
const BETA_CLASS: &str = "volume.beta.kubernetes.io/storage-class";
const POD_NAMES: [&str; 11] = [
    "count/pods",
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
];
/// Once such a quota is there, every container must say what it needs of it.
const DEMANDED: [&str; 6] = ["cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"];
/// Counted under their plain names since before `count/` was there.
const OLD_NAMES: [&str; 5] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets", "services"];

/// How objects of a resource are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    Pod,
    Service,
    Claim,
    /// By their number, under these names.
    Count(Vec<String>),
}

impl Measure {
    pub(super) fn of(resource: &GroupResource) -> Self {
        let plural: &str = &resource.resource;
        match (&*resource.group, plural) {
            ("", "pods") => Measure::Pod,
            ("", "services") => Measure::Service,
            ("", "persistentvolumeclaims") => Measure::Claim,
            ("", name) if OLD_NAMES.contains(&name) => Measure::Count(vec![format!("count/{name}"), name.to_owned()]),
            ("", name) => Measure::Count(vec![format!("count/{name}")]),
            (group, name) => Measure::Count(vec![format!("count/{name}.{group}")]),
        }
    }

    /// Whether it has to do with a name that a quota limits.
    pub(super) fn counts(&self, name: &str) -> bool {
        match self {
            Measure::Pod => {
                POD_NAMES.contains(&name)
                    || is_huge_page(name.strip_prefix("requests.").unwrap_or(name))
                    || name.starts_with("requests.") && !is_native(name)
                    || name.starts_with("requests.deviceclass.resource.kubernetes.io/")
            }
            Measure::Service => {
                matches!(name, "count/services" | "services" | "services.nodeports" | "services.loadbalancers")
            }
            Measure::Claim => {
                let plain = |n: &str| matches!(n, "persistentvolumeclaims" | "requests.storage");
                name == "count/persistentvolumeclaims"
                    || plain(name)
                    || name.split_once(CLASS_SUFFIX).is_some_and(|(_, rest)| plain(rest))
            }
            Measure::Count(names) => names.iter().any(|n| n == name),
        }
    }

    /// What the object costs at this time.
    pub(super) fn usage(&self, object: &Value, now: Timestamp) -> List {
        match self {
            Measure::Pod => pod(object, now),
            Measure::Service => service(object),
            Measure::Claim => claim(object),
            Measure::Count(names) => names.iter().map(|n| (n.clone(), Quantity::from_i64(1))).collect(),
        }
    }

    /// Whether an object is within all scopes of a quota.
    pub(super) fn in_scope(&self, quota: &Value, object: &Value) -> bool {
        let spec = &quota["spec"];
        let plain = |scope: &Value| self.matches(scope.str(), "Exists", &[], object);
        let chosen = |scope: &Value| self.is_within(scope, object);
        spec["scopes"].items().iter().all(plain) && spec["scopeSelector"]["matchExpressions"].items().iter().all(chosen)
    }

    /// Whether an object is within one scope: its name, an operator, values.
    pub(super) fn is_within(&self, scope: &Value, object: &Value) -> bool {
        self.matches(scope["scopeName"].str(), scope["operator"].str(), scope["values"].items(), object)
    }

    fn matches(&self, scope: &str, operator: &str, values: &[Value], object: &Value) -> bool {
        let one_of = |names: &[&str]| match operator {
            "Exists" => !names.is_empty(),
            "DoesNotExist" => names.is_empty(),
            "In" => names.iter().any(|n| values.iter().any(|v| v.str() == *n)),
            "NotIn" => names.is_empty() || names.iter().any(|n| !values.iter().any(|v| v.str() == *n)),
            _ => false,
        };
        let named = |names: Vec<&'_ str>| one_of(&names.into_iter().filter(|n| !n.is_empty()).collect::<Vec<_>>());
        match (self, scope) {
            (Measure::Pod, "Terminating") => is_terminating(object),
            (Measure::Pod, "NotTerminating") => !is_terminating(object),
            (Measure::Pod, "BestEffort") => qos::class(object) == "BestEffort",
            (Measure::Pod, "NotBestEffort") => qos::class(object) != "BestEffort",
            (Measure::Pod, "PriorityClass") => named(vec![object["spec"]["priorityClassName"].str()]),
            (Measure::Pod, "CrossNamespacePodAffinity") => crosses_namespaces(&object["spec"]["affinity"]),
            (Measure::Claim, "VolumeAttributesClass") => named(attribute_classes(object)),
            _ => false,
        }
    }

    /// What containers must say and don't, as upstream tells it.
    pub(super) fn missing(&self, object: &Value, limited: &[&str]) -> Option<String> {
        let spec = &object["spec"];
        let whole = &spec["resources"];
        if *self != Measure::Pod || ["requests", "limits"].iter().any(|l| whole[*l].entries().next().is_some()) {
            return None;
        }
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for container in ["containers", "initContainers"].iter().flat_map(|l| spec[*l].items()) {
            let own = &container["resources"];
            let says = compute(&list_of(&own["requests"]), &list_of(&own["limits"]));
            for name in limited.iter().filter(|n| DEMANDED.contains(n) && !says.contains_key(**n)) {
                missing.entry(name).or_default().insert(container["name"].str());
            }
        }
        let told = |(name, of): (&str, BTreeSet<&str>)| {
            format!("{name} for: {}", of.into_iter().collect::<Vec<_>>().join(","))
        };
        let told: Vec<String> = missing.into_iter().map(told).collect();
        (!told.is_empty()).then(|| format!("must specify {}", told.join("; ")))
    }
}

/// Whether a pod ends by itself after some time.
pub(super) fn is_terminating(pod: &Value) -> bool {
    pod["spec"]["activeDeadlineSeconds"].as_i64().is_some_and(|s| s >= 0)
}

fn crosses_namespaces(affinity: &Value) -> bool {
    let term = |t: &Value| !t["namespaces"].items().is_empty() || !t["namespaceSelector"].is_null();
    ["podAffinity", "podAntiAffinity"].iter().map(|kind| &affinity[*kind]).any(|of| {
        of["requiredDuringSchedulingIgnoredDuringExecution"].items().iter().any(term)
            || of["preferredDuringSchedulingIgnoredDuringExecution"].items().iter().any(|w| term(&w["podAffinityTerm"]))
    })
}

fn attribute_classes(claim: &Value) -> Vec<&str> {
    vec![
        claim["spec"]["volumeAttributesClassName"].str(),
        claim["status"]["currentVolumeAttributesClassName"].str(),
        claim["status"]["modifyVolumeStatus"]["targetVolumeAttributesClassName"].str(),
    ]
}

fn list_of(v: &Value) -> List {
    v.entries().map(|(name, amount)| (name.to_owned(), quantity(amount))).collect()
}

fn pod(pod: &Value, now: Timestamp) -> List {
    let mut usage = List::from([("count/pods".to_owned(), Quantity::from_i64(1))]);
    if !is_over(pod, now) {
        usage.extend(compute(&whole(pod, "requests"), &whole(pod, "limits")));
    }
    usage
}

/// Whether a pod has ended, or should have by now.
fn is_over(pod: &Value, now: Timestamp) -> bool {
    if matches!(pod["status"]["phase"].str(), "Failed" | "Succeeded") {
        return true;
    }
    let since = pod.meta("deletionTimestamp").parse::<Timestamp>();
    let grace = pod["metadata"]["deletionGracePeriodSeconds"].as_i64();
    let (Ok(since), Some(grace)) = (since, grace) else { return false };
    since.checked_add(SignedDuration::from_secs(grace)).is_ok_and(|end| now > end)
}

/// What a pod takes as a whole: its own word before its containers', and the overhead of its runtime.
fn whole(pod: &Value, list: &str) -> List {
    let spec = in_effect(pod);
    let mut total = resources::aggregate(&spec, list);
    let own = list_of(&spec["resources"][list]);
    total.extend(own.into_iter().filter(|(n, _)| matches!(n.as_str(), "cpu" | "memory") || is_huge_page(n)));
    for (name, extra) in list_of(&spec["overhead"]) {
        let so_far = total.get(&name).cloned();
        match (list, so_far) {
            ("requests", so_far) => drop(total.insert(name, so_far.unwrap_or_default().add(&extra))),
            (_, Some(limit)) if !limit.is_zero() => drop(total.insert(name, limit.add(&extra))),
            _ => {}
        }
    }
    total
}

/// The spec with what containers really have, where a resize has not come to its end: the larger amount counts,
/// or what is, where what is wanted cannot be had.
fn in_effect(pod: &Value) -> Value {
    let mut spec = pod["spec"].clone();
    let conditions = pod["status"]["conditions"].items();
    let infeasible =
        conditions.iter().any(|c| c["type"].str() == "PodResizePending" && c["reason"].str() == "Infeasible");
    for (field, statuses) in [("containers", "containerStatuses"), ("initContainers", "initContainerStatuses")] {
        for container in spec.get_mut(field).map_or(&mut [][..], Value::items_mut) {
            let statuses = pod["status"][statuses].items();
            let Some(status) = statuses.iter().find(|s| s["name"] == container["name"]) else { continue };
            for list in ["requests", "limits"] {
                let mut amounts = if infeasible { List::new() } else { list_of(&container["resources"][list]) };
                raise(&mut amounts, list_of(&status["resources"][list]));
                if list == "requests" {
                    raise(&mut amounts, list_of(&status["allocatedResources"]));
                }
                let amounts: Value = amounts.into_iter().map(|(n, q)| (n, q.to_string())).collect();
                container.entry("resources").set(list, amounts);
            }
        }
    }
    spec
}

fn raise(list: &mut List, other: List) {
    for (name, amount) in other {
        let most = list.remove(&name).map_or(amount.clone(), |q| q.max(amount));
        list.insert(name, most);
    }
}

fn compute(requests: &List, limits: &List) -> List {
    let mut usage = List::from([("pods".to_owned(), Quantity::from_i64(1))]);
    for name in ["cpu", "memory", "ephemeral-storage"] {
        if let Some(request) = requests.get(name) {
            usage.insert(name.to_owned(), request.clone());
            usage.insert(format!("requests.{name}"), request.clone());
        }
        if let Some(limit) = limits.get(name) {
            usage.insert(format!("limits.{name}"), limit.clone());
        }
    }
    for (name, request) in requests {
        if is_huge_page(name) {
            usage.insert(name.clone(), request.clone());
        }
        if is_huge_page(name) || is_extended(name) {
            usage.insert(format!("requests.{name}"), request.clone());
        }
    }
    usage
}

fn service(service: &Value) -> List {
    let spec = &service["spec"];
    let ports = spec["ports"].items();
    let balanced = spec["type"].str() == "LoadBalancer";
    // Ports are allocated later, so what counts is how many will be.
    let node_ports = match spec["type"].str() {
        "LoadBalancer" if spec["allocateLoadBalancerNodePorts"].as_bool() == Some(false) => {
            ports.iter().filter(|p| !p["nodePort"].is_zero()).count()
        }
        "NodePort" | "LoadBalancer" => ports.len(),
        _ => 0,
    };
    let counted = [
        ("count/services", 1),
        ("services", 1),
        ("services.loadbalancers", i64::from(balanced)),
        ("services.nodeports", i64::try_from(node_ports).unwrap_or(i64::MAX)),
    ];
    counted.into_iter().map(|(name, n)| (name.to_owned(), Quantity::from_i64(n))).collect()
}

fn claim(claim: &Value) -> List {
    let class = claim.annotation(BETA_CLASS).unwrap_or_else(|| claim["spec"]["storageClassName"].str());
    let one = Quantity::from_i64(1);
    let mut usage = List::from([("count/persistentvolumeclaims".to_owned(), one.clone())]);
    let mut charge = |name: &str, amount: Quantity| {
        if !class.is_empty() {
            usage.insert(format!("{class}{CLASS_SUFFIX}{name}"), amount.clone());
        }
        usage.insert(name.to_owned(), amount);
    };
    charge("persistentvolumeclaims", one);
    if let Some(asked) = claim["spec"]["resources"]["requests"].get("storage") {
        let given = quantity(&claim["status"]["allocatedResources"]["storage"]);
        charge("requests.storage", quantity(asked).max(given).round_up(0));
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    fn shown(list: &List) -> Vec<String> {
        list.iter().filter(|(_, q)| !q.is_zero()).map(|(n, q)| format!("{n}={q}")).collect()
    }

    #[test]
    fn a_pod_costs_what_it_asks_for_until_it_ends() {
        let mut object = value!({"spec": {"overhead": {"cpu": "10m"}, "containers": [{"name": "c", "resources":
            {"requests": {"cpu": "1", "example.com/gpu": "2"}, "limits": {"cpu": "2"}}}]}});
        let usage = Measure::Pod.usage(&object, Timestamp::UNIX_EPOCH);
        let expected = [
            "count/pods=1",
            "cpu=1010m",
            "limits.cpu=2010m",
            "pods=1",
            "requests.cpu=1010m",
            "requests.example.com/gpu=2",
        ];
        assert_eq!(shown(&usage), expected);
        object.entry("status").set("phase", "Succeeded");
        assert_eq!(shown(&Measure::Pod.usage(&object, Timestamp::UNIX_EPOCH)), ["count/pods=1"]);
    }

    #[test]
    fn services_and_claims_cost_what_will_be_allocated() {
        let now = Timestamp::UNIX_EPOCH;
        let balanced = value!({"spec": {"type": "LoadBalancer", "ports": [{"port": 1}, {"port": 2}]}});
        let expected = ["count/services=1", "services=1", "services.loadbalancers=1", "services.nodeports=2"];
        assert_eq!(shown(&Measure::Service.usage(&balanced, now)), expected);
        let claim = value!({"spec": {"storageClassName": "gold", "resources": {"requests": {"storage": "1Gi"}}}});
        let usage = Measure::Claim.usage(&claim, now);
        assert_eq!(usage["gold.storageclass.storage.k8s.io/requests.storage"].to_string(), "1Gi");
        assert!(Measure::Claim.counts("gold.storageclass.storage.k8s.io/persistentvolumeclaims"));
    }

    #[test]
    fn scopes_choose_pods() {
        let quota = value!({"spec": {"scopes": ["NotTerminating"], "scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]}}});
        assert!(Measure::Pod.in_scope(&quota, &value!({"spec": {"priorityClassName": "high"}})));
        assert!(!Measure::Pod.in_scope(&quota, &value!({"spec": {}})));
        let ends = value!({"spec": {"priorityClassName": "high", "activeDeadlineSeconds": 5}});
        assert!(!Measure::Pod.in_scope(&quota, &ends));
        assert!(!Measure::Service.in_scope(&quota, &value!({})));
    }

    #[test]
    fn containers_must_say_what_is_limited() {
        let object =
            value!({"spec": {"containers": [{"name": "b"}, {"name": "a", "resources": {"requests": {"cpu": "1"}}}]}});
        let missing = Measure::Pod.missing(&object, &["pods", "requests.cpu", "limits.memory"]);
        assert_eq!(missing.as_deref(), Some("must specify limits.memory for: a,b; requests.cpu for: b"));
    }
}
