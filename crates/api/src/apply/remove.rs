//! Taking fields out of an object, or everything else.

use super::element::Element;
use super::kind::Kind;
use super::set::Set;
use crate::value::{Object, Value};

/// The object without the fields of a set. What is emptied by that stays, empty.
pub(super) fn remove(kind: Kind<'_>, object: &Value, set: &Set) -> Value {
    if set.is_empty() { object.clone() } else { without(kind, object, set) }
}

fn without(kind: Kind<'_>, value: &Value, set: &Set) -> Value {
    match (kind, value) {
        (Kind::Struct(_) | Kind::Map(_) | Kind::Free, Value::Object(fields)) => {
            let kept = fields.0.iter().filter_map(|(name, value)| {
                let Some(node) = set.get(&Element::Field(name.clone())) else {
                    return Some((name.clone(), value.clone()));
                };
                if node.member {
                    return None;
                }
                Some((name.clone(), hollow(without(kind.child(name).0, value, &node.below), value)))
            });
            Value::Object(Object(kept.collect()))
        }
        (Kind::Keyed(..) | Kind::Items, Value::Array(items)) => {
            let kept = items.iter().filter_map(|item| {
                let node = kind.element(item).ok().and_then(|element| set.get(&element));
                let Some(node) = node else { return Some(item.clone()) };
                if node.member {
                    return None;
                }
                Some(hollow(without(kind.item(), item, &node.below), item))
            });
            let kept: Vec<Value> = kept.collect();
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        // Atomic ones go as a whole: something in them was named.
        (_, Value::Object(_) | Value::Array(_)) => Value::Null,
        (_, scalar) => scalar.clone(),
    }
}

/// Containers stay containers.
fn hollow(left: Value, was: &Value) -> Value {
    match (left, was) {
        (Value::Null, Value::Object(_)) => Value::object(),
        (Value::Null, Value::Array(_)) => Value::Array(Vec::new()),
        (left, _) => left,
    }
}

/// What is in the set, and nothing else. Items keep the fields that tell them apart only if those are in it.
pub(super) fn extract(kind: Kind<'_>, value: &Value, set: &Set) -> Value {
    match (kind, value) {
        (Kind::Struct(_) | Kind::Map(_) | Kind::Free, Value::Object(fields)) => {
            let kept = fields.0.iter().filter_map(|(name, value)| {
                let node = set.get(&Element::Field(name.clone()))?;
                let child = kind.child(name).0;
                let divides = !matches!(child, Kind::Leaf) && !node.below.is_empty();
                Some((name.clone(), if divides { extract(child, value, &node.below) } else { value.clone() }))
            });
            Value::Object(Object(kept.collect()))
        }
        (Kind::Keyed(..) | Kind::Items, Value::Array(items)) => {
            let kept = items.iter().filter_map(|item| {
                let element = kind.element(item).ok()?;
                let node = set.get(&element)?;
                Some(if node.below.is_empty() { item.clone() } else { extract(kind.item(), item, &node.below) })
            });
            Value::Array(kept.collect())
        }
        (_, value) => value.clone(),
    }
}
