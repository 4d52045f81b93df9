//! Protobuf's wire: tags, varints, length-delimited parts.

use super::DecodeError;
use crate::codec::lossy;

pub(super) type WireType = u8;
pub(super) const VARINT: WireType = 0;
pub(super) const FIXED64: WireType = 1;
pub(super) const LEN: WireType = 2;

/// Fields of a message, one after the other.
pub(super) struct Reader<'b> {
    rest: &'b [u8],
}

fn short() -> DecodeError {
    DecodeError("unexpected EOF".into())
}

impl<'b> Reader<'b> {
    pub(super) fn new(rest: &'b [u8]) -> Self {
        Reader { rest }
    }

    /// The next field's number and wire type; none at the end.
    pub(super) fn tag(&mut self) -> Result<Option<(u64, WireType)>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        if tag >> 3 == 0 {
            return Err(DecodeError(format!("proto: illegal tag 0 (wire type {})", tag & 7)));
        }
        Ok(Some((tag >> 3, u8::try_from(tag & 7).expect("three bits"))))
    }

    pub(super) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut n = 0u64;
        for (i, byte) in self.rest.iter().enumerate() {
            if i > 9 {
                return Err(DecodeError("proto: integer overflow".into()));
            }
            n |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[i + 1..];
                return Ok(n);
            }
        }
        Err(short())
    }

    /// A varint as the signed number it stands for.
    pub(super) fn int(&mut self) -> Result<i64, DecodeError> {
        Ok(self.varint()?.cast_signed())
    }

    pub(super) fn fixed64(&mut self) -> Result<u64, DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<8>().ok_or_else(short)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*head))
    }

    pub(super) fn bytes(&mut self) -> Result<&'b [u8], DecodeError> {
        let len = usize::try_from(self.varint()?).map_err(|_| short())?;
        let (head, rest) = self.rest.split_at_checked(len).ok_or_else(short)?;
        self.rest = rest;
        Ok(head)
    }

    pub(super) fn string(&mut self) -> Result<String, DecodeError> {
        Ok(lossy(self.bytes()?).into_owned())
    }

    /// Passes over a field that is not known.
    pub(super) fn skip(&mut self, wire: WireType) -> Result<(), DecodeError> {
        match wire {
            VARINT => self.varint().map(|_| ()),
            FIXED64 => self.fixed64().map(|_| ()),
            LEN => self.bytes().map(|_| ()),
            5 => {
                self.rest = self.rest.get(4..).ok_or_else(short)?;
                Ok(())
            }
            _ => Err(DecodeError(format!("proto: illegal wireType {wire}"))),
        }
    }
}

pub(super) fn put_varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(u8::try_from(n & 0x7f).expect("seven bits") | 0x80);
        n >>= 7;
    }
    out.push(u8::try_from(n).expect("seven bits"));
}

fn tag(number: u16, wire: WireType, out: &mut Vec<u8>) {
    put_varint(u64::from(number) << 3 | u64::from(wire), out);
}

pub(super) fn int(number: u16, n: i64, out: &mut Vec<u8>) {
    tag(number, VARINT, out);
    put_varint(n.cast_unsigned(), out);
}

pub(super) fn fixed64(number: u16, n: u64, out: &mut Vec<u8>) {
    tag(number, FIXED64, out);
    out.extend_from_slice(&n.to_le_bytes());
}

pub(super) fn bytes(number: u16, bytes: &[u8], out: &mut Vec<u8>) {
    tag(number, LEN, out);
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

pub(super) fn string(number: u16, text: &str, out: &mut Vec<u8>) {
    bytes(number, text.as_bytes(), out);
}

/// A message whose length is known only once `body` has written it: one byte is kept free for it, and the body moved
/// on in the rarer case that it needs more.
pub(super) fn message(number: u16, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    tag(number, LEN, out);
    let at = out.len();
    out.push(0);
    body(out);
    let len = out.len() - at - 1;
    if let Ok(short @ ..0x80) = u8::try_from(len) {
        out[at] = short;
        return;
    }
    let mut prefix = Vec::with_capacity(10);
    put_varint(len as u64, &mut prefix);
    out.splice(at..=at, prefix);
}
