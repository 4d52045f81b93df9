//! The checker: a pure function of the history.

mod known;
mod reads;
mod watches;
mod writes;

use super::{History, Key, Outcome, Revision, Value};
use known::Known;
use std::fmt;

/// A promise that was not kept. Calls and streams are named by their place in the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Something that was left before the faults is not as it was.
    Lost {
        /// What, and how it is now.
        what: String,
    },
    /// A value was seen that nobody wrote, whose write was refused, or that had not been sent yet.
    Phantom {
        /// Where it was seen.
        key: Key,
        /// The value.
        value: Value,
        /// Under which revision.
        revision: Revision,
        /// Why it cannot be.
        why: &'static str,
    },
    /// One revision shows two changes.
    Ambiguous {
        /// The revision.
        revision: Revision,
    },
    /// One write shows under two revisions.
    WrittenTwice {
        /// Its value.
        value: Value,
        /// The revisions.
        revisions: (Revision, Revision),
    },
    /// A write got a revision below one that was known before it began.
    RevisionNotAfter {
        /// The write.
        call: usize,
        /// Its revision.
        revision: Revision,
        /// The one known before.
        known: Revision,
    },
    /// A write was done although the object was not as it expected.
    LostUpdate {
        /// The object.
        key: Key,
        /// The revision it wrote.
        revision: Revision,
        /// What came right before.
        before: Revision,
    },
    /// An object disappeared without anybody having removed it, or was removed twice.
    Vanished {
        /// The object.
        key: Key,
        /// The state that ended.
        revision: Revision,
    },
    /// A write was refused although the object was as it expected.
    RefusedWithoutReason {
        /// The write.
        call: usize,
    },
    /// A read showed an older state than was known before it began.
    StaleRead {
        /// The read.
        call: usize,
        /// What it should have shown at least.
        known: Revision,
    },
    /// A list is not the state at its revision.
    InconsistentList {
        /// The list.
        call: usize,
        /// The object that is wrong.
        key: Key,
        /// How.
        why: &'static str,
    },
    /// Events out of order, or one twice.
    Disorder {
        /// The watch.
        stream: usize,
        /// The event's revision.
        revision: Revision,
    },
    /// A change is missing.
    Missed {
        /// The watch.
        stream: usize,
        /// The change.
        revision: Revision,
    },
    /// An event that does not fit what this watch showed before.
    WrongType {
        /// The watch.
        stream: usize,
        /// The event's revision.
        revision: Revision,
    },
    /// A watch that never got to the end, though all was well again.
    LeftBehind {
        /// Whose.
        client: u32,
        /// How far it came.
        reached: Revision,
        /// How far it had to come.
        last: Revision,
    },
    /// 410 without a reason.
    GoneTooSoon {
        /// The watch.
        stream: usize,
    },
}

/// What was looked at, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Calls.
    pub calls: usize,
    /// Calls whose outcome nobody was told.
    pub unknown: usize,
    /// Changes that somebody saw.
    pub changes: usize,
    /// Watch requests.
    pub streams: usize,
    /// Their events.
    pub events: usize,
    /// Things done to the servers.
    pub faults: usize,
    /// Promises not kept.
    pub violations: Vec<Violation>,
}

/// Checks a history.
pub fn check(history: &History) -> Report {
    let mut violations = Vec::new();
    let known = Known::gather(history, &mut violations);
    writes::check(history, &known, &mut violations);
    reads::check(history, &known, &mut violations);
    watches::check(history, &known, &mut violations);
    Report {
        calls: history.calls.len(),
        unknown: history.calls.iter().filter(|c| c.outcome == Outcome::Unknown).count(),
        changes: known.changes(),
        streams: history.streams.len(),
        events: history.streams.iter().map(|s| s.seen.len()).sum(),
        faults: history.faults.len(),
        violations,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls ({} without an answer), {} changes, {} watches with {} events, {} faults: {} violations",
            self.calls,
            self.unknown,
            self.changes,
            self.streams,
            self.events,
            self.faults,
            self.violations.len()
        )?;
        self.violations.iter().take(20).try_for_each(|v| write!(f, "\n  {v:?}"))
    }
}

#[cfg(test)]
mod tests;
