//! From the queue of finished spans to the collector, in batches. Who finishes a span never waits: what finds the queue
//! full is counted and forgotten. Sizes and times are those of Go's batch processor.

use super::target::Target;
use super::wire::Client;
use super::wire::proto::{Resource, Span};
use crate::pipeline::metrics::head;
use parking_lot::Mutex;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Spans that wait at most.
const QUEUE: usize = 2048;
/// Spans that are sent at once.
const BATCH: usize = 512;
/// How long the first of a batch waits for others.
pub(super) const DELAY: Duration = Duration::from_secs(5);
/// How long a batch that was not taken waits for its second and last try.
const PAUSE: Duration = Duration::from_secs(5);
/// How long what is left may take at shutdown.
const FLUSH: Duration = Duration::from_secs(5);

/// Where finished spans go.
pub(super) struct Exporter {
    queue: mpsc::Sender<Span>,
    counts: Arc<Counts>,
    closing: CancellationToken,
    running: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Counts {
    exported: AtomicU64,
    /// The queue was full, or closed.
    overflown: AtomicU64,
    /// The collector did not take them.
    refused: AtomicU64,
}

impl Exporter {
    /// The first span of a batch waits for others as long as `delay`, mostly [`DELAY`].
    pub(super) fn start(target: &Target, resource: Resource, delay: Duration) -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        let (counts, closing) = (Arc::<Counts>::default(), CancellationToken::new());
        let worker = Worker {
            queue,
            client: Client::new(target, resource),
            target: target.to_string(),
            counts: counts.clone(),
            closing: closing.clone(),
            delay,
            trouble: String::new(),
        };
        let running = Mutex::new(Some(tokio::spawn(worker.run())));
        Exporter { queue: sender, counts, closing, running }
    }

    /// Never waits.
    pub(super) fn push(&self, span: Span) {
        if self.queue.try_send(span).is_err() {
            self.counts.overflown.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends what is there, and takes no more.
    pub(super) async fn close(&self) {
        self.closing.cancel();
        let Some(mut running) = self.running.lock().take() else { return };
        if tokio::time::timeout(FLUSH, &mut running).await.is_err() {
            running.abort();
            tracing::warn!(seconds = FLUSH.as_secs(), "the last traces were not taken in time; they are lost");
        }
    }

    /// The metrics' part of the page.
    pub(super) fn page(&self, out: &mut String) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let name = "kaji_traces_exported_spans_total";
        head(out, name, "counter", "Spans that the collector took.");
        let _ = writeln!(out, "{name} {}", count(&self.counts.exported));
        let name = "kaji_traces_dropped_spans_total";
        head(out, name, "counter", "Spans that were lost: the queue was full, or the collector did not take them.");
        for (reason, counter) in [("queue", &self.counts.overflown), ("collector", &self.counts.refused)] {
            let _ = writeln!(out, "{name}{{reason=\"{reason}\"}} {}", count(counter));
        }
    }
}

struct Worker {
    queue: mpsc::Receiver<Span>,
    client: Client,
    target: String,
    counts: Arc<Counts>,
    closing: CancellationToken,
    delay: Duration,
    /// Why the last batch was not taken; empty: it was.
    trouble: String,
}

impl Worker {
    async fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut batch, BATCH) => if count == 0 { break },
                () = self.closing.cancelled() => break,
            }
            let full = async {
                while let room @ 1.. = BATCH - batch.len()
                    && self.queue.recv_many(&mut batch, room).await > 0
                {}
            };
            tokio::select! {
                () = full => {}
                () = tokio::time::sleep(self.delay) => {}
                () = self.closing.cancelled() => {}
            }
            self.send(std::mem::take(&mut batch)).await;
        }
        self.queue.close();
        while self.queue.recv_many(&mut batch, BATCH).await > 0 {
            self.send(std::mem::take(&mut batch)).await;
        }
    }

    /// Tries twice.
    async fn send(&mut self, batch: Vec<Span>) {
        let count = batch.len() as u64;
        let first = self.client.export(batch.clone()).await;
        let outcome = match first {
            Err(refused) if refused.passes => {
                self.note(&refused.why);
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = self.closing.cancelled() => {}
                }
                self.client.export(batch).await
            }
            outcome => outcome,
        };
        let (refused, why) = match outcome {
            Ok((refused, why)) => (refused.min(count), why),
            Err(refused) => (count, refused.why),
        };
        self.counts.exported.fetch_add(count - refused, Ordering::Relaxed);
        self.counts.refused.fetch_add(refused, Ordering::Relaxed);
        self.note(if refused > 0 { &why } else { "" });
    }

    /// Logs what is new.
    fn note(&mut self, trouble: &str) {
        let collector = &self.target;
        match trouble {
            same if same == self.trouble => return,
            "" => tracing::info!(collector, "the collector takes traces again"),
            why => tracing::warn!(collector, why, "traces are not taken; they are dropped when they are too many"),
        }
        trouble.clone_into(&mut self.trouble);
    }
}
