//! Strings: cel-go's extension, version 2. Positions are in characters.

use super::Sig::{Dyn, Int, List as L, String as Str};
use super::{Function, Sig, function, global, go_format, int_of, list_of, member, str_of};
use crate::value::{EvalError, Outcome, Val, fail};

/// Texts beyond this many bytes are not made: costs count only after, when memory is gone.
pub(super) const LONGEST_TEXT: usize = 64 << 20;

const STRINGS: Sig = L(&Str);

pub(crate) const FUNCTIONS: &[Function] = &[
    function("charAt", &[member("string_char_at_int", &[Str, Int], Str, char_at)]),
    function(
        "indexOf",
        &[
            member("string_index_of_string", &[Str, Str], Int, |a| index_of(a, Some(0))),
            member("string_index_of_string_int", &[Str, Str, Int], Int, |a| index_of(a, None)),
        ],
    ),
    function(
        "lastIndexOf",
        &[
            member("string_last_index_of_string", &[Str, Str], Int, last_index_of),
            member("string_last_index_of_string_int", &[Str, Str, Int], Int, last_index_of),
        ],
    ),
    function(
        "lowerAscii",
        &[member("string_lower_ascii", &[Str], Str, |a| Ok(Val::from(str_of(&a[0])?.to_ascii_lowercase())))],
    ),
    function(
        "upperAscii",
        &[member("string_upper_ascii", &[Str], Str, |a| Ok(Val::from(str_of(&a[0])?.to_ascii_uppercase())))],
    ),
    function(
        "replace",
        &[
            member("string_replace_string_string", &[Str, Str, Str], Str, replace),
            member("string_replace_string_string_int", &[Str, Str, Str, Int], Str, replace),
        ],
    ),
    function(
        "split",
        &[
            member("string_split_string", &[Str, Str], STRINGS, split),
            member("string_split_string_int", &[Str, Str, Int], STRINGS, split),
        ],
    ),
    function(
        "substring",
        &[
            member("string_substring_int", &[Str, Int], Str, substring),
            member("string_substring_int_int", &[Str, Int, Int], Str, substring),
        ],
    ),
    function("trim", &[member("string_trim", &[Str], Str, |a| Ok(Val::from(str_of(&a[0])?.trim().to_owned())))]),
    function("format", &[member("string_format", &[Str, L(&Dyn)], Str, format)]),
    function("strings.quote", &[global("strings_quote", &[Str], Str, |a| Ok(Val::from(quote(str_of(&a[0])?))))]),
    function(
        "join",
        &[member("list_join", &[STRINGS], Str, join), member("list_join_string", &[STRINGS, Str], Str, join)],
    ),
];

fn out_of_range<'a>(n: i64) -> Outcome<'a> {
    fail(format!("index out of range: {n}"))
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

/// A position, which may be the end.
fn place(n: i64, len: usize) -> Option<usize> {
    usize::try_from(n).ok().filter(|at| *at <= len)
}

fn char_at<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let (text, n) = (chars(str_of(&args[0])?), int_of(&args[1])?);
    match place(n, text.len()) {
        Some(at) => Ok(Val::from(text.get(at).map(char::to_string).unwrap_or_default())),
        None => out_of_range(n),
    }
}

fn found<'a>(at: Option<usize>) -> Outcome<'a> {
    Ok(Val::Int(at.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1)))
}

fn index_of<'a>(args: &[Val<'a>], from: Option<i64>) -> Outcome<'a> {
    let (text, part) = (str_of(&args[0])?, str_of(&args[1])?);
    let from = match from {
        Some(from) => from,
        None => int_of(&args[2])?,
    };
    if part.is_empty() {
        return Ok(Val::Int(from));
    }
    let Ok(start) = usize::try_from(from) else { return out_of_range(from) };
    let Some((offset, _)) = text.char_indices().nth(start) else { return found(None) };
    found(text[offset..].find(part).map(|at| start + text[offset..offset + at].chars().count()))
}

