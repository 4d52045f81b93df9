//! Steps as netlink messages, many in one transaction.

use super::expressions::Expressions;
use super::values::{ANONYMOUS, Anonymous, Shape, key_bytes, put_value};
use super::{ChainType, Family, Hook, Key, Rule, SetKind, Step, Value};
use crate::netlink::{ACK, APPEND, CREATE, Error, Header, Socket, Writer};

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
        let mut expressions = Expressions::new(self.family, self.tx.anonymous);
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

/// `AF_INET` or `AF_INET6`, which are also netfilter's numbers for the families.
pub(crate) fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => 2,
        Family::V6 => 10,
    }
}
