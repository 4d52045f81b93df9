//! Formats of the network: addresses, names, URIs.

use kaji_api::names;
use std::net::Ipv6Addr;

pub(super) fn ipv4(s: &str) -> bool {
    s.contains('.') && names::parse_ip_sloppy(s).is_some()
}

pub(super) fn ipv6(s: &str) -> bool {
    s.parse::<Ipv6Addr>().is_ok()
}

pub(super) fn cidr(s: &str) -> bool {
    names::parse_cidr_sloppy(s).is_some()
}

/// 6, 8 or 20 bytes, in pairs parted by colons or dashes, or in fours parted by dots.
pub(super) fn mac(s: &str) -> bool {
    let (separator, width) = match s.as_bytes() {
        [_, _, b':', ..] => (':', 2),
        [_, _, b'-', ..] => ('-', 2),
        [_, _, _, _, b'.', ..] => ('.', 4),
        _ => return false,
    };
    let part = |p: &str| p.len() == width && p.bytes().all(|b| b.is_ascii_hexdigit());
    s.split(separator).all(part) && matches!(s.split(separator).count() * width / 2, 6 | 8 | 20)
}

/// A host name; symbols and letters of all scripts are allowed but in the last label.
pub(super) fn hostname(s: &str) -> bool {
    s.len() <= 255 && s.split('.').all(|label| label.len() <= 63) && HOSTNAME.matches(s)
}

static HOSTNAME: super::super::StaticPattern = super::super::StaticPattern::new(concat!(
    r"^([a-zA-Z0-9\p{S}\p{L}]((-?[a-zA-Z0-9\p{S}\p{L}]{0,62})?)",
    r"|([a-zA-Z0-9\p{S}\p{L}](([a-zA-Z0-9-\p{S}\p{L}]{0,61}[a-zA-Z0-9\p{S}\p{L}])?)(\.)){1,}([a-zA-Z\p{L}]){2,63})$"
));

/// `a@b`, or that in angle brackets behind a name (Go `net/mail.ParseAddress`, comments and groups apart).
pub(super) fn email(s: &str) -> bool {
    let s = s.trim_matches([' ', '\t']);
    match s.strip_suffix('>').and_then(|s| s.rsplit_once('<')) {
        Some((name, address)) => display_name(name.trim_matches([' ', '\t'])) && address_spec(address),
        None => address_spec(s),
    }
}

fn address_spec(s: &str) -> bool {
    let Some((local, domain)) = s.rsplit_once('@') else { return false };
    let local_fine = quoted(local) || dot_atom(local);
    let literal = domain.strip_prefix('[').and_then(|d| d.strip_suffix(']'));
    local_fine
        && literal
            .map_or_else(|| dot_atom(domain), |d| d.trim_start_matches("IPv6:").parse::<std::net::IpAddr>().is_ok())
}

fn quoted(s: &str) -> bool {
    let Some(inner) = s.strip_prefix('"').and_then(|s| s.strip_suffix('"')) else { return false };
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.next().is_none() => return false,
            '"' => return false,
            _ => {}
        }
    }
    !inner.is_empty()
}

fn atom_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

fn dot_atom(s: &str) -> bool {
    s.split('.').all(|atom| !atom.is_empty() && atom.chars().all(atom_char))
}

fn display_name(s: &str) -> bool {
    s.is_empty() || quoted(s) || s.split(' ').all(|word| word.chars().all(|c| atom_char(c) || c == '.'))
}

/// An absolute URI or path (Go `net/url.ParseRequestURI`).
pub(super) fn uri(s: &str) -> bool {
    if s.is_empty() || s.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return false;
    }
    if s == "*" {
        return true;
    }
    let Some((scheme, rest)) = scheme(s) else { return false };
    let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
    if !rest.starts_with('/') {
        return !scheme.is_empty();
    }
    let Some(authority) = rest.strip_prefix("//").filter(|_| !scheme.is_empty()) else {
        return escapes(rest, |_| true);
    };
    let (authority, path) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    user_info(user) && host_port(host) && escapes(path, |_| true)
}

/// The scheme, empty where there is none, and the rest; none for a colon in the first place.
fn scheme(s: &str) -> Option<(&str, &str)> {
    for (i, b) in s.bytes().enumerate() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if i > 0 => {}
            b':' => return (i > 0).then(|| (&s[..i], &s[i + 1..])),
            _ => return Some(("", s)),
        }
    }
    Some(("", s))
}

fn user_info(s: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
    s.bytes().all(fine) && escapes(s, |_| true)
}

fn host_port(s: &str) -> bool {
    let port = |p: &str| p.is_empty() || p.strip_prefix(':').is_some_and(|p| p.bytes().all(|b| b.is_ascii_digit()));
    if let Some(inner) = s.strip_prefix('[') {
        return inner.rsplit_once(']').is_some_and(|(host, rest)| port(rest) && escapes(host, |_| true));
    }
    let at = s.rfind(':').unwrap_or(s.len());
    let host = |b: u8| b >= 0x80 || b.is_ascii_alphanumeric() || b"-_.~!$&'()*+,;=:[]<>\"".contains(&b);
    port(&s[at..]) && escapes(s, host)
}

/// Percent signs stand before two hexadecimal digits, and all else is allowed.
fn escapes(s: &str, allowed: impl Fn(u8) -> bool) -> bool {
    let mut bytes = s.bytes();
    while let Some(b) = bytes.next() {
        let hex = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_hexdigit());
        let fine = if b == b'%' { hex(bytes.next()) && hex(bytes.next()) } else { allowed(b) };
        if !fine {
            return false;
        }
    }
    true
}
