//! One queue: a chain of requests, and what they add up to.

use super::request::Requests;
use super::{Id, Request};
use crate::fairness::seat_seconds::SeatSeconds;

/// One queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    head: Option<Id>,
    tail: Option<Id>,
    /// Requests waiting.
    pub(crate) waiting: usize,
    /// Requests running.
    pub(crate) executing: usize,
    /// Seats held, also by requests that are done.
    pub(crate) seats_in_use: usize,
    /// Widths of the requests waiting.
    pub(crate) seats_waiting: usize,
    /// Their seats while being served.
    pub(crate) initial_seats_waiting: usize,
    /// Their work.
    pub(crate) work_waiting: SeatSeconds,
    /// R at which the next request is due.
    pub(crate) next_dispatch: SeatSeconds,
    /// Under which the queue stands among those that are ready.
    pub(super) key: Option<SeatSeconds>,
    /// Counted among those with work.
    pub(super) active: bool,
}

impl Queue {
    /// Puts a request at the end.
    pub(super) fn push<T>(&mut self, requests: &mut Requests<T>, id: Id) {
        let work = requests[id].work;
        match self.tail.replace(id) {
            None => self.head = Some(id),
            Some(last) => {
                requests[last].next = Some(id);
                requests[id].previous = Some(last);
            }
        }
        self.waiting += 1;
        self.seats_waiting += work.width();
        self.initial_seats_waiting += work.seats;
        self.work_waiting += work.total();
    }

    /// Takes a waiting request out, wherever it stands.
    pub(super) fn unlink<T>(&mut self, requests: &mut Requests<T>, id: Id) {
        let work = requests[id].work;
        let (previous, next) = (requests[id].previous.take(), requests[id].next.take());
        match previous {
            Some(previous) => requests[previous].next = next,
            None => self.head = next,
        }
        match next {
            Some(next) => requests[next].previous = previous,
            None => self.tail = previous,
        }
        self.waiting -= 1;
        self.seats_waiting -= work.width();
        self.initial_seats_waiting -= work.seats;
        self.work_waiting -= work.total();
    }

    /// The request that came first.
    pub(super) fn head(&self) -> Option<Id> {
        self.head
    }

    /// Whether something waits or runs.
    pub(super) fn has_work(&self) -> bool {
        self.waiting > 0 || self.executing > 0
    }

    /// The requests waiting, first come first.
    pub(super) fn line<'r, T>(&self, requests: &'r Requests<T>) -> impl Iterator<Item = &'r Request<T>> + use<'r, T> {
        std::iter::successors(self.head, move |id| requests[*id].next).map(move |id| &requests[id])
    }
}
