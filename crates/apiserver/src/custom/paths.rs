//! Paths to fields as rules and selectable fields name them: `.spec.color`, `.labels['a.b']`.

use super::props::Props;
use kaji_api::field::Path;

/// The path in the form of field errors and the schema it leads to (none below `additionalProperties: true`), or why
/// it leads nowhere.
pub(crate) fn field_path<'a>(
    path: &str,
    schema: Props<'a>,
    brackets: bool,
) -> Result<(String, Option<Props<'a>>), String> {
    const END: &str = "unexpected end of JSON path";
    let mut tokens = Tokens(path);
    let (mut at, mut schema) = (Path::root(), Some(schema));
    while let Some(token) = tokens.next() {
        let name = match token {
            "." => tokens.next().ok_or(END)?.to_owned(),
            "[" if !brackets => return Err("array notation is not allowed".to_owned()),
            "[" => {
                let quoted = tokens.next().ok_or(END)?;
                let inner = quoted.strip_prefix('\'').and_then(|q| q.strip_suffix('\''));
                unescape(inner.ok_or_else(|| format!("expected single quoted string but got {quoted}"))?)?
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        let here = schema.ok_or("does not refer to a valid field")?;
        if here.0.get("properties").is_some() {
            at = at.child(&name);
            schema = Some(here.property(&name).ok_or("does not refer to a valid field")?);
        } else if here.has_additional() {
            at = at.key(&name);
            schema = here.additional();
        } else {
            return Err("does not refer to a valid field".to_owned());
        }
        if token == "[" {
            match tokens.next().ok_or(END)? {
                "]" => {}
                other => return Err(format!("expected ] but got {other}")),
            }
        }
    }
    Ok((at.to_string(), schema))
}

/// Dots and brackets, and what stands between them; a quoted string is one token.
struct Tokens<'a>(&'a str);

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0;
        let first = text.chars().next()?;
        let end = match first {
            '.' | '[' | ']' => 1,
            '\'' => {
                let bytes = text.as_bytes();
                let close = (1..bytes.len()).find(|i| bytes[*i] == b'\'' && bytes[i - 1] != b'\\');
                close.map_or(text.len(), |close| close + 1)
            }
            _ => text.find(['.', '[', ']']).unwrap_or(text.len()),
        };
        let (token, rest) = text.split_at(end);
        self.0 = rest;
        Some(token)
    }
}

fn unescape(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next() {
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some('\'') => '\'',
            Some('\\') => '\\',
            Some(other) => return Err(format!("invalid string literal: invalid escape char \\{other}")),
            None => '\\',
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn paths_lead_through_the_schema() {
        let schema = value!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"color": {"type": "string"}, "a.b": {"type": "integer"},
                "map": {"type": "object", "additionalProperties": {"type": "boolean"}}}}}});
        let cases = [
            (".spec.color", Ok(("spec.color", "string"))),
            (".spec['a.b']", Ok(("spec.a.b", "integer"))),
            (".spec.map['x\\'y']", Ok(("spec.map[x'y]", "boolean"))),
            (".spec.none", Err("does not refer to a valid field")),
            ("spec", Err("expected [ or . but got: spec")),
            (".spec.", Err("unexpected end of JSON path")),
            (".spec[0]", Err("expected single quoted string but got 0")),
            (".spec.color.more", Err("does not refer to a valid field")),
        ];
        for (path, expected) in cases {
            let found = field_path(path, Props(&schema), true);
            let found = found.as_ref().map(|(at, s)| (at.as_str(), s.map_or("", |s| s.ty()))).map_err(String::as_str);
            assert_eq!(found, expected, "{path}");
        }
        assert_eq!(field_path(".spec['x']", Props(&schema), false).unwrap_err(), "array notation is not allowed");
    }
}
