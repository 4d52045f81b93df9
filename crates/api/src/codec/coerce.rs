//! Values without a known type (parsed, patched, edited by hand) to canonical form.

use super::fault::{Faults, Step};
use super::scalar::{self, Token};
use super::{DecodeError, MAX_DEPTH, Strict, number};
use crate::schema::canonical::{self, Frame};
use crate::schema::{Alternative, Scalar, Shape, TypeRef};
use crate::value::{Object, Value};
use std::borrow::Cow;

pub(crate) fn coerce(ty: TypeRef<'_>, value: Value) -> Result<(Value, Strict), DecodeError> {
    let mut coercion = Coercion::default();
    let shape = Shape::Struct(ty);
    let value = coercion.value(shape, value);
    if coercion.too_deep {
        return Err(DecodeError("exceeded max depth".into()));
    }
    let strict = coercion.faults.done()?;
    let value = if value.is_null() { canonical::zero(shape) } else { value };
    Ok((value, strict))
}

/// Whether objects and lists in each other are no more than that.
fn is_within(value: &Value, levels: usize) -> bool {
    match value {
        Value::Object(o) => levels > 0 && o.0.iter().all(|(_, value)| is_within(value, levels - 1)),
        Value::Array(items) => levels > 0 && items.iter().all(|value| is_within(value, levels - 1)),
        _ => true,
    }
}

/// A value as JSON text.
fn raw(value: &Value) -> Value {
    let mut text = Vec::new();
    super::write_json(value, &mut text);
    Value::Raw(String::from_utf8(text).expect("JSON is text").into())
}

/// One walk over a value.
#[derive(Default)]
pub(crate) struct Coercion<'a> {
    faults: Faults,
    path: Vec<Step<'a>>,
    frame: Frame,
    depth: usize,
    too_deep: bool,
    /// Values that do not fit stay as they are.
    keep: bool,
    /// Inside a custom resource: scalars and what does not fit are left to validation.
    custom: bool,
}

impl<'a> Coercion<'a> {
    /// A walk that leaves alone what does not fit.
    pub(crate) fn lenient() -> Self {
        Coercion { keep: true, ..Coercion::default() }
    }

    pub(crate) fn value(&mut self, shape: Shape<'a>, value: Value) -> Value {
        if !matches!(value, Value::Object(_) | Value::Array(_)) {
            return self.fit(shape, value);
        }
        if self.depth >= MAX_DEPTH {
            self.too_deep = true;
            return Value::Null;
        }
        self.depth += 1;
        let value = self.fit(shape, value);
        self.depth -= 1;
        value
    }

    /// A value that is at the place at hand and divides no further.
    fn whole(&mut self, value: Value) -> Value {
        self.too_deep |= !is_within(&value, MAX_DEPTH + 1 - self.depth);
        value
    }

    /// The same in a custom resource whose schema says nothing of it.
    fn free(&mut self, value: Value) -> Value {
        let mut value = self.whole(value);
        canonical::sort_deep(&mut value);
        value
    }

    fn fit(&mut self, shape: Shape<'a>, value: Value) -> Value {
        match (shape, value) {
            (_, Value::Null) => Value::Null,
            (Shape::Scalar(Scalar::FieldsV1), value @ Value::Raw(_)) => value,
            (shape, raw @ Value::Raw(_)) => self.value(shape, raw.opened().into_owned()),
            (Shape::Scalar(Scalar::FieldsV1), value @ Value::Object(_)) if !self.custom => raw(&self.whole(value)),
            (Shape::Scalar(_), value) if self.custom => self.free(value),
            (Shape::Scalar(s), value) if s.is_raw() => self.whole(value),
            (Shape::Struct(ty) | Shape::Either(ty, _), Value::Object(o)) if ty.is_custom() => self.custom(ty, o),
            (Shape::Struct(ty) | Shape::Either(ty, _), Value::Object(o)) => self.object(ty, o),
            (Shape::Map(map), Value::Object(o)) => self.map(map.item(), o, !self.custom || map.keeps_null()),
            (Shape::List(list), Value::Array(items)) => self.list(list.item(), items),
            (Shape::Either(ty, Alternative::List), Value::Array(items)) => self.list(Shape::Struct(ty), items),
            (Shape::Either(_, Alternative::Strings), Value::Array(items)) => {
                self.list(Shape::Scalar(Scalar::String), items)
            }
            (_, value) if self.custom => self.free(value),
            (shape, value @ (Value::Object(_) | Value::Array(_))) => {
                let what = if matches!(value, Value::Object(_)) { "object" } else { "array" };
                self.faults.save(scalar::container(what, shape), &self.path, shape);
                if self.keep { value } else { Value::Null }
            }
            (Shape::Scalar(Scalar::String | Scalar::IntOrString), value @ Value::String(_))
            | (Shape::Scalar(Scalar::Bool), value @ Value::Bool(_))
            | (Shape::Scalar(Scalar::Int64), value @ Value::Int(_))
            | (Shape::Scalar(Scalar::Double), value @ Value::Float(_)) => value,
            (Shape::Scalar(Scalar::Int32 | Scalar::IntOrString), Value::Int(n)) if i32::try_from(n).is_ok() => {
                Value::Int(n)
            }
            (shape, value) => self.scalar(shape, value),
        }
    }

