//! Frames and how they are written.

use super::headers::{HeaderError, Headers, Packer, Unpacker};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

const VERSION: u32 = 3;
const CONTROL: u32 = 0x8000_0000;
const FIN: u8 = 1;
/// A control frame may be so long.
const MAX_CONTROL: usize = 1 << 20;
/// Data is passed on in pieces of at most this, however long its frame is.
pub(super) const PIECE: usize = 32 << 10;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// Status of a reset: the stream is not wanted.
pub(super) const REFUSED: u32 = 3;
/// Status of a reset: no longer needed.
#[cfg(test)]
pub(super) const CANCEL: u32 = 5;

/// What travels on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A stream begins.
    SynStream { stream: u32, headers: Headers, fin: bool },
    /// The other end takes a stream.
    SynReply { stream: u32, headers: Headers, fin: bool },
    /// More headers.
    Headers { stream: u32, headers: Headers, fin: bool },
    /// A stream ends both ways at once.
    Reset { stream: u32, status: u32 },
    /// To be sent back by whoever did not invent the number.
    Ping(u32),
    /// No more streams; the connection ends.
    GoAway { last: u32, status: u32 },
    /// Bytes; with `fin` the last ones.
    Data { stream: u32, bytes: Bytes, fin: bool },
}

/// Why frames could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    /// The connection broke.
    #[error("connection broke")]
    Io(#[from] std::io::Error),
    /// Another version of the protocol, or another protocol.
    #[error("frame of protocol version {0}")]
    Version(u32),
    /// More than anybody needs.
    #[error("control frame of {0} bytes")]
    TooLong(usize),
    /// Fields are missing.
    #[error("control frame of type {0} ends early")]
    Short(u16),
    /// Headers cannot be read.
    #[error("frame of type {0} cannot be read")]
    Headers(u16, #[source] HeaderError),
    /// The number that no stream has.
    #[error("frame for stream 0")]
    StreamZero,
}

/// Reads frames.
#[derive(Default)]
pub(super) struct FrameReader {
    headers: Unpacker,
    data: Option<Rest>,
}

/// What is still to come of a data frame.
#[derive(Clone, Copy)]
struct Rest {
    stream: u32,
    left: usize,
    fin: bool,
}

impl Decoder for FrameReader {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(rest) = self.data {
                return Ok(self.piece(rest, source));
            }
            let Some((first, second)) = peek(source) else { return Ok(None) };
            let (flags, length) = ((second >> 24) as u8, (second & 0xff_ffff) as usize);
            if first & CONTROL == 0 {
                if first == 0 {
                    return Err(FrameError::StreamZero);
                }
                source.advance(8);
                self.data = Some(Rest { stream: first, left: length, fin: flags & FIN != 0 });
                continue;
            }
            let (version, kind) = (first >> 16 & 0x7fff, (first & 0xffff) as u16);
            if version != VERSION {
                return Err(FrameError::Version(version));
            }
            if length > MAX_CONTROL {
                return Err(FrameError::TooLong(length));
            }
            if source.len() < 8 + length {
                source.reserve(8 + length - source.len());
                return Ok(None);
            }
            source.advance(8);
            let body = source.split_to(length).freeze();
            // Settings, windows and what nobody knows have no meaning here.
            if let Some(frame) = self.control(kind, flags & FIN != 0, body)? {
                return Ok(Some(frame));
            }
        }
    }
}

fn peek(source: &BytesMut) -> Option<(u32, u32)> {
    let mut head = source.get(..8)?;
    Some((head.get_u32(), head.get_u32()))
}

impl FrameReader {
    fn piece(&mut self, rest: Rest, source: &mut BytesMut) -> Option<Frame> {
        if source.is_empty() && rest.left > 0 {
            return None;
        }
        let bytes = source.split_to(rest.left.min(source.len()).min(PIECE)).freeze();
        let left = rest.left - bytes.len();
        self.data = (left > 0).then_some(Rest { left, ..rest });
        Some(Frame::Data { stream: rest.stream, bytes, fin: rest.fin && left == 0 })
    }

