//! How old a revision is, by the monotonic clock: the wall clock may jump as it likes.

use crate::Revision;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Remembers, coarsely, which revision was the newest when.
#[derive(Debug)]
pub(super) struct Ages {
    marks: VecDeque<(Instant, Revision)>,
    age: Duration,
}

impl Ages {
    /// Revisions become old after `age`.
    pub(super) fn new(age: Duration) -> Self {
        Ages { marks: VecDeque::new(), age }
    }

    /// Notes the newest revision; at most ten marks per age are kept.
    pub(super) fn note(&mut self, now: Instant, revision: Revision) {
        if self.marks.back().is_none_or(|(at, _)| now.duration_since(*at) >= self.age / 10) {
            self.marks.push_back((now, revision));
        }
    }

    /// The revision before which everything is old now. Each is given once.
    pub(super) fn due(&mut self, now: Instant) -> Option<Revision> {
        let mut due = None;
        while self.marks.front().is_some_and(|(at, _)| now.duration_since(*at) >= self.age) {
            due = self.marks.pop_front().map(|(_, revision)| revision);
        }
        due
    }

    /// When something that died at a revision will be old; `None`: not before further writes.
    pub(super) fn due_for(&self, since: Revision) -> Option<Instant> {
        self.marks.iter().find(|(_, revision)| *revision > since).map(|(at, _)| *at + self.age)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_grow_old_once() {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let mut ages = Ages::new(Duration::from_secs(100));
        ages.note(at(0), 5);
        ages.note(at(5), 6);
        ages.note(at(10), 9);
        assert_eq!(ages.due_for(5), Some(at(110)));
        assert_eq!(ages.due_for(9), None);
        assert_eq!(ages.due(at(99)), None);
        assert_eq!(ages.due(at(105)), Some(5));
        assert_eq!(ages.due(at(200)), Some(9));
        assert_eq!(ages.due(at(300)), None);
    }
}
