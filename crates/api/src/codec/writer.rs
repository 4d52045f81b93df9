//! JSON text as Go's encoder writes it.

use super::number::{write_float, write_int};
use crate::value::Value;

/// JSON text of a value, `<`, `>`, `&` escaped as Go does; no newline at the end.
pub fn write_json(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(n) => write_int(*n, out),
        Value::Float(f) => write_float(*f, out),
        Value::String(s) => write_string(s, out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_json(item, out);
            }
            out.push(b']');
        }
        Value::Object(o) => {
            out.push(b'{');
            for (i, (key, item)) in o.0.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write_string(key, out);
                out.push(b':');
                write_json(item, out);
            }
            out.push(b'}');
        }
    }
}

/// Bytes that may not stand as they are: controls, `"`, `\`, `<`, `>`, `&`, and the first of U+2028 and U+2029.
static SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut c = 0;
    while c < 0x20 {
        table[c] = true;
        c += 1;
    }
    let marks = [b'"', b'\\', b'<', b'>', b'&', 0xe2];
    let mut i = 0;
    while i < marks.len() {
        table[marks[i] as usize] = true;
        i += 1;
    }
    table
};

pub(crate) fn write_string(s: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = s.as_bytes();
    let mut run = 0;
    for (at, c) in bytes.iter().enumerate() {
        if !SPECIAL[usize::from(*c)] {
            continue;
        }
        let separator = match bytes.get(at..at + 3) {
            Some([0xe2, 0x80, 0xa8]) => Some(&b"\\u2028"[..]),
            Some([0xe2, 0x80, 0xa9]) => Some(&b"\\u2029"[..]),
            _ => None,
        };
        if *c == 0xe2 && separator.is_none() {
            continue;
        }
        out.extend_from_slice(&bytes[run..at]);
        run = at + 1;
        match (*c, separator) {
            (_, Some(escape)) => {
                out.extend_from_slice(escape);
                run = at + 3;
            }
            (b'"', _) => out.extend_from_slice(b"\\\""),
            (b'\\', _) => out.extend_from_slice(b"\\\\"),
            (b'\n', _) => out.extend_from_slice(b"\\n"),
            (b'\r', _) => out.extend_from_slice(b"\\r"),
            (b'\t', _) => out.extend_from_slice(b"\\t"),
            (8, _) => out.extend_from_slice(b"\\b"),
            (12, _) => out.extend_from_slice(b"\\f"),
            (c, _) => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(c >> 4)], HEX[usize::from(c & 15)]]);
            }
        }
    }
    out.extend_from_slice(&bytes[run..]);
    out.push(b'"');
}
