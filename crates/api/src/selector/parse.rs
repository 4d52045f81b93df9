//! The grammar of label selectors.

use super::label::{Operator, Requirement, joined};
use crate::field::{Errors, Path};
use crate::names;
use std::collections::BTreeSet;

/// A word of a selector. `in` and `notin` are operators or values, as their place says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    End,
    Open,
    Close,
    Comma,
    Not,
    Operator(Operator),
    Word,
}

struct Parser<'a> {
    tokens: Vec<(Token, &'a str)>,
    at: usize,
}

/// The requirements of a selector's text, in the order written.
pub(super) fn requirements(text: &str) -> Result<Vec<Requirement>, String> {
    let mut p = Parser { tokens: tokens(text), at: 0 };
    let mut out = Vec::new();
    loop {
        match p.peek() {
            (Token::End, _) => return Ok(out),
            (Token::Word | Token::Not, _) => {
                out.push(p.requirement().map_err(|e| format!("unable to parse requirement: {e}"))?);
            }
            (_, found) => return Err(format!("found '{found}', expected: !, identifier, or 'end of string'")),
        }
        match p.next() {
            (Token::End, _) => return Ok(out),
            (Token::Comma, _) => match p.peek() {
                (Token::Word | Token::Not, _) => {}
                (_, found) => return Err(format!("found '{found}', expected: identifier after ','")),
            },
            (_, found) => return Err(format!("found '{found}', expected: ',' or 'end of string'")),
        }
    }
}

fn is_symbol(c: u8) -> bool {
    b"=!(),><".contains(&c)
}

fn is_space(c: u8) -> bool {
    b" \t\r\n".contains(&c)
}

/// The words, an end behind them. A NUL ends the text, too.
fn tokens(text: &str) -> Vec<(Token, &str)> {
    let text = text.split('\0').next().unwrap_or_default();
    let mut rest = text.trim_start_matches([' ', '\t', '\r', '\n']);
    let mut out = Vec::new();
    while let Some(first) = rest.bytes().next() {
        let length = if is_symbol(first) {
            if rest.starts_with("==") || rest.starts_with("!=") { 2 } else { 1 }
        } else {
            rest.bytes().position(|c| is_symbol(c) || is_space(c)).unwrap_or(rest.len())
        };
        let (word, behind) = rest.split_at(length);
        out.push((token(word), word));
        rest = behind.trim_start_matches([' ', '\t', '\r', '\n']);
    }
    out.push((Token::End, ""));
    out
}

fn token(word: &str) -> Token {
    match word {
        "(" => Token::Open,
        ")" => Token::Close,
        "," => Token::Comma,
        "!" => Token::Not,
        "=" => Token::Operator(Operator::Equals),
        "==" => Token::Operator(Operator::DoubleEquals),
        "!=" => Token::Operator(Operator::NotEquals),
        ">" => Token::Operator(Operator::GreaterThan),
        "<" => Token::Operator(Operator::LessThan),
        "in" => Token::Operator(Operator::In),
        "notin" => Token::Operator(Operator::NotIn),
        _ => Token::Word,
    }
}

impl<'a> Parser<'a> {
    /// The next word; the last one is the end and stays.
    fn peek_operator(&self) -> (Token, &'a str) {
        self.tokens.get(self.at).copied().unwrap_or((Token::End, ""))
    }

    /// The next word, where no operator is meant.
    fn peek(&self) -> (Token, &'a str) {
        match self.peek_operator() {
            (Token::Operator(Operator::In | Operator::NotIn), word) => (Token::Word, word),
            other => other,
        }
    }

    fn next(&mut self) -> (Token, &'a str) {
        let found = self.peek();
        self.at += 1;
        found
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let (key, not) = self.key()?;
        if not {
            return self.none(key, Operator::DoesNotExist);
        }
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return self.none(key, Operator::Exists);
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.value()?,
        };
        Requirement::new(key, operator, values.into_iter().map(str::to_owned).collect())
    }

    fn none(&mut self, key: &str, operator: Operator) -> Result<Requirement, String> {
        Requirement::new(key, operator, Vec::new())
    }

    /// The label, and whether an exclamation mark stands before it.
    fn key(&mut self) -> Result<(&'a str, bool), String> {
        let (mut token, mut word) = self.next();
        let not = token == Token::Not;
        if not {
            (token, word) = self.next();
        }
        if token != Token::Word {
            return Err(format!("found '{word}', expected: identifier"));
        }
        match joined(names::qualified_name(word)) {
            None => Ok((word, not)),
            Some(text) => {
                let mut errors = Errors::new();
                errors.invalid(&Path::root(), word, &text);
                Err(errors.to_string())
            }
        }
    }

    fn operator(&mut self) -> Result<Operator, String> {
        let (token, word) = self.peek_operator();
        self.at += 1;
        match token {
            Token::Operator(operator) => Ok(operator),
            _ => Err(format!("found '{word}', expected: in, notin, =, ==, !=, gt, lt")),
        }
    }

    /// `(a,b,,)`: a set, in which an empty place is the empty value.
    fn values(&mut self) -> Result<BTreeSet<&'a str>, String> {
        let (token, word) = self.next();
        if token != Token::Open {
            return Err(format!("found '{word}' expected: '('"));
        }
        match self.peek() {
            (Token::Close, _) => {
                self.at += 1;
                Ok(BTreeSet::from([""]))
            }
            (Token::Word | Token::Comma, _) => self.list(),
            (_, word) => Err(format!("found '{word}', expected: ',', ')' or identifier")),
        }
    }

    fn list(&mut self) -> Result<BTreeSet<&'a str>, String> {
        let mut out = BTreeSet::new();
        loop {
            match self.next() {
                (Token::Word, word) => {
                    out.insert(word);
                    match self.peek() {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => break,
                        (_, found) => return Err(format!("found '{found}', expected: ',' or ')'")),
                    }
                }
                (Token::Comma, _) => {
                    let next = self.peek().0;
                    if out.is_empty() || matches!(next, Token::Close | Token::Comma) {
                        out.insert("");
                    }
                    if next == Token::Close {
                        break;
                    }
                }
                (_, found) => return Err(format!("found '{found}', expected: ',', or identifier")),
            }
        }
        self.at += 1;
        Ok(out)
    }

    fn value(&mut self) -> Result<BTreeSet<&'a str>, String> {
        if matches!(self.peek().0, Token::End | Token::Comma) {
            return Ok(BTreeSet::from([""]));
        }
        match self.next() {
            (Token::Word, word) => Ok(BTreeSet::from([word])),
            (_, found) => Err(format!("found '{found}', expected: identifier")),
        }
    }
}
