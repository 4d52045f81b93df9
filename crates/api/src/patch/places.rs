//! Where in a list an item stands: the first one that equals it, or that has the same merge key.

use super::json::equal;
use crate::value::Value;
use std::collections::HashMap;

/// Looking through shorter lists takes no index.
const SHORT: usize = 24;

/// The places of a list's items, found by their merge keys or, without one, as a whole.
pub(super) struct Places<'v> {
    key: Option<&'v str>,
    identities: Vec<&'v Value>,
    /// All places, while there are few.
    all: Vec<usize>,
    /// Places by how the identifying value is written; what is written alike may still differ.
    index: Option<HashMap<String, Vec<usize>>>,
}

impl<'v> Places<'v> {
    pub(super) fn of(list: &'v [Value], key: Option<&'v str>) -> Self {
        let mut places = Places { key, identities: Vec::with_capacity(list.len()), all: Vec::new(), index: None };
        list.iter().for_each(|item| places.push(item));
        places
    }

    /// Another item behind the last.
    pub(super) fn push(&mut self, item: &'v Value) {
        let at = self.identities.len();
        self.identities.push(identity(item, self.key));
        if at == SHORT {
            let mut index: HashMap<String, Vec<usize>> = HashMap::new();
            for (at, identity) in self.identities[..at].iter().enumerate() {
                index.entry(text(identity)).or_default().push(at);
            }
            self.index = Some(index);
        }
        match &mut self.index {
            Some(index) => index.entry(text(self.identities[at])).or_default().push(at),
            None => self.all.push(at),
        }
    }

    /// All places of items with this identity, in order.
    pub(super) fn all<'p>(&'p self, identity: &'p Value) -> impl Iterator<Item = usize> + 'p {
        let likely = match &self.index {
            Some(index) => index.get(&text(identity)).map_or(&[][..], Vec::as_slice),
            None => &self.all,
        };
        likely.iter().copied().filter(|at| equal(self.identities[*at], identity))
    }

    /// The first place of an item with this identity.
    pub(super) fn first(&self, identity: &Value) -> Option<usize> {
        self.all(identity).next()
    }

    /// The first place of an item like this one.
    pub(super) fn place(&self, item: &Value) -> Option<usize> {
        self.first(identity(item, self.key))
    }

    /// Whether there is an item like this one.
    pub(super) fn has(&self, item: &Value) -> bool {
        self.place(item).is_some()
    }
}

/// What tells an item from others; null where it has no such field.
fn identity<'v>(item: &'v Value, key: Option<&str>) -> &'v Value {
    key.map_or(item, |key| &item[key])
}

/// The same for values that are equal.
fn text(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => {
            let mut value = value.clone();
            crate::schema::canonical::sort_deep(&mut value);
            format!("{value:?}")
        }
        scalar => format!("{scalar:?}"),
    }
}
