//! Replica sets.

use super::deployment::{of_replicas, selector_is_kept};
use super::{Strategy, defaults, name_warning, template_warnings};
use crate::validation::{At, nonnegative, template, workload};
use kaji_api::Value;
use kaji_api::field::Errors;
use std::borrow::Cow;

/// Replica sets.
pub struct ReplicaSets;

impl Strategy for ReplicaSets {
    fn default(&self, obj: &mut Value) {
        defaults::template(obj, &["spec", "template"]);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        nonnegative(spec.field("replicas"), e);
        nonnegative(spec.field("minReadySeconds"), e);
        // Upstream says "deployment" here too.
        template::selector(spec.field("selector"), "empty selector is invalid for deployment", e);
        of_replicas(spec, e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        self.validate(obj, e);
        selector_is_kept(obj, old, e);
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

    fn selectable<'a>(&self, obj: &'a Value, field: &str) -> Option<Cow<'a, str>> {
        status_replicas(obj, field)
    }
}

/// The status of replica sets and replication controllers.
pub(super) fn status(at: At<'_>, e: &mut Errors) {
    let counts = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
        "terminatingReplicas",
    ];
    workload::counts(at, &counts, e);
    let bounded = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    workload::replicas(at, &bounded, "readyReplicas", e);
}

/// `status.replicas`, which both can be selected by.
pub(super) fn status_replicas<'a>(obj: &'a Value, field: &str) -> Option<Cow<'a, str>> {
    (field == "status.replicas").then(|| Cow::Owned(obj["status"]["replicas"].as_i64().unwrap_or_default().to_string()))
}
