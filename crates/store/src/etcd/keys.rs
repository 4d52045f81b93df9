//! Keys as etcd knows them: our `/registry` may have another name there (`--etcd-prefix`).
//!
//! A key that ends in a slash is never an object's. The one that equals a watch's prefix is written as a mark by
//! [`super::watch`]; ranges leave it out.

use super::proto::KeyValue;
use crate::{Record, Revision};
use bytes::Bytes;

/// Where all keys of the API server lie.
const INNER: &str = "/registry";

/// The translation.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    outer: String,
}

impl Keys {
    /// `prefix` takes the place of `/registry`.
    pub(super) fn new(prefix: &str) -> Self {
        Keys { outer: format!("/{}", prefix.trim_matches('/')) }
    }

    /// As etcd knows it.
    pub(super) fn outer(&self, key: &str) -> Bytes {
        match key.strip_prefix(INNER) {
            Some(rest) => Bytes::from([&self.outer, rest].concat()),
            None => Bytes::copy_from_slice(key.as_bytes()),
        }
    }

    /// As we know it.
    pub(super) fn inner(&self, key: &[u8]) -> String {
        let key = String::from_utf8_lossy(key);
        match key.strip_prefix(self.outer.as_str()) {
            Some(rest) => [INNER, rest].concat(),
            None => key.into_owned(),
        }
    }

    /// First key of a range.
    pub(super) fn start(&self, key: &str) -> Bytes {
        match key {
            // etcd has no empty keys.
            "" => Bytes::from_static(&[0]),
            marked if marked.ends_with('/') => Bytes::from([&self.outer(marked), &b"\0"[..]].concat()),
            plain => self.outer(plain),
        }
    }

    /// First key beyond a range; empty: no end.
    pub(super) fn end(&self, key: &str) -> Bytes {
        match key {
            "" => Bytes::from_static(&[0]),
            end => self.outer(end),
        }
    }

    /// A record from etcd's.
    pub(super) fn record(&self, kv: KeyValue) -> Record {
        Record {
            key: self.inner(&kv.key),
            value: kv.value,
            create_revision: revision(kv.create_revision),
            mod_revision: revision(kv.mod_revision),
        }
    }
}

/// Whether a key marks how far a watch is.
pub(super) fn is_mark(key: &[u8]) -> bool {
    key.ends_with(b"/")
}

/// etcd's revisions are signed; negative ones do not occur.
pub(super) fn revision(signed: i64) -> Revision {
    u64::try_from(signed).unwrap_or(0)
}

/// Ours are far below the limit.
pub(super) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_prefix_takes_the_place_of_ours() {
        let same = Keys::new("/registry");
        assert_eq!(same.outer("/registry/pods/a/b"), "/registry/pods/a/b");
        for prefix in ["/east/one", "east/one/"] {
            let keys = Keys::new(prefix);
            assert_eq!(keys.outer("/registry/pods/a/b"), "/east/one/pods/a/b");
            assert_eq!(keys.inner(b"/east/one/pods/a/b"), "/registry/pods/a/b");
            assert_eq!(keys.end("/registry0"), "/east/one0");
            assert_eq!(keys.start("/registry/"), "/east/one/\0");
            assert_eq!(keys.inner(&keys.outer("/elsewhere/a")), "/elsewhere/a");
        }
    }

    #[test]
    fn open_ranges() {
        let keys = Keys::new("/registry");
        assert_eq!((keys.start(""), keys.end("")), (Bytes::from_static(b"\0"), Bytes::from_static(b"\0")));
    }
}
