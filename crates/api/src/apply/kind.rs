//! How values divide into fields that can be owned: the schema tables as server-side apply reads them
//! (kube-openapi `schemaconv`).

use super::element::Element;
use crate::codec::parse_json;
use crate::schema::{FieldRef, ListRef, ListType, Literal, MapRef, MapType, Scalar, Shape, TypeRef};
use crate::value::{Key, Object, Value};
use std::borrow::Cow;

/// How a value divides.
#[derive(Clone, Copy)]
pub(super) enum Kind<'a> {
    /// It doesn't: scalars, and what is replaced as a whole.
    Leaf,
    /// By fields that the schema knows.
    Struct(TypeRef<'a>),
    /// By keys.
    Map(MapRef<'a>),
    /// By items that are told apart by some of their fields.
    Keyed(ListRef<'a>, Keys<'a>),
    /// By items that are scalars.
    Items,
    /// Without a schema: objects divide, lists don't.
    Free,
}

/// The fields that tell items apart.
#[derive(Clone, Copy)]
pub(super) enum Keys<'a> {
    /// `x-kubernetes-list-map-keys`.
    Listed,
    /// The merge key of strategic patches, for lists that declare no more.
    Merge(&'a str),
}

impl<'a> Kind<'a> {
    /// Of a whole object.
    pub(super) fn of_type(ty: TypeRef<'a>) -> Self {
        Kind::Struct(ty)
    }

    /// Of a field of a struct.
    pub(super) fn of_field(field: FieldRef<'a>) -> Self {
        match field.shape() {
            Shape::Struct(ty) if field.map_type() == Some(MapType::Granular) => Kind::Struct(ty),
            Shape::List(list) if list.list_type().is_none() && field.patch_strategy().merge => {
                match field.patch_merge_key() {
                    Some(key) => Kind::Keyed(list, Keys::Merge(key)),
                    None => Kind::Items,
                }
            }
            shape => Kind::of_shape(shape),
        }
    }

    /// Of what a list or map holds.
    pub(super) fn of_shape(shape: Shape<'a>) -> Self {
        match shape {
            Shape::Scalar(Scalar::Json | Scalar::Any | Scalar::FieldsV1) | Shape::Either(..) => Kind::Free,
            Shape::Scalar(_) => Kind::Leaf,
            Shape::Struct(ty) if ty.is_atomic() => Kind::Leaf,
            Shape::Struct(ty) => Kind::Struct(ty),
            Shape::Map(map) if map.map_type() == Some(MapType::Atomic) => Kind::Leaf,
            Shape::Map(map) => Kind::Map(map),
            Shape::List(list) => match list.list_type() {
                Some(ListType::Map) => Kind::Keyed(list, Keys::Listed),
                Some(ListType::Set) => Kind::Items,
                Some(ListType::Atomic) | None => Kind::Leaf,
            },
        }
    }

    /// Of a field or entry, and whether the schema names it.
    pub(super) fn child(self, name: &str) -> (Self, bool) {
        match self {
            Kind::Struct(ty) => match ty.field(name) {
                Some(field) => (Kind::of_field(field), true),
                None => (Kind::Free, false),
            },
            Kind::Map(map) => (Kind::of_shape(map.item()), false),
            _ => (Kind::Free, false),
        }
    }

    /// Of the items of a list.
    pub(super) fn item(self) -> Self {
        match self {
            Kind::Keyed(list, _) => Kind::of_shape(list.item()),
            _ => Kind::Leaf,
        }
    }

    /// The path element of an item.
    pub(super) fn element(self, item: &Value) -> Result<Element, String> {
        match (self, item) {
            (Kind::Keyed(list, keys), Value::Object(item)) => keyed(list, keys, item),
            (Kind::Keyed(..), Value::Null) => Err("associative list with keys may not have a null element".to_owned()),
            (Kind::Keyed(..), _) => Err("associative list with keys may not have non-map elements".to_owned()),
            (_, Value::Object(_)) => Err("associative list without keys has an element that's a map type".to_owned()),
            (_, Value::Array(_)) => Err("not supported: associative list with lists as elements".to_owned()),
            (_, Value::Null) => Err("associative list without keys has an element that's an explicit null".to_owned()),
            (_, scalar) => Ok(Element::Value(scalar.clone())),
        }
    }
}

fn keyed(list: ListRef<'_>, keys: Keys<'_>, item: &Object) -> Result<Element, String> {
    let ty = match list.item() {
        Shape::Struct(ty) => Some(ty),
        _ => None,
    };
    let mut fields: Vec<(Key, Value)> = Vec::with_capacity(2);
    keys.each(list, |name| {
        let value = item.get(name).cloned().or_else(|| default(ty?, name));
        fields.extend(value.map(|value| (key_of(item, ty, name), value)));
    });
    if fields.is_empty() {
        let mut names = Vec::new();
        keys.each(list, |name| names.push(crate::field::quoted(name)));
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default \
             values for any key fields)",
            names.join(" ")
        ));
    }
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Element::Key(fields))
}

/// The name as owned as it has to be.
fn key_of(item: &Object, ty: Option<TypeRef<'_>>, name: &str) -> Key {
    let found = ty.and_then(|ty| ty.find(name, 0).map(|(place, _)| ty.key(place)));
    let given = || item.0.iter().find(|(key, _)| key == name).map(|(key, _)| key.clone());
    found.or_else(given).unwrap_or_else(|| Cow::Owned(name.to_owned()))
}

/// What an item without the field is taken to have in it, as the published schema says.
fn default(ty: TypeRef<'_>, name: &str) -> Option<Value> {
    let field = ty.field(name)?;
    if let Some(declared) = field.declared_default() {
        return Some(literal(declared));
    }
    if let Some(constant) = ty.is_custom().then(|| ty.defaults().find(|d| d.path.len() == 1 && d.path[0] == name)) {
        return constant.map(|d| literal(d.value));
    }
    let written = field.is_always_written() && !field.is_pointer();
    match field.shape() {
        Shape::Scalar(Scalar::String) if written => Some(Value::from("")),
        Shape::Scalar(Scalar::Bool) if written => Some(Value::Bool(false)),
        Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Double) if written => Some(Value::Int(0)),
        _ => None,
    }
}

fn literal(literal: &Literal) -> Value {
    match literal {
        Literal::Bool(b) => Value::Bool(*b),
        Literal::Int(n) => Value::Int(*n),
        Literal::Str(text) => Value::from(text.as_ref()),
        Literal::Json(text) => parse_json(text.as_bytes()).expect("checked when the schema was made"),
        Literal::Value(value) => value.as_ref().clone(),
    }
}

impl Keys<'_> {
    fn each(self, list: ListRef<'_>, mut visit: impl FnMut(&str)) {
        match self {
            Keys::Listed => list.keys().for_each(visit),
            Keys::Merge(key) => visit(key),
        }
    }
}
