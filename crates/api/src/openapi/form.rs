//! One encoding of a document, shared by all who read it.

use bytes::Bytes;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use std::io::{Read, Write};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// An encoded document. It is kept compressed; as it is, it takes memory only as long as somebody holds it, and once
/// for all who do.
pub struct Form {
    gzip: Bytes,
    plain: Mutex<Weak<Vec<u8>>>,
}

/// Bytes of a document that somebody holds.
struct Held(Arc<Vec<u8>>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Form {
    pub(super) fn of(content: &[u8]) -> Self {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).expect("memory takes all");
        let gzip = encoder.finish().expect("memory takes all").into();
        Form { gzip, plain: Mutex::default() }
    }

    /// As a client that accepts gzip can have it.
    pub fn gzip(&self) -> Bytes {
        self.gzip.clone()
    }

    /// As it is.
    pub fn plain(&self) -> Bytes {
        let mut known = self.plain.lock().unwrap_or_else(PoisonError::into_inner);
        let held = known.upgrade().unwrap_or_else(|| {
            let mut plain = Vec::new();
            GzDecoder::new(&*self.gzip).read_to_end(&mut plain).expect("packed above");
            let held = Arc::new(plain);
            *known = Arc::downgrade(&held);
            held
        });
        Bytes::from_owner(Held(held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_read_share_the_same_bytes() {
        let form = Form::of(&b"0123456789".repeat(1000));
        let (one, other) = (form.plain(), form.plain());
        assert_eq!(one.len(), 10_000);
        assert_eq!(one.as_ptr(), other.as_ptr());
        assert_eq!(form.gzip().as_ptr(), form.gzip().as_ptr());
        drop((one, other));
        assert!(form.plain.lock().unwrap().upgrade().is_none(), "nobody reads it any more");
        assert_eq!(form.plain()[..10], *b"0123456789");
    }
}
