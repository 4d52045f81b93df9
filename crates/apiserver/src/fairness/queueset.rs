//! The queues of one priority level: fair queuing of requests that take a width of seats for a time that is not
//! known beforehand.
//!
//! Every queue with work gets an equal share of the level's seats. A meter R counts the seat-seconds that each such
//! queue has been given since the start; a queue's next request is due when R reaches the queue's own mark, which
//! moves on by the work of each request dispatched, guessed first and corrected once the request is done. Among the
//! queues with waiting requests, the one whose head would be finished earliest by that count goes next
//! (apiserver `util/flowcontrol/fairqueuing/queueset`).
//!
//! Nothing here reads a clock, waits or locks: callers say what happened and when, and are told what follows through
//! [`Ticket::note`]. A dispatch costs the logarithm of the number of busy queues.

mod fate;
mod meters;
mod queue;
mod request;
mod work;

pub(crate) use fate::{Arrival, Refusal, Step, Ticket, Totals};
pub(crate) use meters::{Demand, TimedRatio};
pub(crate) use queue::Queue;
pub(crate) use request::{Id, Request, Stage};
pub(crate) use work::{GUESS, Work};

use super::dealer::Hand;
use super::seat_seconds::SeatSeconds;
use meters::Meters;
use request::Requests;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::time::Duration;

/// Time since the server's start.
pub(crate) type Now = Duration;

/// What is done with requests that find no free seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Response {
    /// Nothing: there is always a seat.
    Exempt,
    /// Refused.
    Reject,
    /// They wait.
    Queue {
        /// How many queues.
        queues: usize,
        /// How many of them a flow may use.
        hand: usize,
        /// How many requests wait in one.
        length: usize,
    },
}

impl Response {
    fn queues(self) -> usize {
        match self {
            Response::Queue { queues, .. } => queues,
            Response::Exempt | Response::Reject => 0,
        }
    }
}

/// The queues of a level and the requests in it.
#[derive(Debug)]
pub(crate) struct QueueSet<T> {
    response: Response,
    limit: usize,
    queues: Vec<Queue>,
    /// Queues with waiting requests, by when their heads would be finished.
    ready: BTreeSet<(SeatSeconds, usize)>,
    requests: Requests<T>,
    lingering: BinaryHeap<Reverse<(Now, Id)>>,
    /// R.
    progress: SeatSeconds,
    now: Now,
    /// The queue that was last dispatched from.
    robin: usize,
    dealt: usize,
    active: usize,
    waiting: usize,
    executing: usize,
    seats_in_use: usize,
    seats_waiting: usize,
    /// Of the seats in use: by requests that came through queues.
    queued_seats_in_use: usize,
    totals: Totals,
    meters: Meters,
}

impl<T: Ticket> QueueSet<T> {
    /// A level without seats or queues.
    pub(crate) fn new(now: Now) -> Self {
        QueueSet {
            response: Response::Reject,
            limit: 0,
            queues: Vec::new(),
            ready: BTreeSet::new(),
            requests: Requests::default(),
            lingering: BinaryHeap::new(),
            progress: SeatSeconds::default(),
            now,
            robin: 0,
            dealt: 0,
            active: 0,
            waiting: 0,
            executing: 0,
            seats_in_use: 0,
            seats_waiting: 0,
            queued_seats_in_use: 0,
            totals: Totals::default(),
            meters: Meters::default(),
        }
    }

    /// Other queues or another number of seats. Queues that are too many serve what waits in them.
    /// `capacity` is what utilization is measured against.
    pub(crate) fn configure(&mut self, now: Now, response: Response, limit: usize, capacity: usize) {
        self.advance(now);
        (self.response, self.limit) = (response, limit);
        if self.queues.len() < response.queues() {
            self.queues.resize_with(response.queues(), Queue::default);
        }
        self.trim();
        let room = match response {
            Response::Queue { queues, length, .. } => queues * length,
            Response::Exempt | Response::Reject => 1,
        };
        self.meters.set_capacity(room, capacity);
        self.dispatch();
    }

    /// A request arrives; `hash` names its flow.
    pub(crate) fn arrive(&mut self, now: Now, hash: u64, work: Work, ticket: T) -> Arrival {
        self.advance(now);
        let Response::Queue { hand, length, queues } = self.response else {
            return self.arrive_without_queue(work, ticket);
        };
        let index = self.choose(Hand::deal(hash, queues, hand));
        if self.seats_in_use >= self.limit && self.queues[index].waiting >= length {
            self.totals.rejected += 1;
            return Arrival::Refused(Refusal::QueueFull);
        }
        let id = self.requests.add(Request::new(ticket, work, Some(index), self.now, self.progress));
        self.enqueue(index, id);
        self.dispatch();
        match self.requests[id].stage {
            Stage::Waiting => Arrival::Queued(id),
            Stage::Executing | Stage::Lingering => Arrival::Started(id),
        }
    }

