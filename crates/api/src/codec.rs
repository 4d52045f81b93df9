//! Reading and writing objects: JSON, YAML, protobuf.
//!
//! Decoding takes the type and gives a canonical [`Value`] (see `TypeRef::normalize`); writing JSON
//! needs no schema, since canonical values hold their fields in the right order.

mod coerce;
mod fault;
mod json;
mod number;
mod protobuf;
mod reader;
mod scalar;
mod time;
mod writer;
mod yaml;

pub(crate) use coerce::Coercion;
pub(crate) use json::keep_last;
pub use json::{decode_json, parse_json};
pub use protobuf::{
    Envelope, decode_protobuf, decode_protobuf_message, open_protobuf, write_protobuf, write_protobuf_event,
};
pub(crate) use reader::Reader as JsonReader;
pub use time::{parse_duration, show_duration, show_time};
pub use writer::write_json;
pub(crate) use writer::write_string as write_json_string;
pub use yaml::{check_yaml_keys, parse_yaml, write_yaml};

use crate::schema::TypeRef;
use crate::value::Value;
use std::borrow::Cow;

/// What strict decoding would refuse: reported beside the value so that the caller applies
/// `fieldValidation` (ignore, warn, or refuse).
#[derive(Debug, Default)]
pub struct Strict {
    /// Upstream's texts: `unknown field "spec.foo"`, `duplicate field "spec.bar"`, in the order found.
    pub findings: Vec<String>,
}

/// The bytes are not an object of that type. The text is upstream's where upstream's is known, for
/// example `json: cannot unmarshal string into Go struct field PodSpec.spec.priority of type int32`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// Deeper than any real object; keeps recursion off the end of a small stack.
const MAX_DEPTH: usize = 512;

/// Bytes as text, what is not UTF-8 replaced. Whole inputs are nearly always fine, which is cheap to tell.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// An untyped value (parsed JSON, a patched object) brought to canonical form for a type.
pub fn coerce(ty: TypeRef<'_>, value: Value) -> Result<(Value, Strict), DecodeError> {
    coerce::coerce(ty, value)
}

#[cfg(test)]
mod tests;
