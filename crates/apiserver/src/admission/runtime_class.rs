//! RuntimeClass: a pod gets the overhead and the placement of its runtime class.

use super::tolerations::merge;
use super::{Attributes, Plugin, content};
use crate::validation::resources::quantity;
use futures::future::BoxFuture;
use kaji_api::field::quoted;
use kaji_api::quantity::Quantity;
use kaji_api::{GroupResource, Status, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

const CLASSES: GroupResource = GroupResource::of("node.k8s.io", "runtimeclasses");
const DIFFERENT: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
const ORPHAN: &str = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";

pub(super) struct RuntimeClass;

impl Plugin for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        if !a.creates_pod() {
            return content();
        }
        Box::pin(async move {
            if let Some(class) = class(a).await? {
                give_overhead(a, &class)?;
                give_placement(a, &class)?;
            }
            Ok(())
        })
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        if !a.creates_pod() {
            return content();
        }
        Box::pin(async move {
            let class = class(a).await?;
            let own = &a.object["spec"]["overhead"];
            match class.as_ref().and_then(|c| c.get("overhead")) {
                Some(overhead) if amounts(&overhead["podFixed"]) != amounts(own) => Err(a.forbidden(DIFFERENT)),
                None if !own.is_null() => Err(a.forbidden(ORPHAN)),
                _ => Ok(()),
            }
        })
    }
}

async fn class(a: &Attributes<'_>) -> Result<Option<Arc<Value>>, Status> {
    let name = a.object["spec"]["runtimeClassName"].str();
    if name.is_empty() {
        return Ok(None);
    }
    if let Some(class) = a.api.get_cached(&CLASSES, "", name) {
        return Ok(Some(class));
    }
    a.api.fresh().await?;
    let class = a.api.get_cached(&CLASSES, "", name);
    let missing = || a.forbidden(&format!("pod rejected: RuntimeClass {} not found", quoted(name)));
    class.ok_or_else(missing).map(Some)
}

fn amounts(list: &Value) -> BTreeMap<&str, Quantity> {
    list.entries().map(|(name, amount)| (name, quantity(amount))).collect()
}

fn give_overhead(a: &mut Attributes<'_>, class: &Value) -> Result<(), Status> {
    let Some(overhead) = class.get("overhead") else { return Ok(()) };
    let own = &a.object["spec"]["overhead"];
    if own.entries().next().is_some() && amounts(own) != amounts(&overhead["podFixed"]) {
        return Err(a.forbidden(DIFFERENT));
    }
    a.object.entry("spec").set("overhead", overhead["podFixed"].clone());
    Ok(())
}

fn give_placement(a: &mut Attributes<'_>, class: &Value) -> Result<(), Status> {
    let scheduling = &class["scheduling"];
    for (key, value) in scheduling["nodeSelector"].entries() {
        let own = &a.object["spec"]["nodeSelector"][key];
        if !own.is_null() && own != value {
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                value.str(),
                own.str()
            );
            return Err(a.forbidden(&why));
        }
        a.object.entry("spec").entry("nodeSelector").set(key.to_owned(), value.clone());
    }
    if !scheduling["tolerations"].items().is_empty() {
        let merged = merge(a.object["spec"]["tolerations"].items(), scheduling["tolerations"].items());
        a.object.entry("spec").set("tolerations", Value::Array(merged));
    }
    Ok(())
}
