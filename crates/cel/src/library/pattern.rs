//! Regular expressions as Go has them, run by the `regex` crate.
//!
//! Both are RE2's kind: linear time, no look-around, no back references. Where the syntax differs, [`translate`]
//! rewrites: classes such as `\d` are ASCII in Go, `\Q…\E` quotes, `\z` ends the text, `$` without `m` does, too.

use super::Sig::{Int, List as L, String as Str};
use super::{Function, function, int_of, member, str_of};
use crate::value::{Outcome, Val, fail};
use regex::{Regex, RegexBuilder};

/// A compiled regular expression.
pub(crate) type Pattern = Regex;

/// Largest compiled program, in bytes.
const LARGEST: usize = 4 << 20;
/// Deepest nesting of groups, as Go has it.
const DEEPEST: u32 = 1000;

pub(crate) const FUNCTIONS: &[Function] = &[
    function("find", &[member("string_find_string", &[Str, Str], Str, |a| illegal(a, find))]),
    function(
        "findAll",
        &[
            member("string_find_all_string", &[Str, Str], L(&Str), |a| illegal(a, find_all)),
            member("string_find_all_string_int", &[Str, Str, Int], L(&Str), |a| illegal(a, find_all)),
        ],
    ),
];

/// Compiles Go's syntax; the error is Go's as far as that goes.
pub(crate) fn compile(pattern: &str) -> Result<Pattern, String> {
    let translated = translate(pattern).map_err(|what| format!("error parsing regexp: {what}"))?;
    let built = RegexBuilder::new(&translated).size_limit(LARGEST).dfa_size_limit(LARGEST).nest_limit(DEEPEST).build();
    built.map_err(|cause| format!("error parsing regexp: {}", complaint(pattern, &cause)))
}

/// Go's words for what is wrong.
fn complaint(pattern: &str, cause: &regex::Error) -> String {
    let text = match cause {
        regex::Error::CompiledTooBig(_) => return format!("expression too large: `{pattern}`"),
        other => other.to_string(),
    };
    let last = |open: char| &pattern[pattern.rfind(open).unwrap_or(0)..];
    let first = |any: &[char]| pattern.find(any).map_or("", |at| &pattern[at..=at]);
    let (words, part) = match text.as_str() {
        t if t.contains("unopened group") => ("unexpected )", pattern),
        t if t.contains("unclosed group") => ("missing closing )", pattern),
        t if t.contains("unclosed character class") => ("missing closing ]", last('[')),
        t if t.contains("missing expression") => ("missing argument to repetition operator", first(&['*', '+', '?'])),
        t if t.contains("incomplete escape") => ("trailing backslash at end of expression", ""),
        t if t.contains("class range") => ("invalid character class range", last('[')),
        t if t.contains("escape sequence") || t.contains("backreferences") => ("invalid escape sequence", last('\\')),
        t if t.contains("look-around") => ("invalid or unsupported Perl syntax", "(?"),
        t if t.contains("group") => ("missing argument to repetition operator", "?"),
        _ => ("invalid syntax", pattern),
    };
    format!("{words}: `{part}`")
}

/// `s.matches(pattern)`.
pub(super) fn matches<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    match compile(str_of(&args[1])?) {
        Ok(pattern) => Ok(Val::Bool(pattern.is_match(str_of(&args[0])?))),
        Err(message) => fail(message),
    }
}

fn illegal<'a>(args: &[Val<'a>], run: fn(&Pattern, &[Val<'a>]) -> Outcome<'a>) -> Outcome<'a> {
    match compile(str_of(&args[1])?) {
        Ok(pattern) => run(&pattern, args),
        Err(message) => fail(format!("Illegal regex: {message}")),
    }
}

/// The first match of a compiled pattern, or an empty string.
pub(crate) fn find<'a>(pattern: &Pattern, args: &[Val<'a>]) -> Outcome<'a> {
    let found = pattern.find(str_of(&args[0])?).map_or("", |m| m.as_str());
    Ok(Val::from(found.to_owned()))
}

/// All matches of a compiled pattern, or the first few.
pub(crate) fn find_all<'a>(pattern: &Pattern, args: &[Val<'a>]) -> Outcome<'a> {
    let most = args.get(2).map(int_of).transpose()?.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    let found = pattern.find_iter(str_of(&args[0])?).take(most);
    Ok(Val::strings(found.map(|m| m.as_str().to_owned())))
}

/// Most repetitions that a pattern may ask for.
const MOST_REPEATS: u32 = 1000;

