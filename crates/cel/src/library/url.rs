//! URLs, read as Go reads them.

use super::Sig::{Bool, List as L, Map as M, Object as O, String as Str};
use super::{Function, Opaque, Sig, function, global, member, opaque, opaque_of, str_of};
use crate::value::{EvalError, Outcome, Val, fail, no_overload};

const URL: Sig = O(super::opaque::URL);

/// A URL.
#[derive(Clone, Debug, Default)]
pub struct Url {
    text: String,
    scheme: String,
    host: String,
    /// As written, or empty for opaque ones.
    path: String,
    query: String,
}

pub(crate) const FUNCTIONS: &[Function] = &[
    function("url", &[global("string_to_url", &[Str], URL, make)]),
    function(
        "isURL",
        &[global("is_url_string", &[Str], Bool, |a| Ok(Val::Bool(check_request_uri(str_of(&a[0])?).is_ok())))],
    ),
    function("getScheme", &[member("url_get_scheme", &[URL], Str, |a| part(a, |u| u.scheme.clone()))]),
    function("getHost", &[member("url_get_host", &[URL], Str, |a| part(a, |u| u.host.clone()))]),
    function("getHostname", &[member("url_get_hostname", &[URL], Str, |a| part(a, |u| u.split_host().0.to_owned()))]),
    function("getPort", &[member("url_get_port", &[URL], Str, |a| part(a, |u| u.split_host().1.to_owned()))]),
    function("getEscapedPath", &[member("url_get_escaped_path", &[URL], Str, |a| part(a, Url::escaped_path))]),
    function("getQuery", &[member("url_get_query", &[URL], M(&Str, &L(&Str)), query)]),
];

/// Whether a text can be the target of a request; the error is Go's.
pub(super) fn check_request_uri(text: &str) -> Result<(), String> {
    Url::parse(text, true).map(drop).map_err(|why| format!("parse {text:?}: {why}"))
}

fn make<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let text = str_of(&args[0])?;
    let parsed = check_request_uri(text).and_then(|()| {
        let address = text.split('#').next().unwrap_or_default();
        Url::parse(address, false).map_err(|why| format!("parse {text:?}: {why}"))
    });
    match parsed {
        Ok(url) => Ok(opaque(Opaque::Url(Url { text: text.to_owned(), ..url }))),
        Err(message) => fail(format!("URL parse error during conversion from string: {message}")),
    }
}

fn of<'v>(value: &'v Val<'_>) -> Result<&'v Url, EvalError> {
    match opaque_of(value)? {
        Opaque::Url(url) => Ok(url),
        _ => no_overload(),
    }
}

fn part<'a>(args: &[Val<'a>], get: fn(&Url) -> String) -> Outcome<'a> {
    of(&args[0]).map(|url| Val::from(get(url)))
}

/// Values by name, in order; pairs that cannot be decoded are left out.
fn query<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let mut values: Vec<(String, Vec<String>)> = Vec::new();
    for pair in of(&args[0])?.query.split('&').filter(|p| !p.is_empty() && !p.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(key), Some(value)) = (unescape(key, true), unescape(value, true)) else { continue };
        match values.iter_mut().find(|(k, _)| *k == key) {
            Some((_, all)) => all.push(value),
            None => values.push((key, vec![value])),
        }
    }
    Ok(Val::map(values.into_iter().map(|(key, all)| (Val::from(key), Val::strings(all)))))
}

