//! Values of expressions.
//!
//! Objects of the API are read where they lie: a [`Val`] borrows the [`Value`] it stands for and turns into something
//! else only where an expression looks. `'a` is how long those objects live.

mod compare;
mod convert;
mod data;
mod list;
mod map;
mod number;
mod show;
mod text;
mod time;

pub(crate) use compare::{compare, equal};
pub use convert::ToValueError;
pub(crate) use convert::convert;
pub use list::List;
pub(crate) use map::{Entries, MapKey};
pub use map::{Fields, Map};
pub(crate) use number::float_text;
pub use text::Text;
pub use time::Timestamp;
pub(crate) use time::{Civil, Zone, is_date, is_date_time};

use crate::library::Opaque;
use crate::types::Type;
use kaji_api::Value;
use std::sync::Arc;

/// A value.
#[derive(Clone, Debug)]
pub enum Val<'a> {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An unsigned integer.
    Uint(u64),
    /// A floating point number.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A span of time in nanoseconds.
    Duration(i64),
    /// A point in time.
    Timestamp(Timestamp),
    /// A list.
    List(List<'a>),
    /// A map, or an object of the API.
    Map(Map<'a>),
    /// A type.
    Type(Type),
    /// A value or none.
    Optional(Option<Arc<Val<'a>>>),
    /// Something that functions of a library work on: a quantity, an address.
    Opaque(Arc<Opaque>),
    /// An object made in the expression: `Object{…}`, `JSONPatch{…}`.
    Struct(Arc<Struct<'a>>),
    /// Data that no schema describes: can be compared, and nothing else.
    Unknown(&'a Value),
}

/// An object made in an expression.
#[derive(Debug)]
pub struct Struct<'a> {
    /// Its type.
    pub name: Arc<str>,
    /// The fields that were given.
    pub fields: Vec<(String, Val<'a>)>,
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// What went wrong, as users read it: `no such key: x`.
    #[error("{0}")]
    Failed(String),
    /// It did more work than it may.
    #[error("operation cancelled: actual cost limit exceeded")]
    OverBudget,
}

/// The outcome of a step.
pub(crate) type Outcome<'a> = Result<Val<'a>, EvalError>;

/// A failure of that text.
pub(crate) fn fail<T>(message: impl Into<String>) -> Result<T, EvalError> {
    Err(EvalError::Failed(message.into()))
}

/// What calls on values of the wrong type fail with.
pub(crate) fn no_overload<T>() -> Result<T, EvalError> {
    fail("no such overload")
}

impl Val<'static> {
    /// A constant of a program as a value among those of an evaluation; lists and maps are shared, not copied.
    pub(crate) fn constant<'a>(&self) -> Val<'a> {
        match self {
            Val::Null => Val::Null,
            Val::Bool(b) => Val::Bool(*b),
            Val::Int(n) => Val::Int(*n),
            Val::Uint(n) => Val::Uint(*n),
            Val::Double(f) => Val::Double(*f),
            Val::String(s) => Val::String(s.clone()),
            Val::Bytes(b) => Val::Bytes(b.clone()),
            Val::Duration(n) => Val::Duration(*n),
            Val::Timestamp(t) => Val::Timestamp(*t),
            Val::List(list) => Val::List(list.constant()),
            Val::Map(map) => Val::Map(map.constant()),
            Val::Type(ty) => Val::Type(ty.clone()),
            Val::Optional(inner) => Val::Optional(inner.as_ref().map(|v| Arc::new(v.constant()))),
            Val::Opaque(opaque) => Val::Opaque(opaque.clone()),
            Val::Struct(s) => Val::Struct(Arc::new(Struct {
                name: s.name.clone(),
                fields: s.fields.iter().map(|(n, v)| (n.clone(), v.constant())).collect(),
            })),
            Val::Unknown(value) => Val::Unknown(value),
        }
    }
}

impl<'a> Val<'a> {
    /// A list of values.
    pub fn list(items: Vec<Val<'a>>) -> Self {
        Val::List(List::from(items))
    }

    /// A list of strings.
    pub(crate) fn strings<S: Into<Val<'a>>>(items: impl IntoIterator<Item = S>) -> Self {
        Val::list(items.into_iter().map(std::convert::Into::into).collect())
    }

    /// A map of values, later entries before earlier ones.
    pub fn map(entries: impl IntoIterator<Item = (Val<'a>, Val<'a>)>) -> Self {
        let mut map = Entries::default();
        for (key, value) in entries {
            map.put(key, value);
        }
        Val::Map(Map::Made(Arc::new(map)))
    }

    /// The text, if it is text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Val::String(s) => Some(s.as_str()),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Val::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// `optional.of` the value.
    pub(crate) fn some(value: Val<'a>) -> Self {
        Val::Optional(Some(Arc::new(value)))
    }

    /// Its type as expressions know it at run time: without the types of items.
    pub fn type_of(&self) -> Type {
        match self {
            Val::Null => Type::Null,
            Val::Bool(_) => Type::Bool,
            Val::Int(_) => Type::Int,
            Val::Uint(_) => Type::Uint,
            Val::Double(_) => Type::Double,
            Val::String(_) => Type::String,
            Val::Bytes(_) => Type::Bytes,
            Val::Duration(_) => Type::Duration,
            Val::Timestamp(_) => Type::Timestamp,
            Val::List(_) => Type::list(Type::Dyn),
            Val::Map(_) => Type::map(Type::Dyn, Type::Dyn),
            Val::Type(_) => Type::Type(None),
            Val::Optional(_) => Type::optional(Type::Dyn),
            Val::Opaque(opaque) => opaque.type_of(),
            Val::Struct(s) => Type::Object(s.name.clone()),
            Val::Unknown(_) => Type::object("unknown"),
        }
    }

    /// What `size` says, and what costs are reckoned from; `None` for what has no size.
    pub(crate) fn size(&self) -> Option<u64> {
        Some(match self {
            Val::String(s) => s.as_str().chars().count() as u64,
            Val::Bytes(b) => b.len() as u64,
            Val::List(list) => list.len() as u64,
            Val::Map(map) => map.len() as u64,
            Val::Opaque(opaque) => return opaque.size(),
            _ => return None,
        })
    }

    /// `null`, zero, empty.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Val::Null => true,
            Val::Bool(b) => !b,
            Val::Int(n) => *n == 0,
            Val::Uint(n) => *n == 0,
            Val::Double(f) => *f == 0.0,
            Val::Duration(n) => *n == 0,
            Val::Timestamp(t) => t.is_zero(),
            Val::String(s) => s.as_str().is_empty(),
            Val::Bytes(b) => b.is_empty(),
            Val::List(list) => list.is_empty(),
            Val::Map(map) => map.is_empty(),
            Val::Struct(s) => s.fields.is_empty(),
            Val::Type(_) | Val::Optional(_) | Val::Opaque(_) | Val::Unknown(_) => false,
        }
    }
}

