//! Values in messages, as Go prints them.

use super::{Val, convert, float_text};
use std::fmt;

impl fmt::Display for Val<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Val::Null => f.write_str("null"),
            Val::Bool(b) => write!(f, "{b}"),
            Val::Int(n) => write!(f, "{n}"),
            Val::Uint(n) => write!(f, "{n}"),
            Val::Double(d) => f.write_str(&float_text(*d)),
            Val::String(s) => f.write_str(s.as_str()),
            Val::Bytes(b) => {
                let bytes: Vec<String> = b.iter().map(ToString::to_string).collect();
                write!(f, "[{}]", bytes.join(" "))
            }
            Val::Duration(n) => f.write_str(&convert::duration_text(*n)),
            Val::Timestamp(t) => f.write_str(&t.text()),
            Val::List(list) => {
                let items = list.iter().map(|i| i.map_or_else(|e| e.to_string(), |v| v.to_string()));
                write!(f, "[{}]", items.collect::<Vec<_>>().join(", "))
            }
            Val::Map(map) => {
                let entries = map.keys().into_iter().map(|key| match map.find(&key) {
                    Ok(value) => format!("{key}: {}", value.unwrap_or(Val::Null)),
                    Err(error) => format!("{key}: {error}"),
                });
                write!(f, "{{{}}}", entries.collect::<Vec<_>>().join(", "))
            }
            Val::Type(ty) => f.write_str(ty.name()),
            Val::Optional(None) => f.write_str("optional.none()"),
            Val::Optional(Some(value)) => write!(f, "optional({value})"),
            Val::Opaque(opaque) => write!(f, "{opaque}"),
            Val::Struct(s) => {
                let fields = s.fields.iter().map(|(name, value)| format!("{name}: {value}"));
                write!(f, "{}{{{}}}", s.name, fields.collect::<Vec<_>>().join(", "))
            }
            Val::Unknown(value) => write!(f, "{}", Val::of(&value.opened())),
        }
    }
}
