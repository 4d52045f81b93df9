//! Addresses and ranges in objects, as strict as upstream is with `StrictIPCIDRValidation`.

use super::At;
use ipnet::IpNet;
use kaji_api::field::Errors;
use std::net::{IpAddr, Ipv4Addr};

/// An address as upstream's lenient parser reads it: IPv4 octets may have leading zeros.
pub(crate) fn sloppy(s: &str) -> Option<IpAddr> {
    s.parse().ok().or_else(|| {
        let octets: Vec<u8> = s
            .split('.')
            .map(|o| if all_digits(o) { o.trim_start_matches('0').parse().or(zero(o)) } else { Err(()) })
            .collect::<Result<_, _>>()
            .ok()?;
        let [a, b, c, d] = octets.try_into().ok()?;
        Some(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
    })
}

fn all_digits(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())
}

fn zero(s: &str) -> Result<u8, ()> {
    if s.bytes().all(|b| b == b'0') { Ok(0) } else { Err(()) }
}

/// An address in a field; one that the old object holds already stays allowed.
pub(crate) fn address(at: At<'_>, e: &mut Errors, known: &[&str]) {
    let s = at.str();
    if known.contains(&s) {
        return;
    }
    match (sloppy(s), s.parse::<IpAddr>()) {
        (None, _) => at.invalid(e, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
        (_, Err(_)) => at.invalid(e, "must not have leading 0s"),
        (_, Ok(IpAddr::V6(ip))) if ip.to_ipv4_mapped().is_some() => {
            at.invalid(e, "must not be an IPv4-mapped IPv6 address");
        }
        _ => {}
    }
}

/// An address in its one canonical spelling.
pub(crate) fn canonical(at: At<'_>, e: &mut Errors) {
    if let Some(ip) = sloppy(at.str())
        && ip.to_string() != at.str()
    {
        at.invalid(e, &format!("must be in canonical form (\"{ip}\")"));
    }
}

/// Names of `IPAddress` objects: the address in canonical form.
pub(crate) fn name(s: &str) -> Vec<String> {
    let v = kaji_api::Value::from(s);
    let mut e = Errors::new();
    address(At::root(&v), &mut e, &[]);
    if e.is_empty() {
        canonical(At::root(&v), &mut e);
    }
    let head = format!("Invalid value: {}: ", kaji_api::field::quoted(s));
    e.0.into_iter().map(|e| e.message.strip_prefix(&head).unwrap_or(&e.message).to_owned()).collect()
}

/// A range in its one canonical spelling.
pub(crate) fn canonical_cidr(at: At<'_>, e: &mut Errors) {
    let before = e.0.len();
    cidr(at, e, &[]);
    if e.0.len() == before
        && let Ok(net) = at.str().parse::<IpNet>()
        && net.to_string() != at.str()
    {
        at.invalid(e, &format!("must be in canonical form (\"{net}\")"));
    }
}

/// A range in a field.
pub(crate) fn cidr(at: At<'_>, e: &mut Errors, known: &[&str]) {
    let s = at.str().trim();
    if known.contains(&s) {
        return;
    }
    let Some((host, bits)) = s.split_once('/').and_then(|(h, b)| Some((sloppy(h)?, b))) else {
        return at.invalid_as(e, s, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    };
    let max = if host.is_ipv4() { 32 } else { 128 };
    match (all_digits(bits).then(|| bits.parse::<u8>()), s.parse::<IpNet>()) {
        (Some(Ok(b)), parsed) if b <= max => match parsed {
            Err(_) => at.invalid_as(e, s, "must not have leading 0s in IP or prefix length"),
            Ok(_) if bits.len() > 1 && bits.starts_with('0') => {
                at.invalid_as(e, s, "must not have leading 0s in IP or prefix length");
            }
            Ok(IpNet::V6(net)) if net.addr().to_ipv4_mapped().is_some() => {
                at.invalid_as(e, s, "must not have an IPv4-mapped IPv6 address");
            }
            Ok(net) if net.addr() != net.network() => {
                at.invalid_as(e, s, "must not have bits set beyond the prefix length");
            }
            Ok(_) => {}
        },
        _ => at.invalid_as(e, s, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
    }
}

/// An address that traffic may be sent to.
pub(crate) fn endpoint(at: At<'_>, e: &mut Errors) {
    let Some(ip) = sloppy(at.str()) else {
        return at.invalid(e, "must be a valid IP address");
    };
    if ip.is_unspecified() {
        at.invalid(e, &format!("may not be unspecified ({})", at.str()));
    }
    if ip.is_loopback() {
        at.invalid(e, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    let (unicast, multicast) = match ip {
        IpAddr::V4(ip) => (ip.is_link_local(), ip.octets()[..3] == [224, 0, 0]),
        IpAddr::V6(ip) => (ip.is_unicast_link_local(), ip.segments()[0] & 0xff0f == 0xff02),
    };
    if unicast {
        at.invalid(e, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if multicast {
        at.invalid(e, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// Whether the addresses are one of each family: `None` when one of them is not an address.
pub(crate) fn dual_stack<'a>(addresses: impl Iterator<Item = &'a str>) -> Option<bool> {
    let mut seen = [false; 2];
    for address in addresses {
        seen[usize::from(sloppy(address)?.is_ipv6())] = true;
    }
    Some(seen == [true, true])
}

/// What is odd about an address that is accepted.
pub(crate) fn warn(at: At<'_>, out: &mut Vec<String>) {
    let s = at.str();
    let Some(ip) = sloppy(s) else { return };
    match s.parse::<IpAddr>() {
        Err(_) => {
            out.push(format!("{}: non-standard IP address \"{s}\" is invalid: use \"{ip}\"", at.path()));
        }
        Ok(IpAddr::V6(v6)) => {
            if let Some(v4) = v6.to_ipv4_mapped() {
                out.push(format!("{}: non-standard IP address \"{s}\" is invalid: use \"{v4}\"", at.path()));
            } else if v6.to_string() != s {
                out.push(format!(
                    "{}: IPv6 address \"{s}\" should be in RFC 5952 canonical format (\"{v6}\")",
                    at.path()
                ));
            }
        }
        Ok(IpAddr::V4(_)) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::Value;

    #[test]
    fn strictness() {
        let said = |s: &str, check: fn(At<'_>, &mut Errors, &[&str])| {
            let (v, mut e) = (Value::from(s), Errors::new());
            check(At::root(&v), &mut e, &[]);
            e.0.into_iter().map(|e| e.message.rsplit(": ").next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert!(said("10.0.0.1", address).is_empty());
        assert_eq!(said("010.0.0.1", address), ["must not have leading 0s"]);
        assert_eq!(said("::ffff:1.2.3.4", address), ["must not be an IPv4-mapped IPv6 address"]);
        assert!(said("10.0.0.0/8", cidr).is_empty());
        assert_eq!(said("10.0.0.1/8", cidr), ["must not have bits set beyond the prefix length"]);
        assert_eq!(said("10.0.0.0/08", cidr), ["must not have leading 0s in IP or prefix length"]);
        assert!(said("x/8", cidr)[0].starts_with("must be a valid CIDR"));
    }
}
