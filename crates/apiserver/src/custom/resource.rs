//! Custom resources as the registry works with them: rows, and what is special about them
//! (apiextensions-apiserver `pkg/registry/customresource`).

use super::definition::Definition;
use super::version::Version;
use super::webhook::Webhook;
use crate::context::RequestContext;
use crate::row::{CustomRow, Row};
use crate::strategy::{Strategy, keep};
use aws_lc_rs::digest;
use base64::prelude::*;
use kaji_api::field::{Errors, quoted};
use kaji_api::resource::{SubresourceDef, intern};
use kaji_api::{ResourceDef, Value, names};
use std::borrow::Cow;
use std::sync::Arc;

/// As discovery lists them.
const VERBS: &[&str] = &["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
/// The same while the definition is being deleted.
const DYING: &[&str] = &["delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const SUB_VERBS: &[&str] = &["get", "patch", "update"];

impl Definition {
    /// A row per version that is served or stored.
    pub fn rows(&self, webhook: Option<&Arc<Webhook>>) -> Vec<Row> {
        let stored = self.storage().map_or("", |v| v.name.as_str());
        let hash = storage_hash(&self.group, stored, &self.kind);
        let versions = self.versions.iter().filter(|v| v.served || v.storage);
        versions.map(|v| Row::Custom(Arc::new(self.row(v, stored, &hash, webhook)))).collect()
    }

    fn row(&self, version: &Arc<Version>, stored: &str, hash: &str, webhook: Option<&Arc<Webhook>>) -> CustomRow {
        let (group, kind) = (intern(&self.group), intern(&self.kind));
        let words = |words: &[String]| words.iter().map(|w| intern(w)).collect();
        let (name, plural) = (intern(&version.name), intern(&self.plural));
        let sub = |sub, group, version, kind| SubresourceDef { name: sub, group, version, kind, verbs: SUB_VERBS };
        let status = version.status.then(|| sub("status", group, name, kind));
        let scale = version.scale.is_some().then(|| sub("scale", "autoscaling", "v1", "Scale"));
        CustomRow {
            def: ResourceDef {
                group,
                version: name,
                plural,
                singular: intern(&self.singular),
                kind,
                namespaced: self.namespaced,
                short: Cow::Owned(words(&self.short)),
                categories: Cow::Owned(words(&self.categories)),
                verbs: if self.dying { DYING } else { VERBS },
                enabled: version.served,
                storage: (group, intern(stored), kind),
                prefix: intern(&format!("{group}/{plural}")),
                field_selectors: version.selectable.iter().map(|s| intern(&s.name)).collect::<Vec<_>>().into(),
                sub: status.into_iter().chain(scale).collect::<Vec<_>>().into(),
                storage_hash: intern(hash),
                ty: None,
            },
            mark: self.mark.clone(),
            strategy: Box::new(Resources(version.clone())),
            version: version.clone(),
            list_kind: self.list_kind.clone(),
            webhook: webhook.cloned(),
        }
    }
}

/// What discovery shows so that clients see that objects are stored in another form.
fn storage_hash(group: &str, version: &str, kind: &str) -> String {
    let hash = digest::digest(&digest::SHA256, format!("{group}/{version}/{kind}").as_bytes());
    BASE64_STANDARD.encode(&hash.as_ref()[..8])
}

/// The objects of one version.
struct Resources(Arc<Version>);

impl Strategy for Resources {
    fn prepare_create(&self, _: &RequestContext, object: &mut Value) {
        if self.0.status {
            object.remove("status");
        }
    }

    fn prepare_update(&self, _: &RequestContext, object: &mut Value, old: &Value) {
        if self.0.status {
            keep(object, old, "status");
        }
    }

    /// All but status is what it was.
    fn prepare_status_update(&self, _: &RequestContext, object: &mut Value, old: &Value) {
        let status = object.remove("status");
        let managed = object["metadata"]["managedFields"].clone();
        *object = old.clone();
        match status {
            Some(status) => object.set("status", status),
            None => {
                object.remove("status");
            }
        }
        object.set_meta("managedFields", managed);
        self.0.ty().normalize(object);
    }

    fn validate(&self, object: &Value, errors: &mut Errors) {
        self.0.validate(object, errors);
    }

    fn validate_update(&self, object: &Value, old: &Value, errors: &mut Errors) {
        self.0.validate_update(object, old, errors);
    }

    fn validate_status_update(&self, object: &Value, old: &Value, errors: &mut Errors) {
        self.0.validate_status_update(object, old, errors);
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let before = old.map_or(&[][..], |old| old["metadata"]["finalizers"].items());
        let mut added: Vec<&str> =
            object["metadata"]["finalizers"].items().iter().filter(|f| !before.contains(f)).map(Value::str).collect();
        added.sort_unstable();
        added.dedup();
        added.into_iter().flat_map(finalizer_warnings).collect()
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn has_generation(&self) -> bool {
        true
    }

    /// Everything but metadata counts; where status is a subresource, it is what it was by now.
    fn counts_as_change(&self, object: &Value, old: &Value) -> bool {
        let differs = |a: &Value, b: &Value| a.entries().any(|(k, v)| k != "metadata" && b[k] != *v);
        differs(object, old) || differs(old, object)
    }

    fn selectable<'a>(&self, object: &'a Value, field: &str) -> Option<Cow<'a, str>> {
        self.0.selectable.iter().find(|s| s.name == field).map(|s| s.value(object))
    }
}

const PATH: &str = "metadata.finalizers";
const STANDARD: [&str; 3] = ["orphan", "foregroundDeletion", "kubernetes"];

fn finalizer_warnings(finalizer: &str) -> Vec<String> {
    let head = format!("{PATH}: {}: ", quoted(finalizer));
    let mut warnings: Vec<String> =
        names::qualified_name(finalizer).into_iter().map(|text| format!("{head}{text}")).collect();
    if !finalizer.contains('/') && !STANDARD.contains(&finalizer) {
        let path = if finalizer.contains('.') { "including a path (/) " } else { "" };
        warnings.push(format!(
            "{head}prefer a domain-qualified finalizer name {path}to avoid accidental conflicts with other finalizer \
             writers"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_upstreams() {
        // As a server shows it for deployments.
        assert_eq!(storage_hash("apps", "v1", "Deployment"), "8aSe+NMegvE=");
    }

    #[test]
    fn finalizers_had_better_have_domains() {
        assert!(finalizer_warnings("example.org/x").is_empty());
        assert_eq!(
            finalizer_warnings("x"),
            [
                "metadata.finalizers: \"x\": prefer a domain-qualified finalizer name to avoid accidental conflicts with \
              other finalizer writers"
            ]
        );
        assert_eq!(finalizer_warnings("orphan"), [""; 0]);
    }
}
