//! Protobuf by table, in the `k8s` envelope.
//!
//! The envelope is four bytes and one message: type, raw object, content encoding, content type. Objects are proto2:
//! fields by ascending number, repeated scalars one by one, map entries sorted, every field that is no pointer
//! written, zero or not.

mod decode;
mod encode;
mod wire;

use super::DecodeError;
use crate::schema::{TypeRef, kind};
use crate::value::Value;
use wire::{LEN, Reader};

/// What an envelope begins with.
const MAGIC: &[u8; 4] = b"k8s\0";

/// The `k8s\0` envelope: `apiVersion`, `kind` and the raw message behind it.
#[derive(Debug)]
pub struct Envelope<'a> {
    /// `typeMeta.apiVersion`.
    pub api_version: String,
    /// `typeMeta.kind`.
    pub kind: String,
    /// The object's own message.
    pub raw: &'a [u8],
}

/// Opens a protobuf envelope.
pub fn open_protobuf(bytes: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    let Some(message) = bytes.strip_prefix(MAGIC) else {
        let why = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
        return Err(DecodeError(why.into()));
    };
    let mut envelope = Envelope { api_version: String::new(), kind: String::new(), raw: &[] };
    let mut reader = Reader::new(message);
    while let Some((number, wire)) = reader.tag()? {
        match (number, wire) {
            (1, LEN) => {
                let mut meta = Reader::new(reader.bytes()?);
                while let Some((number, wire)) = meta.tag()? {
                    match (number, wire) {
                        (1, LEN) => envelope.api_version = meta.string()?,
                        (2, LEN) => envelope.kind = meta.string()?,
                        _ => meta.skip(wire)?,
                    }
                }
            }
            (2, LEN) => envelope.raw = reader.bytes()?,
            _ => reader.skip(wire)?,
        }
    }
    Ok(envelope)
}

/// A protobuf body (with envelope) of a known type; `apiVersion` and `kind` come from the envelope.
pub fn decode_protobuf(ty: TypeRef<'_>, bytes: &[u8]) -> Result<Value, DecodeError> {
    let envelope = open_protobuf(bytes)?;
    decode::object(ty, envelope.raw, &envelope.api_version, &envelope.kind, 0)
}

/// A message without envelope: what watch streams are made of (`metav1.WatchEvent`).
pub fn decode_protobuf_message(ty: TypeRef<'_>, message: &[u8]) -> Result<Value, DecodeError> {
    decode::object(ty, message, "", "", 0)
}

/// Protobuf with envelope, byte for byte as upstream writes it.
pub fn write_protobuf(ty: TypeRef<'_>, value: &Value, out: &mut Vec<u8>) {
    out.extend_from_slice(MAGIC);
    wire::message(1, out, |out| {
        wire::string(1, value.api_version(), out);
        wire::string(2, value.kind(), out);
    });
    wire::message(2, out, |out| encode::object(ty, value, out));
    wire::string(3, "", out);
    wire::string(4, "", out);
}

/// One event of a watch stream, without envelope; `object` is an encoded object, envelope and all.
pub fn write_protobuf_event(event: &str, object: &[u8], out: &mut Vec<u8>) {
    wire::string(1, event, out);
    wire::message(2, out, |out| wire::bytes(1, object, out));
}

/// The object in a raw extension, so deep inside another: JSON, or an envelope of a kind we know.
fn embedded(raw: &[u8], depth: usize) -> Result<Value, DecodeError> {
    if !raw.starts_with(MAGIC) {
        return super::json::parse_json_below(depth, raw);
    }
    let envelope = open_protobuf(raw)?;
    let (group, version) = envelope.api_version.split_once('/').unwrap_or(("", &envelope.api_version));
    match kind(group, version, &envelope.kind) {
        Some(ty) => decode::object(ty, envelope.raw, &envelope.api_version, &envelope.kind, depth),
        None => Err(DecodeError(format!(
            "no kind \"{}\" is registered for version \"{}\"",
            envelope.kind, envelope.api_version
        ))),
    }
}
