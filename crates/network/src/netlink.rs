//! Netlink messages: writing and reading of attributes, and the kernel's answers.
//!
//! Attributes are written straight into one buffer, which is what makes a batch of ten thousand elements cost two
//! milliseconds. Numbers and names come from `netlink-bindings`, generated from the kernel's specifications; its
//! typed encoders are not used, as they lack the `dynset` and `masq` expressions and write set ids in host order.

pub mod socket;

pub use socket::{Error, Refusal, Socket};

/// Size of `struct nlmsghdr`.
pub const HEADER: usize = 16;
const NESTED: u16 = 0x8000;

/// `NLM_F_REQUEST`.
pub const REQUEST: u16 = 0x1;
/// `NLM_F_ACK`.
pub const ACK: u16 = 0x4;
/// `NLM_F_DUMP`.
pub const DUMP: u16 = 0x300;
/// `NLM_F_CREATE`.
pub const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`.
pub const APPEND: u16 = 0x800;

/// Messages one after the other in one buffer.
#[derive(Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// Nothing written yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What has been written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A netfilter message with the attributes that `fill` writes.
    pub fn message(&mut self, header: Header, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend(header.kind.to_ne_bytes());
        self.bytes.extend((header.flags | REQUEST).to_ne_bytes());
        self.bytes.extend(header.sequence.to_ne_bytes());
        self.bytes.extend(0u32.to_ne_bytes());
        self.bytes.extend([header.family, 0]);
        self.bytes.extend(header.resource.to_be_bytes());
        fill(self);
        let length = u32::try_from(self.bytes.len() - start).expect("a message is far below 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// An attribute with these bytes.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let length = u16::try_from(value.len() + 4).expect("no attribute of ours reaches 64 KiB");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.pad();
    }

    /// A string with its closing zero.
    pub fn put_str(&mut self, kind: u16, value: &str) {
        let length = u16::try_from(value.len() + 5).expect("names are below 256 bytes");
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value.as_bytes());
        self.bytes.push(0);
        self.pad();
    }

    /// A 32-bit number in network order, as nftables wants all of them.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// A 64-bit number in network order.
    pub fn put_u64(&mut self, kind: u16, value: u64) {
        self.put(kind, &value.to_be_bytes());
    }

    /// An attribute that holds the attributes `fill` writes.
    pub fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend(0u16.to_ne_bytes());
        self.bytes.extend((kind | NESTED).to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).expect("nests are split below 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    }

    /// Attributes that were written elsewhere.
    pub fn raw(&mut self, attributes: &[u8]) {
        self.bytes.extend_from_slice(attributes);
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// What stands before a netfilter message's attributes.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    /// Subsystem and operation.
    pub kind: u16,
    /// `NLM_F_*`; the request flag is always added.
    pub flags: u16,
    /// Repeated in the answer.
    pub sequence: u32,
    /// Address family.
    pub family: u8,
    /// The subsystem a batch is for; zero otherwise.
    pub resource: u16,
}

/// One message of an answer.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// Message type.
    pub kind: u16,
    /// `NLM_F_*`.
    pub flags: u16,
    /// Sequence of the request it answers.
    pub sequence: u32,
    /// What follows the netlink header.
    pub payload: &'a [u8],
}

/// The messages of a datagram; what does not parse ends it.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.get(..HEADER)?;
        let length = u32_at(header, 0)? as usize;
        let payload = bytes.get(HEADER..length)?;
        let message =
            Message { kind: u16_at(header, 4)?, flags: u16_at(header, 6)?, sequence: u32_at(header, 8)?, payload };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes in a run of them: type without its flag bits, and value.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = u16_at(bytes, 0)? as usize;
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The first attribute of a type.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut writer = Writer::new();
        let header = Header { kind: 0xa00, flags: ACK, sequence: 7, family: 2, resource: 10 };
        writer.message(header, |w| {
            w.put_str(1, "kaji");
            w.nest(4, |w| w.put_u32(2, 5));
        });
        writer.message(Header { sequence: 8, ..header }, |_| {});
        let read: Vec<_> = messages(writer.bytes()).collect();
        assert_eq!(read.iter().map(|m| m.sequence).collect::<Vec<_>>(), [7, 8]);
        let body = &read[0].payload[4..];
        assert_eq!(attribute(body, 1), Some(&b"kaji\0"[..]));
        assert_eq!(attribute(attribute(body, 4).unwrap(), 2), Some(&5u32.to_be_bytes()[..]));
        assert_eq!(&read[0].payload[2..4], &10u16.to_be_bytes());
    }

    #[test]
    fn torn_input_ends_instead_of_panicking() {
        let mut writer = Writer::new();
        writer.message(Header { kind: 1, flags: 0, sequence: 1, family: 0, resource: 0 }, |w| w.put_str(1, "abc"));
        for cut in 0..writer.bytes().len() {
            assert_eq!(messages(&writer.bytes()[..cut]).count(), 0);
        }
        assert_eq!(attributes(&[3, 0, 1, 0, 9]).count(), 0);
    }
}
