//! DefaultTolerationSeconds: pods outlive an unready or unreachable node by five minutes unless they say
//! otherwise.

use super::{Attributes, Operation, Plugin};
use futures::future::BoxFuture;
use kaji_api::{Status, Value, value};

const TAINTS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
const SECONDS: i64 = 300;

pub(super) struct DefaultTolerationSeconds;

impl Plugin for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
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
    let covers = |t: &Value, taint: &str| {
        matches!(t["key"].str(), key if key == taint || key.is_empty()) && matches!(t["effect"].str(), "NoExecute" | "")
    };
    for taint in TAINTS {
        if !spec["tolerations"].items().iter().any(|t| covers(t, taint)) {
            let own =
                value!({"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": (SECONDS)});
            spec.entry("tolerations").push(own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_added() {
        let mut spec = value!({"tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}]});
        add(&mut spec);
        let keys: Vec<&str> = spec["tolerations"].items().iter().map(|t| t["key"].str()).collect();
        assert_eq!(keys, TAINTS);
        let before = spec.clone();
        add(&mut spec);
        assert_eq!(spec, before);
    }
}
