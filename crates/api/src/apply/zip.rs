//! Two objects side by side.

use crate::value::{Key, Object, Value};
use std::collections::HashMap;

/// Looking through longer objects takes an index.
const SHORT: usize = 24;

/// Calls for every field of either object: those of the second in its order, and those that only the first has.
/// Stops at the first error.
pub(super) fn zip<'v, E>(
    first: Option<&'v Object>,
    second: Option<&'v Object>,
    mut each: impl FnMut(&'v Key, Option<&'v Value>, Option<&'v Value>) -> Result<(), E>,
) -> Result<(), E> {
    let (a, b) = (entries(first), entries(second));
    if a.len() == b.len() && a.iter().zip(b).all(|((k, _), (l, _))| k == l) {
        return a.iter().zip(b).try_for_each(|((key, v), (_, w))| each(key, Some(v), Some(w)));
    }
    let (in_first, in_second) = (Finder::of(a), Finder::of(b));
    for (key, value) in b {
        each(key, in_first.get(key), Some(value))?;
    }
    a.iter().filter(|(key, _)| in_second.get(key).is_none()).try_for_each(|(key, v)| each(key, Some(v), None))
}

fn entries(object: Option<&Object>) -> &[(Key, Value)] {
    object.map_or(&[], |o| &o.0)
}

enum Finder<'v> {
    Scan(&'v [(Key, Value)]),
    Index(HashMap<&'v str, &'v Value>),
}

impl<'v> Finder<'v> {
    fn of(entries: &'v [(Key, Value)]) -> Self {
        match entries.len() <= SHORT {
            true => Finder::Scan(entries),
            false => Finder::Index(entries.iter().map(|(k, v)| (k.as_ref(), v)).collect()),
        }
    }

    fn get(&self, key: &str) -> Option<&'v Value> {
        match self {
            Finder::Scan(entries) => entries.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            Finder::Index(index) => index.get(key).copied(),
        }
    }
}
