//! Values to messages.

use super::wire;
use crate::codec::{scalar, time, write_json};
use crate::schema::{Alternative, FieldRef, ListRef, MapRef, Scalar, Shape, TypeRef};
use crate::value::Value;

/// An object's fields as a message's fields.
pub(super) fn object(ty: TypeRef<'_>, value: &Value, out: &mut Vec<u8>) {
    let mut slots = vec![None; ty.fields().len()];
    let mut next = 0;
    for (key, value) in value.entries() {
        if let Some((place, _)) = ty.find(key, next) {
            slots[place] = Some(value).filter(|v| !v.is_null());
            next = place + 1;
        }
    }
    fields(ty, &slots, out);
}

/// The fields of a type, by its JSON fields' values. Inline structs take theirs from the same slots.
fn fields(ty: TypeRef<'_>, slots: &[Option<&Value>], out: &mut Vec<u8>) {
    for field in ty.wire() {
        let place = usize::from(field.def().place);
        if !field.is_inline() {
            put_field(field, slots.get(place).copied().flatten(), out);
        } else if let Shape::Struct(inner) = field.shape() {
            let slots = &slots[place..place + inner.fields().len()];
            wire::message(field.number(), out, |out| fields(inner, slots, out));
        }
    }
}

fn put_field(field: FieldRef<'_>, value: Option<&Value>, out: &mut Vec<u8>) {
    if value.is_none() && field.is_pointer() {
        return;
    }
    put(field.number(), field.shape(), value.unwrap_or(&Value::Null), out);
}

/// A field that is no pointer: `null` stands for zero.
fn put(number: u16, shape: Shape<'_>, value: &Value, out: &mut Vec<u8>) {
    match shape {
        Shape::Scalar(kind) => put_scalar(number, kind, value, out),
        Shape::Struct(ty) => wire::message(number, out, |out| object(ty, value, out)),
        Shape::Either(ty, alternative) => wire::message(number, out, |out| either(ty, alternative, value, out)),
        Shape::List(list) => put_list(number, list, value, out),
        Shape::Map(map) => put_map(number, map, value, out),
    }
}

fn put_list(number: u16, list: ListRef<'_>, value: &Value, out: &mut Vec<u8>) {
    let items = |number: u16, out: &mut Vec<u8>| {
        value.items().iter().for_each(|item| put(number, list.item(), item, out));
    };
    match list.wrapped {
        false => items(number, out),
        true if value.is_null() => {}
        true => wire::message(number, out, |out| items(1, out)),
    }
}

fn put_map(number: u16, map: MapRef<'_>, value: &Value, out: &mut Vec<u8>) {
    let mut entry = |key: &str, value: &Value| {
        wire::message(number, out, |out| {
            wire::string(1, key, out);
            put(2, map.item(), value, out);
        });
    };
    if value.as_object().is_some_and(|o| o.0.is_sorted_by(|a, b| a.0 < b.0)) {
        value.entries().for_each(|(key, value)| entry(key, value));
    } else {
        let mut entries: Vec<_> = value.entries().collect();
        entries.sort_by_key(|(key, _)| *key);
        entries.into_iter().for_each(|(key, value)| entry(key, value));
    }
}

/// `JSONSchemaProps` or something simpler: each has its own field in a message.
fn either(ty: TypeRef<'_>, alternative: Alternative, value: &Value, out: &mut Vec<u8>) {
    let is_object = matches!(value, Value::Object(_));
    match alternative {
        Alternative::Bool => {
            wire::int(1, i64::from(is_object || value.bool()), out);
            if is_object {
                wire::message(2, out, |out| object(ty, value, out));
            }
        }
        _ if is_object => wire::message(1, out, |out| object(ty, value, out)),
        Alternative::List => value.items().iter().for_each(|item| put(2, Shape::Struct(ty), item, out)),
        Alternative::Strings => value.items().iter().for_each(|item| wire::string(2, item.str(), out)),
    }
}

fn put_scalar(number: u16, kind: Scalar, value: &Value, out: &mut Vec<u8>) {
    match kind {
        Scalar::String => wire::string(number, value.str(), out),
        Scalar::Bool => wire::int(number, value.bool().into(), out),
        Scalar::Int32 | Scalar::Int64 => wire::int(number, value.as_i64().unwrap_or_default(), out),
        Scalar::Double => wire::fixed64(number, double(value).to_bits(), out),
        Scalar::Bytes => {
            if let Some(text) = value.as_str() {
                wire::bytes(number, &scalar::decode_bytes(text), out);
            }
        }
        Scalar::Time | Scalar::MicroTime => wire::message(number, out, |out| {
            if let Some(t) = value.as_str().and_then(time::read) {
                wire::int(1, t.seconds, out);
                wire::int(2, if kind == Scalar::Time { 0 } else { t.nanos / 1000 * 1000 }.into(), out);
            }
        }),
        Scalar::Duration => wire::message(number, out, |out| {
            wire::int(1, time::parse_duration(value.str()).unwrap_or_default(), out);
        }),
        Scalar::Quantity => wire::message(number, out, |out| {
            wire::string(1, value.as_str().unwrap_or("0"), out);
        }),
        Scalar::IntOrString => wire::message(number, out, |out| {
            wire::int(1, i64::from(matches!(value, Value::String(_))), out);
            wire::int(2, value.as_i64().unwrap_or_default(), out);
            wire::string(3, value.str(), out);
        }),
        Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json | Scalar::Any => wire::message(number, out, |out| {
            if !value.is_null() {
                wire::message(1, out, |out| write_json(value, out));
            }
        }),
    }
}

fn double(value: &Value) -> f64 {
    match value {
        Value::Float(f) => *f,
        #[expect(clippy::cast_precision_loss, reason = "numbers beyond 53 bits are rounded in JSON too")]
        Value::Int(n) => *n as f64,
        _ => 0.0,
    }
}
