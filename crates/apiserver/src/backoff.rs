//! How long to wait before what failed is tried again: longer each time, as upstream's work queues do.

use std::collections::BTreeMap;
use std::time::Duration;

/// The first pause; each further one is twice as long.
const FIRST: Duration = Duration::from_millis(5);
/// The longest. (Upstream waits up to a quarter of an hour; what is looked after here is needed sooner.)
const LONGEST: Duration = Duration::from_secs(30);

/// Failures in a row, by what failed.
#[derive(Debug)]
pub(crate) struct Backoff<K>(BTreeMap<K, u32>);

impl<K> Default for Backoff<K> {
    fn default() -> Self {
        Backoff(BTreeMap::new())
    }
}

impl<K: Ord> Backoff<K> {
    /// It failed: how long to wait.
    pub(crate) fn failed(&mut self, what: K) -> Duration {
        let failures = self.0.entry(what).or_default();
        let pause = 2u32.checked_pow(*failures).and_then(|times| FIRST.checked_mul(times));
        *failures += 1;
        pause.map_or(LONGEST, |pause| pause.min(LONGEST))
    }

    /// It went well, or is no more.
    pub(crate) fn forget(&mut self, what: &K) {
        self.0.remove(what);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit_and_are_forgotten() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> = (0..15).map(|_| backoff.failed("a").as_millis()).collect();
        assert_eq!(pauses[..4], [5, 10, 20, 40]);
        assert_eq!(pauses[12..], [20_480, 30_000, 30_000]);
        assert_eq!(backoff.failed("b"), FIRST);
        backoff.forget(&"a");
        assert_eq!(backoff.failed("a"), FIRST);
        assert_eq!((0..100).map(|_| backoff.failed("b")).last(), Some(LONGEST));
    }
}
