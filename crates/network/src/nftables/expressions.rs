//! Rules as netlink wants them: rows of expressions over sixteen 32-bit registers.

use super::encode::family_number;
use super::values::{ANONYMOUS, Anonymous, put_address, put_verdict, target_bytes};
use super::{Family, Lookup, Side, Statement};
use crate::netlink::Writer;
use ipnet::IpNet;
use netlink_bindings::nftables::{
    CmpOps, CtKeys, FibFlags, MetaKeys, NumgenTypes, PayloadBase, RejectTypes, VerdictCode,
};
use std::net::SocketAddr;

const VERDICT_REGISTER: u32 = 0;
const STATE_NEW: u32 = 1 << 3;
const STATUS_DNAT: u32 = 1 << 5;
/// The generated constants count this from zero, the kernel from one.
const FIB_ADDRESS_TYPE: u32 = 3;
const ROUTE_LOCAL: u32 = 2;
const FULLY_RANDOM: u32 = 1 << 4;
const NAT_DNAT: u32 = 1;
const DYNSET_UPDATE: u32 = 1;
const INTERFACE_NAME: usize = 16;

/// The n-th 32-bit register.
fn register(n: u32) -> u32 {
    8 + n
}

/// Writes a rule's statements as expressions, and collects the anonymous maps they need.
pub(super) struct Expressions {
    pub(super) writer: Writer,
    pub(super) maps: Vec<Anonymous>,
    family: Family,
    first_map: u32,
}

impl Expressions {
    /// None yet; their maps will be numbered after `first_map`.
    pub(super) fn new(family: Family, first_map: u32) -> Self {
        Self { writer: Writer::new(), maps: Vec::new(), family, first_map }
    }

