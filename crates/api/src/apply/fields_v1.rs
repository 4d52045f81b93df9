//! `FieldsV1`: sets of fields as JSON. Questions about stored sets are answered from the text itself, since most sets of
//! an object have nothing to do with the write at hand.

use super::element::Element;
use super::set::{Node, Set};
use crate::codec::{DecodeError, JsonReader, write_json, write_json_string};
use crate::value::Value;
use std::borrow::Cow;

/// Says that the field itself is in the set, beside what is below it.
const SELF: &str = ".";

/// The set in JSON.
pub(super) fn write(set: &Set) -> Value {
    let mut out = Vec::with_capacity(64 + 24 * set.len());
    object(set, false, &mut Vec::with_capacity(32), &mut out);
    Value::Raw(String::from_utf8(out).expect("names and JSON are text").into())
}

fn object(set: &Set, member: bool, name: &mut Vec<u8>, out: &mut Vec<u8>) {
    out.push(b'{');
    if member && !set.is_empty() {
        out.extend_from_slice(b"\".\":{},");
    }
    for node in &set.nodes {
        write_json_string(named(&node.element, name), out);
        out.push(b':');
        object(&node.below, node.member, name, out);
        out.push(b',');
    }
    if !set.is_empty() {
        out.pop();
    }
    out.push(b'}');
}

/// The name of an element, in a buffer.
fn named<'b>(element: &Element, buffer: &'b mut Vec<u8>) -> &'b str {
    buffer.clear();
    element.write(buffer);
    std::str::from_utf8(buffer).expect("names and JSON are text")
}

/// JSON text of fields as they are stored or came; empty where there are none.
fn text(fields: &Value) -> Cow<'_, str> {
    match fields {
        Value::Null => Cow::Borrowed(""),
        Value::Raw(text) => Cow::Borrowed(text),
        other => {
            let mut out = Vec::new();
            write_json(other, &mut out);
            Cow::Owned(String::from_utf8(out).expect("JSON is text"))
        }
    }
}

/// Whether there is nothing in the JSON.
pub(super) fn is_empty(fields: &Value) -> bool {
    let text = text(fields);
    !text.starts_with('{') || &*text == "{}"
}

/// The set that JSON stands for. Elements of unknown kinds are left out.
pub(super) fn read(fields: &Value) -> Result<Set, String> {
    let text = text(fields);
    match text.as_bytes().first() {
        None => Ok(Set::default()),
        Some(b'{') => Ok(below(&mut JsonReader::new(&text))?.0),
        Some(_) => Err("a set of fields must be an object".to_owned()),
    }
}

/// What is below, and whether the parent is a member.
fn below(reader: &mut JsonReader<'_>) -> Result<(Set, bool), String> {
    let why = |e: DecodeError| e.0;
    let mut nodes: Vec<Node> = Vec::new();
    let mut is_member = false;
    let mut more = reader.enter(b'}').map_err(why)?;
    while more {
        let key = reader.key().map_err(why)?;
        let element = if key == SELF { None } else { Element::parse(&key)? };
        match element {
            None => {
                is_member |= key == SELF;
                reader.skip().map_err(why)?;
            }
            Some(_) if reader.peek().map_err(why)? != b'{' => return Err(format!("{key} must be an object")),
            Some(element) => {
                let (below, member) = below(reader)?;
                if member || !below.is_empty() {
                    nodes.push(Node { element, member, below });
                }
            }
        }
        more = reader.more(b'}').map_err(why)?;
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
    shared(fields, set).is_some_and(|shared| shared.any)
}

/// Whether all fields of the set are in the JSON, which this server wrote.
pub(super) fn holds(fields: &Value, set: &Set) -> bool {
    set.is_empty() || shared(fields, set).is_some_and(|shared| shared.all)
}

/// What a place in the JSON and the set for it have in common.
struct Shared {
    /// The place itself is in the JSON, not only on the way to others.
    member: bool,
    any: bool,
    all: bool,
}

fn shared(fields: &Value, set: &Set) -> Option<Shared> {
    let text = text(fields);
    let mut reader = JsonReader::new(&text);
    (reader.peek() == Ok(b'{')).then(|| walk(&mut reader, set).ok())?
}

fn walk(reader: &mut JsonReader<'_>, set: &Set) -> Result<Shared, DecodeError> {
    let mut more = reader.enter(b'}')?;
    let mut found = Shared { member: !more, any: false, all: false };
    let mut held = 0;
    while more {
        let key = reader.key()?;
        let node = if key == SELF { None } else { find(set, &key) };
        match node {
            Some(node) if reader.peek()? == b'{' => {
                let below = walk(reader, &node.below)?;
                found.any |= below.any || (node.member && below.member);
                held += usize::from(below.all && (below.member || !node.member));
            }
            _ => {
                found.member |= key == SELF;
                reader.skip()?;
            }
        }
        more = reader.more(b'}')?;
    }
    found.all = held == set.nodes.len();
    Ok(found)
}

/// The node of a name.
fn find<'s>(set: &'s Set, name: &str) -> Option<&'s Node> {
    match name.strip_prefix("f:") {
        Some(field) => set.field(field),
        None => {
            let mut buffer = Vec::new();
            set.nodes.iter().filter(|n| !n.element.is_field()).find(|n| named(&n.element, &mut buffer) == name)
        }
    }
}
