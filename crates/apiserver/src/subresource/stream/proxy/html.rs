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
    /// How far the tag at the beginning of what is held was looked at.
    seen: Seen,
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

/// The look for the end of a tag: what came before is not looked at again when more comes.
#[derive(Clone, Copy)]
struct Seen {
    at: usize,
    quote: Option<u8>,
    /// The last byte that was no space.
    before: u8,
}

const UNSEEN: Seen = Seen { at: 0, quote: None, before: b' ' };

impl Page {
    pub(super) fn new(links: Links) -> Self {
        Page { links, state: State::Text, held: Vec::new(), seen: UNSEEN }
    }

    /// The next bytes of the page; gives those that are done.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let mut out = Vec::with_capacity(bytes.len() + 256);
        let mut done = 0;
        while self.step(&held, &mut done, &mut out) {}
        held.drain(..done);
        self.held = held;
        out
    }

    /// What was held back when the page ended.
    pub(super) fn finish(self) -> Vec<u8> {
        self.held
    }

    /// Goes on by a tag, a comment or a text; false when more bytes are needed.
    fn step(&mut self, held: &[u8], done: &mut usize, out: &mut Vec<u8>) -> bool {
        let rest = &held[*done..];
        let (passed, more) = match self.state {
            State::Text => self.text(rest, out),
            State::Comment => self.until(b"-->", rest, out),
            State::Raw(name) => self.until(format!("</{name}").as_bytes(), rest, out),
        };
        *done += passed;
        more
    }

    fn until(&mut self, end: &[u8], rest: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let found = rest.windows(end.len()).position(|w| w.eq_ignore_ascii_case(end));
        // What might be the beginning of the end stays.
        let passed = found.map_or(rest.len().saturating_sub(end.len() - 1), |at| at + end.len());
        out.extend_from_slice(&rest[..passed]);
        if found.is_some() {
            self.state = State::Text;
        }
        (passed, found.is_some())
    }

    fn text(&mut self, rest: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let at = rest.iter().position(|b| *b == b'<').unwrap_or(rest.len());
        out.extend_from_slice(&rest[..at]);
        let markup = &rest[at..];
        let (passed, more) = match markup {
            [] | [b'<'] => (0, false),
            _ if b"<!--".starts_with(&markup[..markup.len().min(4)]) => match markup.len() < 4 {
                true => (0, false),
                false => {
                    self.state = State::Comment;
                    (4, true)
                }
            },
            [_, first, ..] if first.is_ascii_alphabetic() => {
                let (passed, more) = self.tag(markup, out);
                return (at + passed, more);
            }
            _ => (1, true),
        };
        out.extend_from_slice(&markup[..passed]);
        (at + passed, more)
    }

    fn tag(&mut self, markup: &[u8], out: &mut Vec<u8>) -> (usize, bool) {
        let Some(end) = self.seen.end_of_tag(markup) else {
            if markup.len() <= MAX_TAG {
                return (0, false);
            }
            self.seen = UNSEEN;
            out.extend_from_slice(markup);
            return (markup.len(), false);
        };
        self.seen = UNSEEN;
        let tag = &markup[..=end];
        let name = &tag[1..1 + tag[1..].iter().position(|b| b" \t\r\n\x0c/>".contains(b)).unwrap_or(tag.len() - 1)];
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if let Some(raw) = RAW.into_iter().find(|r| is(r)) {
            self.state = State::Raw(raw);
        }
        match ATTRIBUTES.iter().find(|(known, _)| is(known)) {
            Some((_, attributes)) => self.rewrite(tag, 1 + name.len(), attributes, out),
            None => out.extend_from_slice(tag),
        }
        (tag.len(), true)
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

impl Seen {
    /// Where the tag at the beginning ends; a `>` in quotes does not count.
    fn end_of_tag(&mut self, bytes: &[u8]) -> Option<usize> {
        for (at, byte) in bytes.iter().enumerate().skip(self.at) {
            match (self.quote, byte) {
                (None, b'>') => return Some(at),
                (None, b'"' | b'\'') if self.before == b'=' => self.quote = Some(*byte),
                (Some(q), b) if q == *b => self.quote = None,
                _ => {}
            }
            if !byte.is_ascii_whitespace() {
                self.before = *byte;
            }
        }
        self.at = bytes.len();
        None
    }
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

    #[test]
    fn what_is_held_is_not_looked_at_again() {
        let begun = std::time::Instant::now();
        let open = "<".repeat(1 << 20);
        assert_eq!(rewritten(&open, open.len()), open);
        let tags = "<b>".repeat(1 << 18);
        assert_eq!(rewritten(&tags, tags.len()), tags);
        let long = format!("<a {}", "x=\"".repeat(20_000));
        assert_eq!(rewritten(&long, 1), long);
        // Looked at again and again, it takes minutes.
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}