    /// Adds a statement's expressions.
    pub(super) fn statement(&mut self, statement: &Statement) {
        match statement {
            Statement::Address(side, negate, net) => self.address_in(*side, *negate, net),
            Statement::Local(side) => self.local(*side),
            Statement::Incoming(negate, name) => self.interface(MetaKeys::Iifname, *negate, name),
            Statement::Outgoing(negate, name) => self.interface(MetaKeys::Oifname, *negate, name),
            Statement::NewConnection => self.connection(CtKeys::State, STATE_NEW),
            Statement::Redirected => self.connection(CtKeys::Status, STATUS_DNAT),
            Statement::Marked(bits) => {
                self.meta(MetaKeys::Mark, 0);
                self.any_bit(*bits);
            }
            Statement::In(key, set) => {
                self.load(*key);
                self.lookup(set, None);
            }
            Statement::Remembered(set) => {
                self.load_address(Side::Source, 0);
                self.lookup(set, None);
            }
            Statement::Remember(set) => {
                self.load_address(Side::Source, 0);
                self.remember(set);
            }
            Statement::Mark(bits) => self.set_mark(!bits, *bits),
            Statement::Flip(bits) => self.set_mark(u32::MAX, *bits),
            Statement::Verdict(key, map) => {
                self.load(*key);
                self.lookup(map, Some(VERDICT_REGISTER));
            }
            Statement::RedirectBy(key, map) => {
                self.load(*key);
                self.lookup(map, Some(register(0)));
                self.destination_nat();
            }
            Statement::Redirect(to) => self.redirect(to),
            Statement::Spread(to) => self.spread(to),
            Statement::Masquerade => self.expression("masq", |w| w.put_u32(1, FULLY_RANDOM)),
            Statement::Jump(chain) => self.verdict(VerdictCode::Jump as u32, Some(chain)),
            Statement::Goto(chain) => self.verdict(VerdictCode::Goto as u32, Some(chain)),
            Statement::Return => self.verdict(VerdictCode::Return as u32, None),
            Statement::Drop => self.verdict(VerdictCode::Drop as u32, None),
            Statement::Reject => self.reject(),
        }
    }

    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Writer)) {
        self.writer.nest(1, |w| {
            w.put_str(1, name);
            w.nest(2, fill);
        });
    }

    fn payload(&mut self, base: PayloadBase, offset: u32, length: u32, to: u32) {
        self.expression("payload", |w| {
            w.put_u32(1, register(to));
            w.put_u32(2, base as u32);
            w.put_u32(3, offset);
            w.put_u32(4, length);
        });
    }

    fn meta(&mut self, key: MetaKeys, to: u32) {
        self.expression("meta", |w| {
            w.put_u32(2, key as u32);
            w.put_u32(1, register(to));
        });
    }

    fn compare(&mut self, equal: bool, data: &[u8]) {
        self.expression("cmp", |w| {
            w.put_u32(1, register(0));
            w.put_u32(2, if equal { CmpOps::Eq as u32 } else { CmpOps::Neq as u32 });
            w.nest(3, |w| w.put(1, data));
        });
    }

    fn mask(&mut self, mask: &[u8], flip: &[u8]) {
        self.expression("bitwise", |w| {
            w.put_u32(1, register(0));
            w.put_u32(2, register(0));
            w.put_u32(3, u32::try_from(mask.len()).expect("masks are as long as addresses"));
            w.nest(4, |w| w.put(1, mask));
            w.nest(5, |w| w.put(1, flip));
        });
    }

    fn any_bit(&mut self, bits: u32) {
        self.mask(&bits.to_ne_bytes(), &[0; 4]);
        self.compare(false, &[0; 4]);
    }

    fn connection(&mut self, key: CtKeys, bits: u32) {
        self.expression("ct", |w| {
            w.put_u32(1, register(0));
            w.put_u32(2, key as u32);
        });
        self.any_bit(bits);
    }

    fn words(&self) -> u32 {
        match self.family {
            Family::V4 => 1,
            Family::V6 => 4,
        }
    }

    fn load_address(&mut self, side: Side, to: u32) {
        let (offset, length) = match (self.family, side) {
            (Family::V4, Side::Source) => (12, 4),
            (Family::V4, Side::Destination) => (16, 4),
            (Family::V6, Side::Source) => (8, 16),
            (Family::V6, Side::Destination) => (24, 16),
        };
        self.payload(PayloadBase::NetworkHeader, offset, length, to);
    }

    fn load_port(&mut self, to: u32) {
        self.meta(MetaKeys::L4Proto, to);
        self.payload(PayloadBase::TransportHeader, 2, 2, to + 1);
    }

    fn load(&mut self, key: Lookup) {
        let words = self.words();
        match key {
            Lookup::Destination => self.load_address(Side::Destination, 0),
            Lookup::Service => {
                self.load_address(Side::Destination, 0);
                self.load_port(words);
            }
            Lookup::Port => self.load_port(0),
            Lookup::Flow => {
                self.load_address(Side::Source, 0);
                self.load_address(Side::Destination, words);
                self.load_port(2 * words);
            }
        }
    }

    fn lookup(&mut self, set: &str, to: Option<u32>) {
        self.expression("lookup", |w| {
            w.put_str(1, set);
            w.put_u32(2, register(0));
            if let Some(to) = to {
                w.put_u32(3, to);
            }
        });
    }

    fn address_in(&mut self, side: Side, negate: bool, net: &IpNet) {
        self.load_address(side, 0);
        let (mut mask, mut network) = (Vec::new(), Vec::new());
        put_address(&mut mask, &net.netmask());
        put_address(&mut network, &net.network());
        if net.prefix_len() != net.max_prefix_len() {
            self.mask(&mask, &vec![0; mask.len()]);
        }
        self.compare(!negate, &network);
    }

    fn local(&mut self, side: Side) {
        let flags = match side {
            Side::Source => FibFlags::Saddr as u32,
            Side::Destination => FibFlags::Daddr as u32,
        };
        self.expression("fib", |w| {
            w.put_u32(1, register(0));
            w.put_u32(2, FIB_ADDRESS_TYPE);
            w.put_u32(3, flags);
        });
        self.compare(true, &ROUTE_LOCAL.to_ne_bytes());
    }

    fn interface(&mut self, key: MetaKeys, negate: bool, name: &str) {
        self.meta(key, 0);
        let mut padded = [0; INTERFACE_NAME];
        let length = name.len().min(INTERFACE_NAME - 1);
        padded[..length].copy_from_slice(&name.as_bytes()[..length]);
        self.compare(!negate, &padded);
    }

    fn set_mark(&mut self, keep: u32, flip: u32) {
        self.meta(MetaKeys::Mark, 0);
        self.mask(&keep.to_ne_bytes(), &flip.to_ne_bytes());
        self.expression("meta", |w| {
            w.put_u32(2, MetaKeys::Mark as u32);
            w.put_u32(3, register(0));
        });
    }

    fn remember(&mut self, set: &str) {
        self.expression("dynset", |w| {
            w.put_str(1, set);
            w.put_u32(3, DYNSET_UPDATE);
            w.put_u32(4, register(0));
        });
    }

    fn redirect(&mut self, to: &[SocketAddr]) {
        if let [only] = to {
            let bytes = target_bytes(only);
            let (address, port) = bytes.split_at(4 * self.words() as usize);
            self.immediate(0, address);
            self.immediate(self.words(), &port[..2]);
        } else {
            self.pick(to.len(), register(0), Anonymous::Targets(to.to_vec()));
        }
        self.destination_nat();
    }

    fn spread(&mut self, to: &[String]) {
        match to {
            [only] => self.verdict(VerdictCode::Goto as u32, Some(only)),
            _ => self.pick(to.len(), VERDICT_REGISTER, Anonymous::Chains(to.to_vec())),
        }
    }

    /// Draws a number and looks it up in a map of its own.
    fn pick(&mut self, among: usize, to: u32, map: Anonymous) {
        self.expression("numgen", |w| {
            w.put_u32(1, register(0));
            w.put_u32(2, u32::try_from(among).expect("endpoints of a service are counted in thousands"));
            w.put_u32(3, NumgenTypes::Random as u32);
            w.put_u32(4, 0);
        });
        self.maps.push(map);
        let id = self.first_map + u32::try_from(self.maps.len()).expect("a rule has one map");
        self.expression("lookup", |w| {
            w.put_str(1, ANONYMOUS);
            w.put_u32(4, id);
            w.put_u32(2, register(0));
            w.put_u32(3, to);
        });
    }

    fn destination_nat(&mut self) {
        let (family, port) = (u32::from(family_number(self.family)), register(self.words()));
        self.expression("nat", |w| {
            w.put_u32(1, NAT_DNAT);
            w.put_u32(2, family);
            w.put_u32(3, register(0));
            w.put_u32(5, port);
        });
    }

    fn immediate(&mut self, to: u32, data: &[u8]) {
        self.expression("immediate", |w| {
            w.put_u32(1, register(to));
            w.nest(2, |w| w.put(1, data));
        });
    }

    fn verdict(&mut self, code: u32, chain: Option<&str>) {
        self.expression("immediate", |w| {
            w.put_u32(1, VERDICT_REGISTER);
            w.nest(2, |w| put_verdict(w, code, chain));
        });
    }

    fn reject(&mut self) {
        // Port unreachable has another number in ICMPv6.
        let code = match self.family {
            Family::V4 => 3,
            Family::V6 => 4,
        };
        self.expression("reject", |w| {
            w.put_u32(1, RejectTypes::IcmpUnreach as u32);
            w.put(2, &[code]);
        });
    }
}
