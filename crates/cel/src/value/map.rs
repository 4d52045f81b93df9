//! Maps: of an object, made by an expression, or worked out when asked.

use super::{EvalError, Outcome, Val, no_overload};
use crate::escape::{escape, unescape};
use crate::schema::Schema;
use kaji_api::{Object, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// A map.
#[derive(Clone)]
pub enum Map<'a> {
    /// Fields of an object, with its schema if it has one.
    Data(&'a Object, Option<&'a Schema>),
    /// Made by an expression.
    Made(Arc<Entries<'a>>),
    /// In the program.
    Const(Arc<Entries<'static>>),
    /// Fields worked out when asked for, such as `variables`.
    Lazy(Arc<dyn Fields<'a> + 'a>),
}

/// Fields that are worked out when an expression asks for them.
pub trait Fields<'a>: Send + Sync {
    /// The field of that name; `None` where there is none.
    fn get(&self, name: &str) -> Option<Result<Val<'a>, EvalError>>;

    /// Names of all fields.
    fn names(&self) -> Vec<String>;
}

/// Entries of a map made by an expression, in the order they were made.
#[derive(Clone, Debug, Default)]
pub struct Entries<'a> {
    entries: Vec<(Val<'a>, Val<'a>)>,
    places: HashMap<MapKey, usize>,
}

/// A key as maps tell it apart: numbers of equal value are the same, whatever their type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum MapKey {
    Null,
    Bool(bool),
    Int(i64),
    /// Beyond `i64`.
    Uint(u64),
    /// With a fraction, or beyond both.
    Double(u64),
    String(Box<str>),
    Several(Vec<MapKey>),
    /// Told apart by how it is written.
    Other(String),
}

/// From this many fields on, sorted ones are looked up by halving.
const MANY: usize = 16;

impl MapKey {
    /// The key, if the value can be one.
    pub(crate) fn of(value: &Val<'_>) -> Option<Self> {
        Some(match value {
            Val::Bool(b) => MapKey::Bool(*b),
            Val::Int(n) => MapKey::Int(*n),
            Val::Uint(n) => i64::try_from(*n).map_or(MapKey::Uint(*n), MapKey::Int),
            Val::Double(f) => double_key(*f),
            Val::String(s) => MapKey::String(s.as_str().into()),
            _ => return None,
        })
    }

    /// A key for any value, to find equal ones by.
    pub(crate) fn any(value: &Val<'_>) -> Self {
        match value {
            Val::Null => MapKey::Null,
            other => MapKey::of(other).unwrap_or_else(|| MapKey::Other(other.to_string())),
        }
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the ranges are checked first")]
fn double_key(f: f64) -> MapKey {
    if f.fract() != 0.0 || !f.is_finite() {
        MapKey::Double(f.to_bits())
    } else if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&f) {
        MapKey::Int(f as i64)
    } else if (0.0..18_446_744_073_709_551_616.0).contains(&f) {
        MapKey::Uint(f as u64)
    } else {
        MapKey::Double(f.to_bits())
    }
}

impl<'a> Entries<'a> {
    /// Adds an entry, or replaces the one of that key. Keys that cannot be looked up are kept all the same.
    pub(crate) fn put(&mut self, key: Val<'a>, value: Val<'a>) {
        let id = MapKey::any(&key);
        match self.places.get(&id) {
            Some(at) => self.entries[*at].1 = value,
            None => {
                self.places.insert(id, self.entries.len());
                self.entries.push((key, value));
            }
        }
    }

    pub(crate) fn get(&self, key: &MapKey) -> Option<&Val<'a>> {
        self.places.get(key).map(|at| &self.entries[*at].1)
    }

    pub(crate) fn remove(&mut self, key: &Val<'a>) {
        let Some(at) = self.places.remove(&MapKey::any(key)) else { return };
        self.entries.remove(at);
        for place in self.places.values_mut().filter(|p| **p > at) {
            *place -= 1;
        }
    }
}

impl Map<'static> {
    /// A constant map among the values of an evaluation.
    pub(crate) fn constant<'a>(&self) -> Map<'a> {
        match self {
            Map::Data(object, schema) => Map::Data(object, *schema),
            Map::Made(map) | Map::Const(map) => Map::Const(map.clone()),
            // No constant is worked out.
            Map::Lazy(_) => Map::Const(Arc::default()),
        }
    }
}

impl<'a> Map<'a> {
    /// How many entries.
    pub fn len(&self) -> usize {
        match self {
            Map::Data(object, _) => object.len(),
            Map::Made(map) => map.entries.len(),
            Map::Const(map) => map.entries.len(),
            Map::Lazy(fields) => fields.names().len(),
        }
    }