    fn scalar(&mut self, shape: Shape<'a>, value: Value) -> Value {
        let mut digits = Vec::new();
        let token = match &value {
            Value::String(s) => Token::String(s.as_ref().into()),
            Value::Bool(b) => Token::Bool(*b),
            Value::Int(n) => {
                number::write_int(*n, &mut digits);
                Token::Number(std::str::from_utf8(&digits).expect("digits are ASCII"))
            }
            Value::Float(f) => {
                number::write_float(*f, &mut digits);
                Token::Number(std::str::from_utf8(&digits).expect("digits are ASCII"))
            }
            Value::Null | Value::Array(_) | Value::Object(_) | Value::Raw(_) => {
                unreachable!("told apart by the caller")
            }
        };
        scalar::read(token, shape).unwrap_or_else(|fault| {
            self.faults.save(fault, &self.path, shape);
            if self.keep { value } else { Value::Null }
        })
    }

    /// Fields are brought to form where they stand; only when one is out of place, to be dropped or missing is the
    /// object put together anew.
    fn object(&mut self, ty: TypeRef<'a>, mut object: Object) -> Value {
        let (mut next, mut in_form) = (0, true);
        let mut musts = ty.musts().iter().map(|m| usize::from(*m)).peekable();
        for (key, value) in &mut object.0 {
            let Some((place, field)) = ty.find(key, next) else {
                self.faults.unknown(&self.path, key);
                in_form = false;
                continue;
            };
            let must = musts.next_if_eq(&place).is_some();
            let absent = value.is_null() && must && canonical::absent(field).is_null();
            self.path.push(Step::Field(ty, field.name()));
            let fit = canonical::kept(field, self.value(field.shape(), std::mem::take(value)));
            self.path.pop();
            in_form &= place >= next && (fit.is_some() || absent) && musts.peek().is_none_or(|must| *must > place);
            *value = fit.unwrap_or_default();
            next = place + 1;
            if let Cow::Owned(_) = key {
                *key = ty.key(place);
            }
        }
        if in_form && musts.peek().is_none() { Value::Object(object) } else { self.reordered(ty, object) }
    }

    fn reordered(&mut self, ty: TypeRef<'a>, object: Object) -> Value {
        let (start, mut next) = (self.frame.open(), 0);
        for (key, value) in object.0 {
            if let Some((place, _)) = ty.find(&key, next) {
                next = place + 1;
                self.frame.put(start, place, Some(value).filter(|v| !v.is_null()));
            }
        }
        Value::Object(self.frame.close(ty, start))
    }

    fn custom(&mut self, ty: TypeRef<'a>, object: Object) -> Value {
        let mut entries = Vec::with_capacity(object.0.len());
        let outer = std::mem::replace(&mut self.custom, true);
        let mut next = 0;
        for (key, value) in object.0 {
            match ty.find(&key, next) {
                Some((place, field)) => {
                    next = place + 1;
                    self.path.push(Step::Field(ty, field.name()));
                    let value = self.custom_value(field.shape(), value);
                    self.path.pop();
                    if !value.is_null() || field.keeps_null() {
                        entries.push((ty.key(place), value));
                    }
                }
                None if ty.keeps_unknown() => {
                    self.depth += 1;
                    let value = self.free(value);
                    self.depth -= 1;
                    entries.push((key, value));
                }
                None => self.faults.unknown(&self.path, &key),
            }
        }
        self.custom = outer;
        canonical::sort(&mut entries, |_| {});
        Value::Object(Object(entries))
    }

    /// Scalars of custom resources stay as given; metadata is of a built-in type and is held to it.
    fn custom_value(&mut self, shape: Shape<'a>, value: Value) -> Value {
        let custom = !matches!(shape, Shape::Struct(ty) if !ty.is_custom());
        let outer = std::mem::replace(&mut self.custom, custom);
        let value = self.value(shape, value);
        self.custom = outer;
        value
    }

    fn map(&mut self, item: Shape<'a>, mut object: Object, nulls: bool) -> Value {
        for (key, value) in &mut object.0 {
            let deep = !matches!(item, Shape::Scalar(_));
            if deep {
                self.path.push(Step::Key(key.as_ref().into()));
            }
            *value = self.item(item, std::mem::take(value));
            if deep {
                self.path.pop();
            }
        }
        if !nulls {
            object.0.retain(|(_, value)| !value.is_null());
        }
        canonical::sort(&mut object.0, |_| {});
        Value::Object(object)
    }

    fn list(&mut self, item: Shape<'a>, mut items: Vec<Value>) -> Value {
        for (i, value) in items.iter_mut().enumerate() {
            self.path.push(Step::Index(i));
            *value = self.item(item, std::mem::take(value));
            self.path.pop();
        }
        Value::Array(items)
    }

    fn item(&mut self, shape: Shape<'a>, value: Value) -> Value {
        let value = self.value(shape, value);
        if value.is_null() && !self.custom { canonical::zero(shape) } else { value }
    }
}
