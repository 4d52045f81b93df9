//! What becomes of a request.

use super::Id;

/// What happened to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It waits, as the last of so many.
    Queued(usize),
    /// It waits no more.
    Unqueued,
    /// It may run.
    Started,
    /// It has run; its seats may be held on.
    Ended,
    /// Its seats are free.
    Freed,
    /// It was next, but wider than the room there is.
    NoRoom,
}

/// What a caller hangs on a request.
pub(crate) trait Ticket {
    /// Something happened; must not block. `seats` is the request's width.
    fn note(&mut self, step: Step, seats: usize);
}

/// What becomes of an arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It runs; [`QueueSet::leave`] ends it.
    Started(Id),
    /// It waits; [`Step::Started`] comes, or [`QueueSet::leave`] gives up.
    Queued(Id),
    /// It may not wait.
    Refused(Refusal),
}

/// Why a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Its queue is full.
    QueueFull,
    /// There is no seat, and no queue.
    ConcurrencyLimit,
    /// It waited too long.
    TimeOut,
    /// Its client went away.
    Cancelled,
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Requests started.
    pub(crate) dispatched: u64,
    /// Requests turned away, for any reason.
    pub(crate) rejected: u64,
    /// Of these: after waiting too long.
    pub(crate) timed_out: u64,
    /// Of these: because their clients went away.
    pub(crate) cancelled: u64,
}
