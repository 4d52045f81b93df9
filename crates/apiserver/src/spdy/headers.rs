//! Header blocks: names and values, compressed over the whole life of a connection.

use super::dictionary::DICTIONARY;
use bytes::{Buf, BufMut};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

/// Names (in lower case) and values, in order.
pub(crate) type Headers = Vec<(String, String)>;

/// A block may hold so much once unpacked.
const MAX_BLOCK: usize = 256 << 10;
/// And so many headers.
const MAX_COUNT: u32 = 1000;
/// Room is made in steps of this.
const STEP: usize = 4 << 10;

/// Why a block could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Not what the other end's compressor would have written.
    #[error("header block does not decompress")]
    Inflate,
    /// Lengths lead beyond the block.
    #[error("header block ends early")]
    Short,
    /// More than anybody needs.
    #[error("header block is too large")]
    TooLarge,
}

/// Packs the blocks of one direction.
pub(super) struct Packer(Compress);

impl Default for Packer {
    fn default() -> Self {
        let mut zlib = Compress::new(Compression::best(), true);
        zlib.set_dictionary(&DICTIONARY).expect("a new compressor takes a dictionary");
        Packer(zlib)
    }
}

impl Packer {
    /// The next block.
    pub(super) fn pack(&mut self, headers: &Headers) -> Vec<u8> {
        let mut plain = Vec::new();
        put_length(&mut plain, headers.len());
        for (name, value) in headers {
            put_text(&mut plain, &name.to_ascii_lowercase());
            put_text(&mut plain, value);
        }
        let mut out = Vec::with_capacity(plain.len() + 64);
        let mut rest = plain.as_slice();
        loop {
            let before = self.0.total_in();
            self.0.compress_vec(rest, &mut out, FlushCompress::Sync).expect("compressing into a vector");
            let taken = usize::try_from(self.0.total_in() - before).expect("no more than was given");
            rest = &rest[taken..];
            // Room left over means that the flush is complete, too.
            if rest.is_empty() && out.len() < out.capacity() {
                return out;
            }
            out.reserve(STEP);
        }
    }
}

fn put_length(out: &mut Vec<u8>, length: usize) {
    out.put_u32(u32::try_from(length).expect("headers are short"));
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Unpacks the blocks of one direction.
pub(super) struct Unpacker(Decompress);

impl Default for Unpacker {
    fn default() -> Self {
        Unpacker(Decompress::new(true))
    }
}

impl Unpacker {
    /// The headers of the next block.
    pub(super) fn unpack(&mut self, block: &[u8]) -> Result<Headers, HeaderError> {
        read(&self.inflate(block)?)
    }

    fn inflate(&mut self, mut block: &[u8]) -> Result<Vec<u8>, HeaderError> {
        let mut out = Vec::with_capacity(STEP);
        loop {
            let before = (self.0.total_in(), out.len());
            let result = self.0.decompress_vec(block, &mut out, FlushDecompress::Sync);
            let taken = usize::try_from(self.0.total_in() - before.0).expect("no more than was given");
            block = &block[taken..];
            match result {
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&DICTIONARY).map_err(|_| HeaderError::Inflate)?;
                    continue;
                }
                Err(_) | Ok(Status::StreamEnd) => return Err(HeaderError::Inflate),
                Ok(_) => {}
            }
            if out.len() > MAX_BLOCK {
                return Err(HeaderError::TooLarge);
            }
            let full = out.len() == out.capacity();
            if block.is_empty() && !full {
                return Ok(out);
            }
            if taken == 0 && out.len() == before.1 && !full {
                return Err(HeaderError::Inflate);
            }
            out.reserve(STEP);
        }
    }
}

fn read(mut block: &[u8]) -> Result<Headers, HeaderError> {
    let count = length(&mut block)?;
    if count > MAX_COUNT {
        return Err(HeaderError::TooLarge);
    }
    (0..count).map(|_| Ok((text(&mut block)?.to_ascii_lowercase(), text(&mut block)?))).collect()
}

fn length(block: &mut &[u8]) -> Result<u32, HeaderError> {
    block.try_get_u32().map_err(|_| HeaderError::Short)
}

fn text(block: &mut &[u8]) -> Result<String, HeaderError> {
    let length = length(block)? as usize;
    let (text, rest) = block.split_at_checked(length).ok_or(HeaderError::Short)?;
    *block = rest;
    Ok(String::from_utf8_lossy(text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> Headers {
        pairs.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect()
    }

    #[test]
    fn the_dictionary_is_the_one_of_the_draft() {
        assert_eq!(DICTIONARY.len(), 1423);
        let mut zlib = Compress::new(Compression::best(), true);
        // The dictionary's checksum is what a stream that uses it begins with.
        assert_eq!(zlib.set_dictionary(&DICTIONARY).unwrap(), ADLER);
    }

    const ADLER: u32 = 0xe3c6_a7c2;

    #[test]
    fn blocks_survive_the_way() {
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
        let long = "x".repeat(100_000);
        for pairs in [&[("streamtype", "error")][..], &[], &[("a", ""), ("port", "80")], &[("long", &long)]] {
            let sent = headers(pairs);
            assert_eq!(unpacker.unpack(&packer.pack(&sent)).unwrap(), sent);
        }
    }

    #[test]
    fn bombs_do_not_go_off() {
        let (mut packer, mut unpacker) = (Packer::default(), Unpacker::default());
        let bomb = packer.pack(&headers(&[("a", &"0".repeat(8 << 20))]));
        assert!(bomb.len() < 64 << 10);
        assert_eq!(unpacker.unpack(&bomb), Err(HeaderError::TooLarge));
    }
}
