//! Namespaces.

use super::{Strategy, keep};
use crate::context::RequestContext;
use crate::validation::{At, metadata};
use kaji_api::field::Errors;
use kaji_api::{Value, names, value};
use std::borrow::Cow;

/// Namespaces.
pub struct Namespaces;

const FINALIZER: &str = "kubernetes";
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

impl Strategy for Namespaces {
    fn default(&self, obj: &mut Value) {
        if !obj.name().is_empty() {
            label(obj);
        }
        obj.entry("status").set_default("phase", "Active");
    }

    fn prepare_create(&self, _: &RequestContext, obj: &mut Value) {
        obj.set("status", value!({"phase": "Active"}));
        let finalizers = obj.entry_at(&["spec", "finalizers"]);
        if !finalizers.items().iter().any(|f| f.str() == FINALIZER) {
            finalizers.push(FINALIZER);
        }
        label(obj);
    }

    fn prepare_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj.entry("spec"), &old["spec"], "finalizers");
        keep(obj, old, "status");
        label(obj);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let at = At::root(obj).fields(&["spec", "finalizers"]);
        for finalizer in at.v.items() {
            metadata::finalizer(at.with(finalizer), e);
        }
    }

    fn validate_status_update(&self, obj: &Value, _: &Value, e: &mut Errors) {
        let phase = At::root(obj).fields(&["status", "Phase"]).with(&obj["status"]["phase"]);
        if obj.is_deleting() {
            if phase.str() != "Terminating" {
                phase.invalid(e, "may only be 'Terminating' if `deletionTimestamp` is not empty");
            }
        } else if phase.str() != "Active" {
            phase.invalid(e, "may only be 'Active' if `deletionTimestamp` is empty");
        }
    }

    fn name_check(&self) -> fn(&str) -> Vec<String> {
        names::dns1123_label
    }

    fn selectable<'a>(&self, obj: &'a Value, field: &str) -> Option<Cow<'a, str>> {
        match field {
            "status.phase" => Some(Cow::Borrowed(obj["status"]["phase"].str())),
            "name" => Some(Cow::Borrowed(obj.name())),
            _ => None,
        }
    }
}

/// Every namespace carries its name as a label, for selectors.
fn label(obj: &mut Value) {
    let name = obj.name().to_owned();
    obj.entry_at(&["metadata", "labels"]).set(NAME_LABEL, name);
}

/// What `finalize` may not touch is restored.
pub(crate) fn prepare_finalize(obj: &mut Value, old: &Value) {
    keep(obj, old, "status");
}

/// What is wrong with an update through `finalize`.
pub(crate) fn validate_finalize(obj: &Value, _: &Value, e: &mut Errors) {
    At::root(obj).fields(&["spec", "finalizers"]).list().for_each(|finalizer| metadata::finalizer(finalizer, e));
}
