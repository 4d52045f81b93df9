//! Work as seats times time.

use std::fmt;
use std::ops::{Add, AddAssign, Sub, SubAssign};
use std::time::Duration;

/// Units in one seat-second.
const SCALE: i128 = 100_000_000;

/// Seats times time, in units of ten seat-nanoseconds; may be negative between two readings of a meter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SeatSeconds(i128);

impl SeatSeconds {
    /// So many seats for so long.
    pub(crate) fn of(seats: usize, time: Duration) -> Self {
        let nanos = i128::try_from(time.as_nanos()).unwrap_or(i128::MAX / SCALE);
        let seats = i128::try_from(seats).unwrap_or(i128::MAX);
        SeatSeconds(seats.saturating_mul(nanos) / 10)
    }

    /// The time that `seats` shared by `queues` queues give to each of them.
    pub(crate) fn share(seats: usize, queues: usize, time: Duration) -> Self {
        match i128::try_from(queues) {
            Ok(queues) if queues > 0 => SeatSeconds(SeatSeconds::of(seats, time).0 / queues),
            _ => SeatSeconds::default(),
        }
    }

    /// How long so many seats are held to do this work.
    pub(crate) fn per_seat(self, seats: usize) -> Duration {
        let seats = i128::try_from(seats.max(1)).unwrap_or(i128::MAX);
        Duration::from_nanos(u64::try_from(self.0.max(0) * 10 / seats).unwrap_or(u64::MAX))
    }

    /// For metrics.
    #[expect(clippy::cast_precision_loss, reason = "shown, not computed with")]
    pub(crate) fn seconds(self) -> f64 {
        self.0 as f64 / SCALE as f64
    }
}

impl fmt::Display for SeatSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let units = self.0.unsigned_abs();
        let scale = SCALE.unsigned_abs();
        write!(f, "{sign}{}.{:08}ss", units / scale, units % scale)
    }
}

impl Add for SeatSeconds {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        SeatSeconds(self.0 + other.0)
    }
}

impl AddAssign for SeatSeconds {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Sub for SeatSeconds {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        SeatSeconds(self.0 - other.0)
    }
}

impl SubAssign for SeatSeconds {
    fn sub_assign(&mut self, other: Self) {
        self.0 -= other.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_seats_times_time() {
        let work = SeatSeconds::of(4, Duration::from_millis(2500));
        assert_eq!(work.to_string(), "10.00000000ss");
        assert_eq!(work.per_seat(2), Duration::from_secs(5));
        assert_eq!(
            (SeatSeconds::default() - SeatSeconds::of(1, Duration::from_millis(3))).to_string(),
            "-0.00300000ss"
        );
        assert_eq!(SeatSeconds::share(3, 2, Duration::from_secs(1)).to_string(), "1.50000000ss");
        assert_eq!(SeatSeconds::share(3, 0, Duration::from_secs(1)), SeatSeconds::default());
    }
}
