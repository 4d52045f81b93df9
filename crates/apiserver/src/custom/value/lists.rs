//! Items of sets and keys of maps are unique (apiextensions-apiserver `pkg/apiserver/schema/listtype`).

use super::check::same;
use super::{NONE, Node, NodeId, Tree, flags};
use kaji_api::field::{Errors, Path};
use kaji_api::value::Key;
use kaji_api::{Object, Value};
use std::collections::HashMap;

/// Up to so many items are compared one by one.
const FEW: usize = 16;

static NULL: Value = Value::Null;

impl Tree {
    /// Whether no set or map of the object has anything twice.
    pub(crate) fn lists_fit(&self, id: NodeId, value: &Value) -> bool {
        let node = self.node(id);
        if !node.has(flags::HOLDS_LISTS) {
            return true;
        }
        match value {
            Value::Array(items) => {
                self.list_faults(node, items).is_empty()
                    && (node.items == NONE || items.iter().all(|item| self.lists_fit(node.items, item)))
            }
            Value::Object(_) => {
                let mut next = 0;
                (value.entries()).all(|(name, value)| {
                    self.entry(node, name, &mut next).is_none_or(|entry| self.lists_fit(entry, value))
                })
            }
            _ => true,
        }
    }

    /// What they have twice.
    pub(crate) fn report_lists(&self, id: NodeId, value: &Value, path: &Path, e: &mut Errors) {
        let node = self.node(id);
        if !node.has(flags::HOLDS_LISTS) {
            return;
        }
        match value {
            Value::Array(items) => {
                for (i, shown) in self.list_faults(node, items) {
                    match shown {
                        Fault::Twice(shown) => e.duplicate(&path.index(i), shown),
                        Fault::NoObject => {
                            let text = "must be an object for an array of list-type map";
                            e.invalid(&path.index(i), items[i].clone(), text);
                        }
                    }
                }
                for (i, item) in items.iter().enumerate().filter(|_| node.items != NONE) {
                    self.report_lists(node.items, item, &path.index(i), e);
                }
            }
            Value::Object(_) => {
                for (name, value) in value.entries() {
                    if let Some(field) = self.field(node, name, &mut 0) {
                        self.report_lists(field, value, &path.child(name), e);
                    } else if node.additional != NONE {
                        self.report_lists(node.additional, value, &path.key(name), e);
                    }
                }
            }
            _ => {}
        }
    }

    fn list_faults(&self, node: &Node, items: &[Value]) -> Vec<(usize, Fault)> {
        if node.has(flags::SET) {
            let twice = repeated(items.iter());
            return twice.into_iter().map(|i| (i, Fault::Twice(items[i].clone()))).collect();
        }
        if !node.has(flags::MAP) {
            return Vec::new();
        }
        let odd = items.iter().position(|item| !matches!(item, Value::Null | Value::Object(_)));
        if let Some(odd) = odd {
            return vec![(odd, Fault::NoObject)];
        }
        let keys = self.keys(node);
        let twice = match keys {
            // One key needs no copies: absence is told apart from null by where the value lies.
            [key] => repeated_keys(items, key),
            _ => repeated(items.iter().map(|item| keys_of(item, keys)).collect::<Vec<_>>().iter()),
        };
        twice.into_iter().map(|i| (i, Fault::Twice(keys_of(&items[i], keys)))).collect()
    }
}

enum Fault {
    Twice(Value),
    NoObject,
}

/// The keys of an item that are there.
fn keys_of(item: &Value, keys: &[Key]) -> Value {
    let found = keys.iter().filter_map(|key| Some((key.clone(), item.get(key)?.clone())));
    Value::Object(Object(found.collect()))
}

fn repeated_keys(items: &[Value], key: &Key) -> Vec<usize> {
    let absent: Vec<usize> = (items.iter().enumerate()).filter(|(_, i)| i.get(key).is_none()).map(|(i, _)| i).collect();
    let given: Vec<usize> = if absent.is_empty() {
        return repeated(items.iter().map(|item| item.get(key).unwrap_or(&NULL)));
    } else {
        (0..items.len()).filter(|i| items[*i].get(key).is_some()).collect()
    };
    let twice = repeated(given.iter().map(|i| items[*i].get(key).unwrap_or(&NULL)));
    let mut twice: Vec<usize> = twice.into_iter().map(|i| given[i]).chain(absent.get(1).copied()).collect();
    twice.sort_unstable();
    twice
}

/// Where values stand for the second time (not for the third).
pub(super) fn repeated<'a>(values: impl ExactSizeIterator<Item = &'a Value> + Clone) -> Vec<usize> {
    if values.len() <= FEW {
        let before = |i: usize, value: &Value| values.clone().take(i).filter(|other| same(other, value)).count();
        return values.clone().enumerate().filter(|(i, value)| before(*i, value) == 1).map(|(i, _)| i).collect();
    }
    let mut seen: HashMap<String, usize> = HashMap::with_capacity(values.len());
    let mut twice = Vec::new();
    for (i, value) in values.enumerate() {
        let times = seen.entry(text(value)).or_default();
        *times += 1;
        if *times == 2 {
            twice.push(i);
        }
    }
    twice
}

/// Equal for values that are the same.
fn text(value: &Value) -> String {
    match value {
        Value::String(s) => format!("\"{s}"),
        Value::Int(n) => n.to_string(),
        other => kaji_api::field::printed(other),
    }
}