impl Url {
    /// As given.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn parse(text: &str, request: bool) -> Result<Self, String> {
        if text.bytes().any(|b| b < b' ' || b == 0x7f) {
            return Err("net/url: invalid control character in URL".into());
        }
        if text.is_empty() && request {
            return Err("empty url".into());
        }
        if text == "*" {
            return Ok(Url { path: "*".into(), ..Url::default() });
        }
        let (scheme, rest) = split_scheme(text)?;
        let mut url = Url { scheme: scheme.to_ascii_lowercase(), ..Url::default() };
        let (mut rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        url.query = query.to_owned();
        if !rest.starts_with('/') {
            if !scheme.is_empty() {
                return Ok(url);
            }
            if request {
                return Err("invalid URI for request".into());
            }
            if rest.split('/').next().is_some_and(|first| first.contains(':')) {
                return Err("first path segment in URL cannot contain colon".into());
            }
        }
        let has_authority = !scheme.is_empty() || (!request && !rest.starts_with("///"));
        if has_authority && let Some(after) = rest.strip_prefix("//") {
            let end = after.find('/').unwrap_or(after.len());
            url.host = authority(&after[..end])?;
            rest = &after[end..];
        }
        if unescape(rest, false).is_none() {
            return Err(bad_escape(rest));
        }
        rest.clone_into(&mut url.path);
        Ok(url)
    }

    /// Name and port of the host.
    fn split_host(&self) -> (&str, &str) {
        let host = self.host.as_str();
        if let Some(inner) = host.strip_prefix('[')
            && let Some((name, after)) = inner.split_once(']')
        {
            return (name, after.strip_prefix(':').unwrap_or(""));
        }
        host.rsplit_once(':').unwrap_or((host, ""))
    }

    /// As written if that is a proper way to write it, escaped anew otherwise.
    fn escaped_path(&self) -> String {
        let proper = |b: u8| b.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:@/[]%".contains(&b);
        if self.path.bytes().all(proper) {
            return self.path.clone();
        }
        let plain = unescape(&self.path, false).unwrap_or_default();
        let mut escaped = String::new();
        for b in plain.bytes() {
            if b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@".contains(&b) {
                escaped.push(b as char);
            } else {
                escaped.push_str(&format!("%{b:02X}"));
            }
        }
        escaped
    }
}

fn split_scheme(text: &str) -> Result<(&str, &str), String> {
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return Err("missing protocol scheme".into()),
            b':' => return Ok((&text[..at], &text[at + 1..])),
            _ => break,
        }
    }
    Ok(("", text))
}

/// Checks user, host and port; the host with its port comes back.
fn authority(text: &str) -> Result<String, String> {
    let host = match text.rsplit_once('@') {
        None => text,
        Some((user, host)) => {
            let proper = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
            if !user.bytes().all(proper) || unescape(user, false).is_none() {
                return Err("net/url: invalid userinfo".into());
            }
            host
        }
    };
    let port = if host.starts_with('[') {
        let end = host.rfind(']').ok_or("missing ']' in host")?;
        &host[end + 1..]
    } else {
        host.rfind(':').map_or("", |at| &host[at..])
    };
    let digits = port.strip_prefix(':');
    if !port.is_empty() && !digits.is_some_and(|d| d.bytes().all(|b| b.is_ascii_digit())) {
        return Err(format!("invalid port {port:?} after host"));
    }
    if let Some(bad) = host.chars().find(|c| matches!(c, ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}')) {
        return Err(format!("invalid character {:?} in host name", bad.to_string()));
    }
    unescape(host, false).ok_or_else(|| bad_escape(host))
}

fn bad_escape(text: &str) -> String {
    let at = (0..text.len()).find(|at| {
        text.as_bytes()[*at] == b'%'
            && !text.as_bytes().get(at + 1..at + 3).is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit))
    });
    let escape: String = text.get(at.unwrap_or(0)..).unwrap_or_default().chars().take(3).collect();
    format!("invalid URL escape {escape:?}")
}

/// Percent escapes undone; in queries plus signs are spaces. `None` where an escape is broken.
fn unescape(text: &str, query: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(b) = rest.next() {
        match b {
            b'%' => {
                let digit = |b: Option<u8>| b.and_then(|b| (b as char).to_digit(16));
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                bytes.push(u8::try_from(high * 16 + low).ok()?);
            }
            b'+' if query => bytes.push(b' '),
            other => bytes.push(other),
        }
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}
