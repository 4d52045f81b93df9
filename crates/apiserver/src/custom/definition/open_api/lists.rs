//! `x-kubernetes-list-type`, its keys, `x-kubernetes-map-type`.

use super::super::options::Options;
use crate::custom::props::Props;
use kaji_api::Value;
use kaji_api::field::{Errors, Path};

pub(super) fn validate(s: Props<'_>, path: &Path, options: &Options, e: &mut Errors) {
    if s.0["x-kubernetes-preserve-unknown-fields"].as_bool() == Some(false) {
        e.invalid(&path.child("x-kubernetes-preserve-unknown-fields"), false, "must be true or undefined");
    }
    let (map_type, list_type) = (s.0["x-kubernetes-map-type"].as_str(), s.0["x-kubernetes-list-type"].as_str());
    if map_type.is_some() && s.ty() != "object" {
        must_be(s, "object", "x-kubernetes-map-type is specified", path, e);
    }
    if let Some(map_type) = map_type.filter(|t| !matches!(*t, "atomic" | "granular")) {
        e.not_supported(&path.child("x-kubernetes-map-type"), map_type, &["atomic", "granular"]);
    }
    if list_type.is_some() && s.ty() != "array" {
        must_be(s, "array", "x-kubernetes-list-type is specified", path, e);
    } else if options.atomic_sets
        && let Some((field, shown)) = non_atomic_set(s)
    {
        let text = "must be atomic as item of a list with x-kubernetes-list-type=set";
        e.invalid(&path.child("items").child(field), shown.clone(), text);
    }
    if let Some(list_type) = list_type.filter(|t| !matches!(*t, "atomic" | "set" | "map")) {
        e.not_supported(&path.child("x-kubernetes-list-type"), list_type, &["atomic", "set", "map"]);
    }
    if s.list_keys().next().is_some() {
        let text = "must be map if x-kubernetes-list-map-keys is non-empty";
        match list_type {
            None => e.required(&path.child("x-kubernetes-list-type"), text),
            Some("map") => {}
            Some(other) => e.invalid(&path.child("x-kubernetes-list-type"), other, text),
        }
    }
    if list_type == Some("map") {
        map(s, path, e);
    }
    if options.map_keys {
        map_list_keys(s, path, e);
    }
}

fn must_be(s: Props<'_>, ty: &str, because: &str, path: &Path, e: &mut Errors) {
    let text = format!("must be {ty} if {because}");
    match s.ty() {
        "" => e.required(&path.child("type"), &text),
        other => e.invalid(&path.child("type"), other, &text),
    }
}

/// Where the items of a set are not compared as wholes: the field that would say so, and its value as shown.
pub(in super::super) fn non_atomic_set(s: Props<'_>) -> Option<(&'static str, &Value)> {
    let items = s.items().filter(|_| s.list_type() == "set")?;
    // Upstream shows the list type for both.
    let shown = &items.0["x-kubernetes-list-type"];
    match items.ty() {
        "array" if !matches!(items.list_type(), "" | "atomic") => Some(("x-kubernetes-list-type", shown)),
        "object" if items.map_type() != "atomic" => Some(("x-kubernetes-map-type", shown)),
        _ => None,
    }
}

fn map(s: Props<'_>, path: &Path, e: &mut Errors) {
    let at = path.child("x-kubernetes-list-map-keys");
    if s.list_keys().next().is_none() {
        e.required(&at, "must not be empty if x-kubernetes-list-type is map");
    }
    if s.0["items"].is_null() {
        e.required(&path.child("items"), "must have a schema if x-kubernetes-list-type is map");
    }
    let Some(items) = s.items() else {
        if !s.0["items"].is_null() {
            let text = "must only have a single schema if x-kubernetes-list-type is map";
            e.invalid(&path.child("items"), s.0["items"].clone(), text);
        }
        return;
    };
    if items.ty() != "object" {
        let text = "must be object if parent array's x-kubernetes-list-type is map";
        return e.invalid(&path.child("items").child("type"), items.ty(), text);
    }
    let shown = &s.0["x-kubernetes-list-map-keys"];
    let keys: Vec<&str> = s.list_keys().collect();
    for (i, key) in keys.iter().enumerate() {
        match items.property(key) {
            Some(property) if matches!(property.ty(), "array" | "object") => {
                let at = path.child("items").child("properties").key(key).child("type");
                e.invalid(&at, items.ty(), "must be a scalar type if parent array's x-kubernetes-list-type is map");
            }
            Some(_) => {}
            None => e.invalid(&at, shown.clone(), "entries must all be names of item properties"),
        }
        if keys[..i].contains(key) {
            e.invalid(&at, shown.clone(), "must not contain duplicate entries");
        }
    }
}

/// Keys are always there, and items are never `null`.
pub(in super::super) fn map_list_keys(s: Props<'_>, path: &Path, e: &mut Errors) {
    let (Some(items), "set" | "map") = (s.items(), s.list_type()) else { return };
    let path = path.child("items");
    if items.nullable() {
        let text = format!("cannot be nullable when x-kubernetes-list-type is {}", s.list_type());
        e.forbidden(&path.child("nullable"), &text);
    }
    if s.list_type() == "set" {
        return;
    }
    for key in s.list_keys() {
        let Some(property) = items.property(key) else { continue };
        let at = path.child("properties").key(key);
        if property.default().is_none() && !items.required().any(|r| r == key) {
            let text =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            e.required(&at.child("default"), text);
        }
        if property.nullable() {
            let text = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            e.forbidden(&at.child("nullable"), text);
        }
    }
}
