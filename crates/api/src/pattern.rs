//! Regular expressions as Go reads them.
//!
//! Patterns in schemas and policies are written for Go's `regexp`. [`translate`] checks one by Go's rules, with Go's
//! error texts, and writes it anew for the `regex` crate, which differs in the details: `\d` and its like are ASCII
//! in Go, a class has no nested sets, a brace that is no repetition is a brace.

mod class;
mod size;

use regex::{Regex, RegexBuilder};
use size::{Group, Size};
use std::collections::HashSet;
use std::str::Chars;

/// What Go says of a bad pattern: ``error parsing regexp: missing closing ): `(a` ``.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {what}: `{part}`")]
pub struct PatternError {
    what: &'static str,
    part: String,
}

/// The most that Go repeats anything, repetitions of repetitions multiplied.
const MAX_REPEAT: u32 = 1000;
/// How deep groups may nest: what compiles them goes as deep as they do. (Go's limit is 1000.)
const DEEPEST: u32 = 250;
/// How large a compiled pattern may be, in bytes. Go's measure is another, of about the same patterns; it allows 128 MiB.
const LARGEST: usize = 8 << 20;

const TOO_LARGE: &str = "expression too large";

/// The pattern, ready to match. Unanchored, as `MatchString` is.
pub fn compile(pattern: &str) -> Result<Regex, PatternError> {
    let ours = translate(pattern)?;
    #[cfg(test)]
    tests::COMPILED.with(|compiled| compiled.set(compiled.get() + 1));
    let built = RegexBuilder::new(&ours).size_limit(LARGEST).dfa_size_limit(LARGEST).nest_limit(DEEPEST).build();
    built.map_err(|why| {
        let what = match why {
            regex::Error::CompiledTooBig(_) => TOO_LARGE,
            why if why.to_string().contains("nest") => "expression nests too deeply",
            _ => "invalid or unsupported Perl syntax",
        };
        PatternError { what, part: pattern.to_owned() }
    })
}

/// The pattern in the syntax of the `regex` crate.
pub fn translate(pattern: &str) -> Result<String, PatternError> {
    let mut reader = Reader {
        rest: pattern,
        whole: pattern,
        out: String::with_capacity(pattern.len() + 8),
        groups: vec![Group::default()],
        names: HashSet::new(),
        last_name: pattern.rfind(":]").map_or(usize::MAX - 2, |at| pattern.len() - at),
    };
    reader.run()?;
    Ok(reader.out)
}

/// What stood last: decides what a repetition may follow.
#[derive(Clone, Copy, PartialEq)]
enum Last {
    /// Nothing that can be repeated.
    Nothing,
    Atom,
    /// A repetition, which began so many bytes before the end of the pattern.
    Repeat(usize),
}

struct Reader<'a> {
    rest: &'a str,
    whole: &'a str,
    out: String,
    /// Those that are open, around them the whole.
    groups: Vec<Group>,
    /// Of groups so far.
    names: HashSet<&'a str>,
    /// How far from the end the last name of a class (`[:alpha:]`) may end; more than there is of text: none does.
    last_name: usize,
}

type Step<T> = Result<T, PatternError>;

fn bad<T>(what: &'static str, part: impl Into<String>) -> Step<T> {
    Err(PatternError { what, part: part.into() })
}

impl<'a> Reader<'a> {
    fn run(&mut self) -> Step<()> {
        let mut last = Last::Nothing;
        while let Some(c) = self.rest.chars().next() {
            last = match c {
                '(' => self.group()?,
                ')' => {
                    self.take(1);
                    let inner = self.group_at_hand().all();
                    if self.groups.len() == 1 {
                        return bad("unexpected )", self.whole);
                    }
                    self.groups.pop();
                    self.out.push(')');
                    self.stands(inner)
                }
                '|' => {
                    self.take(1);
                    self.out.push('|');
                    Last::Nothing
                }
                '*' | '+' | '?' => self.repeat(Repetition { len: 1, min: 0, max: None }, last)?,
                '{' => match repetition(self.rest)? {
                    Some(repetition) => self.repeat(repetition, last)?,
                    None => self.literal('{'),
                },
                '[' => self.class()?,
                '\\' => self.escape()?,
                '^' | '$' | '.' => {
                    self.take(1);
                    self.out.push(c);
                    self.stands(Size::SMALL)
                }
                c => self.literal(c),
            };
        }
        if self.groups.len() > 1 {
            return bad("missing closing )", self.whole);
        }
        if self.group_at_hand().all().bytes > size::HOPELESS { bad(TOO_LARGE, self.whole) } else { Ok(()) }
    }

    fn group_at_hand(&mut self) -> &mut Group {
        self.groups.last_mut().expect("the whole is never closed")
    }

