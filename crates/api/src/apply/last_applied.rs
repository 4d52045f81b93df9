//! From client-side to server-side apply: `kubectl` may take over what its last-applied annotation shows to be its
//! own, and keeps the annotation up to date for as long as there is one.

use super::kind::Kind;
use super::set::Set;
use super::write::Writer;
use super::{check, compare, paths};
use crate::codec::{parse_json, write_json};
use crate::value::{Object, Value};

/// Where kubectl keeps what it applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The only manager that is moved from one to the other.
pub(super) const KUBECTL: &str = "kubectl";
/// Annotations are no longer than this together.
const MAX_ANNOTATIONS: usize = 256 << 10;

/// The fields that the annotation names and that still are what it says; none where there is no telling.
pub(super) fn allowed(writer: &Writer<'_>, live: &Value) -> Option<Set> {
    let text = live.annotation(LAST_APPLIED).filter(|text| !text.is_empty())?;
    let last = parse_json(text.as_bytes()).ok()?;
    if last.api_version() != writer.version || check::config(writer.ty, &last).is_err() {
        return None;
    }
    let kind = Kind::of_type(writer.ty);
    let differences = compare::objects(kind, &last, live).ok()?;
    let own = paths::of(kind, &last);
    Some(own.difference(&differences.modified).difference(&differences.added).difference(&differences.removed))
}

/// Sets the annotation to the configuration, where the object has one.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    if object.annotation(LAST_APPLIED).unwrap_or_default().is_empty() {
        return;
    }
    let mut config = sorted(config);
    if let Some(annotations) = config.get_mut("metadata").and_then(|m| m.get_mut("annotations")) {
        annotations.remove(LAST_APPLIED);
    }
    let mut text = Vec::new();
    write_json(&config, &mut text);
    text.push(b'\n');
    let annotations = object.entry_at(&["metadata", "annotations"]);
    annotations.set(LAST_APPLIED, String::from_utf8_lossy(&text).into_owned());
    let size: usize = annotations.entries().map(|(key, value)| key.len() + value.str().len()).sum();
    if size > MAX_ANNOTATIONS {
        annotations.remove(LAST_APPLIED);
    }
}

/// With the fields of all objects in alphabetical order, as Go writes maps.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.0.iter().map(|(key, value)| (key.clone(), sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(Object(fields))
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        scalar => scalar.clone(),
    }
}
