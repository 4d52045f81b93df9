//! What stands in the file: three tables, and a checksum over everything that matters.
//!
//! | table   | key                                    | value |
//! |---------|----------------------------------------|-------|
//! | `log`   | revision (8, big endian), sequence (4) | checksum (4), create revision (8, 0: a deletion), previous revision (8, 0: none) and sequence (4), key length (4), key, value |
//! | `index` | key, 0x00, revision (8, big endian)    | create revision (8, 0: a deletion), sequence (4), checksum (4) |
//! | `meta`  | name                                   | number |
//!
//! All numbers are little endian unless said otherwise. The log is in the order of writing, so commits touch its
//! right edge only; the index is small and read whole at start. It lags behind: what came after `indexed` is in the log
//! alone.

use super::index::Version;
use crate::{Revision, StoreError};
use redb::TableDefinition;
use std::path::Path;

/// Every change, in order.
pub(super) const LOG: TableDefinition<&[u8; 12], &[u8]> = TableDefinition::new("log");
/// Where each version of each key is in the log.
pub(super) const INDEX: TableDefinition<&[u8], &[u8; 16]> = TableDefinition::new("index");
/// Single numbers, by name.
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// `meta`: version of this format.
pub(super) const FORMAT: &str = "format";
/// `meta`: the oldest revision that history reaches.
pub(super) const OLDEST: &str = "oldest";
/// `meta`: the index names everything up to this revision.
pub(super) const INDEXED: &str = "indexed";
/// The version written here.
pub(super) const FORMAT_VERSION: u64 = 2;
/// The version before, which had no `indexed`: the index named everything.
pub(super) const WHOLE_INDEX: u64 = 1;
/// What an empty store shows, as etcd: 0 means "any" to Kubernetes clients.
pub(super) const FIRST_REVISION: Revision = 1;

/// An entry of the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// 0: a deletion.
    pub(super) create: Revision,
    /// The version that this one took the place of; revision 0: none.
    pub(super) previous: (Revision, u32),
    /// Key.
    pub(super) key: &'a str,
    /// Value; empty in deletions.
    pub(super) value: &'a [u8],
}

const HEAD: usize = 4 + 8 + 8 + 4 + 4;

/// Key of a log entry.
pub(super) fn log_key(revision: Revision, seq: u32) -> [u8; 12] {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&revision.to_be_bytes());
    key[8..].copy_from_slice(&seq.to_be_bytes());
    key
}

/// Revision and sequence of a log key.
pub(super) fn read_log_key(key: &[u8; 12]) -> (Revision, u32) {
    (u64::from_be_bytes(array(&key[..8])), u32::from_be_bytes(array(&key[8..])))
}

/// Writes a log entry's value into `out`, which is cleared.
pub(super) fn write_entry(out: &mut Vec<u8>, entry: Entry<'_>) {
    out.clear();
    out.reserve(HEAD + entry.key.len() + entry.value.len());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&entry.create.to_le_bytes());
    out.extend_from_slice(&entry.previous.0.to_le_bytes());
    out.extend_from_slice(&entry.previous.1.to_le_bytes());
    let length = u32::try_from(entry.key.len()).expect("commit refuses keys beyond 4 KiB");
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(entry.key.as_bytes());
    out.extend_from_slice(entry.value);
    let crc = crc32fast::hash(&out[4..]);
    out[..4].copy_from_slice(&crc.to_le_bytes());
}

/// Reads a log entry's value; `None`: the checksum or the form is wrong.
pub(super) fn read_entry(bytes: &[u8]) -> Option<Entry<'_>> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    if u32::from_le_bytes(array(&head[..4])) != crc32fast::hash(&bytes[4..]) {
        return None;
    }
    let (key, value) = rest.split_at_checked(u32::from_le_bytes(array(&head[24..])) as usize)?;
    Some(Entry {
        create: u64::from_le_bytes(array(&head[4..12])),
        previous: (u64::from_le_bytes(array(&head[12..20])), u32::from_le_bytes(array(&head[20..24]))),
        key: std::str::from_utf8(key).ok()?,
        value,
    })
}

/// Writes an index key into `out`, which is cleared.
pub(super) fn write_index_key(out: &mut Vec<u8>, key: &str, revision: Revision) {
    out.clear();
    out.extend_from_slice(key.as_bytes());
    out.push(0);
    out.extend_from_slice(&revision.to_be_bytes());
}

/// An index entry's value.
pub(super) fn index_value(index_key: &[u8], create: Revision, seq: u32) -> [u8; 16] {
    let mut value = [0; 16];
    value[..8].copy_from_slice(&create.to_le_bytes());
    value[8..12].copy_from_slice(&seq.to_le_bytes());
    let crc = index_crc(index_key, &value);
    value[12..].copy_from_slice(&crc.to_le_bytes());
    value
}

/// Reads an index entry; `None`: the checksum or the form is wrong.
pub(super) fn read_index<'a>(index_key: &'a [u8], value: &[u8; 16]) -> Option<(&'a str, Version)> {
    if u32::from_le_bytes(array(&value[12..])) != index_crc(index_key, value) {
        return None;
    }
    let (key, revision) = index_key.split_at_checked(index_key.len().checked_sub(8)?)?;
    let key = std::str::from_utf8(key.strip_suffix(&[0])?).ok()?;
    let version = Version {
        modified: u64::from_be_bytes(array(revision)),
        create: u64::from_le_bytes(array(&value[..8])),
        seq: u32::from_le_bytes(array(&value[8..12])),
    };
    Some((key, version))
}

/// The refusal to use a damaged file, with the way out.
pub(super) fn damaged(file: &Path, what: impl Into<String>) -> StoreError {
    StoreError::Damaged {
        file: file.display().to_string(),
        what: what.into(),
        advice: "keep a copy of it, then put back a snapshot; `kaji store check` lists what is readable".to_owned(),
    }
}

fn index_crc(index_key: &[u8], value: &[u8; 16]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(index_key);
    hasher.update(&value[..12]);
    hasher.finalize()
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("the caller took the right length")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_survives_and_a_flipped_bit_does_not() {
        let mut bytes = Vec::new();
        write_entry(&mut bytes, Entry { create: 5, previous: (4, 2), key: "/a", value: b"v" });
        let entry = read_entry(&bytes).unwrap();
        assert_eq!((entry.create, entry.previous, entry.key, entry.value), (5, (4, 2), "/a", &b"v"[..]));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(read_entry(&flipped).is_none(), "bit {bit}");
        }
    }

    #[test]
    fn an_index_entry_survives_and_a_flipped_bit_does_not() {
        let mut key = Vec::new();
        write_index_key(&mut key, "/a/b", 9);
        let value = index_value(&key, 3, 1);
        assert_eq!(read_index(&key, &value), Some(("/a/b", Version { modified: 9, create: 3, seq: 1 })));
        let mut flipped = value;
        flipped[0] ^= 1;
        assert!(read_index(&key, &flipped).is_none());
    }
}
