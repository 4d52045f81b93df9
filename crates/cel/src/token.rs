//! The lexer: text to tokens, by the longest match.

use crate::source::{Errors, Source};

/// A piece of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    /// First character.
    pub(crate) start: usize,
    /// As written; `<EOF>` at the end.
    pub(crate) text: String,
}

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Ident,
    /// A name in backquotes; no environment of Kubernetes takes them.
    Quoted,
    Int,
    Uint,
    Float,
    String,
    Bytes,
    True,
    False,
    Null,
    /// Operators, brackets and `in`: told apart by their text.
    Symbol,
    End,
}

/// Two-character symbols first.
const SYMBOLS: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":", "+", "*",
    "/", "%",
];

/// Splits the text; what no token starts with is reported and skipped.
pub(crate) fn tokens(source: &Source, errors: &mut Errors<'_>) -> Vec<Token> {
    let mut lexer = Lexer { chars: &source.chars, at: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blank();
        let start = lexer.at;
        if start >= lexer.chars.len() {
            tokens.push(Token { kind: TokenKind::End, start, text: "<EOF>".into() });
            return tokens;
        }
        match lexer.next() {
            Ok(kind) => tokens.push(Token { kind, start, text: lexer.chars[start..lexer.at].iter().collect() }),
            Err(stopped) => {
                // The character that fits nothing is part of the message and skipped, as upstream's generated lexer does.
                let end = (stopped + 1).min(lexer.chars.len());
                let text: String = lexer.chars[start..end].iter().collect();
                let text = text.replace('\n', "\\n").replace('\t', "\\t").replace('\r', "\\r");
                errors.at(start, format!("Syntax error: token recognition error at: '{text}'"));
                lexer.at = end;
            }
        }
    }
}

struct Lexer<'s> {
    chars: &'s [char],
    at: usize,
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn skip_blank(&mut self) {
        loop {
            if matches!(self.peek(0), '\t' | ' ' | '\r' | '\n' | '\u{c}') && self.at < self.chars.len() {
                self.at += 1;
            } else if self.peek(0) == '/' && self.peek(1) == '/' {
                while self.at < self.chars.len() && self.peek(0) != '\n' {
                    self.at += 1;
                }
            } else {
                return;
            }
        }
    }

    /// The next token; an error is where it stopped making sense.
    fn next(&mut self) -> Result<TokenKind, usize> {
        let c = self.peek(0);
        if let Some(kind) = self.string() {
            return kind;
        }
        if c.is_ascii_alphabetic() || c == '_' {
            return Ok(self.word());
        }
        if c.is_ascii_digit() || (c == '.' && self.peek(1).is_ascii_digit()) {
            return Ok(self.number());
        }
        if c == '`' {
            return self.quoted();
        }
        for symbol in SYMBOLS {
            if symbol.chars().enumerate().all(|(i, s)| self.peek(i) == s) {
                self.at += symbol.len();
                return Ok(TokenKind::Symbol);
            }
        }
        // `=`, `&` and `|` begin symbols: the next character is where it stops.
        Err(self.at + usize::from(matches!(c, '=' | '&' | '|')))
    }

    fn word(&mut self) -> TokenKind {
        let start = self.at;
        while self.peek(0).is_ascii_alphanumeric() || self.peek(0) == '_' {
            self.at += 1;
        }
        let word: String = self.chars[start..self.at].iter().collect();
        match word.as_str() {
            "in" => TokenKind::Symbol,
            "true" => TokenKind::True,
            "false" => TokenKind::False,
            "null" => TokenKind::Null,
            _ => TokenKind::Ident,
        }
    }

    fn number(&mut self) -> TokenKind {
        if self.peek(0) == '0' && self.peek(1) == 'x' && self.peek(2).is_ascii_hexdigit() {
            self.at += 2;
            self.skip_while(|c| c.is_ascii_hexdigit());
            return self.unsigned_or(TokenKind::Int);
        }
        self.skip_while(|c| c.is_ascii_digit());
        let mut kind = TokenKind::Int;
        if self.peek(0) == '.' && self.peek(1).is_ascii_digit() {
            self.at += 1;
            self.skip_while(|c| c.is_ascii_digit());
            kind = TokenKind::Float;
        }
        if matches!(self.peek(0), 'e' | 'E') {
            let sign = usize::from(matches!(self.peek(1), '+' | '-'));
            if self.peek(1 + sign).is_ascii_digit() {
                self.at += 1 + sign;
                self.skip_while(|c| c.is_ascii_digit());
                kind = TokenKind::Float;
            }
        }
        if kind == TokenKind::Int { self.unsigned_or(kind) } else { kind }
    }

    fn unsigned_or(&mut self, kind: TokenKind) -> TokenKind {
        if matches!(self.peek(0), 'u' | 'U') {
            self.at += 1;
            return TokenKind::Uint;
        }
        kind
    }

    fn skip_while(&mut self, is: impl Fn(char) -> bool) {
        while is(self.peek(0)) {
            self.at += 1;
        }
    }

    fn quoted(&mut self) -> Result<TokenKind, usize> {
        let mut end = self.at + 1;
        while self.chars.get(end).is_some_and(|c| c.is_ascii_alphanumeric() || "_.-/ ".contains(*c)) {
            end += 1;
        }
        if self.chars.get(end) != Some(&'`') || end == self.at + 1 {
            return Err(end);
        }
        self.at = end + 1;
        Ok(TokenKind::Quoted)
    }

    /// A string or bytes, if one starts here. Where `r` or `b` begin no string after all, they are a name.
    fn string(&mut self) -> Option<Result<TokenKind, usize>> {
        let mut ahead = 0;
        let bytes = matches!(self.peek(ahead), 'b' | 'B');
        ahead += usize::from(bytes);
        let raw = matches!(self.peek(ahead), 'r' | 'R');
        ahead += usize::from(raw);
        let quote = self.peek(ahead);
        if !matches!(quote, '"' | '\'') {
            return None;
        }
        let kind = if bytes { TokenKind::Bytes } else { TokenKind::String };
        match string_end(self.chars, self.at + ahead, quote, raw) {
            Ok(end) => {
                self.at = end;
                Some(Ok(kind))
            }
            Err(_) if ahead > 0 => None,
            Err(stopped) => Some(Err(stopped)),
        }
    }
}

