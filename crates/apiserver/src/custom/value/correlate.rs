//! Which part of the old object a part of the new one comes from (apiserver `pkg/cel/common/equality.go`): by name
//! in objects and maps, by keys in lists of type map; other lists are wholes.

use super::check::same;
use super::{NONE, NodeId, Tree, flags};
use kaji_api::Value;
use kaji_api::value::Key;
use std::collections::HashMap;
use std::fmt::Write as _;

/// A part of the old object, and where it stands in the schema's skeleton.
#[derive(Clone, Copy)]
pub(crate) struct Old<'a> {
    pub(super) node: NodeId,
    pub(crate) value: &'a Value,
}

/// The items of an old list.
pub(crate) struct OldItems<'a> {
    node: NodeId,
    items: Keyed<'a, Key>,
}

/// Items by what identifies them.
pub(crate) struct Keyed<'a, K> {
    keys: &'a [K],
    by_key: HashMap<String, &'a Value>,
}

/// Items by what identifies them; of those with equal keys the first.
pub(crate) fn items_by_keys<'a, K: AsRef<str>>(items: &'a [Value], keys: &'a [K]) -> Keyed<'a, K> {
    let mut by_key = HashMap::new();
    for item in items.iter().filter(|_| !keys.is_empty()) {
        if let Some(key) = key_of(item, keys) {
            by_key.entry(key).or_insert(item);
        }
    }
    Keyed { keys, by_key }
}

impl<'a, K: AsRef<str>> Keyed<'a, K> {
    /// The item with the same keys.
    pub(crate) fn of(&self, item: &Value) -> Option<&'a Value> {
        self.by_key.get(&key_of(item, self.keys)?).copied()
    }
}

impl<'a> OldItems<'a> {
    /// What the item was.
    pub(crate) fn of(&self, item: &Value) -> Option<Old<'a>> {
        Some(Old { node: self.node, value: self.items.of(item)? })
    }
}

impl Tree {
    /// The old object as a whole.
    pub(crate) fn old_root<'a>(&self, value: &'a Value) -> Old<'a> {
        Old { node: 0, value }
    }

    /// What the entry of that name was.
    pub(crate) fn old_entry<'a>(&self, old: &Old<'a>, name: &str) -> Option<Old<'a>> {
        let value = old.value.get(name)?;
        let node = self.entry(self.node(old.node), name, &mut 0)?;
        Some(Old { node, value })
    }

    /// What the items were.
    pub(crate) fn old_items<'a>(&'a self, old: &Old<'a>) -> OldItems<'a> {
        let node = self.node(old.node);
        let keys = if node.has(flags::MAP) && node.items != NONE { self.keys(node) } else { &[] };
        OldItems { node: node.items, items: items_by_keys(old.value.items(), keys) }
    }

    /// Whether a value is what it was. Of lists of type map the order does not count; objects with entries that the
    /// schema does not know count as changed.
    pub(crate) fn unchanged(&self, old: &Old<'_>, new: &Value) -> bool {
        match (old.value, new) {
            (Value::Array(was), Value::Array(is)) => {
                let node = self.node(old.node);
                if was.len() != is.len() {
                    return false;
                }
                if !node.has(flags::MAP) || self.keys(node).is_empty() {
                    return was.iter().zip(is).all(|(was, is)| same(was, is));
                }
                let before = self.old_items(old);
                is.iter().all(|item| before.of(item).is_some_and(|old| self.unchanged(&old, item)))
            }
            (Value::Object(was), Value::Object(is)) => {
                was.len() == is.len()
                    && is
                        .0
                        .iter()
                        .all(|(name, value)| self.old_entry(old, name).is_some_and(|old| self.unchanged(&old, value)))
            }
            (was, is) => was == is,
        }
    }
}

/// What identifies an item of a list; none where a key is missing or no scalar.
fn key_of<K: AsRef<str>>(item: &Value, keys: &[K]) -> Option<String> {
    let mut text = String::new();
    for key in keys {
        let fine = match item.get(key.as_ref())? {
            Value::Bool(b) => write!(text, "\0b{b}"),
            Value::Int(n) => write!(text, "\0i{n}"),
            Value::Float(f) => write!(text, "\0f{f}"),
            Value::String(s) => write!(text, "\0s{s}"),
            _ => return None,
        };
        fine.ok()?;
    }
    Some(text)
}
