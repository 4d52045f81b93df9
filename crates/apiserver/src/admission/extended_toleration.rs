//! ExtendedResourceToleration: pods that ask for an extended resource tolerate the taint of its name, with which
//! nodes that have it keep others away.

use super::{Attributes, Operation, Plugin};
use crate::validation::resources::is_extended;
use futures::future::BoxFuture;
use kaji_api::{Status, Value, value};
use std::collections::BTreeSet;

pub(super) struct ExtendedResourceToleration;

impl Plugin for ExtendedResourceToleration {
    fn name(&self) -> &'static str {
        "ExtendedResourceToleration"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            if matches!(a.operation, Operation::Create | Operation::Update) && a.is("", "pods") {
                add(a.object.entry("spec"));
            }
            Ok(())
        })
    }
}

fn add(spec: &mut Value) {
    let containers = ["containers", "initContainers"].into_iter().flat_map(|list| spec[list].items());
    let asked = containers.flat_map(|container| container["resources"]["requests"].entries().map(|(name, _)| name));
    let asked: BTreeSet<String> = asked.filter(|name| is_extended(name)).map(str::to_owned).collect();
    for name in asked {
        let toleration = value!({"key": (name.as_str()), "operator": "Exists", "effect": "NoSchedule"});
        // Of tolerations, these fields say which one it is.
        let same =
            |t: &Value| ["key", "operator", "effect", "value"].iter().all(|field| t[*field] == toleration[*field]);
        if !spec["tolerations"].items().iter().any(same) {
            spec.entry("tolerations").push(toleration);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_tolerated() {
        let mut spec = value!({"containers": [{"resources": {"requests": {"cpu": "1", "example.com/gpu": "1"}}}],
            "initContainers": [{"resources": {"requests": {"example.com/a": "1"}}}]});
        add(&mut spec);
        let keys: Vec<&str> = spec["tolerations"].items().iter().map(|t| t["key"].str()).collect();
        assert_eq!(keys, ["example.com/a", "example.com/gpu"]);
        let before = spec.clone();
        add(&mut spec);
        assert_eq!(spec, before);
    }
}
