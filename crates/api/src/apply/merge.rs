//! A configuration laid over an object.

use super::compare::element;
use super::element::Element;
use super::kind::Kind;
use super::zip::zip;
use crate::value::{Object, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Merges a configuration into an object.
pub(super) fn objects(kind: Kind<'_>, object: &Value, config: &Value) -> Result<Value, String> {
    Ok(walk(kind, Some(object), Some(config))?.unwrap_or_default())
}

/// The configuration's value if it has one, else the object's.
fn leaf(old: Option<&Value>, new: Option<&Value>) -> Option<Value> {
    new.or(old).cloned()
}

fn walk(kind: Kind<'_>, old: Option<&Value>, new: Option<&Value>) -> Result<Option<Value>, String> {
    let divides = |v: &Value| matches!(v, Value::Object(_) | Value::Null);
    match kind {
        Kind::Leaf => Ok(leaf(old, new)),
        Kind::Free if !new.or(old).is_none_or(divides) => Ok(leaf(old, new)),
        Kind::Struct(_) | Kind::Map(_) | Kind::Free => parts(kind, old, new),
        Kind::Keyed(..) | Kind::Items => items(kind, old, new),
    }
}

fn object(value: Option<&Value>) -> Option<&Object> {
    value.and_then(Value::as_object).filter(|o| !o.is_empty())
}

fn parts(kind: Kind<'_>, old: Option<&Value>, new: Option<&Value>) -> Result<Option<Value>, String> {
    if new.is_none() {
        // Nothing to lay over it: as it is.
        return Ok(old.cloned());
    }
    let (a, b) = (object(old), object(new));
    if a.is_none() && b.is_none() {
        return Ok(leaf(old, new));
    }
    let mut out = Object::default();
    zip(a, b, |name, old, new| {
        let merged = walk(kind.child(name).0, old, new).map_err(|why| format!(".{name}{why}"))?;
        out.0.extend(merged.map(|value| (name.clone(), value)));
        Ok::<(), String>(())
    })?;
    if matches!(kind, Kind::Free) {
        // No schema puts them in order later.
        out.0.sort_by(|a, b| a.0.cmp(&b.0));
    }
    Ok((!out.is_empty()).then_some(Value::Object(out)))
}

/// A list by its items' path elements.
struct Indexed<'v> {
    elements: Vec<Element>,
    /// None for what is there several times.
    items: BTreeMap<Element, Option<&'v Value>>,
}

fn index<'v>(kind: Kind<'_>, list: &'v [Value], may_repeat: bool) -> Result<Indexed<'v>, String> {
    let mut indexed = Indexed { elements: Vec::with_capacity(list.len()), items: BTreeMap::new() };
    for (at, item) in list.iter().enumerate() {
        let element = element(kind, at, item)?;
        let known = indexed.items.contains_key(&element);
        if known && !may_repeat {
            return Err(format!(": duplicate entries for key {element}"));
        }
        indexed.items.insert(element.clone(), (!known).then_some(item));
        indexed.elements.push(element);
    }
    Ok(indexed)
}

/// Items of both, in the configuration's order where they are in both, otherwise as near as possible to where they
/// were.
fn items(kind: Kind<'_>, old: Option<&Value>, new: Option<&Value>) -> Result<Option<Value>, String> {
    if new.is_none() {
        return Ok(old.cloned());
    }
    let (a, b) = (old.map_or(&[][..], Value::items), new.map_or(&[][..], Value::items));
    if a.is_empty() && b.is_empty() {
        return Ok(leaf(old, new));
    }
    let (left, right) = (index(kind, a, true)?, index(kind, b, false)?);
    let mut out = Vec::with_capacity(a.len().max(b.len()));
    for step in order(&left, &right) {
        let (element, old, new) = match step {
            Step::Left(at) => (&left.elements[at], Some(&a[at]), None),
            Step::Right(at) => {
                let element = &right.elements[at];
                (element, left.items.get(element).copied().flatten(), Some(&b[at]))
            }
        };
        let merged = walk(kind.item(), old, new).map_err(|why| format!("{element}{why}"))?;
        out.extend(merged);
    }
    Ok((!out.is_empty()).then_some(Value::Array(out)))
}

/// Where the next item comes from.
enum Step {
    /// The object, at this place: the configuration doesn't have it.
    Left(usize),
    /// The configuration, at this place; merged with the object's if that has it.
    Right(usize),
}

fn order(left: &Indexed<'_>, right: &Indexed<'_>) -> Vec<Step> {
    let mut shared = right.elements.iter().filter(|e| left.items.contains_key(e));
    let mut next_shared = shared.next();
    let mut merged: BTreeSet<&Element> = BTreeSet::new();
    let mut steps = Vec::new();
    let (mut l, mut r) = (0, 0);
    while l < left.elements.len() || r < right.elements.len() {
        if let (Some(ours), Some(theirs)) = (left.elements.get(l), right.elements.get(r)) {
            if ours == theirs {
                merged.insert(ours);
                steps.push(Step::Right(r));
                (l, r) = (l + 1, r + 1);
                next_shared = shared.next();
                continue;
            }
            if right.items.contains_key(ours) && next_shared.is_some_and(|next| next != ours) {
                // In both, but not the one whose turn it is.
                l += 1;
                continue;
            }
        }
        if let Some(ours) = left.elements.get(l) {
            if !right.items.contains_key(ours) {
                steps.push(Step::Left(l));
                l += 1;
                continue;
            }
            if merged.contains(ours) {
                l += 1;
            }
        }
        if let Some(theirs) = right.elements.get(r) {
            merged.insert(theirs);
            steps.push(Step::Right(r));
            r += 1;
            if next_shared == Some(theirs) {
                next_shared = shared.next();
            }
        }
    }
    steps
}
