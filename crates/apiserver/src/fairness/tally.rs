//! Counts of one flow schema's requests in one priority level, for metrics.

use super::queueset::{Refusal, Step};
use crate::pipeline::metrics::Buckets;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

const LENGTHS: &[f64] = &[0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
const SECONDS: &[f64] = &[0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
const SEATS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];
const WATCHES: &[f64] = &[0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0];

/// The counts.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(super) in_queue: AtomicI64,
    pub(super) in_queue_seats: AtomicI64,
    pub(super) executing: AtomicI64,
    pub(super) executing_seats: AtomicI64,
    pub(super) dispatched: AtomicU64,
    pub(super) no_room: AtomicU64,
    pub(super) rejected: [AtomicU64; REASONS.len()],
    pub(super) queue_length: Buckets,
    /// Waiting times of the refused and of the served.
    pub(super) waited: [Buckets; 2],
    /// Times to serve watches' beginnings, and other requests.
    pub(super) served: [Buckets; 2],
    pub(super) seats: Buckets,
    pub(super) watches: Buckets,
}

/// The words for refusals.
pub(super) const REASONS: [(Refusal, &str); 4] = [
    (Refusal::QueueFull, "queue-full"),
    (Refusal::ConcurrencyLimit, "concurrency-limit"),
    (Refusal::TimeOut, "time-out"),
    (Refusal::Cancelled, "cancelled"),
];

impl Default for Tally {
    fn default() -> Self {
        Tally {
            in_queue: AtomicI64::new(0),
            in_queue_seats: AtomicI64::new(0),
            executing: AtomicI64::new(0),
            executing_seats: AtomicI64::new(0),
            dispatched: AtomicU64::new(0),
            no_room: AtomicU64::new(0),
            rejected: Default::default(),
            queue_length: Buckets::new(LENGTHS),
            waited: [Buckets::new(SECONDS), Buckets::new(SECONDS)],
            served: [Buckets::new(SECONDS), Buckets::new(SECONDS)],
            seats: Buckets::new(SEATS),
            watches: Buckets::new(WATCHES),
        }
    }
}

impl Tally {
    /// Follows a request through its level.
    pub(super) fn note(&self, step: Step, seats: usize) {
        let seats = i64::try_from(seats).unwrap_or(i64::MAX);
        match step {
            Step::Queued(length) => {
                self.in_queue.fetch_add(1, Ordering::Relaxed);
                self.in_queue_seats.fetch_add(seats, Ordering::Relaxed);
                self.queue_length.observe(float(length));
            }
            Step::Unqueued => {
                self.in_queue.fetch_sub(1, Ordering::Relaxed);
                self.in_queue_seats.fetch_sub(seats, Ordering::Relaxed);
            }
            Step::Started => {
                self.executing.fetch_add(1, Ordering::Relaxed);
                self.executing_seats.fetch_add(seats, Ordering::Relaxed);
                self.dispatched.fetch_add(1, Ordering::Relaxed);
            }
            Step::Ended => drop(self.executing.fetch_sub(1, Ordering::Relaxed)),
            Step::Freed => drop(self.executing_seats.fetch_sub(seats, Ordering::Relaxed)),
            Step::NoRoom => drop(self.no_room.fetch_add(1, Ordering::Relaxed)),
        }
    }

    pub(super) fn refuse(&self, why: Refusal) {
        if let Some(at) = REASONS.iter().position(|(refusal, _)| *refusal == why) {
            self.rejected[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn waited(&self, served: bool, time: Duration) {
        self.waited[usize::from(served)].observe(time.as_secs_f64());
    }

    pub(super) fn served(&self, watch: bool, time: Duration) {
        self.served[usize::from(!watch)].observe(time.as_secs_f64());
    }

    pub(super) fn estimated(&self, seats: usize) {
        self.seats.observe(float(seats));
    }

    pub(super) fn watches(&self, count: usize) {
        self.watches.observe(float(count));
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests are small")]
fn float(number: usize) -> f64 {
    number as f64
}
