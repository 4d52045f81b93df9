//! Field selectors (apimachinery `pkg/fields`).

use std::fmt;

/// A parsed field selector: conjunction of equalities and inequalities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// Field, whether it must equal (`true`) or differ, and the value.
    pub terms: Vec<(String, bool, String)>,
}

impl FieldSelector {
    /// From a query parameter: `status.phase!=Running,spec.nodeName=a`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts = split(text);
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|p| !p.is_empty()) {
            let (field, equal, value) =
                term(part).ok_or_else(|| format!("invalid selector: '{text}'; can't understand '{part}'"))?;
            terms.push((field.to_owned(), equal, unescape(value)?));
        }
        Ok(FieldSelector { terms })
    }

    /// True when it selects everything.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// The value that a field must have, if it must have one.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|(f, equal, _)| *equal && f == field).map(|(_, _, v)| v.as_str())
    }

    /// Whether the fields that `get` looks up are selected; an absent field reads as empty.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|(field, equal, value)| (get(field).unwrap_or_default() == value) == *equal)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escape = |v: &str| v.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
        let term = |(field, equal, value): &(String, bool, String)| {
            format!("{field}{}{}", if *equal { "=" } else { "!=" }, escape(value))
        };
        f.write_str(&self.terms.iter().map(term).collect::<Vec<_>>().join(","))
    }
}

/// Parts between commas that no backslash stands before.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                parts.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn term(part: &str) -> Option<(&str, bool, &str)> {
    part.char_indices().find_map(|(i, _)| {
        let rest = &part[i..];
        let (operator, equal) =
            [("!=", false), ("==", true), ("=", true)].into_iter().find(|(op, _)| rest.starts_with(op))?;
        Some((&part[..i], equal, &rest[operator.len()..]))
    })
}

fn unescape(value: &str) -> Result<String, String> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(format!("invalid field selector: invalid escape sequence: \\{c}")),
                None => return Err("invalid field selector: invalid escape sequence: \\".to_owned()),
            },
            ',' | '=' => return Err(format!("invalid field selector: unescaped character in value: {c}")),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_read_escaped_and_matched() {
        let s = FieldSelector::parse("status.phase!=Running,metadata.name==a\\,b").unwrap();
        assert_eq!(s.to_string(), "metadata.name=a\\,b,status.phase!=Running");
        assert!(s.matches(|f| (f == "metadata.name").then_some("a,b")));
        assert!(!s.matches(|f| Some(if f == "metadata.name" { "a,b" } else { "Running" })));
        assert_eq!(s.exact("metadata.name"), Some("a,b"));
        assert_eq!(FieldSelector::parse("x").unwrap_err(), "invalid selector: 'x'; can't understand 'x'");
        assert!(FieldSelector::parse("").unwrap().is_everything());
    }
}
