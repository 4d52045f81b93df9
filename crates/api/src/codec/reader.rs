//! JSON tokens from bytes, with Go's texts for what is not JSON.

use super::{DecodeError, MAX_DEPTH};
use std::borrow::Cow;

/// A place in JSON text.
pub(crate) struct Reader<'b> {
    text: &'b str,
    bytes: &'b [u8],
    at: usize,
    depth: usize,
}

/// Not JSON.
pub(crate) type Syntax = DecodeError;

impl<'b> Reader<'b> {
    pub(crate) fn new(text: &'b str) -> Self {
        Self::below(0, text)
    }

    /// Text inside something that is so deep already.
    pub(crate) fn below(depth: usize, text: &'b str) -> Self {
        Reader { text, bytes: text.as_bytes(), at: 0, depth }
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// The first byte of the value to come.
    pub(crate) fn peek(&mut self) -> Result<u8, Syntax> {
        self.skip_space();
        self.bytes.get(self.at).copied().ok_or_else(end)
    }

    fn unexpected(&self, whence: &str) -> Syntax {
        match self.bytes.get(self.at) {
            Some(c) => DecodeError(format!("invalid character {} {whence}", quoted_char(*c))),
            None => end(),
        }
    }

    /// A value cannot begin here.
    pub(crate) fn no_value(&self) -> Syntax {
        self.unexpected("looking for beginning of value")
    }

    /// Nothing but space may follow.
    pub(crate) fn finish(&mut self) -> Result<(), Syntax> {
        self.skip_space();
        if self.at < self.bytes.len() {
            return Err(self.unexpected("after top-level value"));
        }
        Ok(())
    }

    fn deeper(&mut self) -> Result<(), Syntax> {
        self.at += 1;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(DecodeError("exceeded max depth".into()));
        }
        Ok(())
    }

    /// Enters `{` or `[`; false when it is empty (and left again).
    pub(crate) fn enter(&mut self, close: u8) -> Result<bool, Syntax> {
        self.deeper()?;
        if self.peek()? == close {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        Ok(true)
    }

    /// After an entry or item: true when another follows.
    pub(crate) fn more(&mut self, close: u8) -> Result<bool, Syntax> {
        match self.peek()? {
            b',' => {
                self.at += 1;
                Ok(true)
            }
            c if c == close => {
                self.at += 1;
                self.depth -= 1;
                Ok(false)
            }
            _ if close == b'}' => Err(self.unexpected("after object key:value pair")),
            _ => Err(self.unexpected("after array element")),
        }
    }

    /// A key and the colon behind it.
    pub(crate) fn key(&mut self) -> Result<Cow<'b, str>, Syntax> {
        if self.peek()? != b'"' {
            return Err(self.unexpected("looking for beginning of object key string"));
        }
        let key = self.string()?;
        if self.peek()? != b':' {
            return Err(self.unexpected("after object key"));
        }
        self.at += 1;
        Ok(key)
    }

    /// `true`, `false` or `null`, the word whole.
    pub(crate) fn word(&mut self, word: &'static str) -> Result<(), Syntax> {
        for (i, expected) in word.bytes().enumerate() {
            if self.bytes.get(self.at) != Some(&expected) {
                let whence = if i == 0 {
                    "looking for beginning of value".to_owned()
                } else {
                    format!("in literal {word} (expecting {})", quoted_char(expected))
                };
                return Err(self.unexpected(&whence));
            }
            self.at += 1;
        }
        Ok(())
    }

    /// The text of a number.
    pub(crate) fn number(&mut self) -> Result<&'b str, Syntax> {
        let start = self.at;
        if self.bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        match self.bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.bytes.get(self.at) {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        Ok(&self.text[start..self.at])
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self, whence: &str) -> Result<(), Syntax> {
        let start = self.at;
        self.digits();
        if self.at == start { Err(self.unexpected(whence)) } else { Ok(()) }
    }

    /// A string; stands on its opening quote.
    pub(crate) fn string(&mut self) -> Result<Cow<'b, str>, Syntax> {
        self.at += 1;
        let start = self.at;
        self.at += plain(&self.bytes[start..]);
        if self.bytes.get(self.at) == Some(&b'"') {
            self.at += 1;
            return Ok(Cow::Borrowed(&self.text[start..self.at - 1]));
        }
        self.escaped(start).map(Cow::Owned)
    }

    /// A string with escapes; stands behind the part without, which begins at `start`.
    fn escaped(&mut self, start: usize) -> Result<String, Syntax> {
        let mut text = self.text[start..self.at].to_owned();
        loop {
            match self.bytes.get(self.at) {
                None => return Err(end()),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escape()?);
                }
                Some(_) => return Err(self.unexpected("in string literal")),
            }
            let run = self.at;
            self.at += plain(&self.bytes[run..]);
            text.push_str(&self.text[run..self.at]);
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self) -> Result<char, Syntax> {
        let c = match self.bytes.get(self.at) {
            None => return Err(end()),
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(*c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            Some(_) => return Err(self.unexpected("in string escape code")),
        };
        self.at += 1;
        Ok(c)
    }

    /// The four digits behind `\u`, and the second half of a pair; half pairs become U+FFFD.
    fn unicode(&mut self) -> Result<char, Syntax> {
        let first = self.four_digits()?;
        if (0xd800..0xdc00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.four_digits()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn four_digits(&mut self) -> Result<u32, Syntax> {
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.bytes.get(self.at).and_then(|c| char::from(*c).to_digit(16));
            match digit {
                Some(digit) => code = code << 4 | digit,
                None => return Err(self.unexpected("in \\u hexadecimal character escape")),
            }
            self.at += 1;
        }
        Ok(code)
    }

    /// Passes over one value.
    pub(crate) fn skip(&mut self) -> Result<(), Syntax> {
        match self.peek()? {
            b'{' => {
                let mut more = self.enter(b'}')?;
                while more {
                    self.key()?;
                    self.skip()?;
                    more = self.more(b'}')?;
                }
                Ok(())
            }
            b'[' => {
                let mut more = self.enter(b']')?;
                while more {
                    self.skip()?;
                    more = self.more(b']')?;
                }
                Ok(())
            }
            b'"' => self.string().map(|_| ()),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            b'-' | b'0'..=b'9' => self.number().map(|_| ()),
            _ => Err(self.no_value()),
        }
    }
}

/// How many bytes can stand in a string as they are.
fn plain(bytes: &[u8]) -> usize {
    let ends = |c: u8| (c < 0x20) | (c == b'"') | (c == b'\\');
    let whole = bytes.chunks_exact(16).take_while(|chunk| !chunk.iter().fold(false, |any, c| any | ends(*c))).count();
    let at = whole * 16;
    at + bytes[at..].iter().take_while(|c| !ends(**c)).count()
}

fn end() -> Syntax {
    DecodeError("unexpected end of JSON input".into())
}

/// A byte as Go's messages show it.
fn quoted_char(c: u8) -> String {
    match c {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        0x20..0x7f => format!("'{}'", char::from(c)),
        c if c < 0x20 || c == 0x7f => format!("'\\x{c:02x}'"),
        c if c < 0xa1 || c == 0xad => format!("'\\u{:04x}'", u32::from(c)),
        c => format!("'{}'", char::from(c)),
    }
}
