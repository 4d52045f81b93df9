//! Between the versions a resource is served in and the one it is stored in.
//!
//! Only two resources are served by default in versions that differ in shape: events (`events.k8s.io/v1`,
//! stored as core `v1`) and horizontal pod autoscalers (`autoscaling/v1`, stored as `v2`). Everything else
//! changes its apiVersion alone.

use super::Scope;
use crate::cache::Entry;
use crate::row::Row;
use kaji_api::{ResourceDef, Status, Value, value};
use std::sync::Arc;

/// Fields of `events.k8s.io/v1` and their names in core `v1`.
const EVENT_FIELDS: &[(&str, &str)] = &[
    ("regarding", "involvedObject"),
    ("note", "message"),
    ("reportingController", "reportingComponent"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
];

const CPU_CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CPU_METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";

/// Whether objects look the same in both versions, apiVersion included.
pub(crate) fn is_same(row: &ResourceDef, stored: &ResourceDef) -> bool {
    row.group == stored.group && row.version == stored.version
}

/// From the version of a path to the stored one.
pub(crate) fn to_storage(row: &Row, stored: &Row, object: &mut Value) -> Result<(), Status> {
    match stored.custom() {
        None => built_in_to_storage(row, stored, object),
        Some(_) => between_custom(stored, object)?,
    }
    Ok(())
}

/// From the stored version to the one of a path.
pub(crate) fn from_storage(row: &Row, stored: &Row, object: &mut Value) -> Result<(), Status> {
    match stored.custom() {
        None => built_in_from_storage(row, stored, object),
        Some(_) => between_custom(row, object)?,
    }
    Ok(())
}

/// A custom object in another version: its name changes, the rest is what that version's schema knows of it.
fn between_custom(wanted: &Row, object: &mut Value) -> Result<(), Status> {
    let Some(custom) = wanted.custom() else { return Ok(()) };
    if object.api_version() == wanted.api_version() {
        return Ok(());
    }
    match &custom.webhook {
        Some(webhook) => *object = webhook.convert_here(object, &wanted.api_version())?,
        None => object.set("apiVersion", wanted.api_version()),
    }
    wanted.ty().normalize(object);
    wanted.ty().default(object);
    Ok(())
}

/// The stored object of a custom resource as its definition has it now: in the storage version, without fields
/// that are known no more, with new defaults (upstream does this whenever it reads one from the store).
pub(crate) fn as_defined(stored: &Row, object: &mut Value) -> Result<(), Status> {
    if stored.custom().is_some_and(|custom| custom.webhook.is_some()) && object.api_version() != stored.api_version() {
        // Asked for when somebody wants it: a dead webhook must not keep the others from being served.
        return Ok(());
    }
    between_custom(stored, object)?;
    stored.ty().normalize(object);
    stored.ty().default(object);
    Ok(())
}

/// The same for built-in resources.
pub(crate) fn built_in_to_storage(row: &ResourceDef, stored: &ResourceDef, object: &mut Value) {
    if is_same(row, stored) {
        return;
    }
    object.set("apiVersion", stored.api_version());
    match (row.group, row.plural, row.version) {
        ("events.k8s.io", "events", _) => rename(object, |(new, old)| (*new, *old)),
        ("autoscaling", "horizontalpodautoscalers", "v1") => hpa_to_v2(object),
        _ => {}
    }
    normalize(stored, object);
}

/// The way back.
pub(crate) fn built_in_from_storage(row: &ResourceDef, stored: &ResourceDef, object: &mut Value) {
    if is_same(row, stored) {
        return;
    }
    object.set("apiVersion", row.api_version());
    match (row.group, row.plural, row.version) {
        ("events.k8s.io", "events", _) => rename(object, |(new, old)| (*old, *new)),
        ("autoscaling", "horizontalpodautoscalers", "v1") => hpa_to_v1(object),
        _ => {}
    }
    normalize(row, object);
}

/// The stored version's name of a field that a selector names.
pub(super) fn field_to_storage(row: &ResourceDef, field: &str) -> String {
    if row.group == "events.k8s.io" {
        for (new, old) in EVENT_FIELDS {
            if let Some(rest) = field.strip_prefix(new).filter(|rest| rest.is_empty() || rest.starts_with('.')) {
                return format!("{old}{rest}");
            }
        }
    }
    field.to_owned()
}

fn normalize(row: &ResourceDef, object: &mut Value) {
    if let Some(ty) = row.ty {
        ty.normalize(object);
    }
}

fn rename(object: &mut Value, names: impl Fn(&(&'static str, &'static str)) -> (&'static str, &'static str)) {
    for pair in EVENT_FIELDS {
        let (from, to) = names(pair);
        if let Some(field) = object.remove(from) {
            object.set(to, field);
        }
    }
}

/// The CPU target becomes a metric; other metrics were kept in annotations.
fn hpa_to_v2(object: &mut Value) {
    let kept = take_annotation(object, CPU_METRICS);
    take_annotation(object, CPU_CURRENT);
    let mut metrics: Vec<Value> = Vec::new();
    if let Some(target) = object.entry("spec").remove("targetCPUUtilizationPercentage").filter(|t| !t.is_null()) {
        let target = value!({"type": "Utilization", "averageUtilization": (target)});
        let resource = value!({"name": "cpu", "target": (target)});
        metrics.push(value!({"type": "Resource", "resource": (resource)}));
    }
    if let Some(Value::Array(others)) = kept.and_then(|k| kaji_api::codec::parse_json(k.as_bytes()).ok()) {
        metrics.extend(others);
    }
    if !metrics.is_empty() {
        object.entry("spec").set("metrics", Value::Array(metrics));
    }
    if let Some(status) = object.get_mut("status")
        && let Some(current) = status.remove("currentCPUUtilizationPercentage").filter(|c| !c.is_null())
    {
        let current = value!({"averageUtilization": (current)});
        let resource = value!({"name": "cpu", "current": (current)});
        status.set("currentMetrics", Value::Array(vec![value!({"type": "Resource", "resource": (resource)})]));
    }
}

fn hpa_to_v1(object: &mut Value) {
    let is_cpu = |m: &Value| {
        m["type"].str() == "Resource"
            && m["resource"]["name"].str() == "cpu"
            && !m["resource"]["target"]["averageUtilization"].is_null()
    };
    if let Some(Value::Array(metrics)) = object.entry("spec").remove("metrics") {
        let (cpu, others): (Vec<Value>, Vec<Value>) = metrics.into_iter().partition(is_cpu);
        if let Some(cpu) = cpu.first() {
            let target = cpu["resource"]["target"]["averageUtilization"].clone();
            object.entry("spec").set("targetCPUUtilizationPercentage", target);
        }
        if !others.is_empty() {
            let mut json = Vec::new();
            kaji_api::codec::write_json(&Value::Array(others), &mut json);
            let text = String::from_utf8_lossy(&json).into_owned();
            object.entry_at(&["metadata", "annotations"]).set(CPU_METRICS, text);
        }
    }
    if let Some(status) = object.get_mut("status") {
        status.remove("conditions");
        if let Some(Value::Array(current)) = status.remove("currentMetrics") {
            let cpu = current.iter().find(|m| m["resource"]["name"].str() == "cpu");
            if let Some(cpu) = cpu {
                let now = cpu["resource"]["current"]["averageUtilization"].clone();
                status.set("currentCPUUtilizationPercentage", now);
            }
        }
    }
    object.entry("spec").remove("behavior");
}

fn take_annotation(object: &mut Value, key: &str) -> Option<String> {
    object.get_mut("metadata")?.get_mut("annotations")?.remove(key)?.as_str().map(str::to_owned)
}

impl Scope<'_> {
    /// Entries as the path's version shows them. Those of built-in resources are left to the presenter.
    pub(crate) async fn presented(&self, entries: Vec<Arc<Entry>>, is_list: bool) -> Result<Vec<Arc<Entry>>, Status> {
        if self.row.custom().is_none() {
            return Ok(entries);
        }
        Box::pin(present(&self.row, entries, is_list)).await
    }

    /// The same for one.
    pub(crate) async fn presented_one(&self, entry: Arc<Entry>) -> Result<Arc<Entry>, Status> {
        if self.row.custom().is_none() {
            return Ok(entry);
        }
        let mut one = self.presented(vec![entry], false).await?;
        Ok(one.pop().expect("as many as were given"))
    }

    /// An object in the storage version: with a webhook, it may have been stored in another.
    pub(super) async fn in_storage_version(&self, entry: &Arc<Entry>) -> Result<Value, Status> {
        if self.stored.custom().is_none() {
            return Ok(entry.decode());
        }
        let mut one = Box::pin(present(&self.stored, vec![entry.clone()], false)).await?;
        Ok(one.pop().expect("as many as were given").decode())
    }
}

/// Entries of a custom resource in a version; a webhook is asked once for all that it was not asked for before.
pub(crate) async fn present(row: &Row, entries: Vec<Arc<Entry>>, is_list: bool) -> Result<Vec<Arc<Entry>>, Status> {
    let Some(custom) = row.custom() else { return Ok(entries) };
    let wanted = row.api_version();
    let mut shown = entries;
    let (mut places, mut objects) = (Vec::new(), Vec::new());
    for (i, entry) in shown.iter_mut().enumerate().filter(|(_, entry)| !entry.starts_as(&wanted)) {
        if let Some(known) = entry.form(&wanted) {
            *entry = known;
            continue;
        }
        let object = entry.decode();
        if object.api_version() != wanted {
            places.push(i);
            objects.push(object);
        }
    }
    match &custom.webhook {
        None => objects.iter_mut().for_each(|object| object.set("apiVersion", wanted.as_str())),
        Some(webhook) => objects = webhook.convert(&objects, &wanted, is_list).await?,
    }
    for (i, mut object) in places.into_iter().zip(objects) {
        row.ty().normalize(&mut object);
        row.ty().default(&mut object);
        shown[i] = shown[i].keep_form(&object);
    }
    Ok(shown)
}
