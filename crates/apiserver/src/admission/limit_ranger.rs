//! LimitRanger: the limit ranges of a namespace fill in what containers leave out, and bound what containers,
//! pods and claims ask for (upstream `plugin/pkg/admission/limitranger`).

use super::{Attributes, Operation, Plugin, content};
use crate::authz::rbac::aggregate;
use crate::validation::resources::{self, quantity};
use futures::future::BoxFuture;
use kaji_api::quantity::Quantity;
use kaji_api::{GroupResource, Status, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

const RANGES: GroupResource = GroupResource::of("", "limitranges");
const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const KINDS: [(&str, &str); 2] = [("containers", "container"), ("initContainers", "init container")];
/// Above this, amounts are compared in whole units.
const LARGEST_IN_MILLIS: i64 = i64::MAX / 1000;

type List = BTreeMap<String, Quantity>;

pub(super) struct LimitRanger;

impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        if !applies(a) || a.target.resource.plural != "pods" {
            return content();
        }
        Box::pin(async move {
            ranges(a).await?.iter().for_each(|range| fill_in(a.object, range));
            Ok(())
        })
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        if !applies(a) {
            return content();
        }
        Box::pin(async move {
            for range in ranges(a).await? {
                let wrong = match a.target.resource.plural {
                    "pods" => check_pod(&range, &a.object["spec"]),
                    _ => check_claim(&range, &a.object["spec"]),
                };
                if !wrong.is_empty() {
                    return Err(a.forbidden(&aggregate(wrong)));
                }
            }
            Ok(())
        })
    }
}

/// Containers of a pod change only by a resize; other updates have nothing to check.
fn applies(a: &Attributes<'_>) -> bool {
    if !a.target.resource.group.is_empty() || a.old.is_deleting() {
        return false;
    }
    matches!(
        (a.target.resource.plural, a.target.sub.map(|s| s.name), a.operation),
        ("pods", None, Operation::Create)
            | ("pods", Some("resize"), Operation::Update)
            | ("persistentvolumeclaims", None, Operation::Create | Operation::Update)
    )
}

async fn ranges(a: &Attributes<'_>) -> Result<Vec<Arc<Value>>, Status> {
    let known = a.api.list_cached(&RANGES, a.namespace);
    if !known.is_empty() {
        return Ok(known);
    }
    // One may have been made a moment ago, through another server.
    a.api.fresh().await?;
    Ok(a.api.list_cached(&RANGES, a.namespace))
}

/// Gives containers the defaults of a range, and tells so in an annotation.
fn fill_in(pod: &mut Value, range: &Value) {
    let mut told = Vec::new();
    for (field, called) in KINDS {
        for container in pod.entry("spec").get_mut(field).map_or(&mut [][..], Value::items_mut) {
            let name = container["name"].str().to_owned();
            for (list, default, word) in [("requests", "defaultRequest", "request"), ("limits", "default", "limit")] {
                let set = default_list(container, list, default, range);
                if !set.is_empty() {
                    told.push(format!("{} {word} for {called} {name}", set.join(", ")));
                }
            }
        }
    }
    if !told.is_empty() {
        let text = format!("LimitRanger plugin set: {}", told.join("; "));
        pod.entry("metadata").entry("annotations").set(ANNOTATION, text);
    }
}

/// Sets what one list of a container lacks; the names of what was set.
fn default_list(container: &mut Value, list: &'static str, default: &str, range: &Value) -> Vec<String> {
    // Of several items for containers the last one counts.
    let mut defaults: BTreeMap<&str, &Value> = BTreeMap::new();
    for item in of_type(range, "Container") {
        defaults.extend(item[default].entries());
    }
    defaults.retain(|name, _| container["resources"][list].get(name).is_none());
    for (name, amount) in &defaults {
        container.entry("resources").entry(list).set((*name).to_owned(), (*amount).clone());
    }
    defaults.into_keys().map(str::to_owned).collect()
}

fn of_type<'a>(range: &'a Value, kind: &'static str) -> impl Iterator<Item = &'a Value> {
    range["spec"]["limits"].items().iter().filter(move |item| item["type"].str() == kind)
}

fn list_of(v: &Value) -> List {
    v.entries().map(|(name, amount)| (name.to_owned(), quantity(amount))).collect()
}

fn check_pod(range: &Value, spec: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for item in range["spec"]["limits"].items() {
        match item["type"].str() {
            "Container" => {
                for container in KINDS.iter().flat_map(|(field, _)| spec[*field].items()) {
                    let own = &container["resources"];
                    check_all(item, &list_of(&own["requests"]), &list_of(&own["limits"]), &mut wrong);
                }
            }
            "Pod" => check_all(item, &whole(spec, "requests"), &whole(spec, "limits"), &mut wrong),
            _ => {}
        }
    }
    wrong
}

