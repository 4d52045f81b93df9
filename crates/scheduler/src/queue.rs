//! Pods that wait: ready to be tried (most important first), backing off, or waiting for a change.

use jiff::Timestamp;
use kaji_client::ObjectKey;
use parking_lot::Mutex;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(10);
/// Whatever happened, a pod is tried again after this long.
const LEFT_OVER: Duration = Duration::from_secs(300);

/// What changed in the cluster, as far as waiting pods care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// A node came.
    NodeAdded,
    /// A node changed.
    NodeChanged,
    /// A pod was bound, or a bound one got other labels.
    PodAdded,
    /// A bound pod ended or went.
    PodRemoved,
    /// A claim or volume changed.
    Volume,
}

/// A pod on its way through the queue.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) key: ObjectKey,
    pub(crate) uid: String,
    priority: i32,
    since: Timestamp,
    attempts: u32,
    /// The count of wakes when it was taken: a change during its attempt must not be missed.
    taken: u64,
}

type Order = (Reverse<i32>, Timestamp, String);

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    ready: BTreeMap<Order, Waiting>,
    /// Where each ready pod stands, by uid.
    places: HashMap<String, Order>,
    /// By uid: when it may be tried again.
    backing_off: HashMap<String, (Instant, Waiting)>,
    /// By uid: since when, and what it waits for.
    refused: HashMap<String, (Instant, Waiting, Vec<Wake>)>,
    /// Recent wakes, numbered, for pods that are being tried meanwhile.
    wakes: u64,
    last: HashMap<u8, u64>,
}

impl Queue {
    /// A new pod, or one whose wishes changed: tried at once.
    pub(crate) fn add(&self, key: ObjectKey, uid: &str, priority: i32, now: Timestamp) {
        let mut state = self.state.lock();
        state.remove(uid);
        let waiting = Waiting { key, uid: uid.to_owned(), priority, since: now, attempts: 0, taken: 0 };
        state.make_ready(waiting);
        self.changed.notify_one();
    }

    pub(crate) fn remove(&self, uid: &str) {
        self.state.lock().remove(uid);
    }

    /// The most important pod, once there is one.
    pub(crate) async fn take(&self) -> Waiting {
        loop {
            let changed = self.changed.notified();
            let next_due = {
                let mut state = self.state.lock();
                state.promote(Instant::now());
                if let Some((_, mut waiting)) = state.ready.pop_first() {
                    state.places.remove(&waiting.uid);
                    waiting.attempts += 1;
                    waiting.taken = state.wakes;
                    return waiting;
                }
                state.backing_off.values().map(|(due, _)| *due).min()
            };
            match next_due {
                Some(due) => {
                    tokio::select! { () = changed => {}, () = tokio::time::sleep_until(due) => {} }
                }
                None => changed.await,
            }
        }
    }

    /// The attempt failed for a passing reason: again after its back-off.
    pub(crate) fn retry(&self, waiting: Waiting) {
        self.state.lock().back_off(waiting);
        self.changed.notify_one();
    }

    /// It fits nowhere: again after one of these changes.
    pub(crate) fn refuse(&self, waiting: Waiting, until: Vec<Wake>) {
        let mut state = self.state.lock();
        let missed = until.iter().any(|wake| state.last.get(&(*wake as u8)).is_some_and(|n| *n > waiting.taken));
        if missed {
            state.back_off(waiting);
            self.changed.notify_one();
        } else {
            state.refused.insert(waiting.uid.clone(), (Instant::now(), waiting, until));
        }
    }

    /// Something changed: pods that wait for it are tried again.
    pub(crate) fn wake(&self, wake: Wake) {
        let mut state = self.state.lock();
        state.wakes += 1;
        let number = state.wakes;
        state.last.insert(wake as u8, number);
        let woken: Vec<String> = state
            .refused
            .iter()
            .filter(|(_, (_, _, until))| until.contains(&wake))
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in &woken {
            if let Some((_, waiting, _)) = state.refused.remove(uid) {
                state.back_off(waiting);
            }
        }
        if !woken.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Runs forever: frees what has waited too long.
    pub(crate) async fn flush(&self) {
        loop {
            tokio::time::sleep(LEFT_OVER / 10).await;
            let mut state = self.state.lock();
            let old: Vec<String> = state
                .refused
                .iter()
                .filter(|(_, (since, ..))| since.elapsed() >= LEFT_OVER)
                .map(|(uid, _)| uid.clone())
                .collect();
            for uid in old {
                if let Some((_, waiting, _)) = state.refused.remove(&uid) {
                    state.make_ready(waiting);
                    self.changed.notify_one();
                }
            }
        }
    }
}

impl State {
    fn remove(&mut self, uid: &str) {
        self.backing_off.remove(uid);
        self.refused.remove(uid);
        if let Some(place) = self.places.remove(uid) {
            self.ready.remove(&place);
        }
    }

    fn make_ready(&mut self, waiting: Waiting) {
        let place = (Reverse(waiting.priority), waiting.since, waiting.uid.clone());
        self.places.insert(waiting.uid.clone(), place.clone());
        self.ready.insert(place, waiting);
    }

    fn back_off(&mut self, waiting: Waiting) {
        let doubled = FIRST_BACKOFF.saturating_mul(1 << waiting.attempts.saturating_sub(1).min(8));
        let due = Instant::now() + doubled.min(LONGEST_BACKOFF);
        self.backing_off.insert(waiting.uid.clone(), (due, waiting));
    }

    fn promote(&mut self, now: Instant) {
        let due: Vec<String> =
            self.backing_off.iter().filter(|(_, (due, _))| *due <= now).map(|(uid, _)| uid.clone()).collect();
        for uid in due {
            if let Some((_, waiting)) = self.backing_off.remove(&uid) {
                self.make_ready(waiting);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(queue: &Queue, name: &str, priority: i32, second: i64) {
        queue.add(ObjectKey::new("n", name), name, priority, Timestamp::from_second(second).unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_important_and_oldest_comes_first() {
        let queue = Queue::default();
        add(&queue, "late", 0, 2);
        add(&queue, "early", 0, 1);
        add(&queue, "important", 9, 3);
        for want in ["important", "early", "late"] {
            assert_eq!(queue.take().await.uid, want);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_pod_waits_for_its_kind_of_change_and_backs_off() {
        let queue = Queue::default();
        add(&queue, "p", 0, 1);
        let waiting = queue.take().await;
        queue.refuse(waiting, vec![Wake::NodeAdded]);
        queue.wake(Wake::PodRemoved);
        assert!(tokio::time::timeout(Duration::from_secs(60), queue.take()).await.is_err());
        queue.wake(Wake::NodeAdded);
        let before = Instant::now();
        assert_eq!(queue.take().await.uid, "p");
        assert_eq!(before.elapsed().as_secs(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_during_the_attempt_is_not_missed() {
        let queue = Queue::default();
        add(&queue, "p", 0, 1);
        let waiting = queue.take().await;
        queue.wake(Wake::NodeAdded);
        queue.refuse(waiting, vec![Wake::NodeAdded]);
        assert_eq!(tokio::time::timeout(Duration::from_secs(5), queue.take()).await.unwrap().uid, "p");
    }
}
