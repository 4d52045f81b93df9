//! PodTolerationRestriction: namespaces say what their pods tolerate without saying so, and what they may tolerate at most.

use super::configuration::expect_kind;
use super::tolerations::{covers, merge};
use super::{Attributes, Operation, Plugin, Take, content, own_namespace};
use crate::validation::{At, qos, scheduling};
use futures::future::BoxFuture;
use kaji_api::field::Errors;
use kaji_api::{Status, Value, codec, value};
use parking_lot::RwLock;

const KINDS: [(&str, &str); 1] = [("podtolerationrestriction.admission.k8s.io/v1alpha1", "Configuration")];
const USUAL: &str = "scheduler.alpha.kubernetes.io/defaultTolerations";
const ALLOWED: &str = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";
const MEMORY: &str = "node.kubernetes.io/memory-pressure";

/// What counts where a namespace does not say.
#[derive(Default)]
pub(super) struct PodTolerationRestriction(RwLock<Cluster>);

#[derive(Clone, Default)]
struct Cluster {
    usual: Vec<Value>,
    /// Empty: anything.
    allowed: Vec<Value>,
}

impl Plugin for PodTolerationRestriction {
    fn name(&self) -> &'static str {
        "PodTolerationRestriction"
    }

    fn configure<'a>(&'a self, told: Option<&Value>) -> Result<Take<'a>, String> {
        let cluster = told.map(cluster).transpose()?.unwrap_or_default();
        Ok(Box::new(move || *self.0.write() = cluster))
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        if !concerns(a) {
            return content();
        }
        Box::pin(async move {
            let namespace = own_namespace(a).await?;
            let cluster = self.0.read().clone();
            let mut added = Vec::new();
            if a.operation == Operation::Create {
                added = of_namespace(&namespace, USUAL)?.unwrap_or_else(|| cluster.usual.clone());
            }
            if qos::class(a.object) != "BestEffort" {
                added.push(value!({"key": (MEMORY), "operator": "Exists", "effect": "NoSchedule"}));
            }
            if !added.is_empty() {
                let merged = merge(a.object["spec"]["tolerations"].items(), &added);
                a.object.entry("spec").set("tolerations", Value::Array(merged));
            }
            check(a, &namespace, &cluster)
        })
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        if !concerns(a) || a.object["spec"]["tolerations"].items().is_empty() {
            return content();
        }
        Box::pin(async move {
            let cluster = self.0.read().clone();
            check(a, &*own_namespace(a).await?, &cluster)
        })
    }
}

fn concerns(a: &Attributes<'_>) -> bool {
    a.is("", "pods") && matches!(a.operation, Operation::Create | Operation::Update)
}

fn check(a: &Attributes<'_>, namespace: &Value, cluster: &Cluster) -> Result<(), Status> {
    let own = a.object["spec"]["tolerations"].items();
    if own.is_empty() {
        return Ok(());
    }
    let (allowed, scope) = match of_namespace(namespace, ALLOWED)? {
        Some(allowed) => (allowed, "namespace"),
        None => (cluster.allowed.clone(), "cluster"),
    };
    if are_allowed(own, &allowed) {
        return Ok(());
    }
    let why = "pod tolerations (possibly merged with namespace default tolerations) conflict with its";
    Err(Status::new(500, "", format!("{why} {scope} whitelist")))
}

fn are_allowed(own: &[Value], allowed: &[Value]) -> bool {
    allowed.is_empty() || own.iter().all(|toleration| allowed.iter().any(|wide| covers(wide, toleration)))
}

/// What an annotation of the namespace lists; none: it has no such annotation.
fn of_namespace(namespace: &Value, key: &str) -> Result<Option<Vec<Value>>, Status> {
    let Some(text) = namespace["metadata"]["annotations"][key].as_str() else { return Ok(None) };
    if text.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let list = codec::parse_json(text.as_bytes()).map_err(|error| Status::new(500, "", error.to_string()))?;
    Ok(Some(list.items().to_vec()))
}

fn cluster(told: &Value) -> Result<Cluster, String> {
    expect_kind(told, &KINDS)?;
    let mut errors = Errors::new();
    let root = value!({"podtolerationrestriction": (told.clone())});
    for list in ["default", "whitelist"] {
        scheduling::tolerations(At::root(&root).fields(&["podtolerationrestriction", list]), &mut errors);
    }
    if !errors.is_empty() {
        let all: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        return Err(format!("invalid config: [{}]", all.join(", ")));
    }
    Ok(Cluster { usual: told["default"].items().to_vec(), allowed: told["whitelist"].items().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(key: &str) -> Value {
        value!({"key": key, "operator": "Exists"})
    }

    #[test]
    fn only_what_is_allowed_may_be_tolerated() {
        let (a, b) = (toleration("a"), toleration("b"));
        let narrow = value!({"key": "a", "operator": "Equal", "value": "x", "effect": "NoSchedule"});
        for (own, allowed, expected) in [
            (vec![&a], vec![], true),
            (vec![&a, &narrow], vec![&a], true),
            (vec![&a, &b], vec![&a], false),
            (vec![&a], vec![&narrow], false),
        ] {
            let list = |all: Vec<&Value>| all.into_iter().cloned().collect::<Vec<_>>();
            assert_eq!(are_allowed(&list(own), &list(allowed)), expected);
        }
    }

    #[test]
    fn annotations_list_tolerations() {
        let namespace = |text: &str| value!({"metadata": {"annotations": {"scheduler.alpha.kubernetes.io/defaultTolerations": text}}});
        assert_eq!(of_namespace(&value!({}), USUAL), Ok(None));
        assert_eq!(of_namespace(&namespace(""), USUAL), Ok(Some(Vec::new())));
        assert_eq!(
            of_namespace(&namespace("[{\"key\":\"a\",\"operator\":\"Exists\"}]"), USUAL),
            Ok(Some(vec![toleration("a")]))
        );
        assert_eq!(of_namespace(&namespace("{"), USUAL).unwrap_err().code, 500);
    }

    #[test]
    fn configurations_are_checked() {
        let told = |list: Value| {
            value!({"apiVersion": "podtolerationrestriction.admission.k8s.io/v1alpha1", "kind": "Configuration",
                "default": list})
        };
        assert_eq!(cluster(&told(value!([(toleration("a"))]))).unwrap().usual, [toleration("a")]);
        let why = cluster(&told(value!([{"key": "a", "operator": "Nonsense"}]))).err().unwrap();
        assert!(
            why.starts_with("invalid config: [podtolerationrestriction.default[0].operator: Unsupported value"),
            "{why}"
        );
        assert!(cluster(&value!({"kind": "Other", "apiVersion": "v1"})).is_err());
    }
}
