//! `scale`: the replicas of a workload as an `autoscaling/v1 Scale`.

use crate::cache::Entry;
use crate::custom::Scale;
use crate::registry::managed::scale as owners;
use crate::registry::{Mode, Ownership, Scope, Transform, convert};
use crate::row::Row;
use kaji_api::field::{Errors, Path};
use kaji_api::{Status, Value, value};
use std::sync::Arc;

/// Where a custom resource keeps its replicas; none: where every built-in workload does.
fn places(row: &Row) -> Option<&Scale> {
    row.custom()?.version.scale.as_ref()
}

/// The scale of a workload.
pub(crate) fn of(row: &Row, object: &Value) -> Result<Value, Status> {
    if let Some(places) = places(row) {
        return match places.of_object(object)? {
            (scale, true) => Ok(scale),
            (_, false) => {
                let path = kaji_api::field::quoted(&places.spec_replicas);
                Err(Status::internal(format!("the spec replicas field {path} does not exist")))
            }
        };
    }
    let mut metadata = Value::object();
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        metadata.set(field, object["metadata"][field].clone());
    }
    let mut scale = value!({"kind": "Scale", "apiVersion": "autoscaling/v1"});
    scale.set("metadata", metadata);
    scale.set("spec", value!({"replicas": (object["spec"]["replicas"].as_i64().unwrap_or(0))}));
    let replicas = object["status"]["replicas"].as_i64().unwrap_or(0);
    scale.set("status", value!({"replicas": replicas, "selector": (selector(&object["spec"]["selector"]))}));
    if let Some(ty) = kaji_api::schema::kind("autoscaling", "v1", "Scale") {
        ty.normalize(&mut scale);
    }
    Ok(scale)
}

/// Sets the replicas.
pub(super) async fn update(scope: &Scope<'_>, transform: Transform<'_>) -> Result<Arc<Entry>, Status> {
    let whole = |old: &Value| {
        if old.is_null() {
            return Err(scope.not_found());
        }
        let mut object = old.clone();
        convert::from_storage(&scope.row, &scope.stored, &mut object)?;
        let mut live = of(&scope.row, &object)?;
        owners::show(scope, old, &mut live)?;
        let mut scale = transform(&live)?;
        if scope.ownership == Ownership::Noted {
            owners::note(scope, &mut scale, &live);
        }
        let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        if replicas < 0 {
            let mut errors = Errors::new();
            let path = Path::new("spec").child("replicas");
            errors.invalid(&path, replicas, "must be greater than or equal to 0");
            return Err(Status::invalid("autoscaling", "Scale", scope.name, &errors));
        }
        match places(&scope.row) {
            Some(places) => places.set_replicas(&mut object, replicas),
            None => object.entry("spec").set("replicas", replicas),
        }
        owners::take(scope, &scale, &mut object)?;
        object.set_meta("resourceVersion", scale["metadata"]["resourceVersion"].clone());
        if !scale.uid().is_empty() {
            object.set_meta("uid", scale["metadata"]["uid"].clone());
        }
        convert::to_storage(&scope.row, &scope.stored, &mut object)?;
        Ok(object)
    };
    let given = Scope { ownership: Ownership::Given, ..scope.clone() };
    given.update(Mode::Main, &whole).await.map(|(entry, _)| entry)
}

/// A selector as text: `app=web,tier in (a,b)`. Replication controllers have a plain map.
fn selector(selector: &Value) -> String {
    let structured = selector.get("matchLabels").is_some() || selector.get("matchExpressions").is_some();
    let labels = if structured { &selector["matchLabels"] } else { selector };
    let mut terms: Vec<(String, String)> =
        labels.entries().map(|(k, v)| (k.to_owned(), format!("{k}={}", v.str()))).collect();
    terms.extend(selector["matchExpressions"].items().iter().map(|e| (e["key"].str().to_owned(), expression(e))));
    terms.sort();
    terms.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(",")
}

fn expression(expression: &Value) -> String {
    let key = expression["key"].str();
    let mut values: Vec<&str> = expression["values"].items().iter().map(Value::str).collect();
    values.sort_unstable();
    let values = values.join(",");
    match expression["operator"].str() {
        "In" => format!("{key} in ({values})"),
        "NotIn" => format!("{key} notin ({values})"),
        "DoesNotExist" => format!("!{key}"),
        _ => key.to_owned(),
    }
}
