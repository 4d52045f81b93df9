//! Sets, maps and their elements as netlink wants them.
//!
//! Keys of several parts are laid out one after the other, each part padded to four bytes, the way `nft` does it, so
//! that `nft list` can read our tables.

use super::{Family, Key, Protocol, SetKind, Value};
use crate::netlink::Writer;
use netlink_bindings::nftables::{SetFlags, VerdictCode};
use std::net::{IpAddr, SocketAddr};

/// `nft`'s type numbers, which it needs to print elements.
const TYPE_INTEGER: u32 = 4;
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_SERVICE: u32 = 13;
const TYPE_VERDICT: u32 = 0xffff_ff00;

pub(super) const ANONYMOUS: &str = "__map%d";

/// A map that lives and dies with the rule that uses it; keys count from zero.
pub(super) enum Anonymous {
    Targets(Vec<SocketAddr>),
    Chains(Vec<String>),
}

impl Anonymous {
    pub(super) fn shape(&self, family: Family) -> Shape {
        let data = match self {
            Anonymous::Targets(_) => Shape::of(SetKind::PortTargets, family).data,
            Anonymous::Chains(_) => Some((TYPE_VERDICT, 0)),
        };
        let flags = SetFlags::Anonymous as u32 | SetFlags::Constant as u32 | SetFlags::Map as u32;
        Shape { flags, key: (TYPE_INTEGER, 4), data, timeout: None }
    }

    pub(super) fn element(&self, w: &mut Writer, n: usize) {
        let key = u32::try_from(n).expect("endpoints of a service are counted in thousands");
        w.nest(1, |w| {
            w.nest(1, |w| w.put(1, &key.to_ne_bytes()));
            w.nest(2, |w| match self {
                Anonymous::Targets(all) => w.put(1, &target_bytes(&all[n])),
                Anonymous::Chains(all) => put_verdict(w, VerdictCode::Goto as u32, Some(&all[n])),
            });
        });
    }
}

/// Types and lengths of a set as the kernel and `nft` want to know them.
pub(super) struct Shape {
    flags: u32,
    key: (u32, u32),
    data: Option<(u32, u32)>,
    timeout: Option<u64>,
}

impl Shape {
    pub(super) fn of(kind: SetKind, family: Family) -> Self {
        let address = match family {
            Family::V4 => (TYPE_IPV4, 4),
            Family::V6 => (TYPE_IPV6, 16),
        };
        let (protocol, port) = ((TYPE_PROTOCOL, 4), (TYPE_SERVICE, 4));
        let verdict = Some((TYPE_VERDICT, 0));
        let target = Some(concatenated(&[address, port]));
        let service = concatenated(&[address, protocol, port]);
        let map = SetFlags::Map as u32;
        let (flags, key, data, timeout) = match kind {
            SetKind::Addresses => (0, address, None, None),
            SetKind::Affinity(seconds) => {
                let flags = SetFlags::Timeout as u32 | SetFlags::Eval as u32;
                (flags, address, None, Some(u64::from(seconds) * 1000))
            }
            SetKind::Flows => (0, concatenated(&[address, address, protocol, port]), None, None),
            SetKind::ServiceVerdicts => (map, service, verdict, None),
            SetKind::PortVerdicts => (map, concatenated(&[protocol, port]), verdict, None),
            SetKind::ServiceTargets => (map, service, target, None),
            SetKind::PortTargets => (map, concatenated(&[protocol, port]), target, None),
        };
        Self { flags, key, data, timeout }
    }

    pub(super) fn write(&self, w: &mut Writer) {
        w.put_u32(3, self.flags);
        w.put_u32(4, self.key.0);
        w.put_u32(5, self.key.1);
        if let Some((kind, length)) = self.data {
            w.put_u32(6, kind);
            w.put_u32(7, length);
        }
        if let Some(milliseconds) = self.timeout {
            w.put_u64(11, milliseconds);
        }
    }
}

/// A key of several parts: six bits of type each.
fn concatenated(parts: &[(u32, u32)]) -> (u32, u32) {
    parts.iter().fold((0, 0), |(kind, length), part| (kind << 6 | part.0, length + part.1))
}

pub(super) fn key_bytes(key: &Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(40);
    let port = |bytes: &mut Vec<u8>, protocol: &Protocol, port: u16| {
        bytes.extend([protocol.number(), 0, 0, 0]);
        bytes.extend(port.to_be_bytes());
        bytes.extend([0, 0]);
    };
    match key {
        Key::Address(address) => put_address(&mut bytes, address),
        Key::Service(address, protocol, number) => {
            put_address(&mut bytes, address);
            port(&mut bytes, protocol, *number);
        }
        Key::Port(protocol, number) => port(&mut bytes, protocol, *number),
        Key::Flow(address, protocol, number) => {
            put_address(&mut bytes, address);
            put_address(&mut bytes, address);
            port(&mut bytes, protocol, *number);
        }
    }
    bytes
}

pub(super) fn put_address(bytes: &mut Vec<u8>, address: &IpAddr) {
    match address {
        IpAddr::V4(v4) => bytes.extend(v4.octets()),
        IpAddr::V6(v6) => bytes.extend(v6.octets()),
    }
}

pub(super) fn target_bytes(target: &SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20);
    put_address(&mut bytes, &target.ip());
    bytes.extend(target.port().to_be_bytes());
    bytes.extend([0, 0]);
    bytes
}

pub(super) fn put_value(w: &mut Writer, value: &Value) {
    match value {
        Value::Present => {}
        Value::Goto(chain) => put_verdict(w, VerdictCode::Goto as u32, Some(chain)),
        Value::Drop => put_verdict(w, VerdictCode::Drop as u32, None),
        Value::Target(target) => w.put(1, &target_bytes(target)),
    }
}

pub(super) fn put_verdict(w: &mut Writer, code: u32, chain: Option<&str>) {
    w.nest(2, |w| {
        w.put_u32(1, code);
        if let Some(chain) = chain {
            w.put_str(2, chain);
        }
    });
}