    fn control(&mut self, kind: u16, fin: bool, mut body: Bytes) -> Result<Option<Frame>, FrameError> {
        let mut number = || body.try_get_u32().map(|n| n & !CONTROL).map_err(|_| FrameError::Short(kind));
        let frame = match kind {
            SYN_STREAM => {
                let stream = id(number()?)?;
                number()?;
                // Priority and slot.
                body.try_get_u16().map_err(|_| FrameError::Short(kind))?;
                Frame::SynStream { stream, headers: self.headers(kind, &body)?, fin }
            }
            SYN_REPLY => Frame::SynReply { stream: id(number()?)?, headers: self.headers(kind, &body)?, fin },
            HEADERS => Frame::Headers { stream: id(number()?)?, headers: self.headers(kind, &body)?, fin },
            RST_STREAM => Frame::Reset { stream: id(number()?)?, status: number()? },
            PING => Frame::Ping(id(number()?)?),
            GOAWAY => Frame::GoAway { last: number()?, status: number()? },
            _ => return Ok(None),
        };
        Ok(Some(frame))
    }

    fn headers(&mut self, kind: u16, block: &[u8]) -> Result<Headers, FrameError> {
        self.headers.unpack(block).map_err(|cause| FrameError::Headers(kind, cause))
    }
}

fn id(number: u32) -> Result<u32, FrameError> {
    if number == 0 { Err(FrameError::StreamZero) } else { Ok(number) }
}

/// Writes frames.
#[derive(Default)]
pub(super) struct FrameWriter {
    headers: Packer,
}

impl Encoder<Frame> for FrameWriter {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, out: &mut BytesMut) -> Result<(), FrameError> {
        match frame {
            Frame::Data { stream, bytes, fin } => {
                out.put_u32(stream);
                put_flags(out, fin, bytes.len());
                out.extend_from_slice(&bytes);
            }
            Frame::SynStream { stream, headers, fin } => {
                let mut fixed = [0; 10];
                fixed[..4].copy_from_slice(&stream.to_be_bytes());
                self.put_headers(out, SYN_STREAM, &fixed, &headers, fin);
            }
            Frame::SynReply { stream, headers, fin } => {
                self.put_headers(out, SYN_REPLY, &stream.to_be_bytes(), &headers, fin);
            }
            Frame::Headers { stream, headers, fin } => {
                self.put_headers(out, HEADERS, &stream.to_be_bytes(), &headers, fin);
            }
            Frame::Reset { stream, status } => put_numbers(out, RST_STREAM, &[stream, status]),
            Frame::Ping(number) => put_numbers(out, PING, &[number]),
            Frame::GoAway { last, status } => put_numbers(out, GOAWAY, &[last, status]),
        }
        Ok(())
    }
}

impl FrameWriter {
    fn put_headers(&mut self, out: &mut BytesMut, kind: u16, fixed: &[u8], headers: &Headers, fin: bool) {
        let block = self.headers.pack(headers);
        put_kind(out, kind);
        put_flags(out, fin, fixed.len() + block.len());
        out.extend_from_slice(fixed);
        out.extend_from_slice(&block);
    }
}

fn put_kind(out: &mut BytesMut, kind: u16) {
    out.put_u32(CONTROL | VERSION << 16 | u32::from(kind));
}

fn put_flags(out: &mut BytesMut, fin: bool, length: usize) {
    let length = u32::try_from(length).expect("frames are short");
    debug_assert!(length < 1 << 24);
    out.put_u32(u32::from(fin) << 24 | length);
}

fn put_numbers(out: &mut BytesMut, kind: u16, numbers: &[u32]) {
    put_kind(out, kind);
    put_flags(out, false, 4 * numbers.len());
    numbers.iter().for_each(|n| out.put_u32(*n));
}
