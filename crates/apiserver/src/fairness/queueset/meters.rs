//! What a level's state was over time: demand for borrowing, utilization for metrics.

use std::time::Duration;

/// A histogram of a ratio over time: each bucket counts the nanoseconds at which the ratio was at most its bound.
#[derive(Clone, Debug)]
pub(crate) struct TimedRatio {
    /// Upper bounds.
    pub(crate) bounds: &'static [f64],
    /// Nanoseconds per bucket, the last one without a bound.
    pub(crate) nanos: Vec<u64>,
    /// Sum of the ratio, per nanosecond.
    pub(crate) sum: f64,
    capacity: usize,
}

impl TimedRatio {
    fn new(bounds: &'static [f64]) -> Self {
        TimedRatio { bounds, nanos: vec![0; bounds.len() + 1], sum: 0.0, capacity: 1 }
    }

    #[expect(clippy::cast_precision_loss, reason = "statistics")]
    fn pass(&mut self, elapsed: Duration, value: usize) {
        let ratio = value as f64 / self.capacity.max(1) as f64;
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds.partition_point(|bound| *bound < ratio);
        self.nanos[bucket] = self.nanos[bucket].saturating_add(nanos);
        self.sum += ratio * nanos as f64;
    }
}

/// The demand for seats, in use or waited for, over a period.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Demand {
    /// Length of the period in seconds.
    pub(crate) seconds: f64,
    /// Average over time.
    pub(crate) average: f64,
    /// Standard deviation over time.
    pub(crate) deviation: f64,
    /// Maximum.
    pub(crate) peak: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    seconds: f64,
    sum: f64,
    squares: f64,
    peak: usize,
}

/// All meters of a level.
#[derive(Debug)]
pub(crate) struct Meters {
    moments: Moments,
    last: usize,
    /// Requests waiting / room in the queues.
    pub(crate) waiting: TimedRatio,
    /// Requests running / seats.
    pub(crate) executing: TimedRatio,
    /// Seats in use / seats.
    pub(crate) seats: TimedRatio,
    /// Seats in use or waited for / seats.
    pub(crate) demand: TimedRatio,
}

impl Default for Meters {
    fn default() -> Self {
        const REQUESTS: &[f64] = &[0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1.0];
        const SEATS: &[f64] = &[0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0];
        const DEMAND: &[f64] = &[0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.7, 2.0, 2.8, 4.0, 6.0];
        Meters {
            moments: Moments::default(),
            last: 0,
            waiting: TimedRatio::new(REQUESTS),
            executing: TimedRatio::new(REQUESTS),
            seats: TimedRatio::new(SEATS),
            demand: TimedRatio::new(DEMAND),
        }
    }
}

impl Meters {
    pub(super) fn set_capacity(&mut self, waiting: usize, seats: usize) {
        self.waiting.capacity = waiting;
        (self.executing.capacity, self.seats.capacity, self.demand.capacity) = (seats, seats, seats);
    }

    #[expect(clippy::cast_precision_loss, reason = "statistics")]
    pub(super) fn pass(&mut self, elapsed: Duration, waiting: usize, executing: usize, used: usize, wanted: usize) {
        let (seconds, demand) = (elapsed.as_secs_f64(), (used + wanted) as f64);
        self.last = used + wanted;
        self.moments.seconds += seconds;
        self.moments.sum += seconds * demand;
        self.moments.squares += seconds * demand * demand;
        self.waiting.pass(elapsed, waiting);
        self.executing.pass(elapsed, executing);
        self.seats.pass(elapsed, used);
        self.demand.pass(elapsed, used + wanted);
    }

    pub(super) fn peak(&mut self, demand: usize) {
        self.last = demand;
        self.moments.peak = self.moments.peak.max(demand);
    }

    /// The demand since this was last asked.
    pub(crate) fn take_demand(&mut self) -> Demand {
        let m = std::mem::replace(&mut self.moments, Moments { peak: self.last, ..Moments::default() });
        if m.seconds <= 0.0 {
            return Demand { peak: m.peak, ..Demand::default() };
        }
        let average = m.sum / m.seconds;
        // Rounding may make a variance of zero negative.
        let deviation = (m.squares / m.seconds - average * average).max(0.0).sqrt();
        Demand { seconds: m.seconds, average, deviation, peak: m.peak }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_is_averaged_over_time() {
        let mut meters = Meters::default();
        meters.set_capacity(10, 4);
        meters.peak(2);
        meters.pass(Duration::from_secs(3), 0, 2, 2, 0);
        meters.peak(6);
        meters.pass(Duration::from_secs(1), 2, 2, 4, 2);
        let demand = meters.take_demand();
        assert_eq!((demand.seconds, demand.average, demand.peak), (4.0, 3.0, 6));
        assert!((demand.deviation - 3f64.sqrt()).abs() < 1e-9, "{demand:?}");
        assert_eq!(meters.take_demand(), Demand { peak: 6, ..Demand::default() });
        assert_eq!(meters.seats.nanos.iter().sum::<u64>(), 4_000_000_000);
        assert_eq!(meters.seats.nanos[5], 3_000_000_000);
        assert_eq!(meters.seats.nanos[12], 1_000_000_000);
    }
}
