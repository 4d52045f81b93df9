//! The end of a definition: its objects go first (apiextensions-apiserver `controller/finalizer`).

use super::controller::DEFINITIONS;
use super::status::is_established;
use crate::conditions;
use crate::context::{RequestContext, Target};
use crate::registry::options::{DeleteOptions, ListOptions};
use crate::registry::{Mode, Scope, Selection};
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
        definition.entry_at(&["metadata", "finalizers"]).push(CLEANUP);
    }
    let pending = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    conditions::set(definition, condition(true, "InstanceDeletionPending", pending));
}

/// Whether objects are still to be cleared away.
pub(super) fn is_due(definition: &Value) -> bool {
    definition["metadata"]["finalizers"].items().iter().any(|f| f.str() == CLEANUP)
}

/// Deletes all objects of a definition, waits until they are gone, and lets the definition go.
pub(super) async fn clear(api: &Api, name: &str) -> Result<(), Status> {
    let progress = condition(true, "InstanceDeletionInProgress", "CustomResource deletion is in progress");
    let definition = tell(api, name, progress, false).await?;
    let end = if is_built_in(&definition) {
        condition(false, "OverlappingBuiltInResource", "instances overlap with built-in resources in storage")
    } else if !is_established(&definition) {
        condition(false, "NeverEstablished", "resource was never established")
    } else {
        match delete_all(api, &definition).await {
            Ok(()) => condition(false, "InstanceDeletionCompleted", "removed all instances"),
            Err((reason, why)) => {
                tell(api, name, condition(true, reason, &why), false).await?;
                return Err(Status::internal(why));
            }
        }
    };
    match tell(api, name, end, true).await {
        Err(status) if status.code == 404 => Ok(()),
        other => other.map(drop),
    }
}

fn condition(status: bool, reason: &str, message: &str) -> Value {
    conditions::of("Terminating", status, reason, message)
}

/// Whether a built-in resource has the same place in the store: its objects are not the definition's.
pub(super) fn is_built_in(definition: &Value) -> bool {
    let prefix = format!("{}/{}", definition["spec"]["group"].str(), definition["spec"]["names"]["plural"].str());
    kaji_api::resource::all().iter().any(|row| row.prefix == prefix)
}

/// Sets the condition and, at the end, takes the finalizer away.
async fn tell(api: &Api, name: &str, condition: Value, done: bool) -> Result<Value, Status> {
    let change = |old: &Value| {
        if old.is_null() {
            return Err(Status::not_found(&DEFINITIONS, name));
        }
        let mut new = old.clone();
        conditions::set(&mut new, condition.clone());
        if done {
            let kept = old["metadata"]["finalizers"].items().iter().filter(|f| f.str() != CLEANUP);
            new.set_meta("finalizers", Value::Array(kept.cloned().collect()));
        }
        Ok(new)
    };
    api.update(Mode::Internal, &RequestContext::system(), &DEFINITIONS, &ObjectKey::new("", name), &change).await
}

/// The reason of a condition, and its message.
type Failure = (&'static str, String);

async fn delete_all(api: &Api, definition: &Value) -> Result<(), Failure> {
    let names = &definition["status"]["acceptedNames"];
    let (group, plural) = (definition["spec"]["group"].str(), names["plural"].str());
    let served = definition["spec"]["versions"].items().iter().filter(|v| v["served"].bool());
    let row = served.map(|v| v["name"].str()).find_map(|version| api.custom().row(group, version, plural));
    // Nothing is served: nothing can be deleted through the API either.
    let Some(row) = row else { return Ok(()) };
    let failed = |what: &str, why: &str| ("InstanceDeletionFailed", format!("{what}: {why}"));
    let left = namespaces(api, &row).map_err(|why| failed("could not list instances", &why.message))?;
    let mut errors = Vec::new();
    for namespace in &left {
        errors.extend(delete_in(api, &row, namespace).await.err().map(|why| why.message));
    }
    match errors.as_slice() {
        [] => wait_until_gone(api, &row).await,
        [one] => Err(failed("could not issue all deletes", one)),
        all => Err(failed("could not issue all deletes", &format!("[{}]", all.join(", ")))),
    }
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
    let check =
        |why: String| ("InstanceDeletionCheck", format!("could not confirm zero CustomResources remaining: {why}"));
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
