//! Priority: a pod's class becomes its number; only one class may be the default.

use super::{Attributes, Operation, Plugin};
use futures::future::BoxFuture;
use kaji_api::{GroupResource, Status, Value};
use std::sync::Arc;

const CLASSES: GroupResource = GroupResource::of("scheduling.k8s.io", "priorityclasses");

pub(super) struct Priority;

impl Plugin for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move { resolve(a) })
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move { one_default(a) })
    }
}

fn resolve(a: &mut Attributes<'_>) -> Result<(), Status> {
    let update = a.operation == Operation::Update && a.is("", "pods");
    if update {
        // What was resolved at creation stays; a client that leaves it out has not changed it.
        for field in ["priority", "preemptionPolicy"] {
            let old = a.old["spec"][field].clone();
            if a.object["spec"][field].is_null() && !old.is_null() {
                a.object.entry("spec").set(field, old);
            }
        }
        return Ok(());
    }
    if !a.creates_pod() {
        return Ok(());
    }
    let named = a.object["spec"]["priorityClassName"].str().to_owned();
    let class = if named.is_empty() {
        default_class(&a.api.list_cached(&CLASSES, ""))
    } else {
        let class = a.api.get_cached(&CLASSES, "", &named);
        Some(class.ok_or_else(|| a.forbidden(&format!("no PriorityClass with name {named} was found")))?)
    };
    let (name, number) = match &class {
        Some(class) => (class.name().to_owned(), class["value"].as_i64().unwrap_or_default()),
        None => (String::new(), 0),
    };
    let policy = class.as_ref().map_or("PreemptLowerPriority", |c| match c["preemptionPolicy"].str() {
        "" => "PreemptLowerPriority",
        other => other,
    });
    let asked = &a.object["spec"];
    if asked["priority"].as_i64().is_some_and(|p| p != number) {
        let why = format!(
            "the integer value of priority ({}) must not be provided in pod spec; priority admission controller computed {number} from the given PriorityClass name",
            asked["priority"].as_i64().unwrap_or_default()
        );
        return Err(a.forbidden(&why));
    }
    if !asked["preemptionPolicy"].is_null() && asked["preemptionPolicy"].str() != policy {
        let why = format!(
            "the string value of PreemptionPolicy ({}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name",
            asked["preemptionPolicy"].str()
        );
        return Err(a.forbidden(&why));
    }
    let policy = policy.to_owned();
    let spec = a.object.entry("spec");
    if !name.is_empty() {
        spec.set("priorityClassName", name);
    }
    spec.set("priority", number);
    spec.set("preemptionPolicy", policy);
    Ok(())
}

/// The global default with the lowest number.
fn default_class(classes: &[Arc<Value>]) -> Option<Arc<Value>> {
    let defaults = classes.iter().filter(|c| c["globalDefault"].bool());
    defaults.min_by_key(|c| c["value"].as_i64().unwrap_or_default()).cloned()
}

fn one_default(a: &Attributes<'_>) -> Result<(), Status> {
    let writes = matches!(a.operation, Operation::Create | Operation::Update);
    if !writes || !a.is("scheduling.k8s.io", "priorityclasses") || !a.object["globalDefault"].bool() {
        return Ok(());
    }
    let others = a.api.list_cached(&CLASSES, "");
    match others.iter().find(|c| c["globalDefault"].bool() && c.name() != a.object.name()) {
        Some(other) => {
            let why =
                format!("PriorityClass {} is already marked as default. Only one default can exist", other.name());
            Err(a.forbidden(&why))
        }
        None => Ok(()),
    }
}
