//! How large a pattern will be: known before anybody compiles it, so that a short text cannot ask for much work.
//!
//! In bytes only what is large for its text is counted: classes of letters of all scripts, repeated (`\pL{1000}`). All else
//! is small, or as large as its text, and the compiler's own limit holds for the sum.

use super::LARGEST;
use regex::RegexBuilder;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What is larger than this is refused unseen; below, the compiler decides. Ours is the less exact measure.
pub(super) const HOPELESS: u64 = LARGEST as u64 / 4 * 5;

/// What properties (`Greek`) compile to, each measured once: there are some hundred.
static PROPERTIES: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// What a part of a pattern asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Of anything in it, at most so many, as its repetitions have it.
    pub(super) copies: u32,
    /// Compiled.
    pub(super) bytes: u64,
}

/// A group that is open.
#[derive(Clone, Copy, Default)]
pub(super) struct Group {
    /// Before what stood last.
    before: Size,
    /// Of what stood last.
    pub(super) last: Size,
}

impl Size {
    pub(super) const SMALL: Size = Size { copies: 1, bytes: 0 };

    /// Of a class with properties in it.
    pub(super) fn of_class(bytes: u64) -> Self {
        Size { copies: 1, bytes }
    }
}

impl Group {
    pub(super) fn all(self) -> Size {
        let copies = self.before.copies.max(self.last.copies).max(1);
        Size { copies, bytes: self.before.bytes.saturating_add(self.last.bytes) }
    }

    /// Something stands here, and may be repeated.
    pub(super) fn stands(&mut self, size: Size) {
        *self = Group { before: self.all(), last: size };
    }
}

/// What a class of this property compiles to; none: there is no such property.
pub(super) fn of_property(name: &str) -> Option<u64> {
    let all = || PROPERTIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all().get(name) {
        return Some(*known);
    }
    let measured = measure(name)?;
    all().insert(name.to_owned(), measured);
    Some(measured)
}

/// The least limit under which it compiles, to a sixteenth.
fn measure(name: &str) -> Option<u64> {
    let class = format!("\\p{{{name}}}");
    let fits = |limit: usize| RegexBuilder::new(&class).size_limit(limit).build().is_ok();
    let (mut low, mut high) = (0, LARGEST);
    if !fits(high) {
        return None;
    }
    while high - low > high / 16 {
        let middle = low.midpoint(high);
        if fits(middle) { high = middle } else { low = middle }
    }
    u64::try_from(low).ok()
}
