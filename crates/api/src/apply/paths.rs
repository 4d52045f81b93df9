//! The fields of an object as a set; a set seen with the fields on the way to its members.

use super::element::Element;
use super::kind::Kind;
use super::set::Set;
use crate::value::{Object, Value};
use std::collections::BTreeSet;

/// The fields of an object.
pub(super) fn of(kind: Kind<'_>, object: &Value) -> Set {
    walk(kind, object).1
}

/// Whether the value itself is owned as a whole, and what is owned below it.
fn walk(kind: Kind<'_>, value: &Value) -> (bool, Set) {
    match (kind, value) {
        (Kind::Leaf, _) => (true, Set::default()),
        (Kind::Struct(_) | Kind::Map(_) | Kind::Free, Value::Object(fields)) => (false, of_fields(kind, fields)),
        (Kind::Keyed(..) | Kind::Items, Value::Array(items)) => (false, of_items(kind, items)),
        (Kind::Free, Value::Null) => (false, Set::default()),
        (Kind::Free, _) => (true, Set::default()),
        _ => (false, Set::default()),
    }
}

fn of_fields(kind: Kind<'_>, fields: &Object) -> Set {
    let mut set = Set::default();
    for (name, value) in &fields.0 {
        let (child, named) = kind.child(name);
        let (whole, below) = walk(child, value);
        let hollow = value.is_null() || value.as_object().is_some_and(Object::is_empty);
        set.add(&Element::Field(name.clone()), whole || hollow || !named, below);
    }
    set.settle();
    set
}

fn of_items(kind: Kind<'_>, items: &[Value]) -> Set {
    let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
    let elements: Vec<Option<Element>> = items.iter().map(|item| kind.element(item).ok()).collect();
    for element in elements.iter().flatten() {
        if !seen.insert(element) {
            twice.insert(element);
        }
    }
    let mut set = Set::default();
    for element in &twice {
        set.add(element, true, Set::default());
    }
    for (element, item) in elements.iter().zip(items) {
        let Some(element) = element.as_ref().filter(|e| !twice.contains(e)) else { continue };
        set.add(element, true, walk(kind.item(), item).1);
    }
    set.settle();
    set
}

/// The set with the named fields that lead to members (upstream `EnsureNamedFieldsAreMembers`).
pub(super) fn with_named(kind: Option<Kind<'_>>, set: &Set) -> Set {
    let mut out = set.clone();
    name_all(kind, &mut out);
    out
}

fn name_all(kind: Option<Kind<'_>>, set: &mut Set) {
    for node in set.nodes.iter_mut().filter(|n| !n.below.is_empty()) {
        let child = match (&node.element, kind) {
            (Element::Field(name), Some(kind @ (Kind::Struct(_) | Kind::Map(_) | Kind::Free))) => {
                let (child, named) = kind.child(name);
                node.member |= named;
                Some(child)
            }
            (Element::Key(_), Some(kind @ Kind::Keyed(..))) => Some(kind.item()),
            _ => None,
        };
        name_all(child, &mut node.below);
    }
}
