//! Regular expressions as Go reads them.
//!
//! Patterns in schemas and policies are written for Go's `regexp`. [`translate`] checks one by Go's rules, with Go's
//! error texts, and writes it anew for the `regex` crate, which differs in the details: `\d` and its like are ASCII
//! in Go, a class has no nested sets, a brace that is no repetition is a brace.

mod class;

use regex::Regex;
use std::collections::HashSet;
use std::str::Chars;

/// What Go says of a bad pattern: ``error parsing regexp: missing closing ): `(a` ``.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {what}: `{part}`")]
pub struct PatternError {
    what: &'static str,
    part: String,
}

/// The most that Go repeats anything.
const MAX_REPEAT: u32 = 1000;

/// The pattern, ready to match. Unanchored, as `MatchString` is.
pub fn compile(pattern: &str) -> Result<Regex, PatternError> {
    let ours = translate(pattern)?;
    Regex::new(&ours).map_err(|_| PatternError { what: "expression too large", part: pattern.to_owned() })
}

/// The pattern in the syntax of the `regex` crate.
pub fn translate(pattern: &str) -> Result<String, PatternError> {
    let mut reader = Reader {
        rest: pattern,
        whole: pattern,
        out: String::with_capacity(pattern.len() + 8),
        open: 0,
        names: HashSet::new(),
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
    open: usize,
    /// Of groups so far.
    names: HashSet<&'a str>,
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
                    if self.open == 0 {
                        return bad("unexpected )", self.whole);
                    }
                    self.open -= 1;
                    self.out.push(')');
                    Last::Atom
                }
                '|' => {
                    self.take(1);
                    self.out.push('|');
                    Last::Nothing
                }
                '*' | '+' | '?' => self.repeat(1, last)?,
                '{' => match repetition(self.rest)? {
                    Some(len) => self.repeat(len, last)?,
                    None => self.literal('{'),
                },
                '[' => self.class()?,
                '\\' => self.escape()?,
                '^' | '$' | '.' => {
                    self.take(1);
                    self.out.push(c);
                    Last::Atom
                }
                c => self.literal(c),
            };
        }
        if self.open > 0 { bad("missing closing )", self.whole) } else { Ok(()) }
    }

    fn take(&mut self, len: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    fn literal(&mut self, c: char) -> Last {
        self.take(c.len_utf8());
        push_literal(c, &mut self.out);
        Last::Atom
    }

    fn repeat(&mut self, len: usize, last: Last) -> Step<Last> {
        let before = self.rest;
        let op = self.take(len);
        match last {
            Last::Nothing => return bad("missing argument to repetition operator", op),
            Last::Repeat(start) => {
                let run = &self.whole[self.whole.len() - start..self.whole.len() - self.rest.len()];
                return bad("invalid nested repetition operator", run);
            }
            Last::Atom => self.out.push_str(op),
        }
        if self.rest.starts_with('?') {
            self.take(1);
            self.out.push('?');
        }
        Ok(Last::Repeat(before.len()))
    }

    fn group(&mut self) -> Step<Last> {
        if !self.rest.starts_with("(?") {
            self.take(1);
            self.open += 1;
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
                    self.open += usize::from(c == ':');
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
        self.open += 1;
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
                return Ok(if text.is_empty() { Last::Nothing } else { Last::Atom });
            }
            _ => {
                let (text, rest) = class::escape(self.rest)?;
                self.rest = rest;
                match text {
                    class::Item::Char(c) => push_literal(c, &mut self.out),
                    class::Item::Set(set) => self.out.push_str(&format!("[{set}]")),
                }
                return Ok(Last::Atom);
            }
        }
        Ok(Last::Atom)
    }

    fn class(&mut self) -> Step<Last> {
        self.rest = class::class(self.rest, &mut self.out)?;
        Ok(Last::Atom)
    }
}

/// The length of `{2}`, `{2,}` or `{2,3}` at the start; none where a brace is just a brace.
fn repetition(text: &str) -> Step<Option<usize>> {
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
    Ok(Some(end + 1))
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
