//! `FieldsV1`: sets of fields as JSON. Questions about stored sets are answered from the JSON itself where that is
//! possible, since most sets of an object have nothing to do with the write at hand.

use super::element::Element;
use super::set::{Node, Set};
use crate::value::{Object, Value};
use std::borrow::Cow;

/// Says that the field itself is in the set, beside what is below it.
const SELF: &str = ".";

/// The set in JSON.
pub(super) fn write(set: &Set) -> Value {
    object(set, false)
}

fn object(set: &Set, member: bool) -> Value {
    let mut entries = Vec::with_capacity(set.nodes.len() + usize::from(member));
    if member && !set.is_empty() {
        entries.push((Cow::Borrowed(SELF), Value::object()));
    }
    for node in &set.nodes {
        entries.push((Cow::Owned(name(&node.element)), object(&node.below, node.member)));
    }
    Value::Object(Object(entries))
}

fn name(element: &Element) -> String {
    let mut text = Vec::with_capacity(24);
    element.write(&mut text);
    String::from_utf8(text).expect("names and JSON are text")
}

/// The set that JSON stands for. Elements of unknown kinds are left out.
pub(super) fn read(fields: &Value) -> Result<Set, String> {
    match fields {
        Value::Null => Ok(Set::default()),
        Value::Object(entries) => Ok(below(entries)?.0),
        _ => Err("a set of fields must be an object".to_owned()),
    }
}

/// What is below, and whether the parent is a member.
fn below(entries: &Object) -> Result<(Set, bool), String> {
    let mut nodes: Vec<Node> = Vec::with_capacity(entries.len());
    let mut is_member = false;
    for (key, value) in &entries.0 {
        if key == SELF {
            is_member = true;
            continue;
        }
        let Some(element) = Element::parse(key)? else { continue };
        let Value::Object(entries) = value else {
            return Err(format!("{key} must be an object"));
        };
        let (below, member) = below(entries)?;
        if member || !below.is_empty() {
            nodes.push(Node { element, member, below });
        }
    }
    if !nodes.is_sorted_by(|a, b| a.element < b.element) {
        nodes.sort_by(|a, b| a.element.cmp(&b.element));
        nodes.dedup_by(|later, first| {
            let same = later.element == first.element;
            if same {
                first.member |= later.member;
                first.below = std::mem::take(&mut first.below).union(std::mem::take(&mut later.below));
            }
            same
        });
    }
    let is_member = is_member || nodes.is_empty();
    Ok((Set { nodes }, is_member))
}

/// Whether any field of the set is in the JSON, which this server wrote.
pub(super) fn meets(fields: &Value, set: &Set) -> bool {
    set.nodes.iter().any(|node| {
        find(fields, &node.element).is_some_and(|found| (node.member && is_member(found)) || meets(found, &node.below))
    })
}

/// Whether all fields of the set are in the JSON, which this server wrote.
pub(super) fn holds(fields: &Value, set: &Set) -> bool {
    set.nodes.iter().all(|node| {
        find(fields, &node.element).is_some_and(|found| (!node.member || is_member(found)) && holds(found, &node.below))
    })
}

fn is_member(found: &Value) -> bool {
    found.as_object().is_none_or(|o| o.is_empty() || o.0[0].0 == SELF)
}

fn find<'v>(fields: &'v Value, element: &Element) -> Option<&'v Value> {
    let entries = fields.as_object()?;
    match element {
        Element::Field(name) => {
            let is = |key: &str| key.strip_prefix("f:").is_some_and(|rest| rest == name);
            entries.0.iter().find(|(key, _)| is(key)).map(|(_, value)| value)
        }
        element => entries.get(&name(element)),
    }
}
