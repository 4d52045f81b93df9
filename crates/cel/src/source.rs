//! Places in the text of an expression, and the errors that point at them.

use std::fmt;

/// What is wrong with an expression.
///
/// Displays as upstream's compiler does: each error with its line and a pointer below the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Issues {
    /// By place.
    pub errors: Vec<Issue>,
    truncated: usize,
}

/// Why an expression makes no program. Displays as upstream reports it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// It has errors.
    #[error("compilation failed: {0}")]
    Invalid(Issues),
    /// A part of it that is constant has no value.
    #[error("program instantiation failed: {0}")]
    Program(String),
}

/// One thing wrong with an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// From 1; 0 where the error has no place.
    pub line: usize,
    /// From 0, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    snippet: String,
}

/// At most this many errors are shown.
const MOST_ERRORS: usize = 100;
/// Longer lines are not repeated below the message.
const LONGEST_SNIPPET: usize = 16_384;

/// The text of an expression.
pub(crate) struct Source {
    pub(crate) chars: Vec<char>,
    /// Where lines start.
    lines: Vec<usize>,
}

/// Gathers errors.
pub(crate) struct Errors<'s> {
    source: &'s Source,
    errors: Vec<Issue>,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let starts = chars.iter().enumerate().filter(|(_, c)| **c == '\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Source { chars, lines }
    }

    /// Line from 1 and column from 0.
    fn position(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= offset);
        (line, offset - self.lines[line - 1])
    }

    fn line(&self, line: usize) -> String {
        let start = self.lines[line - 1];
        let end = self.lines.get(line).map_or(self.chars.len(), |next| next - 1);
        self.chars[start..end].iter().collect()
    }
}

impl<'s> Errors<'s> {
    pub(crate) fn new(source: &'s Source) -> Self {
        Errors { source, errors: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// Notes an error at a character offset.
    pub(crate) fn at(&mut self, offset: usize, message: impl Into<String>) {
        let (line, column) = self.source.position(offset);
        let snippet = self.source.line(line);
        self.errors.push(Issue { line, column, message: message.into(), snippet });
    }

    /// Notes an error of the expression as a whole.
    pub(crate) fn nowhere(&mut self, message: impl Into<String>) {
        let (message, snippet) = (message.into(), String::new());
        self.errors.push(Issue { line: 0, column: 0, message, snippet });
    }

    /// The errors by place, if there are any.
    pub(crate) fn finish(mut self) -> Result<(), Issues> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let truncated = self.errors.len().saturating_sub(MOST_ERRORS);
        self.errors.truncate(MOST_ERRORS);
        self.errors.sort_by_key(|e| (e.line, e.column));
        Err(Issues { errors: self.errors, truncated })
    }
}

impl Issues {
    fn text(&self) -> String {
        let mut parts: Vec<String> = self.errors.iter().map(ToString::to_string).collect();
        if self.truncated > 0 {
            parts.push(format!("{} more errors were truncated", self.truncated));
        }
        parts.join("\n")
    }
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Upstream's "no location" is line and column -1.
        if self.line == 0 {
            return write!(f, "ERROR: <input>:-1:0: {}", self.message);
        }
        write!(f, "ERROR: <input>:{}:{}: {}", self.line, self.column + 1, self.message)?;
        if self.snippet.len() > LONGEST_SNIPPET {
            return Ok(());
        }
        let snippet = self.snippet.replace('\t', " ");
        let mut pointer = String::new();
        let mut chars = snippet.chars();
        for _ in 0..self.column {
            match chars.next() {
                Some(c) => pointer.push(if c.is_ascii() { '.' } else { '\u{ff0e}' }),
                None => break,
            }
        }
        pointer.push(if chars.next().is_some_and(|c| !c.is_ascii()) { '\u{ff3e}' } else { '^' });
        write!(f, "\n | {snippet}\n | {pointer}")
    }
}
