//! Token buckets by key; those longest unused make way for new ones.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

/// Buckets that fill at the same rate to the same height.
pub(super) struct Buckets {
    per_second: f64,
    height: f64,
    most: usize,
    by_key: HashMap<String, Bucket>,
    /// Keys by their last use, the oldest first.
    order: BTreeMap<u64, String>,
    uses: u64,
}

struct Bucket {
    level: f64,
    at: Instant,
    used: u64,
}

impl Buckets {
    /// Full ones, at most so many.
    pub(super) fn new(per_second: u32, height: u32, most: usize) -> Self {
        Buckets {
            per_second: per_second.into(),
            height: height.into(),
            most,
            by_key: HashMap::new(),
            order: BTreeMap::new(),
            uses: 0,
        }
    }

    /// Takes a token from the bucket of a key, if there is one.
    pub(super) fn take(&mut self, key: &str, now: Instant) -> bool {
        self.uses += 1;
        if !self.by_key.contains_key(key) {
            if self.by_key.len() >= self.most
                && let Some((_, oldest)) = self.order.pop_first()
            {
                self.by_key.remove(&oldest);
            }
            self.by_key.insert(key.to_owned(), Bucket { level: self.height, at: now, used: self.uses });
        }
        let bucket = self.by_key.get_mut(key).expect("it was there, or was just made");
        self.order.remove(&bucket.used);
        self.order.insert(self.uses, key.to_owned());
        bucket.used = self.uses;
        let filled = now.saturating_duration_since(bucket.at).as_secs_f64() * self.per_second;
        bucket.level = (bucket.level + filled).min(self.height);
        bucket.at = now;
        let there_is = bucket.level >= 1.0;
        if there_is {
            bucket.level -= 1.0;
        }
        there_is
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn buckets_fill_by_time() {
        let (mut buckets, start) = (Buckets::new(2, 3, 10), Instant::now());
        let mut take = |key: &str, after: u64| buckets.take(key, start + Duration::from_millis(after));
        assert_eq!([0, 0, 0, 0].map(|at| take("a", at)), [true, true, true, false]);
        assert!(take("b", 0), "another's is another");
        assert_eq!([400, 500, 999, 1000].map(|at| take("a", at)), [false, true, false, true]);
        assert_eq!([9000, 9000, 9000, 9000].map(|at| take("a", at)), [true, true, true, false], "no higher than it is");
    }

    #[test]
    fn the_longest_unused_makes_way() {
        let (mut buckets, now) = (Buckets::new(1, 1, 2), Instant::now());
        assert_eq!(
            ["a", "b", "a", "c", "a", "b"].map(|key| buckets.take(key, now)),
            [true, true, false, true, false, true]
        );
    }
}
