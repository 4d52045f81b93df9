//! Names shared by all schemas made at run time, so that a thousand definitions with a `spec` hold it once and
//! decoding borrows it.

use super::tables::Name;
use crate::resource::intern_within;
use std::borrow::Cow;

/// Bytes of names that are kept for good. Beyond, each schema owns its names: nobody can fill the memory with them.
const MAX_BYTES: usize = 8 << 20;

/// The name as a key of objects: borrowed while there is room.
pub fn intern(name: &str) -> Name {
    intern_within(name, MAX_BYTES).map_or_else(|| Cow::Owned(name.to_owned()), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_are_one() {
        let (a, b) = (intern("someField"), intern("someField"));
        assert!(matches!((a, b), (Cow::Borrowed(a), Cow::Borrowed(b)) if std::ptr::eq(a, b)));
    }
}
