//! What clients did and saw, and whether it can be true.
//!
//! Clients record each call with the time it began and ended, and each watch event with the time it came; times are
//! ticks of one counter, so "ended before" is certain. [`check`] then looks for what the API promises and did not
//! keep:
//!
//! - writes of a key are linearizable, and each builds on the state it named (compare and set);
//! - revisions grow over the whole: whoever writes later gets a higher one than anybody has seen before;
//! - a read shows nothing older than what anybody knew when it began, and nothing that was never written;
//! - a list shows the state of one revision, whole;
//! - a watch shows every change after its start, once, in order, and nothing else; 410 only with a reason.
//!
//! Every write carries a value of its own, and revisions order them, so one pass over the sorted history decides; no
//! search is needed. What a write without an answer did is known once anybody sees its value.

mod check;
mod record;

pub use check::{Report, Violation, check};
pub use record::Recorder;

/// A moment: earlier ticks end before later ones begin.
pub type Tick = u64;
/// `resourceVersion` as a number.
pub type Revision = u64;
/// An object's name, numbered.
pub type Key = u32;
/// What a write wrote: each its own.
pub type Value = u64;

/// A change that others left room for is at most so far away: beyond it, 410 needs no other reason.
pub const HISTORY_KEPT: u64 = 1000;

/// What a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Make the object, which must not exist.
    Create(Key, Value),
    /// Change the object, which must be as of a revision.
    Update(Key, Value, Revision),
    /// Remove the object, which must be as of a revision.
    Delete(Key, Revision),
    /// Read the newest state.
    Get(Key),
    /// Read the newest state of all.
    List,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Written under this revision.
    Wrote(Revision),
    /// Removed.
    Deleted,
    /// Refused, because the object was not as the write expected: nothing was done.
    Refused,
    /// The object's value and revision; none: there is no such object.
    Found(Option<(Value, Revision)>),
    /// All objects, as of a revision.
    Listed(Revision, Vec<(Key, Value, Revision)>),
    /// Nothing that tells whether it was done.
    Unknown,
}

/// One call of a client.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who.
    pub client: u32,
    /// When it began.
    pub invoked: Tick,
    /// When it ended.
    pub returned: Tick,
    /// What was asked.
    pub op: Op,
    /// What was told.
    pub outcome: Outcome,
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The object is new to the watcher.
    Added(Key, Value),
    /// The object has changed.
    Modified(Key, Value),
    /// The object is gone.
    Deleted(Key),
    /// Nothing up to this event's revision is missing.
    Bookmark,
    /// 410: start over.
    Gone,
}

/// One event of a watch.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it came.
    pub at: Tick,
    /// Its revision; that of `Gone` does not matter.
    pub revision: Revision,
    /// What it says.
    pub told: Told,
}

/// One watch request, from its start to its end.
#[derive(Clone, Debug)]
pub struct Stream {
    /// Who.
    pub client: u32,
    /// It shows what comes after this revision.
    pub from: Revision,
    /// When the client learned of that revision.
    pub learned: Tick,
    /// What came.
    pub seen: Vec<Seen>,
}

/// All that was recorded.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Calls, in any order.
    pub calls: Vec<Call>,
    /// Watches, in any order.
    pub streams: Vec<Stream>,
    /// When something was done to the servers, and what.
    pub faults: Vec<(Tick, String)>,
}
