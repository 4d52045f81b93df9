//! The work queue: each key once, never by two workers at a time, failures back off.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

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
    _of: std::marker::PhantomData<K>,
}

impl<K: Clone + Eq + Hash + Send + Sync + std::fmt::Debug + 'static> WorkQueue<K> {
    /// An empty queue.
    pub fn new() -> Arc<Self> {
        unimplemented!()
    }

    /// Puts a key in; nothing if it waits already; again after the present run if it is being worked on.
    pub fn add(&self, _key: K) {
        unimplemented!()
    }

    /// Puts a key in after a while.
    pub fn add_after(&self, _key: K, _delay: Duration) {
        unimplemented!()
    }

    /// Runs `workers` workers until the future is dropped. An error is logged by `name` and retried with back-off.
    pub async fn run<F, Fut, E>(self: Arc<Self>, _name: &'static str, _workers: usize, _reconcile: F)
    where
        F: Fn(K) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Next, E>> + Send,
        E: std::error::Error + Send + Sync + 'static,
    {
        unimplemented!()
    }
}
