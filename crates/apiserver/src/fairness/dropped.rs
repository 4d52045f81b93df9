//! How long refused clients are told to stay away: longer the more are refused (apiserver
//! `util/flowcontrol/dropped_requests_tracker.go`).

use std::collections::VecDeque;

/// The longest, in seconds.
const LONGEST: u64 = 32;

/// The refusals of one priority level, by second.
#[derive(Debug, Default)]
pub(crate) struct Dropped {
    history: VecDeque<(u64, u64)>,
    second: u64,
    count: u64,
    /// Zero stands for one second: none were refused yet.
    retry_after: u64,
    raised: Option<u64>,
}

impl Dropped {
    /// A request is refused at this second: the seconds to stay away.
    pub(crate) fn record(&mut self, second: u64) -> u64 {
        if self.count == 0 {
            self.second = second;
        }
        if second != self.second {
            self.remember();
            (self.second, self.count) = (second, 0);
            self.adjust(second);
        }
        self.count += 1;
        self.retry_after()
    }

    fn retry_after(&self) -> u64 {
        self.retry_after.max(1)
    }

    fn remember(&mut self) {
        self.history.push_back((self.second, self.count));
        let keep = (2 * self.retry_after()).min(LONGEST);
        while self.history.front().is_some_and(|(second, _)| self.second.saturating_sub(*second) > keep) {
            self.history.pop_front();
        }
    }

    /// Doubles when many were refused lately and it was not raised just now; goes down by one when few were.
    fn adjust(&mut self, now: u64) {
        let after = self.retry_after();
        let recent = self.history.iter().filter(|(second, _)| now.saturating_sub(*second) <= after);
        let refused: u64 = recent.map(|(_, count)| count).sum();
        let rested = self.raised.is_none_or(|raised| now.saturating_sub(raised) >= after);
        if rested && refused >= 3 * after {
            self.retry_after = (2 * after).min(LONGEST);
            self.raised = Some(now);
        } else if refused < after && after > 1 {
            self.retry_after = after - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_keep_clients_away_longer() {
        let mut dropped = Dropped::default();
        let mut told = |second: u64, times: usize| (0..times).map(|_| dropped.record(second)).last().unwrap();
        assert_eq!(told(100, 2), 1);
        assert_eq!(told(101, 10), 1);
        assert_eq!(told(102, 10), 2);
        assert_eq!(told(103, 10), 2);
        assert_eq!(told(104, 10), 4);
        // Rarely: down by one each time.
        assert_eq!(told(200, 1), 3);
        assert_eq!(told(300, 1), 2);
        assert_eq!(told(400, 1), 1);
        assert_eq!(told(500, 1), 1);
    }

    #[test]
    fn there_is_a_longest() {
        let mut dropped = Dropped::default();
        let last = (0..2000u64).map(|n| dropped.record(n / 10)).last();
        assert!(last.is_some_and(|after| (3..=LONGEST).contains(&after)), "{last:?}");
        assert!(dropped.history.len() <= 40);
    }
}
