//! Protobuf by table, in the `k8s` envelope.

use super::DecodeError;
use crate::schema::TypeRef;
use crate::value::Value;

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
