//! JSON merge patch (RFC 7386), as evanphx/json-patch 4 has it: nulls are also pruned inside lists that are
//! new or take the place of something else.

use super::entries::Entries;
use crate::status::Status;
use crate::value::{Object, Value};

/// `application/merge-patch+json` (RFC 7386).
pub fn merge_patch(target: &mut Value, patch: &Value) {
    match (target, patch) {
        (Value::Object(doc), Value::Object(patch)) => merge(doc, patch),
        (target, patch) => *target = pruned(patch),
    }
}

/// Refuses what is no merge patch at all (400), in upstream's words.
pub fn check_merge_patch(patch: &Value) -> Result<(), Status> {
    let found = match patch {
        Value::Object(_) | Value::Raw(_) => return Ok(()),
        Value::Null => return Err(Status::bad_request("Invalid JSON Patch")),
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Float(_) => "number",
    };
    let text = "into Go value of type map[string]interface {}";
    Err(Status::bad_request(format!("error decoding patch: json: cannot unmarshal {found} {text}")))
}

fn merge(object: &mut Object, patch: &Object) {
    let mut doc = Entries::of(std::mem::take(object), patch.len());
    for (key, new) in &patch.0 {
        if new.is_null() {
            doc.remove(key);
            continue;
        }
        match (doc.get_mut(key), new) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            // In place of an object, something else is taken as it is.
            (Some(old @ Value::Object(_)), new) => *old = new.clone(),
            (Some(old), new) => *old = pruned(new),
            (None, new) => doc.put(key.clone(), pruned(new)),
        }
    }
    *object = doc.into_object();
}

/// Without null fields, at any depth; null items stay.
fn pruned(value: &Value) -> Value {
    match value {
        Value::Object(o) => {
            let kept = o.0.iter().filter(|(_, v)| !v.is_null());
            Value::Object(Object(kept.map(|(k, v)| (k.clone(), pruned(v))).collect()))
        }
        Value::Array(items) => Value::Array(items.iter().map(pruned).collect()),
        other => other.clone(),
    }
}
