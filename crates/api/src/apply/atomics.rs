//! What of a configuration would replace parts of an object as a whole.

use super::kind::Kind;
use crate::schema::{Shape, TypeRef};
use crate::value::Value;
use std::fmt::Write;

/// Paths of atomic lists, maps and structs in a configuration.
pub(super) fn find(ty: TypeRef<'_>, config: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(Kind::of_type(ty), Shape::Struct(ty), config, &mut String::new(), &mut found);
    found
}

fn walk(kind: Kind<'_>, shape: Shape<'_>, value: &Value, path: &mut String, found: &mut Vec<String>) {
    let divides =
        !matches!((kind, value), (Kind::Leaf, Value::Object(_) | Value::Array(_)) | (Kind::Free, Value::Array(_)));
    if !divides {
        found.push(path.clone());
    }
    let mut below = |step: std::fmt::Arguments<'_>, kind, shape, value| {
        let length = path.len();
        let _ = path.write_fmt(step);
        walk(kind, shape, value, path, found);
        path.truncate(length);
    };
    match (shape, value) {
        (Shape::Struct(ty), Value::Object(fields)) => {
            for (name, value) in &fields.0 {
                if let Some(field) = ty.field(name) {
                    below(format_args!(".{name}"), Kind::of_field(field), field.shape(), value);
                }
            }
        }
        (Shape::Map(map), Value::Object(entries)) => {
            for (name, value) in &entries.0 {
                below(format_args!(".{name}"), Kind::of_shape(map.item()), map.item(), value);
            }
        }
        (Shape::List(list), Value::Array(items)) => {
            for (at, item) in items.iter().enumerate() {
                below(format_args!("[{at}]"), Kind::of_shape(list.item()), list.item(), item);
            }
        }
        (shape, Value::Object(fields)) => {
            for (name, value) in &fields.0 {
                below(format_args!(".{name}"), Kind::Free, shape, value);
            }
        }
        _ => {}
    }
}