/// Where the string that opens at `start` ends, or where it breaks off.
fn string_end(chars: &[char], start: usize, quote: char, raw: bool) -> Result<usize, usize> {
    let triple = chars.get(start + 1) == Some(&quote) && chars.get(start + 2) == Some(&quote);
    if triple && let Ok(end) = scan(chars, start + 3, quote, raw, true) {
        return Ok(end);
    }
    scan(chars, start + 1, quote, raw, false)
}

fn scan(chars: &[char], mut at: usize, quote: char, raw: bool, triple: bool) -> Result<usize, usize> {
    loop {
        match chars.get(at) {
            None => return Err(at),
            Some(c) if *c == quote => {
                if !triple {
                    return Ok(at + 1);
                }
                if chars.get(at + 1) == Some(&quote) && chars.get(at + 2) == Some(&quote) {
                    return Ok(at + 3);
                }
                at += 1;
            }
            Some('\n' | '\r') if !triple => return Err(at),
            Some('\\') if !raw => at = escape_end(chars, at)?,
            Some(_) => at += 1,
        }
    }
}

/// Where an escape sequence ends.
fn escape_end(chars: &[char], at: usize) -> Result<usize, usize> {
    let follows = |from: usize, n: usize, is: fn(char) -> bool| {
        (from..from + n).find(|i| !chars.get(*i).copied().is_some_and(is)).map_or(Ok(from + n), Err)
    };
    match chars.get(at + 1) {
        Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`') => Ok(at + 2),
        Some('0'..='3') => follows(at + 2, 2, |c| matches!(c, '0'..='7')),
        Some('x' | 'X') => follows(at + 2, 2, |c| c.is_ascii_hexdigit()),
        Some('u') => follows(at + 2, 4, |c| c.is_ascii_hexdigit()),
        Some('U') => follows(at + 2, 8, |c| c.is_ascii_hexdigit()),
        _ => Err(at + 1),
    }
}
