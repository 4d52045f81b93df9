//! What stands in `allOf`, `anyOf`, `oneOf` and `not` may say what values are like, not what they consist of.

use super::super::props::Props;
use kaji_api::field::{Errors, Path};

/// The value validations of a schema; one pattern of `anyOf` is allowed to give types (`skip_*`).
pub(super) fn validate(s: Props<'_>, skip_any_of: bool, skip_all_of: bool, path: &Path, e: &mut Errors) {
    for (i, nested) in s.list("anyOf").enumerate().filter(|_| !skip_any_of) {
        schema(nested, false, &path.child("anyOf").index(i), e);
    }
    for (i, nested) in s.list("allOf").enumerate() {
        schema(nested, skip_all_of && i == 0, &path.child("allOf").index(i), e);
    }
    for (i, nested) in s.list("oneOf").enumerate() {
        schema(nested, false, &path.child("oneOf").index(i), e);
    }
    if let Some(nested) = s.schema("not") {
        schema(nested, false, &path.child("not"), e);
    }
    let pattern = s.0["pattern"].str();
    if let Err(why) = kaji_api::pattern::compile(pattern) {
        let text = format!("must be a valid regular expression, but isn't: {why}");
        e.invalid(&path.child("pattern"), pattern, &text);
    }
}

fn schema(s: Props<'_>, skip_any_of: bool, path: &Path, e: &mut Errors) {
    validate(s, skip_any_of, false, path, e);
    if let Some(items) = s.items() {
        schema(items, false, &path.child("items"), e);
    }
    for (name, property) in s.properties() {
        schema(property, false, &path.child("properties").key(name), e);
    }
    forbidden(s, path, e);
    if s.property("metadata").is_some() {
        e.forbidden(&path.child("properties").key("metadata"), "must not be specified in a nested context");
    }
}

fn forbidden(s: Props<'_>, path: &Path, e: &mut Errors) {
    if !s.ty().is_empty() {
        e.forbidden(&path.child("type"), "must be empty to be structural");
    }
    if s.additional().is_some() || s.0["additionalProperties"].bool() {
        e.forbidden(&path.child("additionalProperties"), "must be undefined to be structural");
    }
    if s.default().is_some() {
        e.forbidden(&path.child("default"), "must be undefined to be structural");
    }
    let rules = [
        ("title", "empty"),
        ("description", "empty"),
        ("nullable", "false"),
        ("x-kubernetes-preserve-unknown-fields", "false"),
        ("x-kubernetes-embedded-resource", "false"),
        ("x-kubernetes-int-or-string", "false"),
        ("x-kubernetes-list-map-keys", "empty"),
        ("x-kubernetes-list-type", "undefined"),
        ("x-kubernetes-map-type", "undefined"),
        ("x-kubernetes-validations", "empty"),
    ];
    for (field, must) in rules {
        let value = &s.0[field];
        let given = if must == "undefined" { !value.is_null() } else { !value.is_zero() };
        if given {
            e.forbidden(&path.child(field), &format!("must be {must} to be structural"));
        }
    }
}
