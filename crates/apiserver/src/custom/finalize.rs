//! The end of a definition: its objects go first (apiextensions-apiserver `controller/finalizer`).

use super::controller::DEFINITIONS;
use super::names::{condition, is_established, set_condition};
use crate::context::{RequestContext, Target};
use crate::registry::options::{DeleteOptions, ListOptions};
use crate::registry::{Scope, Selection};
use crate::row::Row;
use crate::server::Api;
use kaji_api::{ObjectKey, Status, Value};
use std::collections::BTreeSet;
use std::time::Duration;

/// Keeps a definition until its objects are gone.
const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
/// How long objects with finalizers of their own are waited for before the definition says so.
const PATIENCE: Duration = Duration::from_secs(60);

/// Says on a definition that its objects are about to go.
pub(crate) fn begin(definition: &mut Value) {
    if !is_due(definition) {
        let mut finalizers = definition["metadata"]["finalizers"].items().to_vec();
        finalizers.push(CLEANUP.into());
        definition.set_meta("finalizers", Value::Array(finalizers));
    }
    let pending = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set_condition(definition.entry("status"), condition("Terminating", true, "InstanceDeletionPending", pending));
}

/// Whether objects are still to be cleared away.
pub(super) fn is_due(definition: &Value) -> bool {
    definition["metadata"]["finalizers"].items().iter().any(|f| f.str() == CLEANUP)
}

/// Deletes all objects of a definition, waits until they are gone, and lets the definition go.
pub(super) async fn clear(api: &Api, name: &str) -> Result<(), Status> {
    let progress =
        condition("Terminating", true, "InstanceDeletionInProgress", "CustomResource deletion is in progress");
    let definition = tell(api, name, progress, false).await?;
    let end = match is_established(&definition) {
        false => condition("Terminating", false, "NeverEstablished", "resource was never established"),
        true => match delete_all(api, &definition).await {
            Ok(()) => condition("Terminating", false, "InstanceDeletionCompleted", "removed all instances"),
            Err((reason, status)) => {
                tell(api, name, condition("Terminating", true, reason, &status.message), false).await?;
                return Err(status);
            }
        },
    };
    match tell(api, name, end, true).await {
        Err(status) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}

/// Sets the condition and, at the end, takes the finalizer away.
async fn tell(api: &Api, name: &str, condition: Value, done: bool) -> Result<Value, Status> {
    let change = |old: &Value| {
        if old.is_null() {
            return Err(Status::not_found(&DEFINITIONS, name));
        }
        let mut new = old.clone();
        set_condition(new.entry("status"), condition.clone());
        if done {
            let kept = old["metadata"]["finalizers"].items().iter().filter(|f| f.str() != CLEANUP);
            new.set_meta("finalizers", Value::Array(kept.cloned().collect()));
        }
        Ok(new)
    };
    api.update_internal(&RequestContext::system(), &DEFINITIONS, &ObjectKey::new("", name), &change).await
}

type Failure = (&'static str, Status);

async fn delete_all(api: &Api, definition: &Value) -> Result<(), Failure> {
    let names = &definition["status"]["acceptedNames"];
    let (group, plural) = (definition["spec"]["group"].str(), names["plural"].str());
    let served = definition["spec"]["versions"].items().iter().filter(|v| v["served"].bool());
    let row = served.map(|v| v["name"].str()).find_map(|version| api.custom().row(group, version, plural));
    // Nothing is served: nothing can be deleted through the API either.
    let Some(row) = row else { return Ok(()) };
    let failed = |status: Status| ("InstanceDeletionFailed", status);
    let left = namespaces(api, &row).map_err(failed)?;
    for namespace in &left {
        delete_in(api, &row, namespace).await.map_err(failed)?;
    }
    wait_until_gone(api, &row).await
}

/// The namespaces that hold objects (the empty one for those of the cluster).
fn namespaces(api: &Api, row: &Row) -> Result<BTreeSet<String>, Status> {
    let cache = api.caches().get(row.prefix).ok_or_else(|| Status::internal("the resource is not cached"))?;
    let snapshot = cache.snapshot(&cache.root, &cache.root);
    Ok(snapshot.entries.iter().map(|entry| entry.names(row).0.to_owned()).collect())
}

async fn delete_in(api: &Api, row: &Row, namespace: &str) -> Result<(), Status> {
    let cx = RequestContext::system();
    let target = Target { resource: row.clone(), sub: None };
    let scope =
        Scope::new(api, &cx, &target, namespace, "").ok_or_else(|| Status::not_found(&row.group_resource(), ""))?;
    let list = ListOptions::default();
    let selection = Selection::parse(&scope, &list)?;
    scope.delete_collection(&list, &selection, &DeleteOptions::default()).await.map(drop)
}

async fn wait_until_gone(api: &Api, row: &Row) -> Result<(), Failure> {
    let check = |why: String| {
        let text = format!("could not confirm zero CustomResources remaining: {why}");
        ("InstanceDeletionCheck", Status::internal(text))
    };
    let Some(cache) = api.caches().get(row.prefix) else { return Ok(()) };
    let (snapshot, mut cursor) = cache.snapshot_and_follow(&cache.root);
    let empty = async {
        let mut left = snapshot.entries.len();
        while left > 0 {
            cursor.next().await.map_err(|_| check("the cache started over".to_owned()))?;
            left = cache.len();
        }
        Ok(())
    };
    let waited = tokio::time::timeout(PATIENCE, empty).await;
    waited.unwrap_or_else(|_| Err(check(format!("timed out with {} left", cache.len()))))
}
