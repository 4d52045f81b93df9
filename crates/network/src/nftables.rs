//! What we say to nftables: chains, rules, sets and elements as values, written as `nft` would write them.
//!
//! This is the small part of the language that the proxy needs. Values are compared to find what changed and
//! printed by tests; [`encode`] turns them into netlink.

pub mod encode;
mod expressions;
mod values;

use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Address family of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4: tables of family `ip`.
    V4,
    /// IPv6: tables of family `ip6`.
    V6,
}

impl Family {
    /// Whether the address is of this family.
    pub fn has(self, address: &IpAddr) -> bool {
        address.is_ipv4() == (self == Family::V4)
    }

    /// Whether the network is of this family.
    pub fn has_net(self, net: &IpNet) -> bool {
        self.has(&net.addr())
    }

    fn keyword(self) -> &'static str {
        match self {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        }
    }
}

/// Transport protocol of a service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    /// Its number in IP headers.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        })
    }
}

/// What a base chain does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainType {
    /// Accepts, drops, rejects.
    Filter,
    /// Rewrites addresses; sees only a connection's first packet.
    Nat,
}

/// Where the kernel calls a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookPoint {
    /// On arrival, before routing.
    Prerouting = 0,
    /// To this host.
    Input = 1,
    /// Through this host.
    Forward = 2,
    /// From this host.
    Output = 3,
    /// On departure, after routing.
    Postrouting = 4,
}

/// How a base chain hangs on the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// What it does.
    pub kind: ChainType,
    /// Where.
    pub at: HookPoint,
    /// Lower is earlier.
    pub priority: i32,
}

/// A chain; without hook it is only jumped to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// Set for base chains.
    pub hook: Option<Hook>,
    /// In order.
    pub rules: Vec<Rule>,
}

/// Statements from left to right; the first match that fails ends the rule.
pub type Rule = Vec<Statement>;

/// Source or destination of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Source address.
    Source,
    /// Destination address.
    Destination,
}

/// What a map or set is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Destination address.
    Destination,
    /// Destination address, protocol, destination port.
    Service,
    /// Protocol, destination port.
    Port,
    /// Source address, destination address, protocol, destination port.
    Flow,
}

/// One step of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Statement {
    /// Address in (or not in) a network.
    Address(Side, bool, IpNet),
    /// Address of a kind that belongs to this host.
    Local(Side),
    /// Interface name is (or is not): packets coming in.
    Incoming(bool, String),
    /// Interface name is (or is not): packets going out.
    Outgoing(bool, String),
    /// The first packet of a connection.
    NewConnection,
    /// The connection's destination was rewritten.
    Redirected,
    /// Any of the bits is set in the packet's mark.
    Marked(u32),
    /// The set has the key.
    In(Lookup, &'static str),
    /// The (dynamic) set has the source address.
    Remembered(String),
    /// Puts the source address into the (dynamic) set, or renews it.
    Remember(String),
    /// Sets bits in the packet's mark.
    Mark(u32),
    /// Flips bits in the packet's mark.
    Flip(u32),
    /// The verdict the map has for the key, if any.
    Verdict(Lookup, &'static str),
    /// Rewrites the destination to what the map has for the key, if anything.
    RedirectBy(Lookup, &'static str),
    /// Rewrites the destination to one of these at random.
    Redirect(Vec<SocketAddr>),
    /// Goes to one of these chains at random.
    Spread(Vec<String>),
    /// Rewrites the source to the outgoing interface's address.
    Masquerade,
    /// Calls a chain.
    Jump(String),
    /// Continues in a chain and does not come back.
    Goto(String),
    /// Back to the caller.
    Return,
    /// Silently away.
    Drop,
    /// Away with an ICMP port unreachable.
    Reject,
}

/// What a set or map holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// Addresses.
    Addresses,
    /// Addresses, added by rules, forgotten after some seconds.
    Affinity(u32),
    /// Flows.
    Flows,
    /// Service → verdict.
    ServiceVerdicts,
    /// Port → verdict.
    PortVerdicts,
    /// Service → address and port.
    ServiceTargets,
    /// Port → address and port.
    PortTargets,
}

/// Key of an element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// An address.
    Address(IpAddr),
    /// Address, protocol, port.
    Service(IpAddr, Protocol, u16),
    /// Protocol, port.
    Port(Protocol, u16),
    /// From an address to itself.
    Flow(IpAddr, Protocol, u16),
}