/// Go's syntax in the other crate's; the error is Go's.
fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    // Where the operator before stands that repeats something.
    let mut repeated: Option<usize> = None;
    while let Some(c) = rest.chars().next() {
        let at = pattern.len() - rest.len();
        rest = &rest[c.len_utf8()..];
        let repeats = match c {
            '*' | '+' | '?' => Some(0),
            '{' => repetition(rest)?,
            _ => None,
        };
        let before = std::mem::take(&mut repeated);
        match (c, repeats) {
            (_, Some(length)) => {
                rest = &rest[length..];
                if let Some(first) = before {
                    let operators = &pattern[first..pattern.len() - rest.len()];
                    return Err(format!("invalid nested repetition operator: `{operators}`"));
                }
                // A question mark behind it makes it lazy.
                rest = rest.strip_prefix('?').unwrap_or(rest);
                out.push_str(&pattern[at..pattern.len() - rest.len()]);
                // What follows `(` belongs to the group.
                repeated = (!pattern[..at].ends_with('(') || pattern[..at].ends_with("\\(")).then_some(at);
            }
            ('{', None) => out.push_str("\\{"),
            ('\\', _) => rest = escape(rest, false, &mut out),
            ('[', _) => rest = class(rest, &mut out),
            (other, _) => out.push(other),
        }
    }
    Ok(out)
}

/// How long the rest of `{n,m}` is, if that is what stands here.
fn repetition(rest: &str) -> Result<Option<usize>, String> {
    let Some(end) = rest.find('}') else { return Ok(None) };
    let (least, most) = rest[..end].split_once(',').unwrap_or((&rest[..end], ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if least.is_empty() || !digits(least) || !digits(most) {
        return Ok(None);
    }
    let count = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u32>().ok() };
    if [least, most].iter().all(|text| count(text).is_some_and(|n| n <= MOST_REPEATS)) {
        return Ok(Some(end + 1));
    }
    Err(format!("invalid repeat count: `{{{}`", &rest[..=end]))
}

/// The rest of a bracketed class.
fn class<'t>(mut rest: &'t str, out: &mut String) -> &'t str {
    out.push('[');
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    let mut first = true;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            ']' if !first => {
                out.push(']');
                return rest;
            }
            '\\' => rest = escape(rest, true, out),
            '[' if rest.starts_with(':') && rest.contains(":]") => {
                let end = rest.find(":]").map_or(rest.len(), |end| end + 2);
                out.push('[');
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
            // Neither nested classes nor set operations are Go's.
            '[' | ']' | '&' | '~' => {
                out.push('\\');
                out.push(c);
            }
            '-' if rest.starts_with('-') => out.push_str("\\-"),
            other => out.push(other),
        }
        first = false;
    }
    rest
}

/// What follows a backslash.
fn escape<'t>(rest: &'t str, in_class: bool, out: &mut String) -> &'t str {
    let Some(c) = rest.chars().next() else {
        out.push('\\');
        return rest;
    };
    let rest = &rest[c.len_utf8()..];
    let (open, close) = if in_class { ("", "") } else { ("[", "]") };
    match c {
        'd' => out.push_str(&format!("{open}0-9{close}")),
        'w' => out.push_str(&format!("{open}0-9A-Za-z_{close}")),
        's' => out.push_str(&format!("{open}\\t\\n\\f\\r {close}")),
        'D' => out.push_str("[^0-9]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        'S' => out.push_str("[^\\t\\n\\f\\r ]"),
        'b' if !in_class => out.push_str("(?-u:\\b)"),
        'B' if !in_class => out.push_str("(?-u:\\B)"),
        'C' => out.push_str("(?s:.)"),
        'Q' => return quoted(rest, out),
        '_' | '\'' | '"' | '/' | ',' | ';' | ':' | '=' | '!' | '@' | '%' | '`' | '<' | '>' | ' ' => {
            if "<>".contains(c) {
                out.push_str(&regex::escape(&c.to_string()));
            } else {
                out.push(c);
            }
        }
        other => {
            out.push('\\');
            out.push(other);
        }
    }
    rest
}

/// Up to `\E` every character stands for itself.
fn quoted<'t>(rest: &'t str, out: &mut String) -> &'t str {
    let (literal, rest) = rest.split_once("\\E").unwrap_or((rest, ""));
    out.push_str(&regex::escape(literal));
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_patterns_mean_what_they_mean_in_go() {
        for (pattern, text, matches) in [
            (r"^\d+$", "123", true),
            (r"^\d+$", "١٢٣", false),
            (r"^\w+$", "ä", false),
            (r"^[\w.]+$", "a.b", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"a\z", "a", true),
            (r"^[]a]+$", "]a", true),
            (r"^[a[]+$", "[a", true),
            (r"^[[:alpha:]]+$", "abc", true),
            (r"^[a&&b]+$", "a&b", true),
            (r"(?i)ABC", "abc", true),
            (r"(?P<n>x)", "x", true),
            (r"\bfoo\b", "a foo b", true),
            (r"^a\-b$", "a-b", true),
            (r"(?U)a+", "aa", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^a{2}?$", "aa", true),
            (r"^(?:a+)*$", "aaa", true),
            (r"^\(*$", "((", true),
        ] {
            let compiled = compile(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
            assert_eq!(compiled.is_match(text), matches, "{pattern} on {text}");
        }
        for bad in ["(", ")", "a**", "[a", r"(?=x)", r"\1", "x{1001}{1001}{1001}"] {
            assert!(compile(bad).is_err(), "{bad}");
        }
    }
}
