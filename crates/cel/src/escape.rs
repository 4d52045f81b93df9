//! Names of fields in expressions: what is no identifier is written with escapes.
//!
//! `__` is `__underscores__`, `.` is `__dot__`, `-` is `__dash__`, `/` is `__slash__`, and a field called like one of
//! the language's words, `namespace` say, is `__namespace__`.

use std::borrow::Cow;

/// Words of the language.
const WORDS: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

const ESCAPES: &[(&str, &str)] = &[("underscores", "__"), ("dot", "."), ("dash", "-"), ("slash", "/")];

/// True for words of the language, which are no plain identifiers.
pub fn is_reserved(name: &str) -> bool {
    WORDS.contains(&name)
}

/// The name to use in expressions; `None` where the field cannot be reached from them.
pub fn escape(name: &str) -> Option<Cow<'_, str>> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if is_reserved(name) {
        return Some(Cow::Owned(format!("__{name}__")));
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.chars().all(is_plain) && !name.contains("__") {
        return Some(Cow::Borrowed(name));
    }
    let mut escaped = String::with_capacity(name.len() + 16);
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let found = ESCAPES.iter().find(|(_, raw)| rest.starts_with(raw));
        match found {
            Some((word, raw)) => {
                escaped.push_str("__");
                escaped.push_str(word);
                escaped.push_str("__");
                rest = &rest[raw.len()..];
            }
            None if is_plain(c) => {
                escaped.push(c);
                rest = &rest[1..];
            }
            None => return None,
        }
    }
    Some(Cow::Owned(escaped))
}

/// The field that a name in an expression means; `None` for escapes that do not exist.
pub fn unescape(name: &str) -> Option<Cow<'_, str>> {
    if !name.contains("__") {
        return Some(Cow::Borrowed(name));
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("__") {
        let inner = &rest[at + 2..];
        // An escape is two underscores, something without any, and two underscores again.
        let end = inner.find('_').filter(|end| *end > 0 && inner[*end..].starts_with("__"));
        let Some(end) = end else {
            out.push_str(&rest[..=at]);
            rest = &rest[at + 1..];
            continue;
        };
        let word = &inner[..end];
        out.push_str(&rest[..at]);
        match ESCAPES.iter().find(|(escape, _)| *escape == word) {
            Some((_, raw)) => out.push_str(raw),
            None if is_reserved(word) && name.len() == word.len() + 4 => out.push_str(word),
            None => return None,
        }
        rest = &inner[end + 2..];
    }
    out.push_str(rest);
    Some(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for (name, escaped) in [
            ("replicas", "replicas"),
            ("a-b", "a__dash__b"),
            ("a.b/c", "a__dot__b__slash__c"),
            ("__x", "__underscores__x"),
            ("___", "__underscores___"),
            ("namespace", "__namespace__"),
            ("void", "__void__"),
            ("x_y", "x_y"),
        ] {
            assert_eq!(escape(name).as_deref(), Some(escaped), "{name}");
            assert_eq!(unescape(escaped).as_deref(), Some(name), "{escaped}");
        }
    }

    #[test]
    fn some_names_are_out_of_reach() {
        assert_eq!(escape("1a"), None);
        assert_eq!(escape("a b"), None);
        assert_eq!(escape(""), None);
        assert_eq!(unescape("__other__"), None);
        assert_eq!(unescape("a__in__"), None);
    }
}
