//! An object's entries while they are patched: found by an index where there are many and many are changed.

use crate::value::{Key, Object, Value};
use std::collections::HashMap;

/// Looking through fewer entries takes no index.
const SHORT: usize = 24;

/// The entries of an object, in order.
pub(super) struct Entries {
    slots: Vec<(Key, Option<Value>)>,
    index: Option<HashMap<Key, usize>>,
}

impl Entries {
    /// Those of an object that will be looked into about so many times.
    pub(super) fn of(object: Object, times: usize) -> Self {
        let slots: Vec<_> = object.0.into_iter().map(|(key, value)| (key, Some(value))).collect();
        let index = (slots.len().max(times) > SHORT && times > 1)
            .then(|| slots.iter().enumerate().map(|(at, (key, _))| (key.clone(), at)).collect());
        Entries { slots, index }
    }

    fn place(&self, key: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(key).copied(),
            None => self.slots.iter().position(|(k, value)| k == key && value.is_some()),
        }
    }

    /// The entry, if present.
    pub(super) fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        let at = self.place(key)?;
        self.slots[at].1.as_mut()
    }

    /// Replaces the entry, or adds one at the end.
    pub(super) fn put(&mut self, key: Key, value: Value) {
        match self.place(&key) {
            Some(at) => self.slots[at].1 = Some(value),
            None => {
                if let Some(index) = &mut self.index {
                    index.insert(key.clone(), self.slots.len());
                }
                self.slots.push((key, Some(value)));
            }
        }
    }

    /// Takes the entry out.
    pub(super) fn remove(&mut self, key: &str) {
        if let Some(at) = self.place(key) {
            self.slots[at].1 = None;
            if let Some(index) = &mut self.index {
                index.remove(key);
            }
        }
    }

    /// The object again.
    pub(super) fn into_object(self) -> Object {
        Object(self.slots.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
    }
}
