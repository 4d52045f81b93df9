//! Default flow schemas and priority levels. Objects that say `autoupdate-spec: "true"` follow these tables; the
//! two that the server cannot do without always do.

use super::{Maker, condition};
use futures::future::try_join_all;
use kaji_api::{GroupResource, Status, Value, value};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";
const AUTOUPDATE: &str = "apf.kubernetes.io/autoupdate-spec";
const MANDATORY: [&str; 2] = ["exempt", "catch-all"];

/// Name, shares, percent that may be lent, and queues with hand size; none: excess is rejected.
type Limited = (&'static str, i64, i64, Option<(i64, i64)>);

const LIMITED: [Limited; 7] = [
    ("catch-all", 5, 0, None),
    ("global-default", 20, 50, Some((128, 6))),
    ("leader-election", 10, 0, Some((16, 4))),
    ("node-high", 40, 25, Some((64, 6))),
    ("system", 30, 33, Some((64, 6))),
    ("workload-high", 40, 50, Some((128, 6))),
    ("workload-low", 100, 90, Some((128, 6))),
];

pub(super) async fn reconcile(maker: &Maker<'_>) -> Result<(), Status> {
    let resource = GroupResource::of(GROUP, "prioritylevelconfigurations");
    let levels = std::iter::once(exempt()).chain(LIMITED.iter().map(limited));
    try_join_all(levels.map(|level| ensure(maker, &resource, level))).await?;
    try_join_all(schemas().into_iter().map(|schema| ensure_schema(maker, schema))).await.map(drop)
}

/// Deletes what says that it follows the server but is not, or no longer, of its making.
pub(super) async fn remove_unwanted(maker: &Maker<'_>) -> Result<(), Status> {
    let levels: Vec<&str> = std::iter::once("exempt").chain(LIMITED.iter().map(|(name, ..)| *name)).collect();
    let schemas = schemas();
    let schemas: Vec<&str> = schemas.iter().map(Value::name).collect();
    for (plural, ours) in [("flowschemas", schemas), ("prioritylevelconfigurations", levels)] {
        let resource = GroupResource::of(GROUP, plural);
        let follows = |object: &Value| object.annotation(AUTOUPDATE).and_then(go_bool) == Some(true);
        let unwanted = maker.api.list_cached(&resource, "");
        for object in unwanted.iter().filter(|object| follows(object) && !ours.contains(&object.name())) {
            match maker.api.delete(maker.cx, &resource, &object.key()).await {
                Err(status) if status.reason != "NotFound" => return Err(status),
                _ => tracing::info!(name = object.name(), resource = plural, "deleted what is not of our making"),
            }
        }
    }
    Ok(())
}

async fn ensure(maker: &Maker<'_>, resource: &GroupResource, object: Value) -> Result<(), Status> {
    let spec = object["spec"].clone();
    maker.ensure(resource, object, &|old| revised(old, &spec)).await
}

/// An object as it should be, if it isn't (upstream `pkg/registry/flowcontrol/ensurer`): those that follow the
/// server have its spec, and every object says whether it follows.
fn revised(old: &Value, spec: &Value) -> Option<Value> {
    let said = old.annotation(AUTOUPDATE).and_then(go_bool);
    // One who says nothing and was never changed is taken to follow.
    let untouched = old["metadata"]["generation"].as_i64() == Some(1);
    let follows = MANDATORY.contains(&old.name()) || said.unwrap_or(untouched);
    let differs = follows && !is_as_wanted(old, spec);
    if !differs && said == Some(follows) {
        return None;
    }
    let mut object = old.clone();
    if differs {
        object.set("spec", spec.clone());
    }
    object.entry("metadata").entry("annotations").set(AUTOUPDATE, follows.to_string());
    Some(object)
}

/// How Go reads a switch.
fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Shares of the exempt level are the operator's.
fn is_as_wanted(old: &Value, spec: &Value) -> bool {
    match old.name() == "exempt" && !spec["exempt"].is_null() {
        true => !old["spec"]["exempt"].is_null() && old["spec"]["type"] == spec["type"],
        false => covers(&old["spec"], spec),
    }
}

/// A mandatory object, by kind and name.
pub(crate) fn mandatory(kind: &str, name: &str) -> Option<Value> {
    match (kind, name) {
        (_, name) if !MANDATORY.contains(&name) => None,
        ("FlowSchema", _) => schemas().into_iter().find(|schema| schema.name() == name),
        (_, "exempt") => Some(exempt()),
        _ => LIMITED.iter().find(|(level, ..)| *level == name).map(limited),
    }
}

/// Whether an object says all that is wanted; it may say more, by defaults.
fn covers(have: &Value, want: &Value) -> bool {
    match want {
        Value::Object(_) => want.entries().all(|(key, value)| covers(&have[key], value)),
        Value::Array(items) => {
            have.items().len() == items.len() && have.items().iter().zip(items).all(|(have, want)| covers(have, want))
        }
        other => have == other,
    }
}

async fn ensure_schema(maker: &Maker<'_>, schema: Value) -> Result<(), Status> {
    let resource = GroupResource::of(GROUP, "flowschemas");
    let (key, level) = (schema.key(), schema["spec"]["priorityLevelConfiguration"]["name"].str().to_owned());
    ensure(maker, &resource, schema).await?;
    let message =
        format!("This FlowSchema references the PriorityLevelConfiguration object named \"{level}\" and it exists");
    let status = value!({"conditions": [(condition("Dangling", "False", "Found", message))]});
    maker.ensure_status(&resource, &key, status).await
}

fn object(kind: &'static str, name: &'static str, spec: Value) -> Value {
    value!({
        "apiVersion": VERSION,
        "kind": kind,
        "metadata": {"name": name, "annotations": {"apf.kubernetes.io/autoupdate-spec": "true"}},
        "spec": spec,
    })
}

fn exempt() -> Value {
    let spec = value!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    object("PriorityLevelConfiguration", "exempt", spec)
}

fn limited(&(name, shares, lendable, queues): &Limited) -> Value {
    let response = match queues {
        None => value!({"type": "Reject"}),
        Some((queues, hand)) => value!({
            "type": "Queue",
            "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50},
        }),
    };
    let spec = value!({
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": shares,
            "limitResponse": response,
            "lendablePercent": lendable,
        },
    });
    object("PriorityLevelConfiguration", name, spec)
}

