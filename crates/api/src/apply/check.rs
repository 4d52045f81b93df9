//! Whether a configuration fits the schema, as far as ownership needs it to.

use super::kind::Kind;
use crate::field::printed;
use crate::schema::{FieldRef, ListRef, Scalar, Shape, TypeRef};
use crate::value::{Object, Value};
use std::collections::BTreeSet;

/// What is wrong with a configuration: upstream's text, none when it fits.
pub(super) fn config(ty: TypeRef<'_>, value: &Value) -> Result<(), String> {
    let mut found = Vec::new();
    shape(Shape::Struct(ty), None, value, &mut String::new(), &mut found);
    match found.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    }
}

/// No more are told: paths can be long.
const MAX_FOUND: usize = 100;

fn report(path: &str, what: &str, found: &mut Vec<String>) {
    if found.len() == MAX_FOUND {
        return;
    }
    found.push(if path.is_empty() { what.to_owned() } else { format!("{path}: {what}") });
}

fn shape(shape: Shape<'_>, field: Option<FieldRef<'_>>, value: &Value, path: &mut String, found: &mut Vec<String>) {
    let unlike = |wanted: &str| format!("expected {wanted}, got &{{{}}}", printed(value));
    match (shape, value) {
        (_, Value::Null) | (Shape::Either(..), _) => {}
        (Shape::Scalar(scalar), value) => {
            if let Some(why) = scalar_fault(scalar, value) {
                report(path, &why, found);
            }
        }
        (Shape::Struct(ty), Value::Object(fields)) => of_struct(ty, fields, path, found),
        (Shape::Map(map), Value::Object(entries)) => {
            for (name, value) in &entries.0 {
                below(path, &format!(".{name}"), |path| self::shape(map.item(), None, value, path, found));
            }
        }
        (Shape::List(list), Value::Array(items)) => of_list(list, field, items, path, found),
        (Shape::Struct(_) | Shape::Map(_), _) => report(path, &unlike("map"), found),
        (Shape::List(_), _) => report(path, &unlike("list"), found),
    }
}

fn below(path: &mut String, step: &str, visit: impl FnOnce(&mut String)) {
    let length = path.len();
    path.push_str(step);
    visit(path);
    path.truncate(length);
}

fn of_struct(ty: TypeRef<'_>, fields: &Object, path: &mut String, found: &mut Vec<String>) {
    // An object without any known field may hold what it likes.
    let open = ty.keeps_unknown() || ty.fields().len() == 0;
    for (name, value) in &fields.0 {
        below(path, &format!(".{name}"), |path| match ty.field(name) {
            Some(field) => shape(field.shape(), Some(field), value, path, found),
            None if open => {}
            None => report(path, "field not declared in schema", found),
        });
    }
}

fn of_list(
    list: ListRef<'_>,
    field: Option<FieldRef<'_>>,
    items: &[Value],
    path: &mut String,
    found: &mut Vec<String>,
) {
    let kind = field.map_or(Kind::Leaf, Kind::of_field);
    let divides = matches!(kind, Kind::Keyed(..) | Kind::Items);
    let mut seen = BTreeSet::new();
    for (at, item) in items.iter().enumerate() {
        let step = if divides {
            let element = match kind.element(item) {
                Ok(element) => element,
                Err(why) => return report(path, &format!("element {at}: {why}"), found),
            };
            let step = element.to_string();
            if !seen.insert(element) {
                report(path, &format!("duplicate entries for key {step}"), found);
            }
            step
        } else {
            format!("[{at}]")
        };
        below(path, &step, |path| shape(list.item(), None, item, path, found));
    }
}

fn scalar_fault(scalar: Scalar, value: &Value) -> Option<String> {
    let go_type = || match value {
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) | Value::Raw(_) => "map[string]interface {}",
        _ => "float64",
    };
    match (scalar, value) {
        (Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json | Scalar::Any, _) => None,
        (Scalar::String | Scalar::Bytes, Value::String(_)) | (Scalar::Bool, Value::Bool(_)) => None,
        (Scalar::Int32 | Scalar::Int64 | Scalar::Double, Value::Int(_) | Value::Float(_)) => None,
        (Scalar::String | Scalar::Bytes, value) => {
            Some(format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(value)))
        }
        (Scalar::Bool, value) => Some(format!("expected boolean, got &{{{}}}", printed(value))),
        (Scalar::Int32 | Scalar::Int64 | Scalar::Double, _) => {
            Some(format!("expected numeric (int or float), got {}", go_type()))
        }
        (_, Value::Array(_) | Value::Object(_)) => Some(format!("expected any scalar, got &{{{}}}", printed(value))),
        _ => None,
    }
}

/// As Go's `%#v` writes a decoded value.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::String(text) => crate::field::quoted(text),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(o) => {
            let mut entries: Vec<(&str, &Value)> = o.0.iter().map(|(k, v)| (k.as_ref(), v)).collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries = entries.into_iter().map(|(k, v)| format!("{}:{}", crate::field::quoted(k), go_syntax(v)));
            format!("map[string]interface {{}}{{{}}}", entries.collect::<Vec<_>>().join(", "))
        }
        other => printed(other),
    }
}
