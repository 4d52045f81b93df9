//! The dynamic value every API object is handled as.
//!
//! Smaller than `serde_json::Value`: field names known to the schema are borrowed, objects are plain
//! vectors. Objects of a struct type keep the schema's field order, maps are sorted by key; both are
//! restored by [`crate::schema::TypeRef::normalize`] after free-hand edits.

use std::borrow::Cow;

/// A field name: borrowed when the schema knows it.
pub type Key = Cow<'static, str>;

/// A JSON-shaped value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `null`, and what absent fields read as.
    #[default]
    Null,
    /// A boolean.
    Bool(bool),
    /// A number without fraction or exponent that fits 64 bits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    String(Box<str>),
    /// A list.
    Array(Vec<Value>),
    /// A struct or map.
    Object(Object),
    /// An object as JSON text, compact, as Go's encoder writes it: what most of those who pass it on never look into
    /// (`FieldsV1`). It reads as having no fields; see [`Value::opened`].
    Raw(Box<str>),
}

/// Fields or map entries, in order. Lookups are linear: structs are short, and code that walks large maps iterates.
/// What is there in a large map, which is sorted mostly, is found by halving.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(pub Vec<(Key, Value)>);

/// More entries than any struct has.
const LARGE: usize = 64;

/// What `&value["absent"]` refers to.
static NULL: Value = Value::Null;

impl Value {
    /// An empty object.
    pub fn object() -> Self {
        Value::Object(Object::default())
    }

    /// True for `null`.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null)
    }

    /// True for `null`, `""`, `[]`, `{}`, `0` and `false`: what Go calls the zero value.
    pub fn is_zero(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Bool(b) => !b,
            Value::Int(n) => *n == 0,
            Value::Float(f) => *f == 0.0,
            Value::String(s) => s.is_empty(),
            Value::Array(a) => a.is_empty(),
            Value::Object(o) => o.0.is_empty(),
            Value::Raw(_) => false,
        }
    }

    /// The value with its fields, where it is JSON text.
    pub fn opened(&self) -> Cow<'_, Value> {
        match self {
            Value::Raw(text) => {
                Cow::Owned(crate::codec::parse_json(text.as_bytes()).expect("was JSON when it was written down"))
            }
            other => Cow::Borrowed(other),
        }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// The string, or `""`: Go's reading of an absent string.
    pub fn str(&self) -> &str {
        self.as_str().unwrap_or_default()
    }

    /// The integer, if it is one.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Value::Int(n) => Some(*n),
            _ => None,
        }
    }

    /// The boolean, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The boolean, or `false`.
    pub fn bool(&self) -> bool {
        self.as_bool().unwrap_or_default()
    }

    /// The fields, if it is an object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Value::Object(o) => Some(o),
            _ => None,
        }
    }

    /// The fields for writing, if it is an object.
    pub fn as_object_mut(&mut self) -> Option<&mut Object> {
        match self {
            Value::Object(o) => Some(o),
            _ => None,
        }
    }

    /// The items, or none where it isn't a list.
    pub fn items(&self) -> &[Value] {
        match self {
            Value::Array(a) => a,
            _ => &[],
        }
    }

    /// The items for writing, or none where it isn't a list.
    pub fn items_mut(&mut self) -> &mut [Value] {
        match self {
            Value::Array(a) => a,
            _ => &mut [],
        }
    }

    /// Adds an item at the end of a list; whatever is no list becomes one.
    pub fn push(&mut self, item: impl Into<Value>) {
        match self {
            Value::Array(items) => items.push(item.into()),
            other => *other = Value::Array(vec![item.into()]),
        }
    }

    /// The entries of an object, or none.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.as_object().into_iter().flat_map(|o| o.0.iter().map(|(k, v)| (k.as_ref(), v)))
    }

    /// The field, if present (possibly `null`).
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.as_object()?.get(key)
    }

    /// The field for writing, if present.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.as_object_mut()?.get_mut(key)
    }

    /// The value at a path of field names; `null` where the path ends early.
    pub fn at(&self, path: &[&str]) -> &Value {
        path.iter().fold(self, |v, key| &v[*key])
    }

    /// The field for writing; made (as `null`) where absent. A `null` or non-object self becomes an object.
    pub fn entry(&mut self, key: impl Into<Key>) -> &mut Value {
        if !matches!(self, Value::Object(_)) {
            *self = Value::object();
        }
        match self {
            Value::Object(o) => o.entry(key.into()),
            _ => unreachable!("made an object above"),
        }
    }

    /// The place at a path of field names, made where absent.
    pub fn entry_at(&mut self, path: &[&'static str]) -> &mut Value {
        path.iter().fold(self, |v, key| v.entry(*key))
    }

    /// Sets a field; replaces its value where present.
    pub fn set(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        *self.entry(key) = value.into();
    }

    /// Takes a field out.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        self.as_object_mut()?.remove(key)
    }

    /// Sets a field where it is absent or `null`: a default.
    pub fn set_default(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        let place = self.entry(key);
        if place.is_null() {
            *place = value.into();
        }
    }
}