fn schemas() -> Vec<Value> {
    let everybody = || vec![group("system:unauthenticated"), group("system:authenticated")];
    let components = || vec![user("system:kube-controller-manager"), user("system:kube-scheduler")];
    let system_accounts =
        || value!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}});
    let election = value!({
        "subjects": (components().into_iter().chain([system_accounts()]).collect::<Vec<_>>()),
        "resourceRules": [(resources(&["get", "create", "update"], "coordination.k8s.io", &["leases"], false))],
    });
    let node_high = value!({
        "subjects": [(group("system:nodes"))],
        "resourceRules": [
            (resources(&["*"], "", &["nodes", "nodes/status"], true)),
            (resources(&["*"], "coordination.k8s.io", &["leases"], false)),
        ],
    });
    let health = value!({
        "subjects": (everybody()),
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}],
    });
    let (by_user, by_namespace) = (Some("ByUser"), Some("ByNamespace"));
    vec![
        schema("exempt", "exempt", 1, None, everything(vec![group("system:masters")])),
        schema("probes", "exempt", 2, None, health),
        schema("system-leader-election", "leader-election", 100, by_user, election),
        schema("system-node-high", "node-high", 400, by_user, node_high),
        schema("system-nodes", "system", 500, by_user, everything(vec![group("system:nodes")])),
        schema("kube-controller-manager", "workload-high", 800, by_namespace, everything(components()[..1].to_vec())),
        schema("kube-scheduler", "workload-high", 800, by_namespace, everything(components()[1..].to_vec())),
        schema("kube-system-service-accounts", "workload-high", 900, by_namespace, everything(vec![system_accounts()])),
        schema("service-accounts", "workload-low", 9000, by_user, everything(vec![group("system:serviceaccounts")])),
        schema("global-default", "global-default", 9900, by_user, everything(everybody())),
        schema("catch-all", "catch-all", 10000, by_user, everything(everybody())),
    ]
}

fn schema(
    name: &'static str,
    level: &'static str,
    precedence: i64,
    distinguisher: Option<&'static str>,
    rule: Value,
) -> Value {
    let mut spec = value!({"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence});
    if let Some(method) = distinguisher {
        spec.set("distinguisherMethod", value!({"type": method}));
    }
    spec.set("rules", vec![rule]);
    object("FlowSchema", name, spec)
}

fn group(name: &str) -> Value {
    value!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    value!({"kind": "User", "user": {"name": name}})
}

fn everything(subjects: Vec<Value>) -> Value {
    value!({
        "subjects": subjects,
        "resourceRules": [(resources(&["*"], "*", &["*"], true))],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    })
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster: bool) -> Value {
    let mut rule = value!({
        "verbs": (verbs.to_vec()),
        "apiGroups": [group],
        "resources": (resources.to_vec()),
    });
    if cluster {
        rule.set("clusterScope", true);
    }
    rule.set("namespaces", vec!["*"]);
    rule
}
