//! Semantic versions, strict and normalised.

use super::Sig::{Bool, Int, Object as O, String as Str};
use super::{Function, Opaque, Sig, function, global, member, opaque, opaque_of, str_of};
use crate::value::{EvalError, Outcome, Val, fail, no_overload};
use std::cmp::Ordering;

const SEMVER: Sig = O(super::opaque::SEMVER);

/// A version. Build metadata is checked and does not count.
#[derive(Clone, Debug)]
pub struct Version {
    numbers: [u64; 3],
    pre: Vec<Part>,
}

/// A part of the name of a pre-release: numbers come before words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Word(String),
}

pub(crate) const FUNCTIONS: &[Function] = &[
    function(
        "semver",
        &[
            global("string_to_semver", &[Str], SEMVER, make),
            global("string_bool_to_semver", &[Str, Bool], SEMVER, make),
        ],
    ),
    function(
        "isSemver",
        &[
            global("is_semver_string", &[Str], Bool, |a| Ok(Val::Bool(read(a)?.is_ok()))),
            global("is_semver_string_bool", &[Str, Bool], Bool, |a| Ok(Val::Bool(read(a)?.is_ok()))),
        ],
    ),
    function(
        "isGreaterThan",
        &[member("semver_is_greater_than", &[SEMVER, SEMVER], Bool, |a| Ok(Val::Bool(order(a)? == Ordering::Greater)))],
    ),
    function(
        "isLessThan",
        &[member("semver_is_less_than", &[SEMVER, SEMVER], Bool, |a| Ok(Val::Bool(order(a)? == Ordering::Less)))],
    ),
    function("compareTo", &[member("semver_compare_to", &[SEMVER, SEMVER], Int, |a| Ok(Val::Int(order(a)? as i64)))]),
    function("major", &[member("semver_major", &[SEMVER], Int, |a| number(a, 0))]),
    function("minor", &[member("semver_minor", &[SEMVER], Int, |a| number(a, 1))]),
    function("patch", &[member("semver_patch", &[SEMVER], Int, |a| number(a, 2))]),
];

impl Version {
    /// Equal, whatever the builds.
    pub(crate) fn same(&self, other: &Version) -> bool {
        self.compare(other) == Ordering::Equal
    }

    fn compare(&self, other: &Version) -> Ordering {
        // A release comes after its pre-releases.
        let released = |v: &Version| v.pre.is_empty();
        self.numbers
            .cmp(&other.numbers)
            .then(released(self).cmp(&released(other)))
            .then_with(|| self.pre.cmp(&other.pre))
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".into());
        }
        let parts: Vec<&str> = text.splitn(3, '.').collect();
        let [major, minor, rest] = parts[..] else { return Err("No Major.Minor.Patch elements found".into()) };
        let (rest, build) = rest.split_once('+').map_or((rest, None), |(r, b)| (r, Some(b)));
        let (patch, pre) = rest.split_once('-').map_or((rest, None), |(p, b)| (p, Some(b)));
        let numbers = [component("major", major)?, component("minor", minor)?, component("patch", patch)?];
        let pre = pre.map_or(Ok(Vec::new()), |pre| pre.split('.').map(Part::parse).collect())?;
        for part in build.into_iter().flat_map(|b| b.split('.')) {
            if part.is_empty() {
                return Err("Build meta data is empty".into());
            }
            if !part.bytes().all(is_word) {
                return Err(format!("Invalid character(s) found in build meta data {part:?}"));
            }
        }
        Ok(Version { numbers, pre })
    }

    /// `v1.2` is `1.2.0`, `01.2.3` is `1.2.3`.
    fn normalised(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<String> = text.splitn(3, '.').map(without_zeros).collect();
        if parts.len() < 3 {
            if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
                return Err("short version cannot contain PreRelease/Build meta data".into());
            }
            parts.resize(3, "0".to_owned());
        }
        Version::parse(&parts.join("."))
    }
}

impl Part {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Prerelease is empty".into());
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            if text.len() > 1 && text.starts_with('0') {
                return Err(format!("Numeric PreRelease version must not contain leading zeroes {text:?}"));
            }
            return text.parse().map(Part::Number).map_err(|_| out_of_range(text));
        }
        if !text.bytes().all(is_word) {
            return Err(format!("Invalid character(s) found in prerelease {text:?}"));
        }
        Ok(Part::Word(text.to_owned()))
    }
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'-'
}

fn out_of_range(text: &str) -> String {
    format!("strconv.ParseUint: parsing {text:?}: value out of range")
}

fn without_zeros(part: &str) -> String {
    if part.len() <= 1 {
        return part.to_owned();
    }
    let rest = part.trim_start_matches('0');
    if rest.starts_with(|c: char| c.is_ascii_digit()) { rest.to_owned() } else { format!("0{rest}") }
}

fn component(name: &str, text: &str) -> Result<u64, String> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("Invalid character(s) found in {name} number {text:?}"));
    }
    if text.len() > 1 && text.starts_with('0') {
        let name = name[..1].to_uppercase() + &name[1..];
        return Err(format!("{name} number must not contain leading zeroes {text:?}"));
    }
    if text.is_empty() {
        return Err("strconv.ParseUint: parsing \"\": invalid syntax".into());
    }
    text.parse().map_err(|_| out_of_range(text))
}

fn read(args: &[Val<'_>]) -> Result<Result<Version, String>, EvalError> {
    let text = str_of(&args[0])?;
    let normalise = args.get(1).and_then(Val::as_bool).unwrap_or(false);
    Ok(if normalise { Version::normalised(text) } else { Version::parse(text) })
}

fn make<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    match read(args)? {
        Ok(version) => Ok(opaque(Opaque::Semver(version))),
        Err(message) => fail(message),
    }
}

fn of<'v>(value: &'v Val<'_>) -> Result<&'v Version, EvalError> {
    match opaque_of(value)? {
        Opaque::Semver(version) => Ok(version),
        _ => no_overload(),
    }
}

fn order(args: &[Val<'_>]) -> Result<Ordering, EvalError> {
    Ok(of(&args[0])?.compare(of(&args[1])?))
}

/// Go wraps around where a number does not fit.
#[expect(clippy::cast_possible_wrap, reason = "upstream converts without a check")]
fn number<'a>(args: &[Val<'a>], which: usize) -> Outcome<'a> {
    of(&args[0]).map(|v| Val::Int(v.numbers[which] as i64))
}
