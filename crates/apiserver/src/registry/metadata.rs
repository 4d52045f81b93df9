//! `metadata`: what the server owns of it, and what must hold for it (apimachinery
//! `api/validation/objectmeta.go`).

use crate::context::RequestContext;
use kaji_api::field::{Errors, Path};
use kaji_api::{Value, names};

const MAX_ANNOTATIONS: usize = 256 << 10;
const MAX_MANAGER: usize = 128;

/// Removes what a creator may not set.
pub(super) fn wipe_system_fields(object: &mut Value) {
    let metadata = object.entry("metadata");
    for field in ["creationTimestamp", "uid", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        metadata.remove(field);
    }
    metadata.remove("resourceVersion");
}

/// Carries over what an updater may not touch (upstream `rest.BeforeUpdate`).
pub(super) fn preserve(object: &mut Value, old: &Value) {
    let was = &old["metadata"];
    if object.uid().is_empty() {
        object.set_meta("uid", was["uid"].clone());
    }
    for field in ["creationTimestamp", "deletionTimestamp"] {
        if !was[field].is_null() {
            object.set_meta(field, was[field].clone());
        }
    }
    if object["metadata"]["deletionGracePeriodSeconds"].is_null() && !was["deletionGracePeriodSeconds"].is_null() {
        object.set_meta("deletionGracePeriodSeconds", was["deletionGracePeriodSeconds"].clone());
    }
    object.entry("metadata").remove("selfLink");
}

/// Drops repeated owner references and warns of them.
pub(super) fn dedup_owners(cx: &RequestContext, object: &mut Value, after_admission: bool) {
    let Some(Value::Array(owners)) = object.get_mut("metadata").and_then(|m| m.get_mut("ownerReferences")) else {
        return;
    };
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut repeated = Vec::new();
    for owner in owners.drain(..) {
        match kept.contains(&owner) {
            true => repeated.push(owner["uid"].str().to_owned()),
            false => kept.push(owner),
        }
    }
    *owners = kept;
    if !repeated.is_empty() {
        let when = if after_admission { " after mutating admission happens" } else { "" };
        cx.warnings.add(format!(
            ".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in \
             1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) \
             observed: {}",
            repeated.join(", ")
        ));
    }
}

/// What is wrong with an object's metadata.
pub(super) fn validate(object: &Value, namespaced: bool, name_check: fn(&str) -> Vec<String>, errors: &mut Errors) {
    let metadata = &object["metadata"];
    let path = Path::new("metadata");
    if metadata["name"].str().is_empty() {
        errors.required(&path.child("name"), "name or generateName is required");
    }
    validate_fields(metadata, namespaced, name_check, &path, errors);
}

/// What is wrong with the metadata of an object inside another: it needs no name.
pub(crate) fn validate_nested(metadata: &Value, namespaced: bool, path: &Path, errors: &mut Errors) {
    validate_fields(metadata, namespaced, names::path_segment, path, errors);
}

fn validate_fields(metadata: &Value, namespaced: bool, name_check: names::Check, path: &Path, errors: &mut Errors) {
    let prefix = metadata["generateName"].str();
    if !prefix.is_empty() {
        each(errors, &path.child("generateName"), prefix, name_check(&mask_trailing_dash(prefix)));
    }
    let name = metadata["name"].str();
    if !name.is_empty() {
        each(errors, &path.child("name"), name, name_check(name));
    }
    validate_namespace(metadata, namespaced, path, errors);
    if metadata["generation"].as_i64().unwrap_or(0) < 0 {
        errors.invalid(&path.child("generation"), metadata["generation"].clone(), "must be greater than or equal to 0");
    }
    validate_labels(&metadata["labels"], &path.child("labels"), errors);
    validate_annotations(&metadata["annotations"], &path.child("annotations"), errors);
    validate_owners(&metadata["ownerReferences"], &path.child("ownerReferences"), errors);
    validate_finalizers(&metadata["finalizers"], &path.child("finalizers"), errors);
    super::managed::validate(&metadata["managedFields"], &path.child("managedFields"), errors);
}

fn each(errors: &mut Errors, path: &Path, value: &str, texts: Vec<String>) {
    texts.iter().for_each(|text| errors.invalid(path, value, text));
}

/// A prefix may end in a dash, since something follows it (upstream `maskTrailingDash`).
fn mask_trailing_dash(prefix: &str) -> String {
    match prefix.len() > 1 && prefix.ends_with('-') {
        true => format!("{}a", prefix.get(..prefix.len() - 2).unwrap_or_default()),
        false => prefix.to_owned(),
    }
}