    /// True without entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Read from an object with a schema: comparing it with something else than a map fails.
    pub(crate) fn schema(&self) -> Option<&'a Schema> {
        match self {
            Map::Data(_, schema) => *schema,
            _ => None,
        }
    }

    /// The entry of a key; `None` where there is none. Objects with declared fields are asked by escaped name.
    pub fn find(&self, key: &Val<'_>) -> Result<Option<Val<'a>>, EvalError> {
        match self {
            Map::Data(object, schema) => {
                let Some(name) = key.as_str() else {
                    return if schema.is_some() { no_overload() } else { Ok(None) };
                };
                field(object, *schema, name)
            }
            Map::Made(map) => Ok(MapKey::of(key).and_then(|k| map.get(&k)).cloned()),
            Map::Const(map) => Ok(MapKey::of(key).and_then(|k| map.get(&k)).map(Val::constant)),
            Map::Lazy(fields) => match key.as_str().and_then(|name| fields.get(name)) {
                Some(value) => value.map(Some),
                None => Ok(None),
            },
        }
    }

    /// The entry of a key as it lies in the object, whatever its schema.
    pub(crate) fn raw(&self, name: &str) -> Option<Val<'a>> {
        match self {
            Map::Data(object, _) => lookup(object, name).map(Val::of),
            other => other.find(&Val::from(name.to_owned())).ok().flatten(),
        }
    }

    /// The keys, as expressions see them.
    pub fn keys(&self) -> Vec<Val<'a>> {
        match self {
            Map::Data(object, None) => object.0.iter().map(|(k, _)| Val::from(k.as_ref())).collect(),
            Map::Data(object, Some(schema)) => {
                let known = object.0.iter().filter(|(k, _)| entry_schema(schema, k).is_some());
                known.map(|(k, _)| shown_key(k, schema)).collect()
            }
            Map::Made(map) => map.entries.iter().map(|(k, _)| k.clone()).collect(),
            Map::Const(map) => map.entries.iter().map(|(k, _)| k.constant()).collect(),
            Map::Lazy(fields) => fields.names().into_iter().map(Val::from).collect(),
        }
    }

    /// Adds an entry that must be new, in place if nobody else holds the map.
    pub(crate) fn insert(self, key: Val<'a>, value: Val<'a>) -> Outcome<'a> {
        let mut map = match self {
            Map::Made(map) => map,
            other => {
                let mut copy = Entries::default();
                for key in other.keys() {
                    let value = other.find(&key)?.unwrap_or(Val::Null);
                    copy.put(key, value);
                }
                Arc::new(copy)
            }
        };
        if MapKey::of(&key).is_some_and(|k| map.get(&k).is_some()) {
            return super::fail(format!("insert failed: key {key} already exists"));
        }
        Arc::make_mut(&mut map).put(key, value);
        Ok(Val::Map(Map::Made(map)))
    }
}

fn shown_key<'a>(key: &'a str, schema: &Schema) -> Val<'a> {
    match schema.is_struct().then(|| escape(key)).flatten() {
        Some(Cow::Owned(escaped)) => Val::from(escaped),
        _ => Val::from(key),
    }
}

/// The schema of an object's field.
pub(crate) fn entry_schema<'s>(schema: &'s Schema, name: &str) -> Option<&'s Schema> {
    match &schema.form {
        crate::schema::Form::Object { properties: Some(properties), .. } => properties.get(name).map(AsRef::as_ref),
        crate::schema::Form::Object { additional, .. } => additional.as_deref(),
        _ => None,
    }
}

fn field<'a>(object: &'a Object, schema: Option<&'a Schema>, name: &str) -> Result<Option<Val<'a>>, EvalError> {
    let Some(schema) = schema else {
        return Ok(lookup(object, name).map(Val::of));
    };
    let is_struct = schema.is_struct();
    let name = match is_struct.then(|| unescape(name)) {
        Some(Some(name)) => name,
        Some(None) => return Ok(None),
        None => Cow::Borrowed(name),
    };
    match lookup(object, &name) {
        // Fields of objects that are null are as good as absent.
        Some(Value::Null) if is_struct => Ok(None),
        Some(value) => match entry_schema(schema, &name) {
            Some(schema) => Val::typed(value, schema).map(Some),
            None => Ok(None),
        },
        None => Ok(None),
    }
}

/// Maps are mostly sorted by key; what is not found by halving is looked for one by one.
pub(crate) fn lookup<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    if object.len() > MANY
        && let Ok(at) = object.0.binary_search_by(|(k, _)| k.as_ref().cmp(name))
    {
        return Some(&object.0[at].1);
    }
    object.get(name)
}

impl fmt::Debug for Map<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Map::Data(object, _) => object.fmt(f),
            Map::Made(map) => map.entries.fmt(f),
            Map::Const(map) => map.entries.fmt(f),
            Map::Lazy(fields) => fields.names().fmt(f),
        }
    }
}