    /// Something stands here that asks for this much.
    fn stands(&mut self, size: Size) -> Last {
        self.group_at_hand().stands(size);
        Last::Atom
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn literal(&mut self, c: char) -> Last {
        self.take(c.len_utf8());
        push_literal(c, &mut self.out);
        self.stands(Size::SMALL)
    }

    fn repeat(&mut self, repetition: Repetition, last: Last) -> Step<Last> {
        let before = self.rest;
        self.take(repetition.len);
        if self.rest.starts_with('?') {
            self.take(1);
        }
        let op = &before[..before.len() - self.rest.len()];
        match last {
            Last::Nothing => return bad("missing argument to repetition operator", op),
            Last::Repeat(start) => {
                let run = &self.whole[self.whole.len() - start..self.whole.len() - self.rest.len()];
                return bad("invalid nested repetition operator", run);
            }
            Last::Atom => self.out.push_str(op),
        }
        let last = &mut self.group_at_hand().last;
        *last = repetition.of(*last);
        if last.copies > MAX_REPEAT {
            return bad("invalid repeat count", op);
        }
        Ok(Last::Repeat(before.len()))
    }

    fn group(&mut self) -> Step<Last> {
        if !self.rest.starts_with("(?") {
            self.take(1);
            self.groups.push(Group::default());
            self.out.push('(');
            return Ok(Last::Nothing);
        }
        if self.rest.starts_with("(?P<") || self.rest.starts_with("(?<") {
            return self.named();
        }
        let mut flags = self.rest[2..].char_indices();
        let (mut seen, mut minus) = (false, false);
        loop {
            let Some((at, c)) = flags.next() else { return bad("missing closing )", self.whole) };
            match c {
                'i' | 'm' | 's' | 'U' => seen = true,
                '-' if !minus => (minus, seen) = (true, false),
                ':' | ')' if seen || !minus => {
                    let text = self.take(2 + at + 1);
                    self.groups.extend((c == ':').then(Group::default));
                    // Flags without any are nothing to Go and an error to us.
                    self.out.push_str(if text == "(?)" { "(?:)" } else { text });
                    return Ok(Last::Nothing);
                }
                c => return bad("invalid or unsupported Perl syntax", &self.rest[..2 + at + c.len_utf8()]),
            }
        }
    }

    fn named(&mut self) -> Step<Last> {
        let start = if self.rest.starts_with("(?P<") { 4 } else { 3 };
        let name = &self.rest[start..];
        if start == 3 && name.starts_with(['=', '!']) {
            return bad("invalid or unsupported Perl syntax", &self.rest[..3]);
        }
        let Some(end) = name.find('>') else { return bad("invalid named capture", self.rest) };
        let name = &name[..end];
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return bad("invalid named capture", &self.rest[..start + end + 1]);
        }
        if !self.names.insert(name) {
            return bad("duplicate capture group name", name);
        }
        self.take(start + end + 1);
        self.groups.push(Group::default());
        // Ours may not begin with a digit.
        self.out.push_str(&format!("(?P<g_{name}>"));
        Ok(Last::Nothing)
    }

    fn escape(&mut self) -> Step<Last> {
        let Some(c) = self.rest[1..].chars().next() else { return bad("trailing backslash at end of expression", "") };
        match c {
            'b' | 'B' => {
                self.take(2);
                self.out.push_str(if c == 'b' { "(?-u:\\b)" } else { "(?-u:\\B)" });
            }
            'A' | 'z' => {
                let text = self.take(2);
                self.out.push_str(text);
            }
            'Q' => {
                self.take(2);
                let end = self.rest.find("\\E");
                let text = self.take(end.unwrap_or(self.rest.len()));
                text.chars().for_each(|c| push_literal(c, &mut self.out));
                self.take(if end.is_some() { 2 } else { 0 });
                return Ok(if text.is_empty() { Last::Nothing } else { self.stands(Size::SMALL) });
            }
            _ => {
                let (text, rest) = class::escape(self.rest)?;
                self.rest = rest;
                match text {
                    class::Item::Char(c) => push_literal(c, &mut self.out),
                    class::Item::Set(set, bytes) => {
                        self.out.push_str(&format!("[{set}]"));
                        return Ok(self.stands(Size::of_class(bytes)));
                    }
                }
            }
        }
        Ok(self.stands(Size::SMALL))
    }

    fn class(&mut self) -> Step<Last> {
        let (rest, bytes) = class::class(self.rest, self.last_name, &mut self.out)?;
        self.rest = rest;
        Ok(self.stands(Size::of_class(bytes)))
    }
}

/// `{2}`, `{2,}`, `{2,3}`, or one of the signs.
#[derive(Clone, Copy)]
struct Repetition {
    /// Of its text.
    len: usize,
    min: u32,
    max: Option<u32>,
}

impl Repetition {
    /// What it asks for, of something that asks for this much itself.
    fn of(self, inner: Size) -> Size {
        let times = self.max.unwrap_or(self.min.max(1));
        // What never stands there is one to Go.
        let copies = if times == 0 { 1 } else { inner.copies * times };
        Size { copies, bytes: inner.bytes.saturating_mul(times.into()) }
    }
}

/// The repetition at the start; none where a brace is just a brace.
fn repetition(text: &str) -> Step<Option<Repetition>> {
    let Some(end) = text.find('}') else { return Ok(None) };
    let inner = &text[1..end];
    let (min, max) = inner.split_once(',').map_or((inner, Some(inner)), |(min, max)| (min, Some(max)));
    let digits =
        |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) && (s.len() == 1 || !s.starts_with('0'));
    let max = max.filter(|max| !max.is_empty());
    if !digits(min) || max.is_some_and(|max| !digits(max)) {
        return Ok(None);
    }
    let number = |s: &str| s.parse::<u32>().unwrap_or(u32::MAX);
    let (min, max) = (number(min), max.map(number));
    if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || max < min) {
        return bad("invalid repeat count", &text[..=end]);
    }
    Ok(Some(Repetition { len: end + 1, min, max }))
}

/// A character that stands for itself.
fn push_literal(c: char, out: &mut String) {
    if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
        out.push('\\');
    }
    out.push(c);
}

/// So many hexadecimal digits.
fn hex(digits: Chars<'_>) -> Option<char> {
    u32::from_str_radix(digits.as_str(), 16).ok().and_then(char::from_u32)
}

#[cfg(test)]
mod tests;
