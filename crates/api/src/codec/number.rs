//! Numbers: Go's rules for reading them without a type, and Go's way to print floats.

use crate::value::Value;

/// A number of no known type: an integer where it is written as one and fits 64 bits.
pub(crate) fn untyped(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(n) => Value::Int(n),
        Err(_) => Value::Float(text.parse().unwrap_or(f64::INFINITY)),
    }
}

/// Appends an integer.
pub(crate) fn write_int(n: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = n.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(rest % 10).expect("below ten");
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if n < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a float: the shortest digits that read back the same, with an exponent only where very large or small.
pub(crate) fn write_float(f: f64, out: &mut Vec<u8>) {
    use std::io::Write;
    let size = f.abs();
    let written = if !f.is_finite() {
        out.write_all(b"null")
    } else if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{f:e}");
        let (digits, exponent) = text.split_once('e').expect("asked for an exponent");
        let sign = if exponent.starts_with('-') { "" } else { "+" };
        write!(out, "{digits}e{sign}{exponent}")
    } else {
        write!(out, "{f}")
    };
    written.expect("writing to memory");
}
