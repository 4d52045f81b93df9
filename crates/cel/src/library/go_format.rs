//! `"…%s…".format([…])`: clauses, and values in them.

use crate::types::Type;
use crate::value::{Timestamp, Val, convert, float_text};

/// A `%` clause of a format string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    pub(crate) verb: char,
    precision: Option<usize>,
}

/// A piece of a format string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Clause(Result<Clause, String>),
}

/// Digits behind the point where nothing else is said.
const PRECISION: usize = 6;
/// Nobody needs more digits than this.
const MOST_DIGITS: usize = 1000;

/// Takes a format string apart.
pub(crate) fn parse(text: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            plain.push('%');
            rest = after;
            continue;
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut plain)));
        }
        match clause(rest) {
            Ok((clause, after)) => {
                pieces.push(Piece::Clause(Ok(clause)));
                rest = after;
            }
            Err(message) => {
                pieces.push(Piece::Clause(Err(message)));
                return pieces;
            }
        }
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    pieces
}

fn clause(text: &str) -> Result<(Clause, &str), String> {
    if text.is_empty() {
        return Err("unexpected end of string".into());
    }
    let wrong = |what: String| format!("could not parse formatting clause: {what}");
    let (precision, text) = match text.strip_prefix('.') {
        None => (None, text),
        Some(after) => {
            let digits = after.bytes().take_while(u8::is_ascii_digit).count();
            if digits == after.len() {
                return Err(wrong("error while parsing precision: could not find end of precision specifier".into()));
            }
            let precision = after[..digits].parse().ok().filter(|p| *p <= MOST_DIGITS);
            let Some(precision) = precision else {
                let digits = &after[..digits];
                return Err(wrong(format!(
                    "error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing \
                     {digits:?}: invalid syntax"
                )));
            };
            (Some(precision), &after[digits..])
        }
    };
    let verb = text.chars().next().unwrap_or_default();
    if !"sdfebxXo".contains(verb) {
        return Err(wrong(format!("unrecognized formatting clause \"{verb}\"")));
    }
    Ok((Clause { verb, precision }, &text[1..]))
}