/// What an element maps to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing: a set's element.
    Present,
    /// Continue in a chain.
    Goto(String),
    /// Drop.
    Drop,
    /// An address and port.
    Target(SocketAddr),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Address(a) => write!(f, "{a}"),
            Key::Service(a, p, n) => write!(f, "{a} . {p} . {n}"),
            Key::Port(p, n) => write!(f, "{p} . {n}"),
            Key::Flow(a, p, n) => write!(f, "{a} . {a} . {p} . {n}"),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Present => Ok(()),
            Value::Goto(chain) => write!(f, " : goto {chain}"),
            Value::Drop => write!(f, " : drop"),
            Value::Target(to) => write!(f, " : {} . {}", to.ip(), to.port()),
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |negate: bool| if negate { " !=" } else { "" };
        match self {
            Statement::Address(side, negate, net) => write!(f, "{}{} {net}", address(net, *side), not(*negate)),
            Statement::Local(Side::Source) => f.write_str("fib saddr type local"),
            Statement::Local(Side::Destination) => f.write_str("fib daddr type local"),
            Statement::Incoming(negate, name) => write!(f, "iifname{} {name}", not(*negate)),
            Statement::Outgoing(negate, name) => write!(f, "oifname{} {name}", not(*negate)),
            Statement::NewConnection => f.write_str("ct state new"),
            Statement::Redirected => f.write_str("ct status dnat"),
            Statement::Marked(bits) => write!(f, "mark and {bits:#x} != 0"),
            Statement::In(key, set) => write!(f, "{key} @{set}"),
            Statement::Remembered(set) => write!(f, "saddr @{set}"),
            Statement::Remember(set) => write!(f, "update @{set} {{ saddr }}"),
            Statement::Mark(bits) => write!(f, "mark set mark or {bits:#x}"),
            Statement::Flip(bits) => write!(f, "mark set mark xor {bits:#x}"),
            Statement::Verdict(key, map) => write!(f, "{key} vmap @{map}"),
            Statement::RedirectBy(key, map) => write!(f, "dnat to {key} map @{map}"),
            Statement::Redirect(to) => {
                let to: Vec<String> = to.iter().map(ToString::to_string).collect();
                write!(f, "dnat to random {{ {} }}", to.join(", "))
            }
            Statement::Spread(to) => write!(f, "goto random {{ {} }}", to.join(", ")),
            Statement::Masquerade => f.write_str("masquerade fully-random"),
            Statement::Jump(chain) => write!(f, "jump {chain}"),
            Statement::Goto(chain) => write!(f, "goto {chain}"),
            Statement::Return => f.write_str("return"),
            Statement::Drop => f.write_str("drop"),
            Statement::Reject => f.write_str("reject"),
        }
    }
}

fn address(net: &IpNet, side: Side) -> &'static str {
    match (net, side) {
        (IpNet::V4(_), Side::Source) => "ip saddr",
        (IpNet::V4(_), Side::Destination) => "ip daddr",
        (IpNet::V6(_), Side::Source) => "ip6 saddr",
        (IpNet::V6(_), Side::Destination) => "ip6 daddr",
    }
}

impl fmt::Display for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Lookup::Destination => "daddr",
            Lookup::Service => "daddr . l4proto . dport",
            Lookup::Port => "l4proto . dport",
            Lookup::Flow => "saddr . daddr . l4proto . dport",
        })
    }
}

/// A rule in words.
pub fn text(rule: &[Statement]) -> String {
    rule.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// One step of a transaction. The kernel does all or none of a transaction's steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Makes the table unless it is there.
    AddTable,
    /// Removes the table with all it holds.
    DeleteTable,
    /// Makes a chain unless it is there.
    AddChain(String, Option<Hook>),
    /// Removes a chain's rules.
    FlushChain(String),
    /// Removes a chain that nothing refers to.
    DeleteChain(String),
    /// Puts a rule at a chain's end.
    AddRule(String, Rule),
    /// Makes a set or map.
    AddSet(String, SetKind),
    /// Removes a set or map.
    DeleteSet(String),
    /// Puts elements in.
    AddElements(String, SetKind, Vec<(Key, Value)>),
    /// Takes elements out.
    DeleteElements(String, SetKind, Vec<(Key, Value)>),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let elements = |all: &[(Key, Value)]| all.iter().map(|(k, v)| format!("{k}{v}")).collect::<Vec<_>>().join(", ");
        match self {
            Step::AddTable => f.write_str("add table"),
            Step::DeleteTable => f.write_str("delete table"),
            Step::AddChain(name, _) => write!(f, "add chain {name}"),
            Step::FlushChain(name) => write!(f, "flush chain {name}"),
            Step::DeleteChain(name) => write!(f, "delete chain {name}"),
            Step::AddRule(chain, rule) => write!(f, "add rule {chain} {}", text(rule)),
            Step::AddSet(name, _) => write!(f, "add set {name}"),
            Step::DeleteSet(name) => write!(f, "delete set {name}"),
            Step::AddElements(name, _, all) => write!(f, "add element {name} {{ {} }}", elements(all)),
            Step::DeleteElements(name, _, all) => write!(f, "delete element {name} {{ {} }}", elements(all)),
        }
    }
}
