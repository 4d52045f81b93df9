//! Claims for storage.

use super::{Strategy, keep};
use crate::context::RequestContext;
use crate::validation::diff::diff;
use crate::validation::{At, IMMUTABLE, claim, resources, warn};
use kaji_api::field::Errors;
use kaji_api::{Value, names, value};

/// Claims for storage.
pub struct PersistentVolumeClaims;

const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

impl Strategy for PersistentVolumeClaims {
    fn default(&self, obj: &mut Value) {
        obj.entry("status").set_default("phase", "Pending");
        let spec = obj.entry("spec");
        spec.set_default("volumeMode", "Filesystem");
        for list in ["limits", "requests"] {
            if !spec["resources"][list].is_null() {
                resources::round_up(spec.entry_at(&["resources", list]));
            }
        }
    }

    fn prepare_create(&self, _: &RequestContext, obj: &mut Value) {
        obj.set("status", value!({"phase": "Pending"}));
        same_sources(obj.entry("spec"));
    }

    fn prepare_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "status");
        same_sources(obj.entry("spec"));
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        claim::spec(At::root(obj).field("spec"), e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        self.validate(obj, e);
        change(obj, old, e);
    }

    fn validate_status_update(&self, obj: &Value, _: &Value, e: &mut Errors) {
        let status = At::root(obj).field("status");
        if obj["spec"]["accessModes"].is_zero() {
            At::root(obj).fields(&["Spec", "accessModes"]).required(e, "");
        }
        for (_, amount) in status.field("capacity").map() {
            if resources::quantity(amount.v).signum() < 0 {
                let shown = resources::quantity(amount.v).value();
                amount.invalid_as(e, shown, "must be a valid resource quantity");
            }
        }
        let allocated = status.field("allocatedResources");
        for (name, amount) in allocated.map() {
            if names::qualified_name(name).is_empty() && resources::is_native(name) && name != "storage" {
                e.not_supported(&allocated.path(), name, &["storage"]);
            } else {
                resources::amount(amount, "storage", e);
            }
        }
    }

    fn warnings(&self, obj: &Value, _: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        if obj.annotation(CLASS).is_some() {
            let path = At::root(obj).fields(&["metadata", "annotations"]).path().key(CLASS);
            out.push(format!("{path}: deprecated since v1.8; use \"storageClassName\" attribute instead"));
        }
        warn::claim_spec(At::root(obj).field("spec"), &mut out);
        out
    }
}

/// A source named in one of the two fields is meant in both.
fn same_sources(spec: &mut Value) {
    let (source, reference) = (spec["dataSource"].clone(), spec["dataSourceRef"].clone());
    if reference["namespace"].str().is_empty() {
        match (source.is_null(), reference.is_null()) {
            (false, true) => spec.set("dataSourceRef", source),
            (true, false) => {
                let mut source = reference;
                source.remove("namespace");
                spec.set("dataSource", source);
            }
            _ => {}
        }
    }
}

fn change(obj: &Value, old: &Value, e: &mut Errors) {
    let at = At::root(obj).field("spec");
    let was = &old["spec"];
    let bound = obj["status"]["phase"].str() == "Bound";
    let (mut new, mut kept) = (at.v.clone(), was.clone());
    if was["volumeName"].str().is_empty() {
        keep(&mut kept, at.v, "volumeName");
    }
    class(obj, old, &mut new, e);
    if bound {
        if !new["resources"]["requests"].is_zero() {
            let size = was["resources"]["requests"]["storage"].clone();
            new.entry_at(&["resources", "requests"]).set("storage", size);
        }
        keep(&mut new, was, "volumeAttributesClassName");
    }
    if !same(&new, &kept) {
        let text = format!(
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{}",
            diff(&kept, &new)
        );
        at.forbidden(e, &text);
    }
    size(at, was, &old["status"], e);
    let mode = At::root(obj).field("volumeMode").with(&at.v["volumeMode"]);
    if *mode.v != was["volumeMode"] {
        mode.invalid(e, IMMUTABLE);
    }
    let attributes = at.field("volumeAttributesClassName");
    let current = !old["status"]["currentVolumeAttributesClassName"].is_null();
    if current && *attributes.v != was["volumeAttributesClassName"] && attributes.str().is_empty() {
        let what = if attributes.is_set() { "empty string" } else { "nil" };
        let text = format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
        attributes.forbidden(e, &text);
    }
}

/// Equal, whatever the order of fields; absent is null.
fn same(a: &Value, b: &Value) -> bool {
    let within = |a: &Value, b: &Value| a.entries().all(|(k, v)| v.is_null() || b[k] == *v);
    within(a, b) && within(b, a)
}

/// A class may be set once, also in place of the annotation that once named it.
fn class(obj: &Value, old: &Value, new: &mut Value, e: &mut Errors) {
    let (now, was) = (obj.annotation(CLASS), old.annotation(CLASS));
    let (name, old_name) = (obj["spec"]["storageClassName"].as_str(), old["spec"]["storageClassName"].as_str());
    if was.is_some() && old_name.is_none() && name == was && (now.is_none() || now == was) {
        new.remove("storageClassName");
        return;
    }
    if now.unwrap_or_default() != was.unwrap_or_default() {
        let at = At::root(obj).fields(&["metadata", "annotations", CLASS]);
        at.invalid_as(e, now.unwrap_or_default(), IMMUTABLE);
    }
    if name.is_some() && old_name.is_none() && was.is_none_or(|was| name == Some(was)) {
        new.remove("storageClassName");
    }
}

fn size(at: At<'_>, was: &Value, status: &Value, e: &mut Errors) {
    let path = ["resources", "requests", "storage"];
    let (new, old) = (resources::quantity(at.fields(&path).v), resources::quantity(was.at(&path)));
    if new < old && new <= resources::quantity(&status["capacity"]["storage"]) {
        at.fields(&path).forbidden(e, "field can not be less than status.capacity");
    }
}
