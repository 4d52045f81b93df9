//! Formats that are codes: identifiers, numbers with check digits, colours, names.

fn digits(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())
}

fn hex(s: &str) -> bool {
    s.bytes().all(|b| b.is_ascii_hexdigit())
}

pub(super) fn object_id(s: &str) -> bool {
    s.len() == 24 && hex(s)
}

/// The 32 digits of a UUID; each of its dashes may be left out.
fn uuid_digits(s: &str) -> Option<String> {
    let (mut rest, mut all) = (s, String::with_capacity(32));
    for (i, len) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if i > 0 {
            rest = rest.strip_prefix('-').unwrap_or(rest);
        }
        let part = rest.get(..len).filter(|part| hex(part))?;
        all.push_str(part);
        rest = &rest[len..];
    }
    rest.is_empty().then_some(all)
}

fn is_uuid(s: &str, version: Option<u8>, variant: bool) -> bool {
    let Some(all) = uuid_digits(s) else { return false };
    let b = all.as_bytes();
    version.is_none_or(|version| b[12] == version)
        && (!variant || matches!(b[16].to_ascii_lowercase(), b'8' | b'9' | b'a' | b'b'))
}

pub(super) fn uuid(s: &str) -> bool {
    is_uuid(s, None, false)
}

pub(super) fn uuid3(s: &str) -> bool {
    is_uuid(s, Some(b'3'), false)
}

pub(super) fn uuid4(s: &str) -> bool {
    is_uuid(s, Some(b'4'), true)
}

pub(super) fn uuid5(s: &str) -> bool {
    is_uuid(s, Some(b'5'), true)
}

/// Without white space and dashes.
fn bare(s: &str) -> Vec<u8> {
    s.bytes().filter(|b| !matches!(b, b'-' | b' ' | b'\t' | b'\n' | b'\r' | 0x0c)).collect()
}

fn digit(b: u8) -> u32 {
    u32::from(b - b'0')
}

pub(super) fn isbn10(s: &str) -> bool {
    let s = bare(s);
    let [front @ .., last] = s.as_slice() else { return false };
    if front.len() != 9 || !front.iter().all(u8::is_ascii_digit) || !(last.is_ascii_digit() || *last == b'X') {
        return false;
    }
    let sum: u32 = front.iter().zip(1..).map(|(b, i)| i * digit(*b)).sum();
    let last = if *last == b'X' { 10 } else { digit(*last) };
    (sum + 10 * last).is_multiple_of(11)
}

pub(super) fn isbn13(s: &str) -> bool {
    let s = bare(s);
    if s.len() != 13 || !s.iter().all(u8::is_ascii_digit) {
        return false;
    }
    let sum: u32 = s[..12].iter().enumerate().map(|(i, b)| digit(*b) * if i % 2 == 0 { 1 } else { 3 }).sum();
    digit(s[12]) == (10 - sum % 10) % 10
}

pub(super) fn credit_card(s: &str) -> bool {
    let s: String = s.chars().filter(char::is_ascii_digit).collect();
    let starts = |prefixes: &[&str]| prefixes.iter().any(|p| s.starts_with(p));
    let known = match s.len() {
        13 => starts(&["4"]),
        14 => starts(&["300", "301", "302", "303", "304", "305", "36", "38"]),
        15 => starts(&["34", "37", "2131", "1800"]),
        16 => starts(&["4", "51", "52", "53", "54", "55", "6011", "65", "35"]),
        _ => false,
    };
    let sum: u32 = (s.bytes().rev().enumerate())
        .map(|(i, b)| match (i % 2, digit(b)) {
            (0, d) => d,
            (_, d) => 2 * d / 10 + 2 * d % 10,
        })
        .sum();
    known && sum.is_multiple_of(10)
}

pub(super) fn ssn(s: &str) -> bool {
    let b = s.as_bytes();
    b.len() == 11
        && matches!(b[3], b'-' | b' ')
        && matches!(b[6], b'-' | b' ')
        && b.iter().enumerate().all(|(i, b)| i == 3 || i == 6 || b.is_ascii_digit())
}

pub(super) fn hex_color(s: &str) -> bool {
    let s = s.strip_prefix('#').unwrap_or(s);
    matches!(s.len(), 3 | 6) && hex(s)
}

pub(super) fn rgb_color(s: &str) -> bool {
    let Some(inner) = s.strip_prefix("rgb(").and_then(|s| s.strip_suffix(')')) else { return false };
    let part = |p: &str| {
        let p = p.trim_matches([' ', '\t', '\n', '\r', '\u{c}']);
        digits(p) && (p == "0" || !p.starts_with('0')) && p.len() <= 3 && p.parse::<u8>().is_ok()
    };
    inner.split(',').count() == 3 && inner.split(',').all(part)
}

/// Standard base64 with padding; not empty.
pub(super) fn base64(s: &str) -> bool {
    let body = s.trim_end_matches('=');
    let padding = s.len() - body.len();
    !body.is_empty()
        && s.len().is_multiple_of(4)
        && padding <= 2
        && body.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

pub(super) fn short_name(s: &str) -> bool {
    kaji_api::names::dns1123_label(s).is_empty()
}

pub(super) fn long_name(s: &str) -> bool {
    kaji_api::names::dns1123_subdomain(s).is_empty()
}
