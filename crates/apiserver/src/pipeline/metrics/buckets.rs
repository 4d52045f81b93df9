//! A histogram that many may add to without a lock.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts of values by their upper bounds.
#[derive(Debug)]
pub(crate) struct Buckets {
    bounds: &'static [f64],
    /// One per bound, and the rest.
    counts: Box<[AtomicU64]>,
    /// A float's bits.
    sum: AtomicU64,
}

impl Buckets {
    /// An empty histogram; bounds rise.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Buckets { bounds, counts, sum: AtomicU64::new(0f64.to_bits()) }
    }

    /// Adds a value.
    pub(crate) fn observe(&self, value: f64) {
        self.counts[self.bounds.partition_point(|bound| *bound < value)].fetch_add(1, Ordering::Relaxed);
        let add = |bits| Some((f64::from_bits(bits) + value).to_bits());
        let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// How many values there were.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Its lines, with these labels.
    pub(crate) fn write(&self, out: &mut String, name: &str, labels: &str) {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        write_histogram(out, name, labels, self.bounds, &counts, sum);
    }
}

/// The lines of a histogram; `counts` has one more than `bounds`.
pub(crate) fn write_histogram(out: &mut String, name: &str, labels: &str, bounds: &[f64], counts: &[u64], sum: f64) {
    let comma = if labels.is_empty() { "" } else { "," };
    let mut total = 0;
    for (bound, count) in bounds.iter().zip(counts) {
        total += count;
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {total}");
    }
    total += counts.last().copied().unwrap_or_default();
    let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {total}");
    let _ = writeln!(out, "{name}_sum{{{labels}}} {sum}");
    let _ = writeln!(out, "{name}_count{{{labels}}} {total}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_fall_below_their_bounds() {
        let buckets = Buckets::new(&[0.5, 1.0]);
        [0.25, 0.5, 0.75, 8.0].into_iter().for_each(|value| buckets.observe(value));
        let mut out = String::new();
        buckets.write(&mut out, "x", "a=\"b\"");
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(
            lines,
            [
                "x_bucket{a=\"b\",le=\"0.5\"} 2",
                "x_bucket{a=\"b\",le=\"1\"} 3",
                "x_bucket{a=\"b\",le=\"+Inf\"} 4",
                "x_sum{a=\"b\"} 9.5",
                "x_count{a=\"b\"} 4",
            ]
        );
    }
}
