//! Values as structured-merge-diff sees them: equal, ordered, printed.

use crate::field::{printed, quoted};
use crate::value::{Object, Value};
use std::cmp::Ordering;

/// Equal whatever the order of fields; numbers by what they amount to.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && same_entries(a, b),
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => numeric(a, b) == Some(Ordering::Equal),
        _ => a == b,
    }
}

fn same_entries(a: &Object, b: &Object) -> bool {
    // Mostly both are in the same order.
    a.0.iter().zip(&b.0).all(|((k, v), (l, w))| match k == l {
        true => same(v, w),
        false => b.get(k).is_some_and(|w| same(v, w)) && a.get(l).is_some(),
    })
}

#[expect(clippy::cast_precision_loss, reason = "as upstream compares integers with floats")]
fn numeric(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Float(b)) => Some(float_order(*a as f64, *b)),
        (Value::Float(a), Value::Int(b)) => Some(float_order(*a, *b as f64)),
        (Value::Float(a), Value::Float(b)) => Some(float_order(*a, *b)),
        _ => None,
    }
}

fn float_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or(Ordering::Equal)
}

/// A total order: numbers, strings, booleans, lists, objects, null.
pub(super) fn order(a: &Value, b: &Value) -> Ordering {
    let rank = |v: &Value| match v {
        Value::Int(_) | Value::Float(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Raw(_) => 5,
        Value::Null => 6,
    };
    match (a, b) {
        (Value::String(a), Value::String(b)) | (Value::Raw(a), Value::Raw(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => list_order(a, b),
        (Value::Object(a), Value::Object(b)) => entries_order(a, b),
        _ => numeric(a, b).unwrap_or_else(|| rank(a).cmp(&rank(b))),
    }
}

fn list_order(a: &[Value], b: &[Value]) -> Ordering {
    let found = a.iter().zip(b).map(|(a, b)| order(a, b)).find(|o| o.is_ne());
    found.unwrap_or_else(|| a.len().cmp(&b.len()))
}

fn entries_order(a: &Object, b: &Object) -> Ordering {
    let sorted = |o: &Object| {
        let mut entries: Vec<(String, Value)> = o.0.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        entries
    };
    let (a, b) = (sorted(a), sorted(b));
    let found = a.iter().zip(&b).map(|(a, b)| a.0.cmp(&b.0).then_with(|| order(&a.1, &b.1))).find(|o| o.is_ne());
    found.unwrap_or_else(|| a.len().cmp(&b.len()))
}

/// As messages show a value in a path: strings in quotes.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(",")),
        Value::Object(o) => o.0.iter().map(|(k, v)| format!("{k}={}", shown(v))).collect(),
        other => printed(other),
    }
}
