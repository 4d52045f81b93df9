//! Recording from many tasks at once.

use super::{Call, History, Op, Outcome, Revision, Seen, Stream, Tick, Told};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Takes down what happens; shared by all clients.
#[derive(Default)]
pub struct Recorder {
    ticks: AtomicU64,
    values: AtomicU64,
    history: Mutex<History>,
}

impl Recorder {
    /// Now.
    pub fn tick(&self) -> Tick {
        self.ticks.fetch_add(1, Ordering::SeqCst)
    }

    /// A value that nobody wrote before.
    pub fn value(&self) -> super::Value {
        self.values.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// A call that began at `invoked` and ends now.
    pub fn call(&self, client: u32, invoked: Tick, op: Op, outcome: Outcome) {
        let returned = self.tick();
        self.locked(|h| h.calls.push(Call { client, invoked, returned, op, outcome }));
    }

    /// A watch that begins now; the number names it.
    pub fn stream(&self, client: u32, from: Revision, learned: Tick) -> usize {
        self.locked(|h| {
            h.streams.push(Stream { client, from, learned, seen: Vec::new() });
            h.streams.len() - 1
        })
    }

    /// An event of a watch, which comes now.
    pub fn seen(&self, stream: usize, revision: Revision, told: Told) -> Tick {
        let at = self.tick();
        self.locked(|h| h.streams[stream].seen.push(Seen { at, revision, told }));
        at
    }

    /// Something is done to the servers.
    pub fn fault(&self, what: &str) {
        let at = self.tick();
        self.locked(|h| h.faults.push((at, what.to_owned())));
    }

    /// Everything so far.
    pub fn history(&self) -> History {
        self.locked(|h| h.clone())
    }

    fn locked<T>(&self, work: impl FnOnce(&mut History) -> T) -> T {
        work(&mut self.history.lock().expect("nobody panics while recording"))
    }
}
