//! Replication controllers.

use super::replicaset::{status, status_replicas};
use super::{Strategy, defaults, name_warning, template_warnings};
use crate::validation::{At, nonnegative, template};
use kaji_api::Value;
use kaji_api::field::Errors;
use std::borrow::Cow;

/// Replication controllers.
pub struct ReplicationControllers;

impl Strategy for ReplicationControllers {
    fn default(&self, obj: &mut Value) {
        let labels = obj.at(&["spec", "template", "metadata", "labels"]).clone();
        if !labels.is_zero() && obj["spec"]["selector"].is_zero() {
            obj.entry("spec").set("selector", labels);
        }
        defaults::labels_from_template(obj);
        defaults::template(obj, &["spec", "template"]);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        nonnegative(spec.field("minReadySeconds"), e);
        spec.field("selector").need(e);
        if spec.field("replicas").is_set() {
            nonnegative(spec.field("replicas"), e);
        } else {
            spec.field("replicas").required(e, "");
        }
        let at = spec.field("template");
        if !at.is_set() {
            return at.required(e, "");
        }
        template::selected_by_map(at, &spec.v["selector"], e);
        template::template(at, e);
        template::runs_forever(at, "ReplicationController", e);
    }

    fn validate_status_update(&self, obj: &Value, _: &Value, e: &mut Errors) {
        status(At::root(obj).field("status"), e);
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        name_warning(obj, old, "Pod names and hostnames", &mut out);
        template_warnings(obj, old, &["spec", "template"], &mut out);
        out
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn default_propagation(&self) -> &'static str {
        "orphan"
    }

    fn selectable<'a>(&self, obj: &'a Value, field: &str) -> Option<Cow<'a, str>> {
        status_replicas(obj, field)
    }
}
