//! The text of paths.

use super::{Filter, Operator, Slice, Step};
use kaji_api::Value;

/// Deeper unions and filters are nobody's.
const DEPTH: usize = 16;

/// The steps of a path; none where it is none.
pub(super) fn steps(text: &str) -> Option<Vec<Step>> {
    Parser { rest: text, steps: Vec::new() }.run(0)
}

struct Parser<'a> {
    rest: &'a str,
    steps: Vec<Step>,
}

impl<'a> Parser<'a> {
    fn run(mut self, depth: usize) -> Option<Vec<Step>> {
        if depth > DEPTH {
            return None;
        }
        while let Some(c) = self.rest.chars().next() {
            if self.rest.starts_with("[?(") {
                self.filter(depth)?;
            } else if let Some(rest) = self.rest.strip_prefix("..") {
                self.rest = rest;
                if self.steps.last() == Some(&Step::Descend) {
                    return None;
                }
                self.steps.push(Step::Descend);
                if rest.starts_with(|c: char| c == '_' || c.is_alphanumeric()) {
                    self.field();
                }
            } else {
                match c {
                    ' ' | '@' | '$' => self.rest = &self.rest[1..],
                    '[' => self.brackets(depth)?,
                    '"' | '\'' => self.quoted(c)?,
                    '.' => {
                        self.rest = &self.rest[1..];
                        self.field();
                    }
                    '+' | '-' | '0'..='9' => self.number()?,
                    _ => self.word()?,
                }
            }
        }
        Some(self.steps)
    }

    /// The text up to a position, which is passed.
    fn take(&mut self, end: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn field(&mut self) {
        let mut escaped = false;
        let end = self.rest.find(|c: char| {
            let ends = !escaped && is_terminator(c);
            escaped = !escaped && c == '\\';
            ends
        });
        let name = self.take(end.unwrap_or(self.rest.len()));
        self.steps.push(if name == "*" { Step::Wildcard } else { Step::Field(name.replace('\\', "")) });
    }

    fn word(&mut self) -> Option<()> {
        let end = self.rest.find(is_terminator).unwrap_or(self.rest.len());
        let value = match self.take(end) {
            "true" => true,
            "false" => false,
            _ => return None,
        };
        self.steps.push(Step::Constant(Value::Bool(value)));
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let digits = self.rest[1..].find(|c: char| c != '.' && !c.is_ascii_digit());
        let text = self.take(digits.map_or(self.rest.len(), |end| end + 1));
        let value = match text.parse::<i64>() {
            Ok(n) => Value::Int(n),
            Err(_) => Value::Float(text.parse().ok()?),
        };
        self.steps.push(Step::Constant(value));
        Some(())
    }

    fn quoted(&mut self, quote: char) -> Option<()> {
        let bytes = self.rest.as_bytes();
        let is_end = |i: &usize| char::from(bytes[*i]) == quote && bytes[i - 1] != b'\\';
        let end = (1..bytes.len()).find(is_end)?;
        let text = self.take(end + 1);
        let inner = text.get(1..end)?;
        self.steps.push(Step::Constant(Value::from(unquote(inner))));
        Some(())
    }

    fn brackets(&mut self, depth: usize) -> Option<()> {
        let end = self.rest.find(']')?;
        let text = self.take(end + 1).get(1..end)?;
        let text = if text == "*" { ":" } else { text };
        if text.contains(',') {
            let part = |part: &str| {
                Parser { rest: &format!("[{}]", part.trim_matches(' ')), steps: Vec::new() }.run(depth + 1)
            };
            self.steps.push(Step::Union(text.split(',').map(part).collect::<Option<_>>()?));
            return Some(());
        }
        let key = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
        match key {
            Some("") | None => self.steps.push(Step::Slice(slice(text)?)),
            Some(key) => self.steps.push(Step::Field(key.replace('\\', ""))),
        }
        Some(())
    }

    fn filter(&mut self, depth: usize) -> Option<()> {
        self.rest = &self.rest[3..];
        let mut quote: Option<char> = None;
        let mut escaped = false;
        let end = self.rest.find(|c: char| {
            let ends = quote.is_none() && c == ')';
            match quote {
                Some(q) if c == q && !escaped => quote = None,
                None if matches!(c, '"' | '\'') => quote = Some(c),
                _ => {}
            }
            escaped = c == '\\';
            ends
        })?;
        let text = self.take(end);
        self.rest = self.rest.strip_prefix(")]")?;
        let side = |text: &str| Parser { rest: text, steps: Vec::new() }.run(depth + 1);
        let is_operator = |c: char| matches!(c, '!' | '<' | '>' | '=');
        let filter = match text.find(is_operator).filter(|at| *at > 0) {
            None => Filter { left: side(text)?, comparison: None },
            Some(at) => {
                let (left, rest) = text.split_at(at);
                let (operator, right) = rest.split_at(rest.find(|c| !is_operator(c))?);
                Filter { left: side(left)?, comparison: Some((operator_of(operator)?, side(right)?)) }
            }
        };
        self.steps.push(Step::Filter(filter));
        Some(())
    }
}

fn is_terminator(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n' | '.' | ',' | '[' | ']' | '$' | '@' | '{' | '}')
}

fn operator_of(text: &str) -> Option<Operator> {
    Some(match text {
        "<" => Operator::Less,
        "<=" => Operator::LessOrEqual,
        "==" => Operator::Equal,
        "!=" => Operator::NotEqual,
        ">=" => Operator::GreaterOrEqual,
        ">" => Operator::Greater,
        _ => return None,
    })
}

fn slice(text: &str) -> Option<Slice> {
    let number = |part: Option<&str>| match part {
        None | Some("") => Some(None),
        Some(n) => n.parse::<i64>().ok().map(Some),
    };
    let mut parts = text.split(':');
    let start = number(parts.next())?;
    let end = parts.next();
    let step = number(parts.next())?;
    if parts.next().is_some() || text.is_empty() {
        return None;
    }
    let lone = end.is_none();
    let end = if lone { start.map(|start| start.wrapping_add(1)) } else { number(end)? };
    Some(Slice { start, end, lone, step })
}

fn unquote(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.push(match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some('r') => '\r',
                Some(other) => other,
                None => '\\',
            }),
            c => out.push(c),
        }
    }
    out
}
