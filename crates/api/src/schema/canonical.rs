//! Canonical form: what Go's encoder would write for an object.
//!
//! Fields in schema order; absent ones written where Go has no way to leave them out; empty ones dropped where
//! they may be; map keys sorted. Every decoder gathers the fields it finds in a [`Frame`], which puts them so.

use super::view::{Alternative, FieldRef, Shape, TypeRef};
use super::{Scalar, view};
use crate::codec::Coercion;
use crate::value::{Key, Object, Value};

/// Fields found so far, of an object and those around it: one buffer for a whole decode.
#[derive(Default)]
pub(crate) struct Frame {
    /// Position in the type's JSON fields; `None` is for what was given but is not kept.
    entries: Vec<(u16, Option<Value>)>,
}

impl Frame {
    /// Where a new object's fields begin.
    pub(crate) fn open(&mut self) -> usize {
        self.entries.len()
    }

    /// Whether the field was given already.
    pub(crate) fn has(&self, start: usize, place: usize) -> bool {
        self.entries[start..].iter().any(|(p, _)| usize::from(*p) == place)
    }

    /// Adds a field that was not given before.
    pub(crate) fn push(&mut self, place: usize, value: Option<Value>) {
        self.entries.push((narrow(place), value));
    }

    /// Adds a field, or replaces it.
    pub(crate) fn put(&mut self, start: usize, place: usize, value: Option<Value>) {
        match self.entries[start..].iter_mut().rev().find(|(p, _)| usize::from(*p) == place) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((narrow(place), value)),
        }
    }

    /// The field's value, made by `new` where absent.
    pub(crate) fn place(&mut self, start: usize, place: usize, new: impl FnOnce() -> Value) -> &mut Value {
        let at = match self.entries[start..].iter().rposition(|(p, _)| usize::from(*p) == place) {
            Some(at) => start + at,
            None => {
                self.entries.push((narrow(place), None));
                self.entries.len() - 1
            }
        };
        self.entries[at].1.get_or_insert_with(new)
    }

    /// The object of the fields since `start`.
    pub(crate) fn close(&mut self, ty: TypeRef<'_>, start: usize) -> Object {
        let found = &mut self.entries[start..];
        if !found.is_sorted_by_key(|(place, _)| *place) {
            found.sort_by_key(|(place, _)| *place);
        }
        let mut musts = ty.musts().iter().copied().peekable();
        let mut fields = Vec::with_capacity(self.entries.len() - start + musts.len());
        let write_absent = |place: u16, fields: &mut Vec<(Key, Value)>| {
            let place = usize::from(place);
            fields.push((ty.key(place), absent(ty.at(place))));
        };
        for (place, value) in self.entries.drain(start..) {
            let Some(value) = value else { continue };
            while let Some(must) = musts.next_if(|must| *must < place) {
                write_absent(must, &mut fields);
            }
            musts.next_if_eq(&place);
            fields.push((ty.key(usize::from(place)), value));
        }
        musts.for_each(|must| write_absent(must, &mut fields));
        Object(fields)
    }
}

fn narrow(place: usize) -> u16 {
    u16::try_from(place).expect("types have fewer than 65536 fields")
}

/// The value to keep for a field that was given one.
pub(crate) fn kept(field: FieldRef<'_>, value: Value) -> Option<Value> {
    if !value.is_zero() {
        return Some(value);
    }
    // An empty list of managers is a request to forget them, which absence is not.
    let asks = || field.name() == "managedFields" && matches!(value, Value::Array(_));
    let kept =
        !value.is_null() && (field.is_pointer() || field.is_always_written() || !can_be_empty(field.shape()) || asks());
    kept.then_some(value)
}

/// Whether Go leaves out the zero value under `omitempty`: structs it never does.
fn can_be_empty(shape: Shape<'_>) -> bool {
    match shape {
        Shape::Scalar(Scalar::String | Scalar::Bool | Scalar::Int32 | Scalar::Int64) => true,
        Shape::Scalar(scalar) => matches!(scalar, Scalar::Double | Scalar::Bytes),
        Shape::List(_) | Shape::Map(_) => true,
        Shape::Struct(_) | Shape::Either(..) => false,
    }
}

/// What is written for an absent field that is always written.
pub(crate) fn absent(field: FieldRef<'_>) -> Value {
    if field.is_pointer() { Value::Null } else { zero(field.shape()) }
}

/// Go's zero value.
pub(crate) fn zero(shape: Shape<'_>) -> Value {
    match shape {
        Shape::Scalar(scalar) => match scalar {
            Scalar::String => Value::from(""),
            Scalar::Bool => Value::Bool(false),
            Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString => Value::Int(0),
            Scalar::Double => Value::Float(0.0),
            Scalar::Duration => Value::from("0s"),
            Scalar::Quantity => Value::from("0"),
            Scalar::Bytes | Scalar::Time | Scalar::MicroTime => Value::Null,
            Scalar::RawExtension | Scalar::FieldsV1 | Scalar::Json | Scalar::Any => Value::Null,
        },
        Shape::Struct(ty) => {
            let fields = ty.musts().iter().map(|place| usize::from(*place));
            Value::Object(Object(fields.map(|place| (ty.key(place), absent(ty.at(place)))).collect()))
        }
        Shape::Either(_, Alternative::Bool) => Value::Bool(false),
        Shape::Either(..) | Shape::List(_) | Shape::Map(_) => Value::Null,
    }
}

/// Sorts the entries of a map; of equal keys the last stays, and `duplicate` is told.
pub(crate) fn sort(entries: &mut Vec<(Key, Value)>, mut duplicate: impl FnMut(&str)) {
    if entries.is_sorted_by(|a, b| a.0 < b.0) {
        return;
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    entries.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            duplicate(&earlier.0);
            std::mem::swap(later, earlier);
        }
        same
    });
}

/// Sorts the entries of all objects in a value of no known type, as Go's maps are written.
pub(crate) fn sort_deep(value: &mut Value) {
    match value {
        Value::Object(object) => {
            sort(&mut object.0, |_| {});
            object.0.iter_mut().for_each(|(_, value)| sort_deep(value));
        }
        Value::Array(items) => items.iter_mut().for_each(sort_deep),
        Value::Raw(_) => {
            *value = value.opened().into_owned();
            sort_deep(value);
        }
        _ => {}
    }
}

impl TypeRef<'_> {
    /// Restores canonical form after free-hand edits: schema order of fields, map keys sorted, required
    /// zero values written, empty optional ones dropped, times and quantities in canonical text: what
    /// upstream's encoder would write. Decoding does this already. Values that do not fit stay as they are.
    pub fn normalize(self, value: &mut Value) {
        *value = Coercion::lenient().value(view::Shape::Struct(self), std::mem::take(value));
    }
}
