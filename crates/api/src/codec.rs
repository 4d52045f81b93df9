//! Reading and writing objects: JSON, YAML, protobuf.
//!
//! Decoding takes the type and gives a canonical [`Value`] (see `TypeRef::normalize`); writing JSON
//! needs no schema, since canonical values hold their fields in the right order.

use crate::schema::TypeRef;
use crate::value::Value;

/// What strict decoding would refuse: reported beside the value so that the caller applies
/// `fieldValidation` (ignore, warn, or refuse).
#[derive(Debug, Default)]
pub struct Strict {
    /// Upstream's texts: `unknown field "spec.foo"`, `duplicate field "spec.bar"`, in the order found.
    pub findings: Vec<String>,
}

/// The bytes are not an object of that type. The text is upstream's where upstream's is known, for
/// example `json: cannot unmarshal string into Go struct field PodSpec.spec.priority of type int32`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// JSON of a known type. Unknown fields are dropped and reported; `null` counts as absent.
pub fn decode_json(_ty: TypeRef<'_>, _bytes: &[u8]) -> Result<(Value, Strict), DecodeError> {
    unimplemented!()
}

/// JSON of no known type: no order, no checks but syntax; duplicate keys take the last.
pub fn parse_json(_bytes: &[u8]) -> Result<Value, DecodeError> {
    unimplemented!()
}

/// An untyped value (parsed JSON, a patched object) brought to canonical form for a type.
pub fn coerce(_ty: TypeRef<'_>, _value: Value) -> Result<(Value, Strict), DecodeError> {
    unimplemented!()
}

/// JSON text of a value, `<`, `>`, `&` escaped as Go does; no newline at the end.
pub fn write_json(_value: &Value, _out: &mut Vec<u8>) {
    unimplemented!()
}

/// YAML of one document to an untyped value.
pub fn parse_yaml(_bytes: &[u8]) -> Result<Value, DecodeError> {
    unimplemented!()
}

/// YAML text of a value, keys sorted, as upstream writes it.
pub fn write_yaml(_value: &Value) -> String {
    unimplemented!()
}

/// The `k8s\0` envelope: `apiVersion`, `kind` and the raw message behind it.
pub struct Envelope<'a> {
    /// `typeMeta.apiVersion`.
    pub api_version: String,
    /// `typeMeta.kind`.
    pub kind: String,
    /// The object's own message.
    pub raw: &'a [u8],
}

/// Opens a protobuf envelope.
pub fn open_protobuf(_bytes: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    unimplemented!()
}

/// A protobuf body (with envelope) of a known type; `apiVersion` and `kind` come from the envelope.
pub fn decode_protobuf(_ty: TypeRef<'_>, _bytes: &[u8]) -> Result<Value, DecodeError> {
    unimplemented!()
}

/// Protobuf with envelope, byte for byte as upstream writes it.
pub fn write_protobuf(_ty: TypeRef<'_>, _value: &Value, _out: &mut Vec<u8>) {
    unimplemented!()
}
