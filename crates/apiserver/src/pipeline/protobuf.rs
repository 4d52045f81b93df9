//! The few messages that are put together by hand: envelopes, heads of lists, watch events.

use super::output::ListHead;

/// What every protobuf body begins with.
const MAGIC: &[u8] = b"k8s\0";

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push((n & 0x7f) as u8);
}

/// A length-delimited field.
pub(super) fn field(out: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A message in its envelope.
pub(super) fn envelope(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    field(&mut types, 1, api_version.as_bytes());
    field(&mut types, 2, kind.as_bytes());
    let mut out = Vec::with_capacity(message.len() + types.len() + 24);
    out.extend_from_slice(MAGIC);
    field(&mut out, 1, &types);
    field(&mut out, 2, message);
    field(&mut out, 3, b"");
    field(&mut out, 4, b"");
    out
}

/// A list message that has its metadata but no items yet.
pub(super) fn list_head(head: &ListHead) -> Vec<u8> {
    let mut metadata = Vec::new();
    field(&mut metadata, 1, b"");
    field(&mut metadata, 2, head.revision.to_string().as_bytes());
    field(&mut metadata, 3, head.continue_.as_bytes());
    if let Some(remaining) = head.remaining {
        varint(&mut metadata, 4 << 3);
        varint(&mut metadata, remaining as u64);
    }
    let mut list = Vec::new();
    field(&mut list, 1, &metadata);
    list
}

/// A framed watch event: its length in four bytes, then the event.
pub(super) fn watch_event(word: &str, object: &[u8]) -> Vec<u8> {
    let mut raw = Vec::with_capacity(object.len() + 8);
    field(&mut raw, 1, object);
    let mut event = Vec::with_capacity(raw.len() + 16);
    field(&mut event, 1, word.as_bytes());
    field(&mut event, 2, &raw);
    let mut out = Vec::with_capacity(event.len() + 4);
    out.extend_from_slice(&u32::try_from(event.len()).expect("events are far below 4 GiB").to_be_bytes());
    out.extend_from_slice(&event);
    out
}
