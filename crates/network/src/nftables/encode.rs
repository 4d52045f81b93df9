//! Steps as netlink messages.
//!
//! A rule is a row of expressions over sixteen 32-bit registers. Keys of several parts are laid out in consecutive
//! registers, each part padded to four bytes, the way `nft` does it, so that `nft list` can read our tables.

use super::{ChainType, Family, Hook, Key, Lookup, Protocol, Rule, SetKind, Side, Statement, Step, Value};
use crate::netlink::{ACK, APPEND, CREATE, Error, Header, Socket, Writer};
use ipnet::IpNet;
use netlink_bindings::nftables::{
    CmpOps, CtKeys, FibFlags, MetaKeys, NumgenTypes, PayloadBase, RejectTypes, SetFlags, VerdictCode,
};
use std::net::{IpAddr, SocketAddr};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
/// Elements of one message stay below this, well under the 64 KiB that a nested attribute can be long.
const CHUNK: usize = 32 * 1024;

const NEW_TABLE: u16 = 0;
const DEL_TABLE: u16 = 2;
const NEW_CHAIN: u16 = 3;
const DEL_CHAIN: u16 = 5;
const NEW_RULE: u16 = 6;
const DEL_RULE: u16 = 8;
const NEW_SET: u16 = 9;
const DEL_SET: u16 = 11;
const NEW_ELEMENT: u16 = 12;
const DEL_ELEMENT: u16 = 14;

/// `nft`'s type numbers, which it needs to print elements.
const TYPE_INTEGER: u32 = 4;
const TYPE_IPV4: u32 = 7;
const TYPE_IPV6: u32 = 8;
const TYPE_PROTOCOL: u32 = 12;
const TYPE_SERVICE: u32 = 13;
const TYPE_VERDICT: u32 = 0xffff_ff00;

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

/// Collects steps into one transaction, for one or several tables.
pub struct Transaction {
    writer: Writer,
    next: u32,
    requests: Vec<(u32, String)>,
    anonymous: u32,
}

impl Transaction {
    /// An empty one.
    pub fn new() -> Self {
        let mut it = Self { writer: Writer::new(), next: 1, requests: Vec::new(), anonymous: 0 };
        it.bound(BATCH_BEGIN);
        it
    }

    /// Adds a step on a table.
    pub fn push(&mut self, table: &str, family: Family, step: &Step) {
        Table { name: table, family, tx: self }.step(step);
    }

    /// Carries it out, whole or not at all.
    pub fn commit(mut self, socket: &mut Socket) -> Result<(), Error> {
        self.bound(BATCH_END);
        let requests = &self.requests;
        socket.transact(self.writer.bytes(), |sequence| {
            let at = requests.partition_point(|(first, _)| *first <= sequence);
            at.checked_sub(1).map_or_else(|| "batch".to_owned(), |at| requests[at].1.clone())
        })
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.writer.bytes().len()
    }

    /// Whether no step is in it.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    fn bound(&mut self, kind: u16) {
        let header = Header { kind, flags: 0, sequence: self.next, family: 0, resource: SUBSYSTEM };
        self.next = self.next.wrapping_add(1);
        self.writer.message(header, |_| {});
    }
}

impl Default for Transaction {
    fn default() -> Self {
        Self::new()
    }
}

struct Table<'a> {
    name: &'a str,
    family: Family,
    tx: &'a mut Transaction,
}

