//! Addresses and networks.

use super::Sig::{Bool, Int, Opaque as O, String as Str};
use super::{Function, Opaque, Sig, function, global, member, opaque, opaque_of, str_of};
use crate::value::{EvalError, Outcome, Val, fail, no_overload};
use ipnet::IpNet;
use std::fmt;
use std::net::IpAddr;

const IP: Sig = O(super::opaque::IP);
const CIDR: Sig = O(super::opaque::CIDR);

/// A network as written: bits behind the prefix may be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub(crate) address: IpAddr,
    pub(crate) prefix: u8,
}

pub(crate) const FUNCTIONS: &[Function] = &[
    function(
        "ip",
        &[
            global("string_to_ip", &[Str], IP, |a| Ok(opaque(Opaque::Ip(parse_ip(str_of(&a[0])?)?)))),
            member("cidr_ip", &[CIDR], IP, |a| Ok(opaque(Opaque::Ip(cidr(&a[0])?.address)))),
        ],
    ),
    function("family", &[member("ip_family", &[IP], Int, |a| Ok(Val::Int(if ip(&a[0])?.is_ipv4() { 4 } else { 6 })))]),
    function(
        "ip.isCanonical",
        &[global("ip_is_canonical", &[Str], Bool, |a| {
            let text = str_of(&a[0])?;
            Ok(Val::Bool(parse_ip(text)?.to_string() == text))
        })],
    ),
    function("isUnspecified", &[member("ip_is_unspecified", &[IP], Bool, |a| is(a, |ip| ip.is_unspecified()))]),
    function("isLoopback", &[member("ip_is_loopback", &[IP], Bool, |a| is(a, |ip| ip.is_loopback()))]),
    function(
        "isLinkLocalMulticast",
        &[member("ip_is_link_local_multicast", &[IP], Bool, |a| is(a, is_link_local_multicast))],
    ),
    function(
        "isLinkLocalUnicast",
        &[member("ip_is_link_local_unicast", &[IP], Bool, |a| is(a, is_link_local_unicast))],
    ),
    function("isGlobalUnicast", &[member("ip_is_global_unicast", &[IP], Bool, |a| is(a, is_global_unicast))]),
    function("isIP", &[global("is_ip", &[Str], Bool, |a| Ok(Val::Bool(parse_ip(str_of(&a[0])?).is_ok())))]),
    function(
        "cidr",
        &[global("string_to_cidr", &[Str], CIDR, |a| Ok(opaque(Opaque::Cidr(parse_cidr(str_of(&a[0])?)?))))],
    ),
    function(
        "containsIP",
        &[
            member("cidr_contains_ip_string", &[CIDR, Str], Bool, |a| {
                Ok(Val::Bool(cidr(&a[0])?.contains(parse_ip(str_of(&a[1])?)?)))
            }),
            member("cidr_contains_ip_ip", &[CIDR, IP], Bool, |a| Ok(Val::Bool(cidr(&a[0])?.contains(ip(&a[1])?)))),
        ],
    ),
    function(
        "containsCIDR",
        &[
            member("cidr_contains_cidr_string", &[CIDR, Str], Bool, |a| {
                Ok(Val::Bool(cidr(&a[0])?.includes(parse_cidr(str_of(&a[1])?)?)))
            }),
            member("cidr_contains_cidr", &[CIDR, CIDR], Bool, |a| Ok(Val::Bool(cidr(&a[0])?.includes(cidr(&a[1])?)))),
        ],
    ),
    function(
        "prefixLength",
        &[member("cidr_prefix_length", &[CIDR], Int, |a| Ok(Val::Int(cidr(&a[0])?.prefix.into())))],
    ),
    function(
        "masked",
        &[member("cidr_masked", &[CIDR], CIDR, |a| {
            let cidr = cidr(&a[0])?;
            Ok(opaque(Opaque::Cidr(Cidr { address: cidr.net().map_or(cidr.address, |n| n.network()), ..cidr })))
        })],
    ),
    function("isCIDR", &[global("is_cidr", &[Str], Bool, |a| Ok(Val::Bool(parse_cidr(str_of(&a[0])?).is_ok())))]),
];

impl Cidr {
    fn net(self) -> Option<IpNet> {
        IpNet::new(self.address, self.prefix).ok()
    }

    fn contains(self, ip: IpAddr) -> bool {
        self.net().is_some_and(|net| net.contains(&ip))
    }

    fn includes(self, other: Cidr) -> bool {
        self.prefix <= other.prefix && self.contains(other.address)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

fn ip(value: &Val<'_>) -> Result<IpAddr, EvalError> {
    match opaque_of(value)? {
        Opaque::Ip(ip) => Ok(*ip),
        _ => no_overload(),
    }
}

fn cidr(value: &Val<'_>) -> Result<Cidr, EvalError> {
    match opaque_of(value)? {
        Opaque::Cidr(cidr) => Ok(*cidr),
        _ => no_overload(),
    }
}

fn is<'a>(args: &[Val<'a>], test: fn(IpAddr) -> bool) -> Outcome<'a> {
    ip(&args[0]).map(|ip| Val::Bool(test(ip)))
}

fn is_link_local_multicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => matches!(v4.octets(), [224, 0, 0, _]),
        IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
    }
}

fn is_link_local_unicast(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

/// Neither unspecified, loopback, multicast, link-local nor the IPv4 broadcast; private addresses are global.
fn is_global_unicast(ip: IpAddr) -> bool {
    let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    !(broadcast || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local_unicast(ip))
}

fn parse_ip(text: &str) -> Result<IpAddr, EvalError> {
    let wrong = |why: &str| {
        fail(format!("IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): {why}"))
    };
    match text.parse::<IpAddr>() {
        Ok(ip) => strict(ip, text),
        Err(_)
            if text.split('%').count() == 2 && text.split('%').next().is_some_and(|t| t.parse::<IpAddr>().is_ok()) =>
        {
            fail(format!("IP address {text:?} with zone value is not allowed"))
        }
        Err(_) => wrong("unable to parse IP"),
    }
}

/// IPv4 written as IPv6 is refused.
fn strict(ip: IpAddr, text: &str) -> Result<IpAddr, EvalError> {
    match ip {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            fail(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        ip => Ok(ip),
    }
}

fn parse_cidr(text: &str) -> Result<Cidr, EvalError> {
    const CONTEXT: &str = "network address parse error during conversion from string: ";
    let wrong = |why: String| fail(format!("{CONTEXT}{CONTEXT}netip.ParsePrefix({text:?}): {why}"));
    let Some((address, bits)) = text.rsplit_once('/') else { return wrong("no '/'".into()) };
    let Ok(address) = address.parse::<IpAddr>() else {
        return wrong(format!("ParseAddr({address:?}): unable to parse IP"));
    };
    let digits = bits.bytes().all(|b| b.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    let Some(prefix) = bits.parse::<u8>().ok().filter(|_| digits) else {
        return wrong(format!("bad bits after slash: {bits:?}"));
    };
    if prefix > if address.is_ipv4() { 32 } else { 128 } {
        return wrong("prefix length out of range".into());
    }
    match strict(address, text) {
        Ok(address) => Ok(Cidr { address, prefix }),
        Err(error) => fail(format!("{CONTEXT}{error}")),
    }
}
