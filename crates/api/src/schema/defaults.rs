//! Constant defaults: filled in where Go's defaulting functions would, anywhere in an object.

use super::canonical;
use super::tables::Literal;
use super::view::{Default, FieldRef, Shape, TypeRef};
use crate::codec::{Coercion, parse_json};
use crate::value::{Key, Object, Value};

/// Stands for every item in a default's path.
const EACH: &str = "[]";

impl TypeRef<'_> {
    /// Fills in the constant defaults of the schema (conditional ones belong to strategies). The value is
    /// canonical before and after.
    pub fn default(self, value: &mut Value) {
        let Value::Object(object) = value else { return };
        if !self.is_defaulted() {
            return;
        }
        for Default { path, value } in self.defaults() {
            fill(self, object, path, value);
        }
        for inline in self.declared().filter(|f| f.is_inline()) {
            // Its fields are ours; what is filled into them is declared there.
            if let Shape::Struct(ty) = inline.shape() {
                ty.defaults().for_each(|Default { path, value }| fill(self, object, path, value));
            }
        }
        let mut next = 0;
        for (key, value) in &mut object.0 {
            if let Some((place, field)) = self.find(key, next) {
                next = place + 1;
                fill_below(field.shape(), value);
            }
        }
    }
}

fn fill_below(shape: Shape<'_>, value: &mut Value) {
    match shape {
        Shape::Struct(ty) => ty.default(value),
        Shape::Either(ty, _) if ty.is_defaulted() => ty.default(value),
        Shape::List(list) if holds_defaults(shape) => {
            value.items_mut().iter_mut().for_each(|item| fill_null(list.item(), list.item_default(), item));
        }
        Shape::Map(map) if holds_defaults(shape) => {
            let entries = value.as_object_mut().into_iter().flat_map(|o| &mut o.0);
            entries.for_each(|(_, item)| fill_null(map.item(), map.item_default(), item));
        }
        _ => {}
    }
}

/// An item of a list or map: `null` is filled in where it is no value, as custom resources have it.
fn fill_null(shape: Shape<'_>, default: Option<&Literal>, item: &mut Value) {
    if let (Value::Null, Some(Literal::Value(default))) = (&item, default) {
        *item = default.as_ref().clone();
    }
    fill_below(shape, item);
}

fn holds_defaults(shape: Shape<'_>) -> bool {
    match shape {
        Shape::Struct(ty) | Shape::Either(ty, _) => ty.is_defaulted(),
        Shape::List(list) => list.item_default().is_some() || holds_defaults(list.item()),
        Shape::Map(map) => map.item_default().is_some() || holds_defaults(map.item()),
        Shape::Scalar(_) => false,
    }
}

fn fill(ty: TypeRef<'_>, object: &mut Object, path: &[Key], literal: &Literal) {
    let [name, rest @ ..] = path else { return };
    let Some((place, field)) = ty.find(name, 0) else { return };
    match rest {
        [] => {
            let absent = match object.get(name) {
                None => true,
                Some(Value::Null) => !field.is_nullable(),
                Some(value) => !field.is_pointer() && value.is_zero(),
            };
            // Some constants are what absence means anyway.
            let constant = absent.then(|| constant(field, literal)).and_then(|c| canonical::kept(field, c));
            if let Some(constant) = constant {
                *slot(ty, object, place) = constant;
            }
        }
        [each, rest @ ..] if each == EACH => {
            let Some(value) = object.get_mut(name) else { return };
            match field.shape() {
                Shape::List(list) => {
                    value.items_mut().iter_mut().for_each(|item| fill_item(list.item(), item, rest, literal));
                }
                Shape::Map(map) => {
                    let entries = value.as_object_mut().into_iter().flat_map(|o| &mut o.0);
                    entries.for_each(|(_, item)| fill_item(map.item(), item, rest, literal));
                }
                _ => {}
            }
        }
        rest => {
            let value = slot(ty, object, place);
            if value.is_null() {
                *value = canonical::zero(field.shape());
            }
            fill_item(field.shape(), value, rest, literal);
        }
    }
}

fn fill_item(shape: Shape<'_>, value: &mut Value, path: &[Key], literal: &Literal) {
    if let (Shape::Struct(ty), Value::Object(object)) = (shape, value) {
        fill(ty, object, path, literal);
    }
}

/// The field's place in an object, made (as `null`) where it belongs.
fn slot<'o>(ty: TypeRef<'_>, object: &'o mut Object, place: usize) -> &'o mut Value {
    let key = ty.key(place);
    if ty.is_custom() {
        let at = object.0.partition_point(|(other, _)| *other < key);
        if object.0.get(at).is_none_or(|(other, _)| *other != key) {
            object.0.insert(at, (key, Value::Null));
        }
        return &mut object.0[at].1;
    }
    let mut next = 0;
    let mut at = object.0.len();
    for (i, (other, _)) in object.0.iter().enumerate() {
        if *other == key {
            return &mut object.0[i].1;
        }
        if let Some((other_place, _)) = ty.find(other, next) {
            next = other_place + 1;
            if other_place > place {
                at = i;
                break;
            }
        }
    }
    // Not in order after all: the field may stand further on.
    if let Some(i) = object.0.iter().position(|(other, _)| *other == key) {
        return &mut object.0[i].1;
    }
    object.0.insert(at, (key, Value::Null));
    &mut object.0[at].1
}

fn constant(field: FieldRef<'_>, literal: &Literal) -> Value {
    let value = match literal {
        Literal::Bool(b) => Value::Bool(*b),
        Literal::Int(n) => Value::Int(*n),
        Literal::Str(s) => Value::from(s.as_ref()),
        Literal::Json(text) => parse_json(text.as_bytes()).expect("checked when the schema was made"),
        Literal::Value(value) => return value.as_ref().clone(),
    };
    Coercion::lenient().value(field.shape(), value)
}