    fn arrive_without_queue(&mut self, work: Work, ticket: T) -> Arrival {
        if !self.accommodates(work.width()) {
            self.totals.rejected += 1;
            return Arrival::Refused(Refusal::ConcurrencyLimit);
        }
        let id = self.requests.add(Request::new(ticket, work, None, self.now, self.progress));
        self.start(id);
        Arrival::Started(id)
    }

    /// The queue of a hand with the least work waiting; equal ones take turns.
    fn choose(&mut self, hand: Hand) -> usize {
        let cards = hand.cards();
        let turn = self.dealt % cards.len().max(1);
        self.dealt += 1;
        let in_turn = cards[turn..].iter().chain(&cards[..turn]).copied();
        in_turn.min_by_key(|index| self.queues[*index].work_waiting).unwrap_or_default()
    }

    fn enqueue(&mut self, index: usize, id: Id) {
        let width = self.requests[id].work.width();
        let queue = &mut self.queues[index];
        if !queue.has_work() {
            queue.next_dispatch = self.progress;
        }
        queue.push(&mut self.requests, id);
        let length = queue.waiting;
        self.waiting += 1;
        self.seats_waiting += width;
        self.note_demand();
        self.requests[id].ticket.note(Step::Queued(length), width);
        self.settle(index);
    }

    /// Takes a waiting request out of its queue.
    fn unlink(&mut self, index: usize, id: Id) {
        let width = self.requests[id].work.width();
        self.queues[index].unlink(&mut self.requests, id);
        self.waiting -= 1;
        self.seats_waiting -= width;
        self.requests[id].ticket.note(Step::Unqueued, width);
        self.note_demand();
    }

    /// Starts whatever can start.
    fn dispatch(&mut self) {
        while self.waiting > 0 && self.seats_in_use < self.limit && self.dispatch_one() {}
    }

    /// Starts the request whose turn it is; false: there is no room for it, and nobody overtakes it.
    fn dispatch_one(&mut self) -> bool {
        let Some((index, id)) = self.next_in_turn() else { return false };
        let width = self.requests[id].work.width();
        if !self.accommodates(width) {
            self.requests[id].ticket.note(Step::NoRoom, width);
            return false;
        }
        self.unlink(index, id);
        self.robin = index;
        let total = self.requests[id].work.total();
        self.narrow(id);
        self.start(id);
        // R never lags behind what is dispatched: who used seats that others left pays nothing back for them. Upstream
        // lets such a queue wait until R has caught up.
        self.progress = self.progress.max(self.queues[index].next_dispatch);
        self.queues[index].next_dispatch += total;
        self.settle(index);
        true
    }

    /// The head that would be finished first; among equals, the one behind the queue served last.
    fn next_in_turn(&self) -> Option<(usize, Id)> {
        let &(soonest, first) = self.ready.first()?;
        let behind = self.ready.range((soonest, self.robin + 1)..).next().filter(|(finish, _)| *finish == soonest);
        let index = behind.map_or(first, |(_, index)| *index);
        Some((index, self.queues[index].head()?))
    }

    /// Final seats beyond all there are become fewer, held longer.
    fn narrow(&mut self, id: Id) {
        let limit = self.limit;
        let work = &mut self.requests[id].work;
        if work.final_seats > limit {
            work.linger = SeatSeconds::of(work.final_seats, work.linger).per_seat(limit);
            work.final_seats = limit;
        }
    }

    fn accommodates(&self, width: usize) -> bool {
        match self.response {
            Response::Exempt => true,
            // Wider than the level: when it has the level to itself.
            _ if width > self.limit => self.executing == 0,
            _ => self.seats_in_use + width <= self.limit,
        }
    }

    fn start(&mut self, id: Id) {
        let now = self.now;
        let request = &mut self.requests[id];
        (request.stage, request.started) = (Stage::Executing, Some(now));
        let (width, queue) = (request.work.width(), request.queue);
        self.executing += 1;
        self.seats_in_use += width;
        self.totals.dispatched += 1;
        if let Some(index) = queue {
            self.queued_seats_in_use += width;
            self.queues[index].executing += 1;
            self.queues[index].seats_in_use += width;
        }
        self.note_demand();
        self.requests[id].ticket.note(Step::Started, width);
    }

    /// A request is done, or gives up waiting; says whether it gave up.
    pub(crate) fn leave(&mut self, now: Now, id: Id, why: Refusal) -> bool {
        self.advance(now);
        let gave_up = self.requests[id].stage == Stage::Waiting;
        if gave_up {
            self.give_up(id, why)
        } else {
            self.end(id)
        }
        self.trim();
        self.dispatch();
        gave_up
    }

    /// Gives up for a request, if it still waits; otherwise it runs.
    pub(crate) fn expire(&mut self, now: Now, id: Id) -> bool {
        self.advance(now);
        self.requests[id].stage == Stage::Waiting && self.leave(now, id, Refusal::TimeOut)
    }

