//! Labels, annotations and selectors inside objects (apimachinery `meta/v1/validation`).

use super::At;
use kaji_api::Value;
use kaji_api::field::Errors;
use kaji_api::names;

/// Total size of annotations.
const ANNOTATIONS: usize = 256 << 10;

/// Labels as a map; every error is at the map.
pub(crate) fn labels(at: At<'_>, e: &mut Errors) {
    for (key, value) in at.map() {
        for text in names::qualified_name(key) {
            at.invalid_as(e, key, &text);
        }
        for text in names::label_value(value.str()) {
            at.invalid_as(e, value.str(), &text);
        }
    }
}

/// Annotations as a map.
pub(crate) fn annotations(at: At<'_>, e: &mut Errors) {
    let mut size = 0;
    for (key, value) in at.map() {
        for text in names::qualified_name(&key.to_lowercase()) {
            at.invalid_as(e, key, &text);
        }
        size += key.len() + value.str().len();
    }
    if size > ANNOTATIONS {
        at.too_long(e, ANNOTATIONS);
    }
}

/// A label selector as a struct; absent is fine.
pub(crate) fn selector(at: At<'_>, e: &mut Errors) {
    labels(at.field("matchLabels"), e);
    for expression in at.field("matchExpressions").list() {
        requirement(expression, e);
    }
}

fn requirement(at: At<'_>, e: &mut Errors) {
    let values = at.field("values");
    match at.field("operator").str() {
        "In" | "NotIn" if values.items().is_empty() => {
            values.required(e, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.items().is_empty() => {
            values.forbidden(e, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => at.field("operator").invalid(e, "not a valid selector operator"),
    }
    at.field("key").check(e, names::qualified_name);
    for value in values.list() {
        value.check(e, names::label_value);
    }
}

/// A selector without any term: selects everything.
pub(crate) fn is_empty(selector: &Value) -> bool {
    selector["matchLabels"].is_zero() && selector["matchExpressions"].is_zero()
}

/// Whether a plain map of labels selects labels.
pub(crate) fn map_matches(selector: &Value, labels: &Value) -> bool {
    selector.entries().all(|(k, v)| labels.get(k) == Some(v))
}
