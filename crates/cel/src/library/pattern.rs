//! Functions on regular expressions.

use super::Sig::{Int, List as L, String as Str};
use super::{Function, function, int_of, member, str_of};
use crate::value::{Outcome, Val, fail};
use regex::Regex;

/// A compiled regular expression.
pub(crate) type Pattern = Regex;

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

/// Compiles Go's syntax; the error is Go's.
pub(crate) fn compile(pattern: &str) -> Result<Pattern, String> {
    kaji_api::pattern::compile(pattern).map_err(|why| why.to_string())
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
        for bad in ["(", ")", "a**", "[a", r"(?=x)", r"\1", "x{1001}{1001}{1001}", "((a{1000}){1000}){1000}"] {
            assert!(compile(bad).is_err(), "{bad}");
        }
    }
}
