//! `x-kubernetes-validations` in a definition: the form of rules, and what they may cost.

use crate::custom::paths::field_path;
use crate::custom::props::Props;
use crate::custom::structural;
use kaji_api::Value;
use kaji_api::field::{Errors, Path};

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// The form of rules, their expressions apart.
pub(super) fn texts(s: Props<'_>, path: &Path, e: &mut Errors) {
    for (i, rule) in s.rules().iter().enumerate() {
        texts_of(s, rule, &path.index(i), e);
    }
}

fn has_newlines(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

fn texts_of(s: Props<'_>, rule: &Value, path: &Path, e: &mut Errors) {
    let (text, message) = (rule["rule"].str().trim(), rule["message"].str());
    let at = path.child("message");
    if text.is_empty() {
        e.required(&path.child("rule"), "rule is not specified");
    } else if !message.is_empty() && message.trim().is_empty() {
        e.invalid(&at, message, "must be non-empty if specified");
    } else if has_newlines(message.trim()) {
        e.invalid(&at, message, "must not contain line breaks");
    } else if has_newlines(text) && message.trim().is_empty() {
        e.required(&at, "message must be specified if rule contains line breaks");
    }
    let expression = rule["messageExpression"].str();
    if !expression.is_empty() && expression.trim().is_empty() {
        e.required(&path.child("messageExpression"), "messageExpression must be non-empty if specified");
    }
    if let Some(reason) = rule["reason"].as_str().filter(|r| !REASONS.contains(r)) {
        e.not_supported(&path.child("reason"), reason, &REASONS);
    }
    let field = rule["fieldPath"].str();
    let at = path.child("fieldPath");
    if !field.is_empty() && field.trim().is_empty() {
        e.invalid(&at, field, "must be non-empty if specified");
    }
    if has_newlines(field) {
        e.invalid(&at, field, "must not contain line breaks");
    }
    let leads_nowhere = || structural::unsupported(s).is_ok() && field_path(field, s, true).is_err();
    if !field.is_empty() && leads_nowhere() {
        e.invalid(&at, field, "must be a valid path");
    }
}
