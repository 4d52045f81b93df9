//! Cells of nodes, namespaces, events, configuration, accounts and quotas.

use super::row::{NONE, Row, UNKNOWN, cells, condition, count, filled, int, is_true, or, quantity, time};
use kaji_api::Value;
use std::collections::BTreeSet;

pub(super) fn plain(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), row.object.meta("creationTimestamp")]
}

pub(super) fn name_and_age(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), row.age()]
}

pub(super) fn component_status(row: &Row<'_>) -> Vec<Value> {
    let Some(healthy) = condition(&row.object["conditions"], "Healthy") else {
        return cells![row.name(), "Unknown", "", ""];
    };
    let status = if is_true(healthy) { "Healthy" } else { "Unhealthy" };
    cells![row.name(), status, healthy["message"].str(), healthy["error"].str()]
}

pub(super) fn config_map(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), count(&row.object["data"]) + count(&row.object["binaryData"]), row.age()]
}

pub(super) fn secret(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), row.object["type"].str(), count(&row.object["data"]), row.age()]
}

pub(super) fn namespace(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), row.status()["phase"].str(), row.age()]
}

pub(super) fn node(row: &Row<'_>) -> Vec<Value> {
    let info = &row.status()["nodeInfo"];
    let mut kernel = or(&info["kernelVersion"], UNKNOWN).to_owned();
    if !info["architecture"].str().is_empty() {
        kernel = format!("{kernel} ({})", info["architecture"].str());
    }
    cells![
        row.name(),
        node_status(row),
        roles(row.object),
        row.age(),
        info["kubeletVersion"].str(),
        address(row, "InternalIP"),
        address(row, "ExternalIP"),
        or(&info["osImage"], UNKNOWN),
        kernel,
        or(&info["containerRuntimeVersion"], UNKNOWN),
    ]
}

fn node_status(row: &Row<'_>) -> String {
    let ready = match condition(&row.status()["conditions"], "Ready") {
        None => "Unknown",
        Some(ready) if is_true(ready) => "Ready",
        Some(_) => "NotReady",
    };
    let disabled = if row.spec()["unschedulable"].bool() { ",SchedulingDisabled" } else { "" };
    format!("{ready}{disabled}")
}

fn roles(node: &Value) -> String {
    let role = |(key, value): (&'_ str, &'_ Value)| match key.strip_prefix("node-role.kubernetes.io/") {
        Some(role) => role.to_owned(),
        None if key == "kubernetes.io/role" => value.str().to_owned(),
        None => String::new(),
    };
    let roles: BTreeSet<String> = node["metadata"]["labels"].entries().map(role).filter(|r| !r.is_empty()).collect();
    filled(Vec::from_iter(roles).join(","))
}

fn address<'a>(row: &Row<'a>, kind: &str) -> &'a str {
    condition(&row.status()["addresses"], kind).map_or(NONE, |a| a["address"].str())
}

pub(super) fn event(row: &Row<'_>) -> Vec<Value> {
    let event = row.object;
    let first = if time(&event["firstTimestamp"]).is_some() { "firstTimestamp" } else { "eventTime" };
    let first = row.since(&event[first]);
    let (last, times) = last_seen(row, &first);
    let about = &event["involvedObject"];
    let kind = about["kind"].str().to_lowercase();
    cells![
        last,
        event["type"].str(),
        event["reason"].str(),
        if about["name"].str().is_empty() { kind } else { format!("{kind}/{}", about["name"].str()) },
        about["fieldPath"].str(),
        source(event),
        event["message"].str().trim(),
        first,
        times,
        row.name(),
    ]
}

/// When it was last seen, and how often. Single events of the newer API carry no count.
fn last_seen(row: &Row<'_>, first: &str) -> (String, i64) {
    let series = &row.object["series"];
    if !series.is_null() {
        return (row.since(&series["lastObservedTime"]), int(&series["count"]));
    }
    let last = &row.object["lastTimestamp"];
    let last = if time(last).is_some() { row.since(last) } else { first.to_owned() };
    (last, int(&row.object["count"]).max(1))
}

fn source(event: &Value) -> String {
    let component = or(&event["source"]["component"], event["reportingComponent"].str());
    match or(&event["source"]["host"], event["reportingInstance"].str()) {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    }
}

pub(super) fn resource_quota(row: &Row<'_>) -> Vec<Value> {
    let (hard, used) = (&row.status()["hard"], &row.status()["used"]);
    let mut names: Vec<&str> = hard.entries().map(|(name, _)| name).collect();
    names.sort_unstable();
    let (limits, requests): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|n| n.starts_with("limits."));
    let tell = |names: Vec<&str>| {
        let one = |n: &&str| format!("{n}: {}/{}", quantity(&used[n]), quantity(&hard[n]));
        names.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    cells![row.name(), tell(requests), tell(limits), row.age()]
}
