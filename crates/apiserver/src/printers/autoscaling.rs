//! Cells of horizontal pod autoscalers: each metric as `current/target`.

use super::row::{NONE, Row, UNKNOWN, UNSET, cells, int, quantity};
use kaji_api::Value;

/// How many metrics are shown.
const SHOWN: usize = 2;

pub(super) fn horizontal_pod_autoscaler(row: &Row<'_>) -> Vec<Value> {
    let spec = row.spec();
    let target = &spec["scaleTargetRef"];
    cells![
        row.name(),
        format!("{}/{}", target["kind"].str(), target["name"].str()),
        metrics(row),
        spec["minReplicas"].as_i64().map_or_else(|| UNSET.to_owned(), |n| n.to_string()),
        int(&spec["maxReplicas"]),
        int(&row.status()["currentReplicas"]),
        row.age(),
    ]
}

fn metrics(row: &Row<'_>) -> String {
    let specs = row.spec()["metrics"].items();
    let statuses = row.status()["currentMetrics"].items();
    if specs.is_empty() {
        return NONE.to_owned();
    }
    let shown = specs.iter().enumerate().take(SHOWN).map(|(i, spec)| metric(spec, statuses.get(i)));
    let text = shown.collect::<Vec<_>>().join(", ");
    match specs.len().saturating_sub(SHOWN) {
        0 => text,
        more => format!("{text} + {more} more..."),
    }
}

fn metric(spec: &Value, status: Option<&Value>) -> String {
    let section = match spec["type"].str() {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let target = &spec[section]["target"];
    let current = status.map(|s| &s[section]["current"]).filter(|c| !c.is_null());
    match section {
        "pods" => format!("{}/{}", amount(current, "averageValue"), quantity(&target["averageValue"])),
        "external" | "object" => value_or_average(target, current),
        _ => format!("{}: {}", spec[section]["name"].str(), resource(target, current)),
    }
}

fn value_or_average(target: &Value, current: Option<&Value>) -> String {
    match target["averageValue"].is_null() {
        true => format!("{}/{}", amount(current, "value"), quantity(&target["value"])),
        false => {
            let current = current.filter(|c| !c["averageValue"].is_null());
            format!("{}/{} (avg)", amount(current, "averageValue"), quantity(&target["averageValue"]))
        }
    }
}

fn resource(target: &Value, current: Option<&Value>) -> String {
    if !target["averageValue"].is_null() {
        return format!("{}/{}", amount(current, "averageValue"), quantity(&target["averageValue"]));
    }
    let percent = |v: &Value| v["averageUtilization"].as_i64().map(|n| format!("{n}%"));
    let current = current.and_then(percent).unwrap_or_else(|| UNKNOWN.to_owned());
    format!("{current}/{}", percent(target).unwrap_or_else(|| "<auto>".to_owned()))
}

fn amount(current: Option<&Value>, field: &str) -> String {
    current.map_or_else(|| UNKNOWN.to_owned(), |c| quantity(&c[field]))
}