/// What a pod asks for as a whole: what it says itself goes before the sum of its containers.
fn whole(spec: &Value, list: &str) -> List {
    let mut total = resources::aggregate(spec, list);
    let own = list_of(&spec["resources"][list]);
    total.extend(own.into_iter().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory")));
    total
}

fn check_all(item: &Value, requests: &List, limits: &List, wrong: &mut Vec<String>) {
    let kind = item["type"].str();
    let bounds = |field: &str| list_of(&item[field]);
    wrong.extend(bounds("min").iter().filter_map(|(n, q)| below(kind, n, q, requests, limits)));
    wrong.extend(bounds("max").iter().filter_map(|(n, q)| above(kind, n, q, requests, limits)));
    wrong.extend(bounds("maxLimitRequestRatio").iter().filter_map(|(n, q)| too_far(kind, n, q, requests, limits)));
}

fn check_claim(range: &Value, spec: &Value) -> Vec<String> {
    let requests = list_of(&spec["resources"]["requests"]);
    let mut wrong = Vec::new();
    for item in of_type(range, "PersistentVolumeClaim") {
        let kind = item["type"].str();
        wrong.extend(list_of(&item["min"]).iter().filter_map(|(n, q)| below(kind, n, q, &requests, &List::new())));
        wrong.extend(list_of(&item["max"]).iter().filter_map(|(n, q)| claims_above(kind, n, q, &requests)));
    }
    wrong
}

/// Numbers to compare amounts by: thousandths, unless one is too large for that.
fn comparable<const N: usize>(amounts: [Option<&Quantity>; N]) -> [i64; N] {
    let whole = amounts.map(|q| q.map_or(0, Quantity::value));
    match whole.iter().all(|n| *n <= LARGEST_IN_MILLIS) {
        true => amounts.map(|q| q.map_or(0, Quantity::milli_value)),
        false => whole,
    }
}

fn below(kind: &str, name: &str, bound: &Quantity, requests: &List, limits: &List) -> Option<String> {
    let (request, limit) = (requests.get(name), limits.get(name));
    let [asked, most, least] = comparable([request, limit, Some(bound)]);
    let says = format!("minimum {name} usage per {kind} is {bound}");
    match (request, limit) {
        (None, _) => Some(format!("{says}.  No request is specified")),
        (Some(q), _) if asked < least => Some(format!("{says}, but request is {q}")),
        (_, Some(q)) if most < least => Some(format!("{says}, but limit is {q}")),
        _ => None,
    }
}

fn above(kind: &str, name: &str, bound: &Quantity, requests: &List, limits: &List) -> Option<String> {
    let (request, limit) = (requests.get(name), limits.get(name));
    let [asked, most, greatest] = comparable([request, limit, Some(bound)]);
    let says = format!("maximum {name} usage per {kind} is {bound}");
    match (limit, request) {
        (None, _) => Some(format!("{says}.  No limit is specified")),
        (Some(q), _) if most > greatest => Some(format!("{says}, but limit is {q}")),
        (_, Some(q)) if asked > greatest => Some(format!("{says}, but request is {q}")),
        _ => None,
    }
}

/// Claims have no limits that count.
fn claims_above(kind: &str, name: &str, bound: &Quantity, requests: &List) -> Option<String> {
    let request = requests.get(name);
    let [asked, greatest] = comparable([request, Some(bound)]);
    let says = format!("maximum {name} usage per {kind} is {bound}");
    match request {
        None => Some(format!("{says}.  No request is specified")),
        Some(q) if asked > greatest => Some(format!("{says}, but request is {q}")),
        Some(_) => None,
    }
}

fn too_far(kind: &str, name: &str, bound: &Quantity, requests: &List, limits: &List) -> Option<String> {
    let [asked, most, _] = comparable([requests.get(name), limits.get(name), Some(bound)]);
    let says = format!("{name} max limit to request ratio per {kind} is {bound}, but");
    if asked == 0 {
        return Some(format!("{says} no request is specified or request is 0"));
    }
    if most == 0 {
        return Some(format!("{says} no limit is specified or limit is 0"));
    }
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people; upstream computes it so")]
    let ratio = most as f64 / asked as f64;
    (ratio > bound.as_f64()).then(|| format!("{says} provided ratio is {ratio:.6}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    fn range(item: Value) -> Value {
        value!({"spec": {"limits": (vec![item])}})
    }

    #[test]
    fn containers_get_what_they_left_out() {
        let range = range(value!({"type": "Container", "default": {"cpu": "1", "memory": "2Gi"},
            "defaultRequest": {"cpu": "100m"}}));
        let mut pod = value!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"memory": "1Gi"}}}],
            "initContainers": [{"name": "i"}]}});
        fill_in(&mut pod, &range);
        let container = &pod["spec"]["containers"].items()[0]["resources"];
        assert_eq!(container["limits"]["memory"].str(), "1Gi");
        assert_eq!(container["limits"]["cpu"].str(), "1");
        assert_eq!(container["requests"]["cpu"].str(), "100m");
        assert_eq!(
            pod.annotation(ANNOTATION),
            Some(
                "LimitRanger plugin set: cpu request for container c; cpu limit for container c; \
                 cpu request for init container i; cpu, memory limit for init container i"
            )
        );
    }

    #[test]
    fn bounds_are_told_as_upstream_tells_them() {
        let bounds = value!({"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "2"},
            "maxLimitRequestRatio": {"cpu": "3"}});
        let check = |resources: Value| {
            check_pod(&range(bounds.clone()), &value!({"containers": (vec![value!({"resources": (resources)})])}))
        };
        assert!(check(value!({"requests": {"cpu": "1"}, "limits": {"cpu": "2"}})).is_empty());
        assert_eq!(
            check(value!({"requests": {"cpu": "50m"}, "limits": {"cpu": "3"}})),
            [
                "minimum cpu usage per Container is 100m, but request is 50m",
                "maximum cpu usage per Container is 2, but limit is 3",
                "cpu max limit to request ratio per Container is 3, but provided ratio is 60.000000",
            ]
        );
        assert_eq!(
            check(value!({})),
            [
                "minimum cpu usage per Container is 100m.  No request is specified",
                "maximum cpu usage per Container is 2.  No limit is specified",
                "cpu max limit to request ratio per Container is 3, but no request is specified or request is 0",
            ]
        );
    }
}
