//! Resource names, amounts and requirements.

use super::At;
use kaji_api::Value;
use kaji_api::field::Errors;
use kaji_api::names;
use kaji_api::quantity::Quantity;
use std::collections::BTreeMap;

const STANDARD: &[&str] = &[
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
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

const WHOLE: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// An amount; what cannot be read counts as zero, since decoding has refused it already.
pub(crate) fn quantity(v: &Value) -> Quantity {
    match v {
        Value::Int(n) => Quantity::from_i64(*n),
        other => other.str().parse().unwrap_or_default(),
    }
}

/// `hugepages-2Mi`.
pub(crate) fn is_huge_page(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Without a domain, or in Kubernetes' own.
pub(crate) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// In another's domain, as device plugins name theirs.
pub(crate) fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Requests may be below limits.
pub(crate) fn is_overcommittable(name: &str) -> bool {
    is_native(name) && !is_huge_page(name)
}

/// Counted in whole numbers.
pub(crate) fn is_whole(name: &str) -> bool {
    WHOLE.contains(&name) || is_extended(name)
}

/// Standard names that quotas know (volume storage itself is none of them).
pub(crate) fn is_quota_name(name: &str) -> bool {
    (STANDARD.contains(&name) && name != "storage") || is_huge_page(name) || name.starts_with("requests.hugepages-")
}

/// A resource's name, which stands as the key of `at`.
pub(crate) fn name(at: At<'_>, name: &str, e: &mut Errors) -> bool {
    let texts = names::qualified_name(name);
    for text in &texts {
        at.invalid_as(e, name, text);
    }
    if !texts.is_empty() {
        return false;
    }
    let standard = STANDARD.contains(&name) || is_huge_page(name) || name.starts_with("requests.hugepages-");
    if !name.contains('/') && !standard {
        at.invalid_as(e, name, "must be a standard resource type or fully qualified");
        return false;
    }
    true
}

/// The same, for containers.
pub(crate) fn container_name(at: At<'_>, name: &str, e: &mut Errors) {
    self::name(at, name, e);
    if !name.contains('/') {
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !is_huge_page(name) {
            at.invalid_as(e, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        at.invalid_as(e, name, "doesn't follow extended resource name standard");
    }
}

/// The same, for whole pods.
fn pod_name(at: At<'_>, name: &str, e: &mut Errors) {
    if self::name(at, name, e) && !pod_level(name) {
        e.not_supported(&at.path(), name, &["cpu", "hugepages-", "memory"]);
    }
}

/// Resources that pods as a whole may ask for.
pub(crate) fn pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || is_huge_page(name)
}

/// An amount may not be negative, and must be whole where the resource is.
pub(crate) fn amount(at: At<'_>, name: &str, e: &mut Errors) {
    let q = quantity(at.v);
    if q.signum() < 0 {
        at.invalid_as(e, q.to_string(), "must be greater than or equal to 0");
    }
    if is_whole(name) && q.milli_value() % 1000 != 0 {
        at.invalid_as(e, q.to_string(), "must be an integer");
    }
}

/// Requests and limits of a container, or of a pod.
pub(crate) fn requirements(at: At<'_>, claims: &[&str], whole_pod: bool, e: &mut Errors) {
    let check_name = if whole_pod { pod_name } else { container_name };
    let (limits, requests) = (at.field("limits"), at.field("requests"));
    let (mut plain, mut huge) = (false, false);
    for (name, amount_at) in limits.map() {
        entry(amount_at, name, check_name, e);
        plain |= matches!(name, "cpu" | "memory");
        huge |= is_huge_page(name);
    }
    for (name, amount_at) in requests.map() {
        check_name(amount_at, name, e);
        amount(amount_at, name, e);
        against_limit(requests, limits, name, e);
        huge_page(amount_at, name, e);
        plain |= matches!(name, "cpu" | "memory");
        huge |= is_huge_page(name);
    }
    if huge && !plain {
        at.forbidden(e, "HugePages require cpu or memory");
    }
    claim_names(at.field("claims"), claims, e);
}

/// One entry of a list of resources.
fn entry(at: At<'_>, name: &str, check_name: fn(At<'_>, &str, &mut Errors), e: &mut Errors) {
    check_name(at, name, e);
    amount(at, name, e);
    huge_page(at, name, e);
}

/// A pod's overhead: limits that stand in a map of their own.
pub(crate) fn overhead(at: At<'_>, e: &mut Errors) {
    let limits = at.field("limits").with(at.v);
    let (mut plain, mut huge) = (false, false);
    for (name, amount_at) in limits.map() {
        entry(amount_at, name, container_name, e);
        plain |= matches!(name, "cpu" | "memory");
        huge |= is_huge_page(name);
    }
    if huge && !plain {
        at.forbidden(e, "HugePages require cpu or memory");
    }
}

fn against_limit(requests: At<'_>, limits: At<'_>, name: &str, e: &mut Errors) {
    let asked = quantity(&requests.v[name]);
    let Some(limit) = limits.v.get(name).map(quantity) else {
        if !is_overcommittable(name) {
            limits.required(e, "Limit must be set for non overcommitable resources");
        }
        return;
    };
    if asked != limit && !is_overcommittable(name) {
        requests.invalid_as(e, asked.to_string(), &format!("must be equal to {name} limit of {limit}"));
    } else if asked > limit {
        requests.invalid_as(e, asked.to_string(), &format!("must be less than or equal to {name} limit of {limit}"));
    }
}

fn huge_page(at: At<'_>, name: &str, e: &mut Errors) {
    let Some(size) = name.strip_prefix("hugepages-") else { return };
    let q = quantity(at.v);
    let divisible = size.parse::<Quantity>().is_ok_and(|size| {
        size.signum() > 0 && size.milli_value() % 1000 == 0 && size.value() != 0 && q.value() % size.value() == 0
    });
    if !divisible {
        at.invalid_as(e, q.to_string(), &format!("{q} is not positive integer multiple of {name}"));
    }
}

fn claim_names(at: At<'_>, known: &[&str], e: &mut Errors) {
    let mut seen: Vec<String> = Vec::new();
    for claim in at.list() {
        let (name, request) = (claim["name"].str(), claim["request"].str());
        if name.is_empty() {
            claim.required(e, "");
            continue;
        }
        if seen.iter().any(|s| s == name) {
            claim.duplicate_as(e, name);
        } else {
            claim.field("request").check_if_set(e, names::dns1123_label);
            let key = if request.is_empty() { name.to_owned() } else { format!("{name}/{request}") };
            if seen.contains(&key) {
                claim.duplicate_as(e, key.as_str());
            } else if request.is_empty() {
                let part = seen.iter().filter(|s| s.split_once('/').is_some_and(|(n, _)| n == name));
                part.for_each(|_| claim.duplicate_as(e, name));
            }
            seen.push(key);
        }
        if !known.contains(&name) {
            e.not_found(&claim.path(), name);
            let mut sorted = known.to_vec();
            sorted.sort_unstable();
            let rest = if known.is_empty() { " which is empty".into() } else { format!(": {}", sorted.join(", ")) };
            At::detail(e, &format!("must be one of the names in pod.spec.resourceClaims{rest}"));
        }
    }
}

/// What all containers of a pod need together, by resource: sidecars run beside the containers, init
/// containers one after the other before them.
pub(crate) fn aggregate(spec: &Value, list: &str) -> BTreeMap<String, Quantity> {
    let mut total: BTreeMap<String, Quantity> = BTreeMap::new();
    for container in spec["containers"].items() {
        add(&mut total, &container["resources"][list]);
    }
    let (mut sidecars, mut peak) = (BTreeMap::new(), BTreeMap::new());
    for container in spec["initContainers"].items() {
        let own = &container["resources"][list];
        if container["restartPolicy"].str() == "Always" {
            add(&mut total, own);
            add(&mut sidecars, own);
            raise(&mut peak, &sidecars);
        } else {
            let mut now = sidecars.clone();
            add(&mut now, own);
            raise(&mut peak, &now);
        }
    }
    raise(&mut total, &peak);
    total
}

fn add(total: &mut BTreeMap<String, Quantity>, list: &Value) {
    for (name, v) in list.entries() {
        let q = quantity(v);
        let sum = total.get(name).map_or(q.clone(), |t| t.add(&q));
        total.insert(name.to_owned(), sum);
    }
}

fn raise(total: &mut BTreeMap<String, Quantity>, to: &BTreeMap<String, Quantity>) {
    for (name, q) in to {
        if total.get(name).is_none_or(|t| t < q) {
            total.insert(name.clone(), q.clone());
        }
    }
}

/// Resources of a pod as a whole, beside those of its containers.
pub(crate) fn pod(spec: At<'_>, claims: &[&str], e: &mut Errors) {
    let at = spec.field("resources");
    if !at.is_set() {
        return;
    }
    if spec["os"]["name"].str() == "windows" {
        return at.forbidden(e, "may not be set for a windows pod");
    }
    if at.field("claims").is_set() {
        at.field("claims").forbidden(e, "claims may not be set for Resources at pod-level");
    }
    requirements(at, claims, true, e);
    for (name, needed) in aggregate(spec.v, "requests") {
        if let Some(own) = at["requests"].get(&name).map(quantity)
            && needed > own
        {
            let path = at.field("requests").path().key(&name);
            let text = format!("must be greater than or equal to aggregate container requests of {needed}");
            e.invalid(&path, own.to_string(), &text);
        }
    }
    for (name, needed) in aggregate(spec.v, "limits") {
        if let Some(own) = at["limits"].get(&name).map(quantity)
            && is_huge_page(&name)
            && needed > own
        {
            let path = at.field("limits").path().key(&name);
            let text = format!("must be greater than or equal to aggregate container limits of {needed}");
            e.invalid(&path, own.to_string(), &text);
        }
    }
    for (i, container) in spec["containers"].items().iter().enumerate() {
        for (name, v) in container["resources"]["limits"].entries() {
            let limit = quantity(v);
            if let Some(own) = at["limits"].get(name).map(quantity)
                && limit > own
            {
                let path = at.path().child("containers").index(i).key(name).child("limits");
                e.invalid(&path, limit.to_string(), &format!("must be less than or equal to pod limits of {own}"));
            }
        }
    }
}

/// Amounts finer than thousandths are rounded up to them.
pub(crate) fn round_up(list: &mut Value) {
    let Some(list) = list.as_object_mut() else { return };
    for (_, v) in &mut list.0 {
        let text = v.str();
        let exponent = text.ends_with("e-6") || text.ends_with("e-9");
        if exponent || text.ends_with(['n', 'u']) {
            let milli = quantity(v).milli_value();
            let suffix = if exponent { "e-3" } else { "m" };
            *v = format!("{milli}{suffix}").into();
            if let Some(canonical) = Quantity::canonical(v.str()) {
                *v = canonical.into();
            }
        }
    }
}