impl Table<'_> {
    fn step(&mut self, step: &Step) {
        let mut words = format!("{} {} {step}", self.family.keyword(), self.name);
        if words.len() > 300 {
            words.truncate((0..=300).rev().find(|at| words.is_char_boundary(*at)).unwrap_or(0));
            words.push('…');
        }
        let first = self.tx.next;
        self.tx.requests.push((first, words));
        match step {
            Step::AddTable => self.message(NEW_TABLE, CREATE, |_| {}),
            Step::DeleteTable => self.message(DEL_TABLE, 0, |_| {}),
            Step::AddChain(name, hook) => self.message(NEW_CHAIN, CREATE, |w| add_chain(w, name, *hook)),
            Step::FlushChain(name) => self.message(DEL_RULE, 0, |w| w.put_str(2, name)),
            Step::DeleteChain(name) => self.message(DEL_CHAIN, 0, |w| w.put_str(3, name)),
            Step::AddRule(chain, rule) => self.add_rule(chain, rule),
            Step::AddSet(name, kind) => self.add_set(name, *kind),
            Step::DeleteSet(name) => self.message(DEL_SET, 0, |w| w.put_str(2, name)),
            Step::AddElements(name, kind, all) => self.elements(NEW_ELEMENT, name, *kind, all),
            Step::DeleteElements(name, kind, all) => self.elements(DEL_ELEMENT, name, *kind, all),
        }
    }

    fn message(&mut self, operation: u16, flags: u16, fill: impl FnOnce(&mut Writer)) {
        // One acknowledgement is enough to know that the kernel has read the batch.
        let ack = if self.tx.requests.len() == 1 { ACK } else { 0 };
        let sequence = self.tx.next;
        self.tx.next = sequence.wrapping_add(1);
        let kind = SUBSYSTEM << 8 | operation;
        let header = Header { kind, flags: flags | ack, sequence, family: family_number(self.family), resource: 0 };
        let table = self.name;
        self.tx.writer.message(header, |w| {
            w.put_str(1, table);
            fill(w);
        });
    }

    fn add_set(&mut self, name: &str, kind: SetKind) {
        let shape = Shape::of(kind, self.family);
        self.message(NEW_SET, CREATE, |w| {
            w.put_str(2, name);
            w.put_u32(10, 0);
            shape.write(w);
        });
    }

    fn elements(&mut self, operation: u16, name: &str, kind: SetKind, all: &[(Key, Value)]) {
        let with_data = operation == NEW_ELEMENT && kind != SetKind::Addresses && kind != SetKind::Flows;
        let mut rest = all;
        while !rest.is_empty() {
            let mut taken = 0;
            let mut size = 0;
            while taken < rest.len() && size < CHUNK {
                size += 80 + if let Value::Goto(chain) = &rest[taken].1 { chain.len() } else { 0 };
                taken += 1;
            }
            let (now, later) = rest.split_at(taken);
            let flags = if operation == NEW_ELEMENT { CREATE } else { 0 };
            self.message(operation, flags, |w| {
                w.put_str(2, name);
                w.nest(3, |w| {
                    for (key, value) in now {
                        w.nest(1, |w| {
                            w.nest(1, |w| w.put(1, &key_bytes(key)));
                            if with_data {
                                w.nest(2, |w| put_value(w, value));
                            }
                        });
                    }
                });
            });
            rest = later;
        }
    }

    fn add_rule(&mut self, chain: &str, rule: &Rule) {
        let family = self.family;
        let mut expressions =
            Expressions { writer: Writer::new(), family, maps: Vec::new(), first_map: self.tx.anonymous };
        for statement in rule {
            expressions.statement(statement);
        }
        let Expressions { writer, maps, .. } = expressions;
        for map in maps {
            self.tx.anonymous += 1;
            self.anonymous_map(self.tx.anonymous, &map);
        }
        self.message(NEW_RULE, CREATE | APPEND, |w| {
            w.put_str(2, chain);
            w.nest(4, |w| w.raw(writer.bytes()));
        });
    }

    fn anonymous_map(&mut self, id: u32, map: &Anonymous) {
        let shape = map.shape(self.family);
        self.message(NEW_SET, CREATE, |w| {
            w.put_str(2, ANONYMOUS);
            w.put_u32(10, id);
            shape.write(w);
        });
        let chunks = match map {
            Anonymous::Targets(all) => all.chunks(500).map(<[_]>::len).collect::<Vec<_>>(),
            Anonymous::Chains(all) => all.chunks(100).map(<[_]>::len).collect(),
        };
        let mut at = 0;
        for length in chunks {
            self.message(NEW_ELEMENT, CREATE, |w| {
                w.put_str(2, ANONYMOUS);
                w.put_u32(4, id);
                w.nest(3, |w| (at..at + length).for_each(|n| map.element(w, n)));
            });
            at += length;
        }
    }
}

fn add_chain(w: &mut Writer, name: &str, hook: Option<Hook>) {
    w.put_str(3, name);
    let Some(hook) = hook else { return };
    w.nest(4, |w| {
        w.put_u32(1, hook.at as u32);
        w.put(2, &hook.priority.to_be_bytes());
    });
    w.put_str(
        7,
        match hook.kind {
            ChainType::Filter => "filter",
            ChainType::Nat => "nat",
        },
    );
}

const ANONYMOUS: &str = "__map%d";

/// A map that lives and dies with the rule that uses it; keys count from zero.
enum Anonymous {
    Targets(Vec<SocketAddr>),
    Chains(Vec<String>),
}

impl Anonymous {
    fn shape(&self, family: Family) -> Shape {
        let data = match self {
            Anonymous::Targets(_) => Shape::of(SetKind::PortTargets, family).data,
            Anonymous::Chains(_) => Some((TYPE_VERDICT, 0)),
        };
        let flags = SetFlags::Anonymous as u32 | SetFlags::Constant as u32 | SetFlags::Map as u32;
        Shape { flags, key: (TYPE_INTEGER, 4), data, timeout: None }
    }

    fn element(&self, w: &mut Writer, n: usize) {
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
struct Shape {
    flags: u32,
    key: (u32, u32),
    data: Option<(u32, u32)>,
    timeout: Option<u64>,
}

impl Shape {
    fn of(kind: SetKind, family: Family) -> Self {
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

    fn write(&self, w: &mut Writer) {
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

fn key_bytes(key: &Key) -> Vec<u8> {
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

fn put_address(bytes: &mut Vec<u8>, address: &IpAddr) {
    match address {
        IpAddr::V4(v4) => bytes.extend(v4.octets()),
        IpAddr::V6(v6) => bytes.extend(v6.octets()),
    }
}

fn target_bytes(target: &SocketAddr) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20);
    put_address(&mut bytes, &target.ip());
    bytes.extend(target.port().to_be_bytes());
    bytes.extend([0, 0]);
    bytes
}

fn put_value(w: &mut Writer, value: &Value) {
    match value {
        Value::Present => {}
        Value::Goto(chain) => put_verdict(w, VerdictCode::Goto as u32, Some(chain)),
        Value::Drop => put_verdict(w, VerdictCode::Drop as u32, None),
        Value::Target(target) => w.put(1, &target_bytes(target)),
    }
}

fn put_verdict(w: &mut Writer, code: u32, chain: Option<&str>) {
    w.nest(2, |w| {
        w.put_u32(1, code);
        if let Some(chain) = chain {
            w.put_str(2, chain);
        }
    });
}

/// Writes a rule's statements as expressions, and collects the anonymous maps they need.
struct Expressions {
    writer: Writer,
    family: Family,
    maps: Vec<Anonymous>,
    first_map: u32,
}

impl Expressions {
    fn statement(&mut self, statement: &Statement) {
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

/// `AF_INET` or `AF_INET6`, which are also netfilter's numbers for the families.
pub(crate) fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}