impl Object {
    /// The entry, if present.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.place(key).map(|at| &self.0[at].1)
    }

    /// The entry for writing, if present.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.place(key).map(|at| &mut self.0[at].1)
    }

    fn place(&self, key: &str) -> Option<usize> {
        if self.0.len() > LARGE
            && let Ok(at) = self.0.binary_search_by(|(k, _)| k.as_ref().cmp(key))
        {
            return Some(at);
        }
        self.0.iter().position(|(k, _)| k == key)
    }

    /// The entry, made as `null` at the end where absent.
    pub fn entry(&mut self, key: Key) -> &mut Value {
        let at = match self.place(&key) {
            Some(at) => at,
            None => {
                self.0.push((key, Value::Null));
                self.0.len() - 1
            }
        };
        &mut self.0[at].1
    }

    /// Takes an entry out, keeping the order of the others.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        let at = self.place(key)?;
        Some(self.0.remove(at).1)
    }

    /// True when there are no entries.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl std::ops::Index<&str> for Value {
    type Output = Value;

    /// The field, or `null` where absent or where this is no object.
    fn index(&self, key: &str) -> &Value {
        self.get(key).unwrap_or(&NULL)
    }
}

impl From<&str> for Value {
    fn from(s: &str) -> Self {
        Value::String(s.into())
    }
}

impl From<String> for Value {
    fn from(s: String) -> Self {
        Value::String(s.into())
    }
}

impl From<bool> for Value {
    fn from(b: bool) -> Self {
        Value::Bool(b)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Value::Int(n)
    }
}

impl From<i32> for Value {
    fn from(n: i32) -> Self {
        Value::Int(n.into())
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Value::Int(n.into())
    }
}

impl From<Object> for Value {
    fn from(o: Object) -> Self {
        Value::Object(o)
    }
}

impl<T: Into<Value>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Value::Array(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(v: Option<T>) -> Self {
        v.map_or(Value::Null, Into::into)
    }
}

impl<K: Into<Key>, V: Into<Value>> FromIterator<(K, V)> for Value {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        Value::Object(Object(entries.into_iter().map(|(k, v)| (k.into(), v.into())).collect()))
    }
}

mod view;
pub use view::{FromViewError, ToViewError};

/// Builds a [`Value`] from JSON-like text, with expressions in the places of values:
/// `value!({"kind": "Pod", "spec": {"replicas": n}})`. Keys are string literals or `(expr)`.
#[macro_export]
macro_rules! value {
    (null) => { $crate::Value::Null };
    ([ $($item:tt),* $(,)? ]) => { $crate::Value::Array(vec![ $($crate::value!($item)),* ]) };
    ({ $($key:literal : $val:tt),* $(,)? }) => {
        $crate::Value::Object($crate::Object(vec![ $(($crate::value::Key::Borrowed($key), $crate::value!($val))),* ]))
    };
    ($other:expr) => { $crate::Value::from($other) };
}
