//! The work queue: each key once, never by two workers at a time, failures back off.

use parking_lot::Mutex;
use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Upstream's default rate limiter: 5 ms, doubling, at most 1000 s.
const FIRST_DELAY: Duration = Duration::from_millis(5);
const LONGEST_DELAY: Duration = Duration::from_secs(1000);

/// What a reconcile asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing until something changes.
    Done,
    /// Once more after this time, back-off forgotten.
    After(Duration),
}

/// A queue of keys. Failures retry after 5 ms doubling to 1000 s (upstream's default rate limiter).
pub struct WorkQueue<K> {
    state: Mutex<State<K>>,
    ready: Notify,
}

struct State<K> {
    waiting: VecDeque<K>,
    /// Keys that wait, or that came again while being worked on.
    dirty: HashSet<K>,
    working: HashSet<K>,
    failures: HashMap<K, u32>,
    /// The earliest time each delayed key is due.
    due: HashMap<K, Instant>,
}

impl<K: Clone + Eq + Hash + Send + Sync + std::fmt::Debug + 'static> WorkQueue<K> {
    /// An empty queue.
    pub fn new() -> Arc<Self> {
        let state = State {
            waiting: VecDeque::new(),
            dirty: HashSet::new(),
            working: HashSet::new(),
            failures: HashMap::new(),
            due: HashMap::new(),
        };
        Arc::new(WorkQueue { state: Mutex::new(state), ready: Notify::new() })
    }

    /// Puts a key in; nothing if it waits already; again after the present run if it is being worked on.
    pub fn add(&self, key: K) {
        let mut state = self.state.lock();
        if state.dirty.insert(key.clone()) && !state.working.contains(&key) {
            state.waiting.push_back(key);
            self.ready.notify_one();
        }
    }

    /// Puts a key in after a while; an earlier time that is already set stands.
    pub fn add_after(self: &Arc<Self>, key: K, delay: Duration) {
        let due = Instant::now() + delay;
        {
            let mut state = self.state.lock();
            if state.due.get(&key).is_some_and(|set| *set <= due) {
                return;
            }
            state.due.insert(key.clone(), due);
        }
        let queue = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep_until(due).await;
            let Some(queue) = queue.upgrade() else { return };
            let current = queue.state.lock().due.get(&key) == Some(&due);
            if current {
                queue.state.lock().due.remove(&key);
                queue.add(key);
            }
        });
    }

    /// How many keys wait to be worked on.
    pub fn len(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// True when none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next key, once there is one; [`Self::done`] must follow.
    async fn take(&self) -> K {
        loop {
            let notified = self.ready.notified();
            {
                let mut state = self.state.lock();
                if let Some(key) = state.waiting.pop_front() {
                    state.dirty.remove(&key);
                    state.working.insert(key.clone());
                    if !state.waiting.is_empty() {
                        self.ready.notify_one();
                    }
                    return key;
                }
            }
            notified.await;
        }
    }

    fn done(&self, key: &K) {
        let mut state = self.state.lock();
        state.working.remove(key);
        if state.dirty.contains(key) {
            state.waiting.push_back(key.clone());
            self.ready.notify_one();
        }
    }

    fn back_off(self: &Arc<Self>, key: K) {
        let failures = {
            let mut state = self.state.lock();
            let count = state.failures.entry(key.clone()).or_default();
            *count += 1;
            *count
        };
        let delay = FIRST_DELAY.saturating_mul(1 << (failures - 1).min(20));
        self.add_after(key, delay.min(LONGEST_DELAY));
    }

    /// Runs `workers` workers until the future is dropped. An error is logged by `name` and retried with back-off.
    pub async fn run<F, Fut, E>(self: Arc<Self>, name: &'static str, workers: usize, reconcile: F)
    where
        F: Fn(K) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Next, E>> + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        let work = || async {
            loop {
                let key = self.take().await;
                match reconcile(key.clone()).await {
                    Ok(next) => {
                        self.state.lock().failures.remove(&key);
                        if let Next::After(delay) = next {
                            self.add_after(key.clone(), delay);
                        }
                    }
                    Err(error) => {
                        tracing::debug!(name, ?key, error = %Chain(&error), "failed; will be tried again");
                        self.back_off(key.clone());
                    }
                }
                self.done(&key);
            }
        };
        futures::future::join_all((0..workers.max(1)).map(|_| work())).await;
    }
}

/// An error and its causes in one line.
struct Chain<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(next) = cause {
            write!(f, ": {next}")?;
            cause = next.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_worked_on_once_however_often_it_was_added() {
        let queue = WorkQueue::new();
        for _ in 0..3 {
            queue.add("a");
        }
        queue.add("b");
        let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let run = queue.clone().run("test", 2, move |key| {
            sender.send(key).unwrap();
            async { Ok::<_, Infallible>(Next::Done) }
        });
        let worker = tokio::spawn(run);
        let mut keys = vec![seen.recv().await.unwrap(), seen.recv().await.unwrap()];
        keys.sort_unstable();
        assert_eq!(keys, ["a", "b"]);
        assert!(tokio::time::timeout(Duration::from_secs(5), seen.recv()).await.is_err());
        worker.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn failures_wait_longer_each_time() {
        let queue = WorkQueue::new();
        queue.add(());
        let (sender, mut seen) = tokio::sync::mpsc::unbounded_channel();
        let worker = tokio::spawn(queue.clone().run("test", 1, move |()| {
            sender.send(Instant::now()).unwrap();
            async { Err::<Next, _>(std::io::Error::other("no")) }
        }));
        let first = seen.recv().await.unwrap();
        let mut last = first;
        for millis in [5, 10, 20, 40] {
            let now = seen.recv().await.unwrap();
            assert!((now - last).as_millis().abs_diff(millis) <= 1, "{:?}", now - last);
            last = now;
        }
        worker.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn the_earliest_delay_counts() {
        let queue = WorkQueue::new();
        queue.add_after("k", Duration::from_secs(60));
        queue.add_after("k", Duration::from_secs(1));
        queue.add_after("k", Duration::from_secs(30));
        let began = Instant::now();
        queue.take().await;
        queue.done(&"k");
        assert_eq!((Instant::now() - began).as_secs(), 1);
        assert!(tokio::time::timeout(Duration::from_secs(120), queue.take()).await.is_err());
    }
}
