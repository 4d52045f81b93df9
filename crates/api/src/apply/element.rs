//! One step of a path: a field, or an item of a list.

use super::scalar;
use crate::codec::{parse_json, write_json};
use crate::value::{Key, Value};
use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;

/// One step of a path.
#[derive(Clone, Debug)]
pub enum Element {
    /// A field of a struct or an entry of a map.
    Field(Key),
    /// The item with these values in the fields that tell items apart, sorted by field name.
    Key(Vec<(Key, Value)>),
    /// The item of a set with this value.
    Value(Value),
    /// The item at this place.
    Index(i64),
}

impl Element {
    /// A field.
    pub fn field(name: impl Into<Key>) -> Self {
        Element::Field(name.into())
    }

    /// Appends the name under which `FieldsV1` has it: `f:spec`, `k:{"name":"a"}`, `v:"a"`, `i:0`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Element::Field(name) => {
                out.extend_from_slice(b"f:");
                out.extend_from_slice(name.as_bytes());
            }
            Element::Key(fields) => {
                out.extend_from_slice(b"k:{");
                for (i, (name, value)) in fields.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    crate::codec::write_json_string(name, out);
                    out.push(b':');
                    write_json(value, out);
                }
                out.push(b'}');
            }
            Element::Value(value) => {
                out.extend_from_slice(b"v:");
                write_json(value, out);
            }
            Element::Index(at) => out.extend_from_slice(format!("i:{at}").as_bytes()),
        }
    }

    /// From a name in `FieldsV1`; none for kinds of a later version.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, String> {
        let (kind, rest) = match text.as_bytes() {
            [kind, b':', ..] => (*kind, &text[2..]),
            bytes if bytes.len() < 2 => return Err("key must be 2 characters long:".to_owned()),
            _ => return Err(format!("missing colon: {text}")),
        };
        let json = || parse_json(rest.as_bytes()).map_err(|e| e.to_string());
        Ok(Some(match kind {
            b'f' => Element::Field(Cow::Owned(rest.to_owned())),
            b'v' => Element::Value(json()?),
            b'k' => match json()? {
                Value::Object(fields) => {
                    let mut fields = fields.0;
                    fields.sort_by(|a, b| a.0.cmp(&b.0));
                    Element::Key(fields)
                }
                _ => return Err(format!("keys of an item must be an object: {rest}")),
            },
            b'i' => Element::Index(rest.parse().map_err(|_| format!("no place in a list: {rest}"))?),
            _ => return Ok(None),
        }))
    }

    pub(super) fn is_field(&self) -> bool {
        matches!(self, Element::Field(_))
    }

    fn rank(&self) -> u8 {
        match self {
            Element::Field(_) => 0,
            Element::Key(_) => 1,
            Element::Value(_) => 2,
            Element::Index(_) => 3,
        }
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Element::Field(a), Element::Field(b)) => a.cmp(b),
            (Element::Key(a), Element::Key(b)) => {
                let pairs = a.iter().zip(b);
                let found = pairs.map(|(a, b)| a.0.cmp(&b.0).then_with(|| scalar::order(&a.1, &b.1)));
                found.into_iter().find(|o| o.is_ne()).unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            (Element::Value(a), Element::Value(b)) => scalar::order(a, b),
            (Element::Index(a), Element::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Element {}

impl fmt::Display for Element {
    /// As messages show it: `.spec`, `[name="a"]`, `[="a"]`, `[0]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Field(name) => write!(f, ".{name}"),
            Element::Key(fields) => {
                let shown = fields.iter().map(|(name, value)| format!("{name}={}", scalar::shown(value)));
                write!(f, "[{}]", shown.collect::<Vec<_>>().join(","))
            }
            Element::Value(value) => write!(f, "[={}]", scalar::shown(value)),
            Element::Index(at) => write!(f, "[{at}]"),
        }
    }
}
