//! The asynchronous edge of a priority level: requests come, wait if they must, and leave when their seats are
//! dropped. The lock is held for one step of the queues, never while waiting.

use super::dropped::Dropped;
use super::queueset::{Arrival, Id, Now, QueueSet, Refusal, Response, Step, Ticket, Work};
use super::schema::Schema;
use crate::context::{RequestInfo, UserInfo};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// A priority level at work.
pub(crate) struct Level {
    start: Instant,
    state: Mutex<State>,
    dropped: Mutex<Dropped>,
    /// The widest a request of this level may be; 0: as wide as any.
    most_seats: AtomicUsize,
}

struct State {
    set: QueueSet<Rider>,
    /// Somebody sees to seats that are held on.
    attended: bool,
}

/// A request in a level.
pub(crate) struct Rider {
    pub(super) schema: Arc<Schema>,
    pub(super) info: Arc<RequestInfo>,
    pub(super) user: Arc<UserInfo>,
    wake: Option<oneshot::Sender<()>>,
}

impl Rider {
    pub(super) fn new(schema: Arc<Schema>, info: Arc<RequestInfo>, user: Arc<UserInfo>) -> Self {
        Rider { schema, info, user, wake: None }
    }
}

impl Ticket for Rider {
    fn note(&mut self, step: Step, seats: usize) {
        self.schema.tally.note(step, seats);
        if step == Step::Started
            && let Some(wake) = self.wake.take()
        {
            // Nobody there any more: they are about to leave.
            let _ = wake.send(());
        }
    }
}

/// The right to be served; given back by dropping it, also while still waiting for it.
pub(crate) struct Seat {
    level: Arc<Level>,
    schema: Arc<Schema>,
    id: Option<Id>,
    watch: bool,
    /// None: still waiting.
    since: Option<Instant>,
}

impl Level {
    /// A level that refuses everything until configured.
    pub(super) fn new(start: Instant) -> Self {
        Level {
            start,
            state: Mutex::new(State { set: QueueSet::new(start.elapsed()), attended: false }),
            dropped: Mutex::default(),
            most_seats: AtomicUsize::new(0),
        }
    }

    fn now(&self) -> Now {
        self.start.elapsed()
    }

    /// Another way to deal with requests, or another number of seats.
    pub(super) fn configure(&self, response: Response, limit: usize, capacity: usize) {
        self.state.lock().set.configure(self.now(), response, limit, capacity);
    }

    pub(super) fn set_most_seats(&self, most: usize) {
        self.most_seats.store(most, Ordering::Relaxed);
    }

    pub(super) fn most_seats(&self) -> usize {
        self.most_seats.load(Ordering::Relaxed)
    }

    /// Reads or meters the queues.
    pub(super) fn look<R>(&self, look: impl FnOnce(&mut QueueSet<Rider>, Now) -> R) -> R {
        let now = self.now();
        look(&mut self.state.lock().set, now)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().set.is_idle()
    }

    /// The seconds that a refused client should stay away.
    pub(super) fn retry_after(&self) -> u64 {
        self.dropped.lock().record(self.now().as_secs())
    }

    /// Gets a request a seat, waiting no longer than `patience` says if it has to wait at all.
    pub(super) async fn enter(
        self: &Arc<Self>,
        hash: u64,
        work: Work,
        rider: Rider,
        patience: impl FnOnce() -> Duration + Send,
    ) -> Result<Seat, Refusal> {
        let (schema, watch) = (rider.schema.clone(), rider.info.verb == "watch");
        let seat = |id, since| Seat { level: self.clone(), schema: schema.clone(), id: Some(id), watch, since };
        let (mut seat, started) = match self.arrive(hash, work, rider) {
            Ok((id, None)) => return Ok(seat(id, Some(Instant::now()))),
            Ok((id, Some(started))) => (seat(id, None), started),
            Err(why) => {
                schema.tally.refuse(why);
                return Err(why);
            }
        };
        let in_time = tokio::time::timeout(patience(), started).await.is_ok();
        if !in_time && self.expire(&mut seat) {
            return Err(Refusal::TimeOut);
        }
        seat.since = Some(Instant::now());
        Ok(seat)
    }

    fn arrive(&self, hash: u64, work: Work, rider: Rider) -> Result<(Id, Option<oneshot::Receiver<()>>), Refusal> {
        let now = self.now();
        let mut state = self.state.lock();
        match state.set.arrive(now, hash, work, rider) {
            Arrival::Started(id) => Ok((id, None)),
            Arrival::Queued(id) => {
                let (wake, started) = oneshot::channel();
                state.set.ticket_mut(id).wake = Some(wake);
                Ok((id, Some(started)))
            }
            Arrival::Refused(why) => Err(why),
        }
    }

    /// False: it got its seat at the last moment.
    fn expire(&self, seat: &mut Seat) -> bool {
        let Some(id) = seat.id else { return true };
        let now = self.now();
        let gone = self.state.lock().set.expire(now, id);
        if gone {
            seat.id = None;
            seat.schema.tally.refuse(Refusal::TimeOut);
        }
        gone
    }

    fn leave(self: &Arc<Self>, seat: &Seat, id: Id) {
        let now = self.now();
        let mut state = self.state.lock();
        if state.set.leave(now, id, Refusal::Cancelled) {
            seat.schema.tally.refuse(Refusal::Cancelled);
        }
        if state.attended || state.set.next_due().is_none() {
            return;
        }
        // Outside of a runtime, the next request frees what is due.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            state.attended = true;
            runtime.spawn(attend(self.clone()));
        }
    }
}

/// Frees seats that are held on after requests, when they are due.
async fn attend(level: Arc<Level>) {
    loop {
        let due = {
            let now = level.now();
            let mut state = level.state.lock();
            state.set.advance(now);
            match state.set.next_due() {
                Some(due) => due,
                None => {
                    state.attended = false;
                    return;
                }
            }
        };
        tokio::time::sleep_until(level.start + due).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(id) = self.id.take() {
            self.level.leave(self, id);
        }
        if let Some(since) = self.since {
            self.schema.tally.served(self.watch, since.elapsed());
        }
    }
}
