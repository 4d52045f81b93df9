//! Doubling waits per key, forgotten after twice the longest wait.

use std::collections::HashMap;
use tokio::time::{Duration, Instant};

/// First and longest wait, as upstream.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);

/// The waits of one pod, by container or image.
#[derive(Default)]
pub(crate) struct Backoff {
    entries: HashMap<String, (Duration, Instant)>,
}

impl Backoff {
    /// The wait that applies at present.
    pub(crate) fn wait(&self, key: &str) -> Duration {
        self.entries.get(key).map(|(wait, _)| *wait).unwrap_or_default()
    }

    /// How much longer to wait for what failed this long ago; none: go ahead.
    pub(crate) fn remaining(&self, key: &str, since_failure: Duration) -> Option<Duration> {
        let (wait, updated) = self.entries.get(key)?;
        if updated.elapsed().saturating_sub(since_failure) > LONGEST * 2 {
            return None;
        }
        wait.checked_sub(since_failure).filter(|left| !left.is_zero())
    }

    /// How much longer to wait after the last `next`.
    pub(crate) fn remaining_since_next(&self, key: &str) -> Option<Duration> {
        let (_, updated) = self.entries.get(key)?;
        self.remaining(key, updated.elapsed())
    }

    /// Takes note of one more attempt; long ago ones are forgotten. `since_failure` is the age of the last failure.
    pub(crate) fn next(&mut self, key: &str, since_failure: Duration) {
        let now = Instant::now();
        let entry = self.entries.entry(key.to_owned()).or_insert((Duration::ZERO, now));
        // It ran well for long after the last attempt before it failed.
        let stale = entry.1.elapsed().saturating_sub(since_failure) > LONGEST * 2;
        entry.0 = if entry.0.is_zero() || stale { FIRST } else { (entry.0 * 2).min(LONGEST) };
        entry.1 = now;
    }

    /// Forgets a key.
    pub(crate) fn forget(&mut self, key: &str) {
        self.entries.remove(key);
    }
}

/// A duration in Go's words: `10s`, `2m40s`, `5m0s`.
pub(crate) fn go_duration(duration: Duration) -> String {
    let (total, millis) = (duration.as_secs(), duration.subsec_millis());
    let seconds = if millis == 0 {
        format!("{}s", total % 60)
    } else {
        format!("{}s", f64::from(u32::try_from(total % 60).unwrap_or(0)) + f64::from(millis) / 1000.0)
    };
    match (total / 3600, total / 60 % 60) {
        (0, 0) if total == 0 && millis > 0 => format!("{millis}ms"),
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_five_minutes() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.remaining("a", Duration::ZERO), None);
        for wait in [10, 20, 40, 80, 160, 300, 300] {
            backoff.next("a", Duration::ZERO);
            assert_eq!(backoff.wait("a"), Duration::from_secs(wait));
        }
        assert_eq!(backoff.remaining("a", Duration::from_secs(100)), Some(Duration::from_secs(200)));
        assert_eq!(backoff.remaining("a", Duration::from_secs(300)), None);
        tokio::time::advance(Duration::from_secs(700)).await;
        backoff.next("a", Duration::from_secs(5));
        assert_eq!(backoff.wait("a"), Duration::from_secs(10));
    }

    #[test]
    fn durations_read_as_in_go() {
        for (millis, text) in [(10_000, "10s"), (160_000, "2m40s"), (300_000, "5m0s"), (250, "250ms"), (1_500, "1.5s")]
        {
            assert_eq!(go_duration(Duration::from_millis(millis)), text);
        }
    }
}
