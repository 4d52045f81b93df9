//! Lists: of an object, made by an expression, or two joined.

use super::{MapKey, Outcome, Val};
use crate::schema::{ListKind, Schema};
use kaji_api::Value;
use std::collections::HashMap;
use std::sync::Arc;

/// A list.
#[derive(Clone, Debug)]
pub struct List<'a> {
    items: Items<'a>,
    /// How it is compared and joined, for lists of a schema that says so.
    kind: Option<&'a ListKind>,
}

#[derive(Clone, Debug)]
enum Items<'a> {
    Data(&'a [Value], Option<&'a Schema>),
    Made(Arc<Vec<Val<'a>>>),
    /// In the program.
    Const(Arc<Vec<Val<'static>>>),
    /// Joining costs next to nothing, so it must take next to no time.
    Joined(Arc<(List<'a>, List<'a>)>, usize),
}

impl List<'static> {
    /// A constant list among the values of an evaluation.
    pub(crate) fn constant<'a>(&self) -> List<'a> {
        let items = match &self.items {
            Items::Made(items) | Items::Const(items) => Items::Const(items.clone()),
            Items::Data(items, schema) => Items::Data(items, *schema),
            Items::Joined(parts, len) => Items::Joined(Arc::new((parts.0.constant(), parts.1.constant())), *len),
        };
        List { items, kind: self.kind }
    }
}

impl<'a> List<'a> {
    /// The items of an object's list, with the list's schema.
    pub(crate) fn of(items: &'a [Value], schema: Option<&'a Schema>) -> Self {
        let kind = schema.and_then(|s| match &s.form {
            crate::schema::Form::Array { kind, .. } if *kind != ListKind::Atomic => Some(kind),
            _ => None,
        });
        let item = schema.and_then(|s| s.items()).map(AsRef::as_ref);
        List { items: Items::Data(items, item), kind }
    }

    /// How many items.
    pub fn len(&self) -> usize {
        match &self.items {
            Items::Data(items, _) => items.len(),
            Items::Made(items) => items.len(),
            Items::Const(items) => items.len(),
            Items::Joined(_, len) => *len,
        }
    }

    /// True without items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Read from an object with a schema: comparing it with something else than a list fails.
    pub(crate) fn is_typed(&self) -> bool {
        matches!(self.items, Items::Data(_, Some(_)))
    }

    /// How it is compared and joined.
    pub(crate) fn kind(&self) -> Option<&'a ListKind> {
        self.kind
    }

    /// The item at a position that exists.
    pub fn get(&self, at: usize) -> Outcome<'a> {
        match &self.items {
            Items::Data(items, schema) => Val::read(&items[at], *schema),
            Items::Made(items) => Ok(items[at].clone()),
            Items::Const(items) => Ok(items[at].constant()),
            Items::Joined(parts, _) => match at.checked_sub(parts.0.len()) {
                None => parts.0.get(at),
                Some(at) => parts.1.get(at),
            },
        }
    }

    /// Every item in turn.
    pub fn iter(&self) -> impl Iterator<Item = Outcome<'a>> + '_ {
        (0..self.len()).map(|at| self.get(at))
    }

    /// The items, unless one cannot be read.
    pub(crate) fn to_vec(&self) -> Result<Vec<Val<'a>>, super::EvalError> {
        self.iter().collect()
    }

    /// Adds items at the end of a list that nobody else holds; copies it otherwise.
    pub(crate) fn append(self, more: &List<'a>) -> Outcome<'a> {
        match self.items {
            Items::Made(mut items) if self.kind.is_none() => {
                let added = more.to_vec()?;
                Arc::make_mut(&mut items).extend(added);
                Ok(Val::List(List { items: Items::Made(items), kind: None }))
            }
            items => List { items, kind: self.kind }.join(more.clone()),
        }
    }

    /// This list and then the other; lists of type set and map join by value and key.
    pub(crate) fn join(self, other: List<'a>) -> Outcome<'a> {
        match self.kind {
            Some(ListKind::Set) => return self.union(&other, |item| Some(MapKey::any(item))),
            Some(ListKind::Map(keys)) => return self.union(&other, |item| key_of(item, keys)),
            _ => {}
        }
        if self.is_empty() {
            return Ok(Val::List(other));
        }
        if other.is_empty() {
            return Ok(Val::List(self));
        }
        let len = self.len() + other.len();
        Ok(Val::List(List { items: Items::Joined(Arc::new((self, other)), len), kind: None }))
    }

    /// Items of the other list take the places of those with the same key, or come behind.
    fn union(self, other: &List<'a>, key: impl Fn(&Val<'a>) -> Option<MapKey>) -> Outcome<'a> {
        let mut items = self.to_vec()?;
        let mut places: HashMap<Option<MapKey>, usize> = items.iter().map(&key).zip(0..).collect();
        for item in other.iter() {
            let item = item?;
            match places.get(&key(&item)) {
                Some(at) => items[*at] = item,
                None => {
                    places.insert(key(&item), items.len());
                    items.push(item);
                }
            }
        }
        Ok(Val::List(List { items: Items::Made(Arc::new(items)), kind: self.kind }))
    }
}

/// What identifies an item of a list of type map.
pub(crate) fn key_of(item: &Val<'_>, keys: &[String]) -> Option<MapKey> {
    let Val::Map(map) = item else { return None };
    let parts = keys.iter().map(|k| map.raw(k).map_or(MapKey::Null, |v| MapKey::any(&v)));
    Some(MapKey::Several(parts.collect()))
}

impl<'a> From<Vec<Val<'a>>> for List<'a> {
    fn from(items: Vec<Val<'a>>) -> Self {
        List { items: Items::Made(Arc::new(items)), kind: None }
    }
}
