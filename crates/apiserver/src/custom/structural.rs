//! Structural schemas: what a schema must be like so that values can be pruned and defaulted by it
//! (apiextensions-apiserver `pkg/apiserver/schema`).
//!
//! A schema is structural when its skeleton — types, properties, items — stands outside of `allOf`, `anyOf`, `oneOf`
//! and `not`, and all that these mention is in the skeleton. Nothing is converted for that: the checks below read
//! the schema as the definition has it.

mod complete;
mod nested;

use super::props::{JUNCTORS, Props};
use kaji_api::field::{Errors, Path};
use kaji_api::{Value, value};

/// Where in the skeleton a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Why a schema cannot be a structural one at all, if so; a text without path.
pub(crate) fn unsupported(schema: Props<'_>) -> Result<(), String> {
    own_fields(schema)?;
    for nested in schema.schema("not").into_iter().chain(JUNCTORS.into_iter().flat_map(|j| schema.list(j))) {
        unsupported(nested)?;
    }
    if schema.0["x-kubernetes-preserve-unknown-fields"].as_bool() == Some(false) {
        return Err("internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined".to_owned());
    }
    if matches!(&schema.0["items"], Value::Array(items) if !items.is_empty()) {
        return Err("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
    }
    let below = schema.items().into_iter().chain(schema.properties().map(|(_, p)| p)).chain(schema.additional());
    for child in below {
        unsupported(child)?;
    }
    Ok(())
}

fn own_fields(schema: Props<'_>) -> Result<(), String> {
    let fields = [
        ("id", "id"),
        ("$schema", "schema"),
        ("$ref", "$ref"),
        ("patternProperties", "patternProperties"),
        ("dependencies", "dependencies"),
        ("additionalItems", "additionalItems"),
        ("definitions", "definitions"),
    ];
    for (field, shown) in fields {
        let set = match field {
            "additionalItems" => !schema.0[field].is_null(),
            _ => !schema.0[field].is_zero(),
        };
        if set {
            return Err(format!("OpenAPIV3Schema '{shown}' is not supported"));
        }
    }
    Ok(())
}

/// What keeps a schema from being structural, in upstream's order.
pub(crate) fn validate(path: &Path, schema: Props<'_>) -> Errors {
    let mut errors = Errors::new();
    invariants(schema, Level::Root, path, &mut errors);
    complete::validate(schema, path, &mut errors);
    errors.0.sort_by_cached_key(ToString::to_string);
    errors
}

fn invariants(s: Props<'_>, level: Level, path: &Path, e: &mut Errors) {
    if s.ty() == "array" && s.items().is_none() {
        e.required(&path.child("items"), "must be specified");
    }
    if let Some(items) = s.items() {
        invariants(items, Level::Item, &path.child("items"), e);
    }
    for (name, property) in s.properties() {
        invariants(property, Level::Field, &path.child("properties").key(name), e);
    }
    if s.has_additional() {
        let at = path.child("additionalProperties");
        if level == Level::Root {
            e.forbidden(&at, "must not be used at the root");
        }
        if let Some(additional) = s.additional() {
            invariants(additional, Level::Field, &at, e);
        }
    }
    extensions(s, path, e);
    nested::validate(s, is_int_or_string_any_of(s), is_int_or_string_all_of(s), path, e);
    types(s, level, path, e);
    metadata(s, level, path, e);
    if s.embedded() && !s.preserves() && !s.has_properties() {
        let text = "must not be empty if x-kubernetes-embedded-resource is true without \
                    x-kubernetes-preserve-unknown-fields";
        e.required(&path.child("properties"), text);
    }
}

fn extensions(s: Props<'_>, path: &Path, e: &mut Errors) {
    let text = "must be false if x-kubernetes-int-or-string is true";
    if s.int_or_string() && s.preserves() {
        e.invalid(&path.child("x-kubernetes-preserve-unknown-fields"), true, text);
    }
    if s.int_or_string() && s.embedded() {
        e.invalid(&path.child("x-kubernetes-embedded-resource"), true, text);
    }
}

fn types(s: Props<'_>, level: Level, path: &Path, e: &mut Errors) {
    let at = path.child("type");
    if s.embedded() && s.ty() != "object" {
        let text = "must be object if x-kubernetes-embedded-resource is true";
        if s.ty().is_empty() { e.required(&at, text) } else { e.invalid(&at, s.ty(), text) }
    } else if s.ty().is_empty() && !s.int_or_string() && !s.preserves() {
        let text = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        e.required(&at, text);
    }
    if s.embedded() && s.has_additional() {
        let text = "must not be used if x-kubernetes-embedded-resource is set";
        e.forbidden(&path.child("additionalProperties"), text);
    }
    if level == Level::Root && !s.ty().is_empty() && s.ty() != "object" {
        e.invalid(&at, s.ty(), "must be object at the root");
    }
}

/// `kind` and `apiVersion` are strings; of `metadata`, only names may be said anything about.
fn metadata(s: Props<'_>, level: Level, path: &Path, e: &mut Errors) {
    let checked = level == Level::Root || s.embedded();
    for field in ["kind", "apiVersion"] {
        if let Some(property) = s.property(field).filter(|p| checked && p.ty() != "string") {
            e.invalid(&path.child("properties").key(field).child("type"), property.ty(), "must be string");
        }
    }
    let Some(metadata) = s.property("metadata") else { return };
    let at = path.child("properties").key("metadata");
    if checked && metadata.ty() != "object" {
        e.invalid(&at.child("type"), metadata.ty(), "must be object");
    }
    if level == Level::Root && says_more_than_names(metadata) {
        let text = "must not specify anything other than name and generateName, but metadata is implicitly specified";
        e.forbidden(&at, text);
    }
}

fn says_more_than_names(metadata: Props<'_>) -> bool {
    let other =
        |(field, value): (&str, &Value)| !matches!(field, "type" | "default" | "properties") && !value.is_zero();
    metadata.0.entries().any(other) || metadata.properties().any(|(name, _)| !matches!(name, "name" | "generateName"))
}

/// `anyOf: [{type: integer}, {type: string}]`, which may stand where `x-kubernetes-int-or-string` is true.
pub(crate) fn is_int_or_string_any_of(s: Props<'_>) -> bool {
    s.0["anyOf"] == value!([{"type": "integer"}, {"type": "string"}])
}

/// The same as the first of `allOf`.
pub(crate) fn is_int_or_string_all_of(s: Props<'_>) -> bool {
    s.list("allOf").next().is_some_and(is_int_or_string_any_of)
}

#[cfg(test)]
mod tests;
