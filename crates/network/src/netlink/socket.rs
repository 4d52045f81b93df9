//! The socket to netfilter: batches and dumps, with the kernel's own words about what it refused.
//!
//! The kernel works on a request inside `send`, so every answer waits in the receive queue when it returns, and no
//! call here waits for anything but the kernel's locks.

use super::{ACK, DUMP, HEADER, Header, Message, Writer, attribute, messages, u32_at};
use rtnetlink::sys;
use rustix::net::sockopt;
use std::io;

const NETFILTER: isize = 12;
const DONT_WAIT: i32 = 0x40;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const ACK_TLVS: u16 = 0x200;
const RECEIVE: usize = 64 * 1024;

/// Why the kernel did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No netlink socket.
    #[error("could not open a netlink socket to netfilter")]
    Open(#[source] io::Error),
    /// The request did not get out.
    #[error("could not send {bytes} bytes to netfilter")]
    Send {
        /// Size of the request.
        bytes: usize,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The answer did not come in.
    #[error("could not read netfilter's answer")]
    Receive(#[source] io::Error),
    /// The kernel said no; the whole batch was undone.
    #[error("the kernel refused {}", list(.0))]
    Refused(Vec<Refusal>),
    /// Neither yes nor no.
    #[error("netfilter did not answer; is nf_tables built into the kernel or loaded?")]
    Silent,
}

/// One request of a batch that the kernel refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Sequence number of the request.
    pub sequence: u32,
    /// What was asked for, where known.
    pub request: String,
    /// Error number.
    pub errno: i32,
    /// The kernel's extended error text, where it gave one.
    pub message: Option<String>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.request, io::Error::from_raw_os_error(self.errno))?;
        self.message.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
    }
}

fn list(refusals: &[Refusal]) -> String {
    let mut text: Vec<String> = refusals.iter().take(3).map(ToString::to_string).collect();
    if refusals.len() > 3 {
        text.push(format!("and {} more", refusals.len() - 3));
    }
    text.join("; ")
}

/// A netlink socket to netfilter, of the network namespace of the thread that opened it.
pub struct Socket {
    socket: sys::Socket,
    sequence: u32,
    room: usize,
}

impl Socket {
    /// Opens one.
    pub fn open() -> Result<Self, Error> {
        let mut socket = sys::Socket::new(NETFILTER).map_err(Error::Open)?;
        socket.bind_auto().map_err(Error::Open)?;
        // Extended errors, and without the refused request repeated in front of them.
        socket.set_ext_ack(true).map_err(Error::Open)?;
        socket.set_cap_ack(true).map_err(Error::Open)?;
        Ok(Self { socket, sequence: 1, room: 0 })
    }

    /// Sends a batch that asks for at least one acknowledgement, and says what of it was refused. `describe` names
    /// the request behind a sequence number.
    pub fn transact(&mut self, batch: &[u8], describe: impl Fn(u32) -> String) -> Result<(), Error> {
        self.send(batch)?;
        let mut refusals = Vec::new();
        let mut answered = false;
        let mut buffer = Vec::with_capacity(RECEIVE);
        while self.receive(&mut buffer)? {
            for message in messages(&buffer).filter(|m| m.kind == ERROR) {
                answered = true;
                refusals.extend(refusal(&message, &describe));
            }
        }
        match (answered, refusals.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(Error::Refused(refusals)),
            (false, _) => Err(Error::Silent),
        }
    }

    /// Asks for a dump and hands every message to `each`.
    pub fn dump(&mut self, kind: u16, family: u8, mut each: impl FnMut(&Message<'_>)) -> Result<(), Error> {
        let sequence = self.next();
        let mut writer = Writer::new();
        writer.message(Header { kind, flags: DUMP, sequence, family, resource: 0 }, |_| {});
        self.send(writer.bytes())?;
        let mut buffer = Vec::with_capacity(RECEIVE);
        // Each receive makes the kernel fill in the next part; the last one says "done".
        while self.receive(&mut buffer)? {
            for message in messages(&buffer).filter(|m| m.sequence == sequence) {
                match message.kind {
                    DONE => return Ok(()),
                    ERROR => match refusal(&message, &|_| "dump".into()) {
                        Some(refused) => return Err(Error::Refused(vec![refused])),
                        None => return Ok(()),
                    },
                    _ => each(&message),
                }
            }
        }
        Err(Error::Silent)
    }

    /// A message on its own, acknowledged; used for deletes whose target may be gone already.
    pub fn request(&mut self, kind: u16, family: u8, fill: impl FnOnce(&mut Writer)) -> Result<(), Error> {
        let sequence = self.next();
        let mut writer = Writer::new();
        writer.message(Header { kind, flags: ACK, sequence, family, resource: 0 }, fill);
        self.transact(writer.bytes(), |_| "request".into())
    }

    fn next(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        // A netlink datagram must fit the send buffer, whose default holds only some thousand elements.
        let wanted = (bytes.len() + RECEIVE).next_power_of_two();
        if wanted > self.room {
            sockopt::set_socket_send_buffer_size_force(&self.socket, wanted)
                .map_err(|cause| Error::Send { bytes: bytes.len(), cause: cause.into() })?;
            self.room = wanted;
        }
        self.socket.send(bytes, 0).map(drop).map_err(|cause| Error::Send { bytes: bytes.len(), cause })
    }

    fn receive(&self, buffer: &mut Vec<u8>) -> Result<bool, Error> {
        buffer.clear();
        match self.socket.recv(buffer, DONT_WAIT) {
            Ok(_) => Ok(true),
            Err(none) if none.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(cause) => Err(Error::Receive(cause)),
        }
    }
}

fn refusal(message: &Message<'_>, describe: &impl Fn(u32) -> String) -> Option<Refusal> {
    let errno = -u32_at(message.payload, 0)?.cast_signed();
    if errno == 0 {
        return None;
    }
    let text = (message.flags & ACK_TLVS != 0)
        .then(|| message.payload.get(4 + HEADER..))
        .flatten()
        .and_then(|tlvs| attribute(tlvs, 1))
        .map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
    Some(Refusal { sequence: message.sequence, request: describe(message.sequence), errno, message: text })
}

impl Error {
    /// Whether everything that was refused was refused because it does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::Refused(all) if all.iter().all(|r| r.errno == 2))
    }
}
