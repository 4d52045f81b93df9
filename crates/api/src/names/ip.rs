//! Addresses and ranges. New fields take canonical forms only; old fields take more, with a warning.

use super::unless;
use crate::field::quoted;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address as upstream's old parser reads it: leading zeros are allowed.
pub fn parse_ip_sloppy(s: &str) -> Option<IpAddr> {
    if let Ok(ip) = s.parse() {
        return Some(ip);
    }
    if !s.contains(':') {
        return sloppy_v4(s).map(IpAddr::V4);
    }
    let groups: Option<Vec<String>> = s.split(':').map(sloppy_group).collect();
    groups?.join(":").parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

fn sloppy_v4(s: &str) -> Option<Ipv4Addr> {
    let octets: Option<Vec<u8>> = s.split('.').map(|o| unpadded(o).parse().ok()).collect();
    let [a, b, c, d] = octets?.try_into().ok()?;
    Some(Ipv4Addr::new(a, b, c, d))
}

fn sloppy_group(s: &str) -> Option<String> {
    if s.contains('.') { sloppy_v4(s).map(|ip| ip.to_string()) } else { Some(unpadded(s).to_owned()) }
}

/// Without leading zeros, and with nothing that a number may not begin with.
fn unpadded(s: &str) -> &str {
    let short = s.trim_start_matches('0');
    match short {
        "" if !s.is_empty() => "0",
        _ if s.starts_with(['+', '-']) || short.starts_with(['+', '-']) => "",
        _ => short,
    }
}

/// An address and a prefix length as upstream's old parser reads them.
pub fn parse_cidr_sloppy(s: &str) -> Option<(IpAddr, u8)> {
    let (ip, bits) = s.split_once('/')?;
    let ip = parse_ip_sloppy(ip)?;
    let fine = !bits.is_empty() && bits.bytes().all(|c| c.is_ascii_digit());
    let bits: u8 = fine.then(|| unpadded(bits).parse().ok())??;
    (bits <= if ip.is_ipv4() { 32 } else { 128 }).then_some((ip, bits))
}

/// As Go prints it: IPv4 in IPv6 as IPv4.
fn canonical(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

fn mapped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// The first address of the range.
fn network(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

/// A range as Go prints it.
fn range(ip: IpAddr, bits: u8) -> String {
    let bits = if mapped(ip) { bits.saturating_sub(96) } else { bits };
    format!("{}/{bits}", canonical(network(ip, if mapped(ip) { bits + 96 } else { bits })))
}

/// An address in a field that predates strictness: no leading zeros, no IPv4 in IPv6.
pub fn ip_legacy(s: &str) -> Vec<String> {
    match (parse_ip_sloppy(s), s.parse::<IpAddr>()) {
        (None, _) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
        (_, Err(_)) => vec!["must not have leading 0s".to_owned()],
        (_, Ok(ip)) => unless(!mapped(ip), || "must not be an IPv4-mapped IPv6 address".to_owned()),
    }
}

/// An address in its one canonical form.
pub fn ip(s: &str) -> Vec<String> {
    let texts = ip_legacy(s);
    match s.parse::<IpAddr>() {
        Ok(ip) if texts.is_empty() && ip.to_string() != s => vec![in_canonical_form(&ip.to_string())],
        _ => texts,
    }
}

fn in_canonical_form(form: &str) -> String {
    format!("must be in canonical form ({})", quoted(form))
}

/// A range in a field that predates strictness: no leading zeros, no IPv4 in IPv6, no bits behind the prefix.
pub fn cidr_legacy(s: &str) -> Vec<String> {
    let Some((ip, bits)) = parse_cidr_sloppy(s) else {
        return vec!["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)".to_owned()];
    };
    if !strict_cidr(s, bits) {
        vec!["must not have leading 0s in IP or prefix length".to_owned()]
    } else if mapped(ip) {
        vec!["must not have an IPv4-mapped IPv6 address".to_owned()]
    } else {
        unless(ip == network(ip, bits), || "must not have bits set beyond the prefix length".to_owned())
    }
}

/// Whether neither part has leading zeros.
fn strict_cidr(s: &str, bits: u8) -> bool {
    s.split_once('/').is_some_and(|(ip, b)| ip.parse::<IpAddr>().is_ok() && b == bits.to_string())
}

/// A range in its one canonical form.
pub fn cidr(s: &str) -> Vec<String> {
    let texts = cidr_legacy(s);
    match parse_cidr_sloppy(s) {
        Some((ip, bits)) if texts.is_empty() && range(ip, bits) != s => vec![in_canonical_form(&range(ip, bits))],
        _ => texts,
    }
}

/// An address of an interface with its prefix length, canonical.
pub fn interface_address(s: &str) -> Vec<String> {
    let Some((ip, bits)) = parse_cidr_sloppy(s) else {
        return vec!["must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)".to_owned()];
    };
    let bits = if mapped(ip) && bits > 32 { bits.saturating_sub(96) } else { bits };
    let form = format!("{}/{bits}", canonical(ip));
    unless(form == s, || in_canonical_form(&form))
}

/// What is odd about an address that `ip_legacy` or older releases accepted; `path` says where.
pub fn ip_warnings(path: &str, s: &str) -> Vec<String> {
    let Some(ip) = parse_ip_sloppy(s) else { return Vec::new() };
    if s.parse::<IpAddr>().is_err() || mapped(ip) {
        let good = quoted(&canonical(ip).to_string());
        return vec![format!("{path}: non-standard IP address {} is invalid: use {good}", quoted(s))];
    }
    unless(ip.is_ipv4() || ip.to_string() == s, || {
        let good = quoted(&ip.to_string());
        format!("{path}: IPv6 address {} should be in RFC 5952 canonical format ({good})", quoted(s))
    })
}

/// What is odd about a range that `cidr_legacy` or older releases accepted; `path` says where.
pub fn cidr_warnings(path: &str, s: &str) -> Vec<String> {
    let Some((ip, bits)) = parse_cidr_sloppy(s) else { return Vec::new() };
    let (text, good) = (quoted(s), quoted(&range(ip, bits)));
    let mut out = unless(ip == network(ip, bits), || {
        let single = format!("{}/{}", canonical(ip), if ip.is_ipv4() { 32 } else { 128 });
        format!("{path}: CIDR value {text} is ambiguous in this context (should be {good} or {}?)", quoted(&single))
    });
    if !strict_cidr(s, bits) || mapped(ip) {
        out.push(format!("{path}: non-standard CIDR value {text} is invalid: use {good}"));
    }
    let plain = format!("{ip}/{bits}");
    if out.is_empty() && ip.is_ipv6() && plain != s {
        let good = quoted(&plain);
        out.push(format!("{path}: IPv6 CIDR value {text} should be in RFC 5952 canonical format ({good})"));
    }
    out
}
