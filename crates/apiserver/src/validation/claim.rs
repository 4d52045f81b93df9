//! Claims for storage, by themselves and as templates.

use super::{At, labels, one_of_if_set, resources};
use kaji_api::field::Errors;
use kaji_api::{Value, names};

const ACCESS: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const MODES: &[&str] = &["Block", "Filesystem"];

/// An ephemeral volume holds a template of a claim.
pub(crate) fn ephemeral(at: At<'_>, e: &mut Errors) {
    let template = at.field("volumeClaimTemplate");
    if !template.is_set() {
        return template.required(e, "");
    }
    let meta = template.field("metadata");
    labels::annotations(meta.field("annotations"), e);
    labels::labels(meta.field("labels"), e);
    for (name, field) in meta.v.entries() {
        if !matches!(name, "annotations" | "labels") && !field.is_zero() {
            meta.field(name).forbidden(e, "cannot be set");
        }
    }
    spec(template.field("spec"), e);
}

/// Access modes of claims and volumes.
pub(crate) fn access_modes(at: At<'_>, e: &mut Errors) {
    let modes = at.items();
    for mode in modes.iter().filter(|m| !ACCESS.contains(&m.str())) {
        e.not_supported(&at.path(), mode.clone(), ACCESS);
    }
    let alone = |m: &&Value| m.str() == "ReadWriteOncePod";
    if modes.iter().any(|m| alone(&m)) && modes.iter().any(|m| !alone(&m) && ACCESS.contains(&m.str())) {
        at.forbidden(e, "may not use ReadWriteOncePod with other access modes");
    }
}

/// `Block` or `Filesystem`.
pub(crate) fn volume_mode(at: At<'_>, e: &mut Errors) {
    one_of_if_set(at, e, MODES);
}

/// A claim's spec.
pub(crate) fn spec(at: At<'_>, e: &mut Errors) {
    let modes = at.field("accessModes");
    if modes.items().is_empty() {
        modes.required(e, "at least 1 access mode is required");
    }
    labels::selector(at.field("selector"), e);
    access_modes(modes, e);
    storage(at, e);
    at.field("storageClassName").check_if_set(e, names::dns1123_subdomain);
    volume_mode(at.field("volumeMode"), e);
    data_source(at.field("dataSource"), e);
    data_source(at.field("dataSourceRef"), e);
    sources_agree(at, e);
    at.field("volumeAttributesClassName").check_if_set(e, names::dns1123_subdomain);
}

fn storage(at: At<'_>, e: &mut Errors) {
    let place = at.field("resources").key("storage");
    let asked = &at.v["resources"]["requests"]["storage"];
    if asked.is_null() {
        return place.required(e, "");
    }
    let q = resources::quantity(asked);
    if q.signum() <= 0 {
        place.invalid_as(e, q.to_string(), "must be greater than zero");
    }
}

fn data_source(at: At<'_>, e: &mut Errors) {
    if !at.is_set() {
        return;
    }
    at.field("name").need(e);
    at.field("kind").need(e);
    let group = at.field("apiGroup");
    if group.str().is_empty() && at["kind"].str() != "PersistentVolumeClaim" {
        let text = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        at.invalid_as(e, at["kind"].str(), text);
    }
    group.check_if_set(e, names::dns1123_subdomain);
    at.field("namespace").check_if_set(e, names::dns1123_label);
}

fn sources_agree(at: At<'_>, e: &mut Errors) {
    let (source, reference) = (&at["dataSource"], &at["dataSourceRef"]);
    if source.is_null() || reference.is_null() {
        return;
    }
    let place = Value::from(at.field("dataSource").path().to_string());
    if !reference["namespace"].str().is_empty() {
        at.invalid_as(e, place, "may not be specified when dataSourceRef.namespace is specified");
    } else if ["apiGroup", "kind", "name"].iter().any(|f| source[*f] != reference[*f]) {
        at.invalid_as(e, place, "must match dataSourceRef");
    }
}
