//! What a request takes.

use crate::fairness::seat_seconds::SeatSeconds;
use std::time::Duration;

/// How long a request takes, as long as nobody knows.
pub(crate) const GUESS: Duration = Duration::from_millis(3);

/// What a request is expected to take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Work {
    /// Seats while it is served.
    pub(crate) seats: usize,
    /// Seats afterwards, for the work it leaves to others.
    pub(crate) final_seats: usize,
    /// How long afterwards.
    pub(crate) linger: Duration,
}

impl Work {
    /// A request of so many seats that leaves nothing behind.
    pub(crate) const fn of(seats: usize) -> Self {
        Work { seats, final_seats: 0, linger: Duration::ZERO }
    }

    /// The seats it holds from start to end.
    pub(crate) fn width(&self) -> usize {
        self.seats.max(self.final_seats)
    }

    /// Both together, by the guess.
    pub(super) fn total(&self) -> SeatSeconds {
        SeatSeconds::of(self.seats, GUESS) + SeatSeconds::of(self.final_seats, self.linger)
    }
}
