//! Classes and escapes.

use super::{Step, bad, hex, push_literal, size};

/// What one escape, or one part of a class, stands for.
pub(super) enum Item {
    Char(char),
    /// The inside of a class, and what its properties compile to, in bytes.
    Set(String, u64),
}

/// Perl's classes, as Go has them: ASCII.
fn perl(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "0-9",
        'D' => "[^0-9]",
        's' => "\\t\\n\\f\\r ",
        'S' => "[^\\t\\n\\f\\r ]",
        'w' => "0-9A-Za-z_",
        'W' => "[^0-9A-Za-z_]",
        _ => return None,
    })
}

/// Classes by name: `[:alpha:]`, `[:^alpha:]`.
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space", "upper", "word",
    "xdigit",
];

/// An escape inside or outside of a class, and what follows it.
pub(super) fn escape(text: &str) -> Step<(Item, &str)> {
    let mut chars = text[1..].chars();
    let Some(c) = chars.next() else { return bad("trailing backslash at end of expression", "") };
    let rest = chars.as_str();
    if let Some(set) = perl(c) {
        return Ok((Item::Set(set.to_owned(), 0), rest));
    }
    let simple = match c {
        'p' | 'P' => return property(text),
        '0'..='7' => return octal(text),
        'x' => return hexadecimal(text),
        'a' => '\u{7}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
        _ => return bad("invalid escape sequence", &text[..1 + c.len_utf8()]),
    };
    Ok((Item::Char(simple), rest))
}

fn octal(text: &str) -> Step<(Item, &str)> {
    let digits = text[1..].bytes().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
    let backreference = !text[1..].starts_with('0') && digits == 1;
    if backreference {
        return bad("invalid escape sequence", &text[..2]);
    }
    let number = u32::from_str_radix(&text[1..=digits], 8).unwrap_or_default();
    Ok((Item::Char(char::from_u32(number).unwrap_or_default()), &text[1 + digits..]))
}

fn hexadecimal(text: &str) -> Step<(Item, &str)> {
    let wrong = |len: usize| bad("invalid escape sequence", text.get(..len).unwrap_or(text));
    if text[2..].starts_with('{') {
        let Some(end) = text.find('}') else { return wrong(text.len()) };
        return match hex(text[3..end].chars()) {
            Some(c) => Ok((Item::Char(c), &text[end + 1..])),
            None => wrong(end + 1),
        };
    }
    match text.get(2..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit())).and_then(|d| hex(d.chars())) {
        Some(c) => Ok((Item::Char(c), &text[4..])),
        None => wrong(text.len().min(4)),
    }
}

/// `\pL`, `\p{Greek}`, `\p{^Greek}`.
fn property(text: &str) -> Step<(Item, &str)> {
    let mut negated = text.as_bytes()[1] == b'P';
    let braced = text[2..].starts_with('{');
    let end = if braced { text.find('}') } else { text[2..].chars().next().map(|c| 1 + c.len_utf8()) };
    let Some(end) = end else { return bad("invalid character class range", text) };
    let mut name = if braced { &text[3..end] } else { &text[2..=end] };
    if let Some(inner) = name.strip_prefix('^') {
        (negated, name) = (!negated, inner);
    }
    let plain = name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_');
    let (set, bytes) = match name {
        "Any" => ("\\x{0}-\\x{10FFFF}".to_owned(), Some(0)),
        name if plain => (format!("\\p{{{name}}}"), size::of_property(name)),
        _ => (String::new(), None),
    };
    let Some(bytes) = bytes else { return bad("invalid character class range", &text[..=end]) };
    let set = if negated { format!("[^{set}]") } else { set };
    Ok((Item::Set(set, bytes), &text[end + 1..]))
}

/// A class from its bracket on; gives what follows it, and what its properties compile to: no more than the largest of them
/// for sure, as they may overlap. `last_name`: how far from the end the last `:]` is, so that nobody looks for one in vain
/// again and again; more than there is of text: there is none.
pub(super) fn class<'a>(text: &'a str, last_name: usize, out: &mut String) -> Step<(&'a str, u64)> {
    let mut largest = 0;
    out.push('[');
    let mut rest = &text[1..];
    if let Some(inner) = rest.strip_prefix('^') {
        out.push('^');
        rest = inner;
    }
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if rest.is_empty() {
            return bad("missing closing ]", text);
        }
        if rest.starts_with("[:")
            && rest.len() >= 2 + last_name
            && let Some(length) = rest[2..].find(":]")
        {
            let (name, after) = rest.split_at(length + 4);
            let inner = &rest[2..2 + length];
            if !POSIX.contains(&inner.strip_prefix('^').unwrap_or(inner)) {
                return bad("invalid character class range", name);
            }
            out.push_str(name);
            rest = after;
            continue;
        }
        let start = rest;
        let (low, after) = part(rest, text)?;
        rest = after;
        let low = match low {
            Item::Set(set, bytes) => {
                largest = largest.max(bytes);
                out.push_str(&set);
                continue;
            }
            Item::Char(c) => c,
        };
        push_literal(low, out);
        let high = rest.strip_prefix('-').filter(|more| !more.is_empty() && !more.starts_with(']'));
        if let Some(more) = high {
            let (high, after) = part(more, text)?;
            rest = after;
            match high {
                Item::Char(high) if high >= low => {
                    out.push('-');
                    push_literal(high, out);
                }
                _ => return bad("invalid character class range", &start[..start.len() - rest.len()]),
            }
        }
    }
    out.push(']');
    Ok((&rest[1..], largest))
}

fn part<'a>(rest: &'a str, whole: &str) -> Step<(Item, &'a str)> {
    match rest.chars().next() {
        None => bad("missing closing ]", whole),
        Some('\\') => escape(rest),
        Some(c) => Ok((Item::Char(c), &rest[c.len_utf8()..])),
    }
}
