//! Rewrites the links of a page as it passes by.
//!
//! Only the values of attributes that hold links are touched, in place; everything else goes through byte by
//! byte. A page is never held whole: at most one tag is, and one that is too long for that is left alone.

use super::link::Links;

/// The longest tag that is looked into.
const MAX_TAG: usize = 64 << 10;
/// Elements whose content is no markup.
const RAW: [&str; 8] = ["script", "style", "textarea", "title", "iframe", "noembed", "noframes", "xmp"];
/// Which attributes of which elements hold links.
const ATTRIBUTES: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// One page on its way.
pub(super) struct Page {
    links: Links,
    state: State,
    held: Vec<u8>,
}

/// Where in the page we are.
#[derive(Clone, Copy)]
enum State {
    /// Between tags. Next: a comment, or the content of a raw element.
    Text,
    /// Until `-->`.
    Comment,
    /// Until the end tag of this element.
    Raw(&'static str),
}

impl Page {
    pub(super) fn new(links: Links) -> Self {
        Page { links, state: State::Text, held: Vec::new() }
    }

    /// The next bytes of the page; gives those that are done.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut out = Vec::with_capacity(self.held.len() + 256);
        while self.step(&mut out) {}
        out
    }

    /// What was held back when the page ended.
    pub(super) fn finish(self) -> Vec<u8> {
        self.held
    }

    /// Goes on by a tag, a comment or a text; false when more bytes are needed.
    fn step(&mut self, out: &mut Vec<u8>) -> bool {
        match self.state {
            State::Text => self.text(out),
            State::Comment => self.until(b"-->", out),
            State::Raw(name) => self.until(format!("</{name}").as_bytes(), out),
        }
    }

    fn until(&mut self, end: &[u8], out: &mut Vec<u8>) -> bool {
        let found = self.held.windows(end.len()).position(|w| w.eq_ignore_ascii_case(end));
        // What might be the beginning of the end stays.
        let done = found.map_or(self.held.len().saturating_sub(end.len() - 1), |at| at + end.len());
        out.extend(self.held.drain(..done));
        if found.is_some() {
            self.state = State::Text;
        }
        found.is_some()
    }

    fn text(&mut self, out: &mut Vec<u8>) -> bool {
        let at = self.held.iter().position(|b| *b == b'<').unwrap_or(self.held.len());
        out.extend(self.held.drain(..at));
        match self.held.as_slice() {
            [] | [b'<'] => return false,
            held if b"<!--".starts_with(&held[..held.len().min(4)]) => {
                if held.len() < 4 {
                    return false;
                }
                out.extend(self.held.drain(..4));
                self.state = State::Comment;
            }
            [_, first, ..] if first.is_ascii_alphabetic() => return self.tag(out),
            _ => out.extend(self.held.drain(..1)),
        }
        true
    }

    fn tag(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(end) = end_of_tag(&self.held) else {
            if self.held.len() > MAX_TAG {
                out.append(&mut self.held);
            }
            return false;
        };
        let tag: Vec<u8> = self.held.drain(..=end).collect();
        let name = &tag[1..1 + tag[1..].iter().position(|b| b" \t\r\n\x0c/>".contains(b)).unwrap_or(tag.len() - 1)];
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if let Some(raw) = RAW.into_iter().find(|r| is(r)) {
            self.state = State::Raw(raw);
        }
        match ATTRIBUTES.iter().find(|(known, _)| is(known)) {
            Some((_, attributes)) => self.rewrite(&tag, 1 + name.len(), attributes, out),
            None => out.extend_from_slice(&tag),
        }
        true
    }