impl<'a> Struct<'a> {
    /// The field of that name, if it was given.
    pub fn field(&self, name: &str) -> Option<&Val<'a>> {
        self.fields.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// Whether every object below is named for the field it is in: `Object.spec` for `spec` of `Object`. Lists and maps
    /// between them have no names. The error lists those that are not.
    pub fn check_names(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        self.named_as(&self.name, &mut wrong);
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
    }

    fn named_as(&self, expected: &str, wrong: &mut Vec<String>) {
        if *self.name != *expected {
            wrong.push(format!(
                "unexpected type name \"{}\", expected \"{expected}\", which matches field name path from root Object type",
                self.name
            ));
        }
        for (name, value) in &self.fields {
            value.named_as(&format!("{expected}.{name}"), wrong);
        }
    }
}

impl Val<'_> {
    fn named_as(&self, expected: &str, wrong: &mut Vec<String>) {
        match self {
            Val::Struct(object) => object.named_as(expected, wrong),
            Val::List(list) => list.iter().flatten().for_each(|item| item.named_as(expected, wrong)),
            // Data of the API has no objects made by expressions in it.
            Val::Map(Map::Data(..)) => {}
            Val::Map(map) => {
                let values = map.keys().into_iter().filter_map(|key| map.find(&key).ok().flatten());
                values.for_each(|value| value.named_as(expected, wrong));
            }
            _ => {}
        }
    }
}

impl<'a> From<&'a str> for Val<'a> {
    fn from(s: &'a str) -> Self {
        Val::String(Text::Ref(s))
    }
}

impl From<String> for Val<'_> {
    fn from(s: String) -> Self {
        Val::String(Text::from(s))
    }
}

impl From<bool> for Val<'_> {
    fn from(b: bool) -> Self {
        Val::Bool(b)
    }
}

impl From<i64> for Val<'_> {
    fn from(n: i64) -> Self {
        Val::Int(n)
    }
}
