//! Where a request's time goes, for the log of slow requests and for metrics.
//!
//! Phases are added up in a task-local value, so that whoever does the work says so without anything being handed
//! down; outside of a request nothing is recorded.

use std::cell::Cell;
use std::time::{Duration, Instant};

tokio::task_local! {
    static SPENT: Cell<Spent>;
}

/// What a request waits for or works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Who is it?
    Authentication,
    /// Who else?
    Impersonation,
    /// May they?
    Authorization,
    /// A seat.
    Queue,
    /// Admission plugins, webhooks among them.
    Admission,
    /// Webhooks that may change the object.
    MutatingWebhooks,
    /// Webhooks that may only refuse it.
    ValidatingWebhooks,
    /// The store, or a cache that is not as new as asked for.
    Store,
    /// Encoding the answer.
    Encode,
}

/// Time per phase.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent([Duration; 9]);

impl Spent {
    /// Time of one phase.
    pub(crate) fn on(&self, phase: Phase) -> Duration {
        self.0[phase as usize]
    }
}

/// Where the time of the request at hand went until now; none outside of one.
pub(super) fn so_far() -> Option<Spent> {
    SPENT.try_with(Cell::get).ok()
}

/// Runs a request; returns also where its time went.
pub(super) async fn measured<F: Future>(request: F) -> (F::Output, Spent) {
    SPENT.scope(Cell::default(), async { (request.await, SPENT.with(Cell::get)) }).await
}

/// Does a piece of work that belongs to a phase.
pub(crate) async fn timed<F: Future>(phase: Phase, work: F) -> F::Output {
    let begun = Instant::now();
    let done = work.await;
    add(phase, begun.elapsed());
    done
}

/// The same for work that doesn't wait.
pub(crate) fn timed_now<T>(phase: Phase, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    add(phase, begun.elapsed());
    done
}

fn add(phase: Phase, time: Duration) {
    let add = |cell: &Cell<Spent>| {
        let mut spent = cell.get();
        spent.0[phase as usize] += time;
        cell.set(spent);
    };
    // Not within a request: nobody asks.
    let _ = SPENT.try_with(add);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn phases_add_up() {
        let request = async {
            timed(Phase::Store, std::future::ready(())).await;
            add(Phase::Queue, Duration::from_secs(1));
            add(Phase::Queue, Duration::from_secs(2));
            7
        };
        let (answer, spent) = measured(request).await;
        assert_eq!(
            (answer, spent.on(Phase::Queue), spent.on(Phase::Encode)),
            (7, Duration::from_secs(3), Duration::ZERO)
        );
        add(Phase::Queue, Duration::from_secs(1));
    }
}
