//! What differs between two objects, by field.

use super::element::Element;
use super::kind::Kind;
use super::scalar::same;
use super::set::Set;
use super::zip::zip;
use crate::value::{Object, Value};
use std::collections::BTreeMap;

/// What differs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Fields that the new object alone has.
    pub added: Set,
    /// Fields that both have, with different values.
    pub modified: Set,
    /// Fields that the old object alone has.
    pub removed: Set,
}

impl Comparison {
    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    fn settle(&mut self) {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.settle();
        }
    }
}

/// What became of a field as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    Modified,
    Removed,
}

/// A field's differences.
#[derive(Default)]
struct Diff {
    own: Option<Change>,
    below: Comparison,
}

impl Diff {
    fn of(own: Change) -> Self {
        Diff { own: Some(own), below: Comparison::default() }
    }

    fn put(self, element: &Element, into: &mut Comparison) {
        into.added.add(element, self.own == Some(Change::Added), self.below.added);
        into.modified.add(element, self.own == Some(Change::Modified), self.below.modified);
        into.removed.add(element, self.own == Some(Change::Removed), self.below.removed);
    }

    fn is_empty(&self) -> bool {
        self.own.is_none() && self.below.is_empty()
    }
}

/// Compares two objects of a kind.
pub(super) fn objects(kind: Kind<'_>, old: &Value, new: &Value) -> Result<Comparison, String> {
    Ok(walk(kind, Some(old), Some(new))?.below)
}

fn leaf(old: Option<&Value>, new: Option<&Value>) -> Diff {
    match (old, new) {
        (None, _) => Diff::of(Change::Added),
        (_, None) => Diff::of(Change::Removed),
        (Some(old), Some(new)) if same(old, new) => Diff::default(),
        _ => Diff::of(Change::Modified),
    }
}

fn walk(kind: Kind<'_>, old: Option<&Value>, new: Option<&Value>) -> Result<Diff, String> {
    match kind {
        Kind::Leaf => Ok(leaf(old, new)),
        Kind::Struct(_) | Kind::Map(_) => parts(kind, old, new),
        Kind::Keyed(..) | Kind::Items => items(kind, old, new),
        Kind::Free => free(old, new),
    }
}

/// Adds what holds for a field that is there on one side only.
fn whole(old: Option<&Value>, new: Option<&Value>, below: Comparison) -> Diff {
    let own = match (old, new) {
        (None, _) => Some(Change::Added),
        (_, None) => Some(Change::Removed),
        _ => None,
    };
    Diff { own, below }
}

fn object(value: Option<&Value>) -> Option<&Object> {
    value.and_then(Value::as_object).filter(|o| !o.is_empty())
}

fn parts(kind: Kind<'_>, old: Option<&Value>, new: Option<&Value>) -> Result<Diff, String> {
    let (a, b) = (object(old), object(new));
    if a.is_none() && b.is_none() {
        return Ok(leaf(old, new));
    }
    let mut below = Comparison::default();
    zip(a, b, |name, old, new| {
        let (child, _) = kind.child(name);
        let diff = walk(child, old, new).map_err(|why| format!(".{name}{why}"))?;
        if !diff.is_empty() {
            diff.put(&Element::Field(name.clone()), &mut below);
        }
        Ok::<(), String>(())
    })?;
    below.settle();
    Ok(whole(old, new, below))
}

/// Without a schema the values say what divides.
fn free(old: Option<&Value>, new: Option<&Value>) -> Result<Diff, String> {
    let divides = |v: Option<&Value>| v.is_none_or(|v| matches!(v, Value::Object(_) | Value::Null));
    match (divides(old), divides(new)) {
        (true, true) => parts(Kind::Free, old, new),
        (false, false) => Ok(leaf(old, new)),
        // An object on one side and something else on the other.
        (true, false) => match old {
            Some(_) => Ok(Diff { below: parts(Kind::Free, old, None)?.below, own: leaf(old, new).own }),
            None => Ok(leaf(old, new)),
        },
        (false, true) => match new {
            Some(_) => Ok(Diff { below: parts(Kind::Free, None, new)?.below, own: leaf(old, new).own }),
            None => Ok(leaf(old, new)),
        },
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.map_or(&[], Value::items)
}

fn items(kind: Kind<'_>, old: Option<&Value>, new: Option<&Value>) -> Result<Diff, String> {
    let (a, b) = (list(old), list(new));
    if a.is_empty() && b.is_empty() {
        return Ok(leaf(old, new));
    }
    if old.is_some() && a == b {
        return Ok(Diff::default());
    }
    let mut by_element: BTreeMap<Element, (Vec<&Value>, Vec<&Value>)> = BTreeMap::new();
    for (at, item) in a.iter().enumerate() {
        by_element.entry(element(kind, at, item)?).or_default().0.push(item);
    }
    for (at, item) in b.iter().enumerate() {
        by_element.entry(element(kind, at, item)?).or_default().1.push(item);
    }
    let mut below = Comparison::default();
    for (element, (old, new)) in &by_element {
        compare_item(kind, element, old, new)?.put(element, &mut below);
    }
    below.settle();
    Ok(whole(old, new, below))
}

/// The path element of an item, or why it has none.
pub(super) fn element(kind: Kind<'_>, at: usize, item: &Value) -> Result<Element, String> {
    kind.element(item).map_err(|why| format!(": element {at}: {why}"))
}

/// Items that are there several times are taken together as one that doesn't divide.
fn compare_item(kind: Kind<'_>, element: &Element, old: &[&Value], new: &[&Value]) -> Result<Diff, String> {
    let one = |old: Option<&&Value>, new: Option<&&Value>| {
        walk(kind.item(), old.copied(), new.copied()).map_err(|why| format!("{element}{why}"))
    };
    match (old.len(), new.len()) {
        (0 | 1, 0 | 1) => one(old.first(), new.first()),
        (0 | 1, _) => {
            let gone = if old.is_empty() { Diff::default() } else { one(old.first(), None)? };
            Ok(duplicated(gone, Change::Added))
        }
        (_, 0 | 1) => {
            let come = if new.is_empty() { Diff::default() } else { one(None, new.first())? };
            Ok(duplicated(come, Change::Removed))
        }
        _ => {
            let equal = old.len() == new.len() && old.iter().zip(new).all(|(a, b)| same(a, b));
            Ok(if equal { Diff::default() } else { Diff::of(Change::Modified) })
        }
    }
}

/// The single item's parts on one side, the marker of several on the other.
fn duplicated(single: Diff, marker: Change) -> Diff {
    // The item itself is on both sides then; the one that stays counts.
    Diff { own: Some(marker), below: single.below }
}