    fn rewrite(&self, tag: &[u8], mut at: usize, attributes: &[&str], out: &mut Vec<u8>) {
        let mut copied = 0;
        while let Some(attribute) = next_attribute(tag, at) {
            at = attribute.end;
            let link = attributes.iter().any(|a| attribute.name.eq_ignore_ascii_case(a.as_bytes()));
            let value = std::str::from_utf8(&tag[attribute.value.clone()]).ok().filter(|_| link);
            if let Some(new) = value.and_then(|v| self.links.rewrite(v)) {
                out.extend_from_slice(&tag[copied..attribute.value.start]);
                out.extend_from_slice(new.as_bytes());
                copied = attribute.value.end;
            }
        }
        out.extend_from_slice(&tag[copied..]);
    }
}

/// Where the tag at the beginning ends; a `>` in quotes does not count.
fn end_of_tag(bytes: &[u8]) -> Option<usize> {
    let mut quote = None;
    let mut before = b' ';
    for (at, byte) in bytes.iter().enumerate() {
        match (quote, byte) {
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') if before == b'=' => quote = Some(*byte),
            (Some(q), b) if q == *b => quote = None,
            _ => {}
        }
        if !byte.is_ascii_whitespace() {
            before = *byte;
        }
    }
    None
}

/// An attribute of a tag.
struct Attribute<'t> {
    name: &'t [u8],
    value: std::ops::Range<usize>,
    end: usize,
}

fn next_attribute(tag: &[u8], from: usize) -> Option<Attribute<'_>> {
    let skip = |mut at: usize, what: &dyn Fn(u8) -> bool| {
        while at < tag.len() && what(tag[at]) {
            at += 1;
        }
        at
    };
    let space = |b: u8| b.is_ascii_whitespace();
    let start = skip(from, &|b| space(b) || b == b'/');
    let end = skip(start, &|b| !space(b) && !b"=/>".contains(&b));
    if start == end && tag.get(start) != Some(&b'=') {
        return None;
    }
    let name = &tag[start..end];
    let equals = skip(end, &space);
    if tag.get(equals) != Some(&b'=') {
        return Some(Attribute { name, value: end..end, end });
    }
    let begin = skip(equals + 1, &space);
    let (value, end) = match tag.get(begin) {
        Some(quote @ (b'"' | b'\'')) => {
            let end = skip(begin + 1, &|b| b != *quote);
            (begin + 1..end, (end + 1).min(tag.len()))
        }
        _ => {
            let end = skip(begin, &|b| !space(b) && b != b'>');
            (begin..end, end)
        }
    };
    Some(Attribute { name, value, end })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(page: &str, piece: usize) -> String {
        let links = Links { prefix: "/p".to_owned(), backend: "b:80".to_owned(), host: "h".to_owned() };
        let mut stage = Page::new(links);
        let mut out = Vec::new();
        page.as_bytes().chunks(piece).for_each(|bytes| out.extend(stage.push(bytes)));
        out.extend(stage.finish());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn links_are_found_wherever_the_page_is_cut() {
        for (page, expected) in [
            (r#"<a href="/x">t</a>"#, r#"<a href="/p/x">t</a>"#),
            ("<A class=b HREF = '/x?a=1&amp;b=2' >", "<A class=b HREF = '/p/x?a=1&amp;b=2' >"),
            ("<img src=/x.png/><p href='/no'>", "<img src=/p/x.png/><p href='/no'>"),
            (r#"<!-- <a href="/x"> --><a href="http://b:80/y">"#, r#"<!-- <a href="/x"> --><a href="/p/y">"#),
            (
                r#"<script src="/s.js">"<a href='/x'>"</script><link href="/l">"#,
                r#"<script src="/p/s.js">"<a href='/x'>"</script><link href="/p/l">"#,
            ),
            (r#"<a title=">" href="/x" href2>1 < 2"#, r#"<a title=">" href="/p/x" href2>1 < 2"#),
            (
                r#"<a href="rel"><a href="http://else/x"><a href><a"#,
                r#"<a href="rel"><a href="http://else/x"><a href><a"#,
            ),
        ] {
            for piece in [1, 2, 3, 7, 1000] {
                assert_eq!(rewritten(page, piece), expected, "{piece}");
            }
        }
    }
}
