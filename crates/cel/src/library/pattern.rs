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
    let translated = translate(pattern);
    RegexBuilder::new(&translated).size_limit(LARGEST).dfa_size_limit(LARGEST).nest_limit(DEEPEST).build().map_err(
        |cause| match cause {
            regex::Error::CompiledTooBig(_) => format!("error parsing regexp: expression too large: `{pattern}`"),
            _ => format!("error parsing regexp: invalid syntax: `{pattern}`"),
        },
    )
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

/// Go's syntax in the other crate's.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    let mut in_class = 0u32;
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(&mut chars, in_class > 0, &mut out),
            '[' if in_class == 0 => {
                in_class = 1;
                out.push('[');
                if chars.peek() == Some(&'^') {
                    out.extend(chars.next());
                }
                // A bracket that comes first stands for itself.
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str("\\]");
                }
            }
            '[' => {
                let mut named = chars.clone();
                let is_named = named.next() == Some(':') && named.any(|c| c == ':');
                if is_named {
                    in_class += 1;
                    out.push('[');
                } else {
                    out.push_str("\\[");
                }
            }
            ']' if in_class > 0 => {
                in_class -= 1;
                out.push(']');
            }
            // Set operations are none in Go.
            '&' | '~' if in_class > 0 => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class > 0 && chars.peek() == Some(&'-') => out.push_str("\\-"),
            other => out.push(other),
        }
    }
    out
}

fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, in_class: bool, out: &mut String) {
    let Some(c) = chars.next() else {
        out.push('\\');
        return;
    };
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
        'Q' => quoted(chars, out),
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
}

/// Up to `\E` every character stands for itself.
fn quoted(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let mut literal = String::new();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.peek() == Some(&'E') {
            chars.next();
            break;
        }
        literal.push(c);
    }
    out.push_str(&regex::escape(&literal));
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
        ] {
            let compiled = compile(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
            assert_eq!(compiled.is_match(text), matches, "{pattern} on {text}");
        }
        for bad in ["(", ")", "a**", "[a", r"(?=x)", r"\1", "x{1001}{1001}{1001}"] {
            assert!(compile(bad).is_err(), "{bad}");
        }
    }
}
