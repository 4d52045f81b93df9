//! PodNodeSelector: pods of a namespace run on the nodes that it names, and on no others than it may name.

use super::{Attributes, Plugin, Take, content, own_namespace};
use futures::future::BoxFuture;
use kaji_api::field::quoted;
use kaji_api::{GroupResource, Status, Value, names};
use parking_lot::RwLock;
use std::collections::BTreeMap;

const ANNOTATION: &str = "scheduler.alpha.kubernetes.io/node-selector";
/// In the configuration, beside names of namespaces.
const USUAL: &str = "clusterDefaultNodeSelector";
const PODS: GroupResource = GroupResource::of("", "pods");

type Labels = BTreeMap<String, String>;

/// Selectors by namespace.
#[derive(Default)]
pub(super) struct PodNodeSelector(RwLock<BTreeMap<String, String>>);

impl Plugin for PodNodeSelector {
    fn name(&self) -> &'static str {
        "PodNodeSelector"
    }

    fn configure<'a>(&'a self, told: Option<&Value>) -> Result<Take<'a>, String> {
        let told = told.map_or(&Value::Null, |told| &told["podNodeSelectorPluginConfig"]);
        let selectors = told.entries().map(|(name, selector)| (name.to_owned(), selector.str().to_owned())).collect();
        Ok(Box::new(move || *self.0.write() = selectors))
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        if !a.creates_pod() {
            return content();
        }
        Box::pin(async move {
            let wanted = self.wanted(&*own_namespace(a).await?)?;
            let own = labels_of(&a.object["spec"]["nodeSelector"]);
            self.check(a, &wanted)?;
            for (key, value) in wanted.into_iter().filter(|(key, _)| !own.contains_key(key)) {
                a.object.entry("spec").entry("nodeSelector").set(key, value);
            }
            Ok(())
        })
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        if !a.creates_pod() {
            return content();
        }
        Box::pin(async move {
            let wanted = self.wanted(&*own_namespace(a).await?)?;
            self.check(a, &wanted)
        })
    }
}

impl PodNodeSelector {
    /// The labels of the nodes of a namespace's pods.
    fn wanted(&self, namespace: &Value) -> Result<Labels, Status> {
        let annotation = namespace["metadata"]["annotations"][ANNOTATION].as_str();
        let all = self.0.read();
        parse(annotation.or_else(|| all.get(USUAL).map(String::as_str)).unwrap_or_default()).map_err(unusable)
    }

    fn check(&self, a: &Attributes<'_>, wanted: &Labels) -> Result<(), Status> {
        let own = labels_of(&a.object["spec"]["nodeSelector"]);
        let allowed = self.0.read().get(a.namespace).cloned().unwrap_or_default();
        let allowed = parse(&allowed).map_err(unusable)?;
        match fault(&own, wanted, &allowed) {
            None => Ok(()),
            Some(why) => Err(Status::forbidden(&PODS, a.object.name(), why)),
        }
    }
}

/// Why a pod's own selector cannot stand.
fn fault(own: &Labels, wanted: &Labels, allowed: &Labels) -> Option<&'static str> {
    if own.iter().any(|(key, value)| wanted.get(key).is_some_and(|other| other != value)) {
        return Some("pod node label selector conflicts with its namespace node label selector");
    }
    // The namespace's own labels are part of the pod's selector by then.
    let mut all = wanted.iter().chain(own);
    if !allowed.is_empty() && all.any(|(key, value)| allowed.get(key) != Some(value)) {
        return Some("pod node label selector labels conflict with its namespace whitelist");
    }
    None
}

fn labels_of(map: &Value) -> Labels {
    map.entries().map(|(key, value)| (key.to_owned(), value.str().to_owned())).collect()
}

fn unusable(why: String) -> Status {
    Status::new(500, "", why)
}

/// `key=value,key=value` as labels; the errors are upstream's (apimachinery `labels.ConvertSelectorToLabelsMap`).
fn parse(selector: &str) -> Result<Labels, String> {
    let mut labels = Labels::new();
    for label in selector.split(',').filter(|_| !selector.is_empty()) {
        let parts: Vec<&str> = label.split('=').collect();
        let &[key, value] = parts.as_slice() else {
            return Err(format!("invalid selector: [{}]", parts.join(" ")));
        };
        let (key, value) = (key.trim(), value.trim());
        let wrong = names::qualified_name(key);
        if !wrong.is_empty() {
            return Err(format!("<nil>: Invalid value: {}: {}", quoted(key), wrong.join("; ")));
        }
        let wrong = names::label_value(value);
        if !wrong.is_empty() {
            return Err(format!("[{key}]: Invalid value: {}: {}", quoted(value), wrong.join("; ")));
        }
        labels.insert(key.to_owned(), value.to_owned());
    }
    Ok(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_read() {
        let labels = parse("a=b, c = d ,e=").unwrap();
        let pairs: Vec<(&str, &str)> = labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("a", "b"), ("c", "d"), ("e", "")]);
        assert_eq!(parse(""), Ok(Labels::new()));
        for (text, why) in [
            ("a", "invalid selector: [a]"),
            ("a=b=c", "invalid selector: [a b c]"),
            ("a=b,", "invalid selector: []"),
            ("a b=c", "<nil>: Invalid value: \"a b\": "),
            ("a=b c", "[a]: Invalid value: \"b c\": "),
        ] {
            assert!(parse(text).unwrap_err().starts_with(why), "{text}");
        }
    }

    #[test]
    fn a_pod_s_selector_fits_its_namespace() {
        let of = |text: &str| parse(text).unwrap();
        let conflict = Some("pod node label selector conflicts with its namespace node label selector");
        let beyond = Some("pod node label selector labels conflict with its namespace whitelist");
        for (own, wanted, allowed, expected) in [
            ("", "", "", None),
            ("a=b", "c=d", "", None),
            ("a=b", "a=b", "", None),
            ("a=b", "a=c", "", conflict),
            ("a=b", "", "a=b,c=d", None),
            ("a=b", "", "c=d", beyond),
            ("a=b", "c=d", "a=b", beyond),
        ] {
            assert_eq!(fault(&of(own), &of(wanted), &of(allowed)), expected, "{own} {wanted} {allowed}");
        }
    }
}