fn last_index_of<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let (text, part) = (chars(str_of(&args[0])?), chars(str_of(&args[1])?));
    let from = match args.get(2) {
        Some(from) => int_of(from)?,
        None if part.is_empty() => return found(Some(text.len())),
        None if text.len() < part.len() => return found(None),
        None => i64::try_from(text.len()).unwrap_or(i64::MAX) - 1,
    };
    if part.is_empty() {
        return Ok(Val::Int(from));
    }
    let Ok(start) = usize::try_from(from) else { return out_of_range(from) };
    let Some(last) = text.len().checked_sub(part.len()) else { return found(None) };
    if start >= text.len() {
        return found(None);
    }
    let text: String = text[..last.min(start) + part.len()].iter().collect();
    let part: String = part.iter().collect();
    found(text.rfind(&part).map(|at| text[..at].chars().count()))
}

/// How often, or how many parts: below zero for all.
fn limit(arg: Option<&Val<'_>>) -> Result<Option<usize>, EvalError> {
    match arg {
        None => Ok(None),
        Some(n) => Ok(usize::try_from(int_of(n)?).ok()),
    }
}

fn replace<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let (text, old, new) = (str_of(&args[0])?, str_of(&args[1])?, str_of(&args[2])?);
    let times = limit(args.get(3))?.unwrap_or(usize::MAX);
    let found = text.matches(old).take(times).count();
    if found.saturating_mul(new.len()).saturating_add(text.len()) > LONGEST_TEXT {
        return Err(EvalError::OverBudget);
    }
    Ok(Val::from(text.replacen(old, new, times)))
}

fn split<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let (text, separator, limit) = (str_of(&args[0])?, str_of(&args[1])?, limit(args.get(2))?);
    let most = limit.unwrap_or(usize::MAX);
    let parts: Vec<String> = match most {
        0 => Vec::new(),
        1 => vec![text.to_owned()],
        _ if separator.is_empty() => explode(text, most),
        _ => text.splitn(most, separator).map(str::to_owned).collect(),
    };
    Ok(Val::strings(parts))
}

/// Character by character; the last part is what is left.
fn explode(text: &str, most: usize) -> Vec<String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if parts.len() + 1 == most {
            parts.push(rest.to_owned());
            break;
        }
        parts.push(c.to_string());
        rest = &rest[c.len_utf8()..];
    }
    parts
}

fn substring<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let (text, start) = (chars(str_of(&args[0])?), int_of(&args[1])?);
    let end = match args.get(2) {
        Some(end) => int_of(end)?,
        None => i64::try_from(text.len()).unwrap_or(i64::MAX),
    };
    if args.len() == 3 && start > end {
        return fail(format!("invalid substring range. start: {start}, end: {end}"));
    }
    match (place(start, text.len()), place(end, text.len())) {
        (Some(from), Some(to)) => Ok(Val::from(text[from..to].iter().collect::<String>())),
        (None, _) => out_of_range(start),
        (_, None) => out_of_range(end),
    }
}

fn join<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let separator = args.get(1).map_or(Ok(""), str_of)?;
    let mut joined = String::new();
    for (n, item) in list_of(&args[0])?.iter().enumerate() {
        if n > 0 {
            joined.push_str(separator);
        }
        if joined.len() > LONGEST_TEXT {
            return Err(EvalError::OverBudget);
        }
        match item? {
            Val::String(part) => joined.push_str(part.as_str()),
            other => return fail(format!("join: invalid input: {other}")),
        }
    }
    Ok(Val::from(joined))
}

fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn format<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let items = list_of(&args[1])?.to_vec()?;
    match go_format::format(str_of(&args[0])?, &items, LONGEST_TEXT) {
        Ok(Some(text)) => Ok(Val::from(text)),
        Ok(None) => Err(EvalError::OverBudget),
        Err(message) => fail(message),
    }
}