fn validate_namespace(metadata: &Value, namespaced: bool, path: &Path, errors: &mut Errors) {
    let namespace = metadata["namespace"].str();
    let path = path.child("namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.required(&path, ""),
        (true, false) => each(errors, &path, namespace, names::dns1123_label(namespace)),
        (false, false) => errors.forbidden(&path, "not allowed on this type"),
        (false, true) => {}
    }
}

/// Label keys and values.
pub(crate) fn validate_labels(labels: &Value, path: &Path, errors: &mut Errors) {
    for (key, value) in labels.entries() {
        each(errors, path, key, names::qualified_name(key));
        each(errors, path, value.str(), names::label_value(value.str()));
    }
}

pub(crate) fn validate_annotations(annotations: &Value, path: &Path, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.entries() {
        each(errors, path, key, names::qualified_name(&key.to_lowercase()));
        size += key.len() + value.str().len();
    }
    if size > MAX_ANNOTATIONS {
        errors.too_long(path, MAX_ANNOTATIONS);
    }
}

fn validate_owners(owners: &Value, path: &Path, errors: &mut Errors) {
    let mut controller: Option<String> = None;
    for owner in owners.items() {
        validate_owner(owner, path, errors);
        if owner["controller"].bool() {
            let this = format!("{}/{}", owner["kind"].str(), owner["name"].str());
            match &controller {
                Some(first) => errors.invalid(
                    path,
                    owners.clone(),
                    &format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for \
                         {first} and {this}"
                    ),
                ),
                None => controller = Some(this),
            }
        }
    }
}

fn validate_owner(owner: &Value, path: &Path, errors: &mut Errors) {
    let version = owner["apiVersion"].str();
    if version.rsplit('/').next().unwrap_or_default().is_empty() {
        errors.invalid(&path.child("apiVersion"), version, "version must not be empty");
    }
    for field in ["kind", "name", "uid"] {
        if owner[field].str().is_empty() {
            errors.invalid(&path.child(field), "", "must not be empty");
        }
    }
    if version == "v1" && owner["kind"].str() == "Event" {
        errors.invalid(path, owner.clone(), "/v1, Kind=Event is disallowed from being an owner");
    }
}

fn validate_finalizers(finalizers: &Value, path: &Path, errors: &mut Errors) {
    let has = |name: &str| finalizers.items().iter().any(|f| f.str() == name);
    for finalizer in finalizers.items() {
        each(errors, path, finalizer.str(), names::qualified_name(finalizer.str()));
    }
    if has("orphan") && has("foregroundDeletion") {
        errors.invalid(path, finalizers.clone(), "finalizer orphan and foregroundDeletion cannot be both set");
    }
}

/// What is wrong with a change of metadata.
pub(super) fn validate_update(object: &Value, old: &Value, errors: &mut Errors) {
    let (new, was) = (&object["metadata"], &old["metadata"]);
    let path = Path::new("metadata");
    if !was["deletionTimestamp"].is_null() {
        no_new_finalizers(&new["finalizers"], &was["finalizers"], &path.child("finalizers"), errors);
    }
    if new["generation"].as_i64().unwrap_or(0) < was["generation"].as_i64().unwrap_or(0) {
        errors.invalid(&path.child("generation"), new["generation"].clone(), "must not be decremented");
    }
    for field in ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        if new[field] != was[field] {
            errors.invalid(&path.child(field), new[field].clone(), "field is immutable");
        }
    }
}

fn no_new_finalizers(new: &Value, was: &Value, path: &Path, errors: &mut Errors) {
    let mut extra: Vec<&str> = new.items().iter().filter(|f| !was.items().contains(f)).map(Value::str).collect();
    if extra.is_empty() {
        return;
    }
    extra.sort_unstable();
    let list = extra.iter().map(|f| kaji_api::field::quoted(f)).collect::<Vec<_>>().join(", ");
    errors.forbidden(
        path,
        &format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{list}}}"
        ),
    );
}

/// What is wrong with `?fieldManager=`.
pub(super) fn validate_manager(manager: &str, errors: &mut Errors) {
    validate_manager_at(manager, &Path::new("fieldManager"), errors);
}

/// What is wrong with a field manager's name.
pub(super) fn validate_manager_at(manager: &str, path: &Path, errors: &mut Errors) {
    if manager.len() > MAX_MANAGER {
        errors.too_long(path, MAX_MANAGER);
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| c.is_control()) {
        let detail = format!("invalid character U+{:04X} (at position {at})", c as u32);
        errors.invalid(path, manager, &detail);
    }
}
