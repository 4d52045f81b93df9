//! Checks of selectors and labels inside objects (apimachinery `meta/v1/validation`).

use crate::field::{Errors, Path};
use crate::names;
use crate::value::Value;

/// What is let pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct SelectorOptions {
    /// Values of any form: the stored object has such already.
    pub any_value: bool,
    /// Operators that are not known: a broader check follows.
    pub any_operator: bool,
}

/// A map of labels; every error is at the map.
pub fn validate_labels(labels: &Value, path: &Path, errors: &mut Errors) {
    for (key, value) in labels.entries() {
        for text in names::qualified_name(key) {
            errors.invalid(path, key, &text);
        }
        for text in names::label_value(value.str()) {
            errors.invalid(path, value.str(), &text);
        }
    }
}

/// A `metav1.LabelSelector`; an absent one is fine.
pub fn validate_label_selector(selector: &Value, options: SelectorOptions, path: &Path, errors: &mut Errors) {
    validate_labels(&selector["matchLabels"], &path.child("matchLabels"), errors);
    for (i, expression) in selector["matchExpressions"].items().iter().enumerate() {
        validate_expression(expression, options, &path.child("matchExpressions").index(i), errors);
    }
}

fn validate_expression(expression: &Value, options: SelectorOptions, path: &Path, errors: &mut Errors) {
    let values = expression["values"].items();
    match expression["operator"].str() {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            errors
                .forbidden(&path.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ if options.any_operator => {}
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
    for text in names::qualified_name(expression["key"].str()) {
        errors.invalid(&path.child("key"), expression["key"].str(), &text);
    }
    for (i, value) in values.iter().enumerate().filter(|_| !options.any_value) {
        for text in names::label_value(value.str()) {
            errors.invalid(&path.child("values").index(i), value.str(), &text);
        }
    }
}
