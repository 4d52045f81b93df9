//! Latencies in buckets that grow with the value: any quantile to within three percent, in a few KiB.

use std::time::Duration;

/// Every power of two is cut into 2^5 buckets.
const BITS: u32 = 5;

/// Counts of durations.
#[derive(Clone, Default)]
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn record(&mut self, duration: Duration) {
        let bucket = bucket(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] += 1;
        self.total += 1;
    }

    pub(crate) fn add(&mut self, other: &Histogram) {
        self.counts.resize(self.counts.len().max(other.counts.len()), 0);
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.total += other.total;
    }

    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The duration that `share` (0 to 1) of all don't exceed; zero of none.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let rank = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let reached = self.counts.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        Duration::from_nanos(reached.map_or(0, upper))
    }
}

fn bucket(value: u64) -> usize {
    if value < 1 << BITS {
        return value as usize;
    }
    let shift = value.ilog2() - BITS;
    ((shift as usize) << BITS) + (value >> shift) as usize
}

/// The largest value of a bucket.
fn upper(bucket: usize) -> u64 {
    if bucket < 2 << BITS {
        return bucket as u64;
    }
    let shift = (bucket >> BITS) as u32 - 1;
    let first = ((bucket & ((1 << BITS) - 1)) as u64 + (1 << BITS)) << shift;
    first + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_its_bucket_and_near_its_end() {
        for value in (0..4000).chain([1 << 20, (1 << 30) + 12345, u64::MAX / 3, u64::MAX]) {
            let end = upper(bucket(value));
            assert!(end >= value && end - value <= value / 32, "{value} ends at {end}");
            assert!(bucket(end) == bucket(value) && (end == u64::MAX || bucket(end + 1) == bucket(value) + 1));
        }
    }

    #[test]
    fn quantiles_of_a_thousand() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.5), Duration::ZERO);
        (1..=1000).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        for (share, ms) in [(0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let found = histogram.quantile(share).as_secs_f64() * 1000.0;
            assert!(found >= ms && found < ms * 1.04, "{share}: {found}");
        }
    }

    #[test]
    fn sums_count_both() {
        let (mut a, mut b) = (Histogram::default(), Histogram::default());
        a.record(Duration::from_millis(1));
        b.record(Duration::from_secs(1));
        a.add(&b);
        assert_eq!(a.total(), 2);
        assert!(a.quantile(1.0) >= Duration::from_secs(1) && a.quantile(0.5) < Duration::from_millis(2));
    }
}