    fn give_up(&mut self, id: Id, why: Refusal) {
        self.totals.rejected += 1;
        match why {
            Refusal::TimeOut => self.totals.timed_out += 1,
            _ => self.totals.cancelled += 1,
        }
        if let Some(index) = self.requests[id].queue {
            self.unlink(index, id);
            self.settle(index);
        }
        self.requests.remove(id);
    }

    fn end(&mut self, id: Id) {
        let now = self.now;
        let request = &mut self.requests[id];
        let (width, work, queue) = (request.work.width(), request.work, request.queue);
        let took = now.saturating_sub(request.started.unwrap_or(now));
        request.stage = Stage::Lingering;
        request.ticket.note(Step::Ended, width);
        self.executing -= 1;
        if let Some(index) = queue {
            let queue = &mut self.queues[index];
            queue.executing -= 1;
            queue.next_dispatch -= SeatSeconds::of(work.seats, GUESS) - SeatSeconds::of(work.seats, took);
            self.settle(index);
        }
        match work.linger {
            Duration::ZERO => self.free(id),
            linger => self.lingering.push(Reverse((now + linger, id))),
        }
    }

    fn free(&mut self, id: Id) {
        let mut request = self.requests.remove(id);
        let width = request.work.width();
        self.seats_in_use -= width;
        if let Some(index) = request.queue {
            self.queued_seats_in_use -= width;
            self.queues[index].seats_in_use -= width;
        }
        request.ticket.note(Step::Freed, width);
        self.note_demand();
    }

    /// Lets time pass: R moves on, and seats held after requests are freed when due.
    pub(crate) fn advance(&mut self, now: Now) {
        let mut freed = false;
        while let Some(Reverse((due, id))) = self.lingering.peek().copied().filter(|Reverse((due, _))| *due <= now) {
            self.pass(due);
            self.lingering.pop();
            self.free(id);
            freed = true;
        }
        self.pass(now);
        if freed {
            self.trim();
            self.dispatch();
        }
    }

    /// When seats are next freed by themselves.
    pub(crate) fn next_due(&self) -> Option<Now> {
        self.lingering.peek().map(|Reverse((due, _))| *due)
    }

    fn pass(&mut self, now: Now) {
        let Some(elapsed) = now.checked_sub(self.now).filter(|elapsed| !elapsed.is_zero()) else { return };
        self.now = now;
        let asked = self.queued_seats_in_use + self.seats_waiting;
        self.progress += SeatSeconds::share(asked.min(self.limit), self.active, elapsed);
        self.meters.pass(elapsed, self.waiting, self.executing, self.seats_in_use, self.seats_waiting);
    }

    fn note_demand(&mut self) {
        self.meters.peak(self.seats_in_use + self.seats_waiting);
    }

    /// Puts a queue that changed where it belongs.
    fn settle(&mut self, index: usize) {
        let queue = &mut self.queues[index];
        let active = queue.has_work();
        match (std::mem::replace(&mut queue.active, active), active) {
            (false, true) => self.active += 1,
            (true, false) => self.active -= 1,
            _ => {}
        }
        let key = queue.head().map(|head| {
            let head = &self.requests[head];
            // A queue that leaves seats unused saves nothing up: nothing is due before it came.
            queue.next_dispatch = queue.next_dispatch.max(head.arrival_progress);
            queue.next_dispatch + head.work.total()
        });
        let old = std::mem::replace(&mut queue.key, key);
        if old != key {
            old.map(|old| self.ready.remove(&(old, index)));
            key.map(|key| self.ready.insert((key, index)));
        }
    }

    /// Drops queues beyond those wanted, from the end, as far as they are empty.
    fn trim(&mut self) {
        let idle = |queue: &Queue| !queue.has_work() && queue.seats_in_use == 0;
        while self.queues.len() > self.response.queues() && self.queues.last().is_some_and(idle) {
            self.queues.pop();
        }
    }

    /// Whether nothing waits or runs.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting == 0 && self.executing == 0
    }

    /// A request that has not left.
    pub(crate) fn ticket_mut(&mut self, id: Id) -> &mut T {
        &mut self.requests[id].ticket
    }

    /// Counts since the start.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Requests waiting and running, seats in use and seats waited for.
    pub(crate) fn counts(&self) -> (usize, usize, usize, usize) {
        (self.waiting, self.executing, self.seats_in_use, self.seats_waiting)
    }

    /// R.
    pub(crate) fn progress(&self) -> SeatSeconds {
        self.progress
    }

    /// Integrals over time.
    pub(crate) fn meters(&mut self, now: Now) -> &mut Meters {
        self.advance(now);
        &mut self.meters
    }

    /// The queues, for people.
    pub(crate) fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// The requests waiting in a queue, first come first.
    pub(crate) fn line(&self, queue: &Queue) -> impl Iterator<Item = &Request<T>> {
        queue.line(&self.requests)
    }

    /// The requests that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Request<T>> {
        self.requests.iter().filter(|r| r.stage == Stage::Executing)
    }
}

#[cfg(test)]
mod tests;