/// Fills the values in; the error is what users read, `None` that the text would be longer than it may.
pub(crate) fn format(text: &str, args: &[Val<'_>], longest: usize) -> Result<Option<String>, String> {
    let mut out = String::new();
    let mut next = 0;
    for piece in parse(text) {
        match piece {
            Piece::Text(text) => out.push_str(&text),
            Piece::Clause(clause) => {
                let arg = args.get(next).ok_or_else(|| format!("index {next} out of range"))?;
                let clause = clause?;
                out.push_str(&clause.apply(arg).map_err(|m| format!("error during formatting: {m}"))?);
                next += 1;
            }
        }
        if out.len() > longest {
            return Ok(None);
        }
    }
    Ok(Some(out))
}

/// Why a type does not fit a clause.
pub(crate) fn misfit(verb: char, ty: &str) -> String {
    let rule = match verb {
        's' => {
            "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and \
             timestamps"
        }
        'd' => "decimal clause can only be used on integers",
        'f' => "fixed-point clause can only be used on doubles",
        'e' => "scientific clause can only be used on doubles",
        'b' => "only integers and bools can be formatted as binary",
        'o' => "octal clause can only be used on integers",
        _ => "only integers, byte buffers, and strings can be formatted as hex",
    };
    format!("{rule}, was given {ty}")
}

impl Clause {
    fn apply(self, value: &Val<'_>) -> Result<String, String> {
        let precision = self.precision.unwrap_or(PRECISION);
        let formatted = match self.verb {
            's' => return show(value),
            'd' => decimal(value),
            'f' => number(value).map(|f| fixed(f, precision)),
            'e' => number(value).map(|f| scientific(f, precision)),
            'b' => match value {
                Val::Int(n) => Some(signed(*n, |n| format!("{n:b}"))),
                Val::Uint(n) => Some(format!("{n:b}")),
                Val::Bool(b) => Some(u8::from(*b).to_string()),
                _ => None,
            },
            'o' => match value {
                Val::Int(n) => Some(signed(*n, |n| format!("{n:o}"))),
                Val::Uint(n) => Some(format!("{n:o}")),
                _ => None,
            },
            verb => hex(value).map(|h| if verb == 'X' { h.to_uppercase() } else { h }),
        };
        formatted.ok_or_else(|| misfit(self.verb, value.type_of().name()))
    }
}

fn signed(n: i64, write: impl Fn(u64) -> String) -> String {
    let digits = write(n.unsigned_abs());
    if n < 0 { format!("-{digits}") } else { digits }
}

fn decimal(value: &Val<'_>) -> Option<String> {
    match value {
        Val::Int(n) => Some(n.to_string()),
        Val::Uint(n) => Some(n.to_string()),
        _ => None,
    }
}

fn hex(value: &Val<'_>) -> Option<String> {
    let bytes = |b: &[u8]| b.iter().map(|b| format!("{b:02x}")).collect();
    match value {
        Val::Int(n) => Some(signed(*n, |n| format!("{n:x}"))),
        Val::Uint(n) => Some(format!("{n:x}")),
        Val::String(s) => Some(bytes(s.as_str().as_bytes())),
        Val::Bytes(b) => Some(bytes(b)),
        _ => None,
    }
}

fn number(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Double(f) => Some(*f),
        Val::String(s) => match s.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// American digits: groups of three, and signs for what is no number.
fn fixed(f: f64, precision: usize) -> String {
    if let Some(text) = no_number(f) {
        return text;
    }
    let text = format!("{f:.precision$}");
    let (whole, fraction) = text.split_once('.').map_or((text.as_str(), None), |(w, d)| (w, Some(d)));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |d| ("-", d));
    let mut grouped = String::from(sign);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

fn no_number(f: f64) -> Option<String> {
    match f {
        f if f.is_nan() => Some("NaN".into()),
        f if f == f64::INFINITY => Some("∞".into()),
        f if f == f64::NEG_INFINITY => Some("-∞".into()),
        _ => None,
    }
}

/// `1.052033×10⁰³`, as the American locale of Go's text package writes it.
fn scientific(f: f64, precision: usize) -> String {
    if let Some(text) = no_number(f) {
        return text;
    }
    let text = format!("{f:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(("", exponent), |d| ("⁻", d));
    let raised: String = format!("{digits:0>2}").chars().map(superscript).collect();
    format!("{mantissa}×10{sign}{raised}")
}

fn superscript(digit: char) -> char {
    const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
    digit.to_digit(10).and_then(|d| RAISED.get(d as usize).copied()).unwrap_or(digit)
}

/// A value for `%s`.
fn show(value: &Val<'_>) -> Result<String, String> {
    match value {
        Val::List(_) | Val::Map(_) => nested(value),
        Val::Null => Ok("null".into()),
        Val::Int(_)
        | Val::Uint(_)
        | Val::Double(_)
        | Val::Bool(_)
        | Val::String(_)
        | Val::Timestamp(_)
        | Val::Bytes(_)
        | Val::Duration(_)
        | Val::Type(_) => match convert(value, &Type::String) {
            Ok(Val::String(text)) => Ok(text.as_str().to_owned()),
            Ok(_) => Err("could not convert argument to string".into()),
            Err(error) => Err(format!("could not convert argument {:?} to string", error.to_string())),
        },
        other => Err(misfit('s', other.type_of().name())),
    }
}

fn timestamp(time: Timestamp) -> String {
    format!("timestamp({:?})", time.text())
}

/// A value within a list or map, as it would be written in an expression.
fn nested(value: &Val<'_>) -> Result<String, String> {
    Ok(match value {
        Val::String(s) => go_quote(s.as_str()),
        Val::Bytes(_) => format!("b{}", go_quote(&show(value)?)),
        Val::Timestamp(t) => timestamp(*t),
        Val::Duration(_) => format!("duration({:?})", show(value)?),
        Val::Double(f) if f.is_nan() => "\"NaN\"".into(),
        Val::Double(f) if f.is_infinite() => format!("\"{}\"", float_text(*f)),
        Val::Double(f) => format!("{f:.PRECISION$}"),
        Val::List(list) => {
            let items: Result<Vec<String>, String> =
                list.iter().map(|item| nested(&item.map_err(|e| e.to_string())?)).collect();
            format!("[{}]", items?.join(", "))
        }
        Val::Map(map) => {
            let mut entries = Vec::new();
            for key in map.keys() {
                if !matches!(key, Val::String(_) | Val::Bool(_) | Val::Int(_) | Val::Uint(_)) {
                    return Err(format!("no formatting function for map key of type {}", key.type_of().name()));
                }
                let value = map.find(&key).map_err(|e| e.to_string())?.unwrap_or(Val::Null);
                entries.push((nested(&key)?, nested(&value)?));
            }
            entries.sort();
            let entries: Vec<String> = entries.into_iter().map(|(k, v)| format!("{k}:{v}")).collect();
            format!("{{{}}}", entries.join(", "))
        }
        Val::Null | Val::Bool(_) | Val::Int(_) | Val::Uint(_) | Val::Type(_) => show(value)?,
        other => return Err(format!("no formatting function for {}", other.type_of().name())),
    })
}

/// Go's `%q`.
fn go_quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => quoted.push_str(&format!("\\x{:02x}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
