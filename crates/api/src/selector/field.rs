//! Field selectors: a conjunction of equalities and inequalities.

use std::fmt;

/// A parsed field selector; the default one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// Field, whether it must equal (`true`) or differ, and the value.
    pub terms: Vec<(String, bool, String)>,
}

impl FieldSelector {
    /// From a query parameter: `status.phase!=Running,spec.nodeName=a`. In values a backslash escapes
    /// itself, comma and equals sign. Which fields there are, and under which names, the caller says.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = split(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|p| !p.is_empty()) {
            let Some((field, equals, value)) = term(part) else {
                return Err(format!("invalid selector: '{text}'; can't understand '{part}'"));
            };
            let value = unescaped(value)?;
            // A term without anything says nothing.
            if !(field.is_empty() && value.is_empty()) {
                terms.push((field.to_owned(), equals, value));
            }
        }
        Ok(FieldSelector { terms })
    }

    /// The objects where the field has just this value.
    pub fn exactly(field: &str, value: &str) -> Self {
        FieldSelector { terms: vec![(field.to_owned(), true, value.to_owned())] }
    }

    /// True when it selects everything.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that the field must have, if the selector says so.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|(f, equals, _)| *equals && f == field).map(|(.., value)| value.as_str())
    }

    /// Whether the fields that `get` looks up are selected; an absent field reads as empty.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|(field, equals, value)| (get(field).unwrap_or_default() == value) == *equals)
    }
}

/// At commas without a backslash before them.
fn split(text: &str) -> Vec<&str> {
    let (mut out, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in text.bytes().enumerate() {
        if !escaped && c == b',' {
            out.push(&text[start..at]);
            start = at + 1;
        }
        escaped = !escaped && c == b'\\';
    }
    out.push(&text[start..]);
    out
}

/// At the first operator.
fn term(part: &str) -> Option<(&str, bool, &str)> {
    let at = part
        .char_indices()
        .map(|(at, _)| at)
        .find(|at| part[*at..].starts_with("!=") || part[*at..].starts_with('='))?;
    let (field, rest) = part.split_at(at);
    let (equals, value) = match rest.strip_prefix("!=") {
        Some(value) => (false, value),
        None => (true, rest.strip_prefix("==").or(rest.strip_prefix('='))?),
    };
    Some((field, equals, value))
}

fn unescaped(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                other => {
                    let sequence: String = std::iter::once('\\').chain(other).collect();
                    return Err(format!("invalid field selector: invalid escape sequence: {sequence}"));
                }
            },
            // Go prints the character's number.
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {}", c as u32)),
            c => out.push(c),
        }
    }
    Ok(out)
}

impl fmt::Display for FieldSelector {
    /// As a query parameter writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (field, equals, value)) in self.terms.iter().enumerate() {
            let (comma, sign) = (if i > 0 { "," } else { "" }, if *equals { "=" } else { "!=" });
            let value = value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
            write!(f, "{comma}{field}{sign}{value}")?;
        }
        Ok(())
    }
}
