//! What number, string and bytes tokens mean.

use crate::value::Val;

/// The integer, with an optional sign before it.
pub(crate) fn int(text: &str, negative: bool) -> Option<Val<'static>> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
    let signed = if negative { format!("-{digits}") } else { digits.to_owned() };
    i64::from_str_radix(&signed, radix).ok().map(Val::Int)
}

/// The unsigned integer; the token ends in `u`.
pub(crate) fn uint(text: &str) -> Option<Val<'static>> {
    let text = &text[..text.len() - 1];
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |hex| (hex, 16));
    u64::from_str_radix(digits, radix).ok().map(Val::Uint)
}

/// The floating point number.
pub(crate) fn float(text: &str, negative: bool) -> Option<Val<'static>> {
    let value: f64 = text.parse().ok().filter(|f: &f64| f.is_finite())?;
    Some(Val::Double(if negative { -value } else { value }))
}

/// The text of a string token.
pub(crate) fn string(token: &str) -> Result<String, &'static str> {
    let bytes = unescape(token, false)?;
    String::from_utf8(bytes).map_err(|_| "invalid unicode code point")
}

/// The bytes of a bytes token, which starts with `b`.
pub(crate) fn bytes(token: &str) -> Result<Vec<u8>, &'static str> {
    unescape(&token[1..], true)
}

const UNABLE: &str = "unable to unescape string";

fn unescape(token: &str, is_bytes: bool) -> Result<Vec<u8>, &'static str> {
    let token = token.replace("\r\n", "\n").replace('\r', "\n");
    let raw = token.starts_with(['r', 'R']);
    let quoted = if raw { &token[1..] } else { &token[..] };
    let triple = quoted.len() >= 6 && (quoted.starts_with("'''") || quoted.starts_with("\"\"\""));
    let margin = if triple { 3 } else { 1 };
    let inner = quoted.get(margin..quoted.len().saturating_sub(margin)).ok_or(UNABLE)?;
    if raw || !inner.contains('\\') {
        return Ok(inner.as_bytes().to_vec());
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            escape(&mut chars, is_bytes, &mut out)?;
        } else {
            push_char(&mut out, c);
        }
    }
    Ok(out)
}

fn push_char(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn escape(chars: &mut std::str::Chars<'_>, is_bytes: bool, out: &mut Vec<u8>) -> Result<(), &'static str> {
    let c = chars.next().ok_or("unable to unescape string, found '\\' as last character")?;
    let simple = match c {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' | '\'' | '"' | '`' | '?' => c as u8,
        'x' | 'X' => return coded(digits(chars, 2, 16)?, is_bytes, out),
        'u' if !is_bytes => return coded(digits(chars, 4, 16)?, false, out),
        'U' if !is_bytes => return coded(digits(chars, 8, 16)?, false, out),
        '0'..='3' => {
            let first = u32::from(c) - u32::from('0');
            return coded(first * 64 + digits(chars, 2, 8)?, is_bytes, out);
        }
        _ => return Err(UNABLE),
    };
    out.push(simple);
    Ok(())
}

fn digits(chars: &mut std::str::Chars<'_>, n: usize, radix: u32) -> Result<u32, &'static str> {
    (0..n).try_fold(0u32, |value, _| {
        let digit = chars.next().and_then(|c| c.to_digit(radix)).ok_or(UNABLE)?;
        value.checked_mul(radix).and_then(|v| v.checked_add(digit)).ok_or("invalid unicode code point")
    })
}

/// In bytes an escape is a byte, in strings a code point.
fn coded(value: u32, is_bytes: bool, out: &mut Vec<u8>) -> Result<(), &'static str> {
    if is_bytes {
        out.push(u8::try_from(value).map_err(|_| UNABLE)?);
        return Ok(());
    }
    push_char(out, char::from_u32(value).ok_or("invalid unicode code point")?);
    Ok(())
}
