//! Requests in a level, kept in one vector whose places are used again.

use super::{Now, Work};
use crate::fairness::seat_seconds::SeatSeconds;
use std::ops::{Index, IndexMut};

/// So many requests at once are usual.
const USUAL: usize = 64;

/// A request's place; valid until it leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(usize);

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// In a queue.
    Waiting,
    /// Being served.
    Executing,
    /// Done; its seats are held on.
    Lingering,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Request<T> {
    /// The caller's.
    pub(crate) ticket: T,
    /// What it takes.
    pub(crate) work: Work,
    /// How far it is.
    pub(crate) stage: Stage,
    /// The queue it came through.
    pub(crate) queue: Option<usize>,
    /// When it came.
    pub(crate) arrived: Now,
    /// When it began to run.
    pub(crate) started: Option<Now>,
    pub(super) arrival_progress: SeatSeconds,
    pub(super) previous: Option<Id>,
    pub(super) next: Option<Id>,
}

impl<T> Request<T> {
    pub(super) fn new(ticket: T, work: Work, queue: Option<usize>, arrived: Now, progress: SeatSeconds) -> Self {
        Request {
            ticket,
            work,
            stage: Stage::Waiting,
            queue,
            arrived,
            started: None,
            arrival_progress: progress,
            previous: None,
            next: None,
        }
    }
}

/// The requests.
#[derive(Debug)]
pub(super) struct Requests<T> {
    places: Vec<Option<Request<T>>>,
    free: Vec<usize>,
}

impl<T> Default for Requests<T> {
    fn default() -> Self {
        Requests { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Requests<T> {
    pub(super) fn add(&mut self, request: Request<T>) -> Id {
        match self.free.pop() {
            Some(place) => {
                self.places[place] = Some(request);
                Id(place)
            }
            None => {
                self.places.push(Some(request));
                Id(self.places.len() - 1)
            }
        }
    }

    pub(super) fn remove(&mut self, id: Id) -> Request<T> {
        let request = self.places[id.0].take().expect("ids leave once");
        self.free.push(id.0);
        if self.free.len() == self.places.len() {
            // Idle: what a flood needed is given back, what is usual is kept.
            self.places.truncate(USUAL);
            self.places.shrink_to(USUAL);
            self.free.retain(|place| *place < USUAL);
            self.free.shrink_to(USUAL);
        }
        request
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Request<T>> {
        self.places.iter().flatten()
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }
}

impl<T> Index<Id> for Requests<T> {
    type Output = Request<T>;

    fn index(&self, id: Id) -> &Request<T> {
        self.places[id.0].as_ref().expect("ids are used until they leave")
    }
}

impl<T> IndexMut<Id> for Requests<T> {
    fn index_mut(&mut self, id: Id) -> &mut Request<T> {
        self.places[id.0].as_mut().expect("ids are used until they leave")
    }
}
