//! TaintNodesByCondition: a new node takes no pods until it has been seen ready.

use super::{Attributes, Operation, Plugin};
use futures::future::BoxFuture;
use kaji_api::{Status, Value, value};

const KEY: &str = "node.kubernetes.io/not-ready";

pub(super) struct TaintNodesByCondition;

impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            if a.operation == Operation::Create && a.is("", "nodes") {
                let spec = a.object.entry("spec");
                let same = |t: &Value| t["key"].str() == KEY && t["effect"].str() == "NoSchedule";
                if !spec["taints"].items().iter().any(same) {
                    spec.entry("taints").push(value!({"key": (KEY), "effect": "NoSchedule"}));
                }
            }
            Ok(())
        })
    }
}
