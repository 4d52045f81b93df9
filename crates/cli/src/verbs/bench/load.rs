//! Many clients doing the same thing over and over, timed.

use super::histogram::Histogram;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What came of it.
#[derive(Clone, Default)]
pub(crate) struct Measured {
    pub(crate) latencies: Histogram,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    /// Of the answers.
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    /// How often each client did it, failures included.
    pub(crate) tries: Vec<u64>,
}

impl Measured {
    /// Counts one answer.
    pub(crate) fn record(&mut self, took: Duration, answer: anyhow::Result<usize>) {
        match answer {
            Ok(length) => {
                self.latencies.record(took);
                self.bytes += length as u64;
            }
            Err(error) => self.fail(1, || format!("{error:#}")),
        }
    }

    /// Counts failures.
    pub(crate) fn fail(&mut self, count: u64, why: impl FnOnce() -> String) {
        self.errors += count;
        self.first_error.get_or_insert_with(why);
    }

    /// Counts what another has counted.
    pub(crate) fn add(&mut self, other: Measured) {
        self.latencies.add(&other.latencies);
        self.errors += other.errors;
        self.bytes += other.bytes;
        self.first_error = self.first_error.take().or(other.first_error);
        self.tries.extend(other.tries);
    }
}

/// Runs `clients` at once, each calling `act(client, number)` again and again for so long.
pub(crate) async fn repeat<A, F>(clients: usize, duration: Duration, act: A) -> Measured
where
    A: Fn(usize, u64) -> F + Send + Sync + 'static,
    F: Future<Output = anyhow::Result<usize>> + Send,
{
    let act = Arc::new(act);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let act = act.clone();
        tasks.spawn(async move {
            let mut own = Measured::default();
            let mut number = 0;
            while start.elapsed() < duration {
                let sent = Instant::now();
                let answer = act(client, number).await;
                own.record(sent.elapsed(), answer);
                number += 1;
            }
            (client, number, own)
        });
    }
    let mut all = Measured { tries: vec![0; clients], ..Measured::default() };
    while let Some(done) = tasks.join_next().await {
        let (client, number, own) = done.expect("clients don't panic");
        all.tries[client] = number;
        all.add(own);
    }
    all.elapsed = start.elapsed();
    all
}

/// Does something for every item, so many at once; the first failure is the answer.
pub(crate) async fn each<T, A, F>(clients: usize, items: Vec<T>, act: A) -> anyhow::Result<()>
where
    T: Send + 'static,
    A: Fn(usize, T) -> F + Send + Sync + 'static,
    F: Future<Output = anyhow::Result<usize>> + Send,
{
    let items = Arc::new(std::sync::Mutex::new(items));
    let act = Arc::new(act);
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let (items, act) = (items.clone(), act.clone());
        tasks.spawn(async move {
            loop {
                let next = items.lock().expect("no holder panics").pop();
                let Some(item) = next else { return anyhow::Ok(()) };
                act(client, item).await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("clients don't panic")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_and_failures_are_counted_apart() {
        let act = |_, number: u64| async move {
            tokio::task::yield_now().await;
            if number.is_multiple_of(2) { Ok(10) } else { anyhow::bail!("odd") }
        };
        let measured = repeat(3, Duration::from_millis(20), act).await;
        assert_eq!(measured.latencies.total() + measured.errors, measured.tries.iter().sum::<u64>());
        assert_eq!(measured.bytes, measured.latencies.total() * 10);
        assert_eq!(measured.first_error.as_deref(), Some("odd"));
    }

    #[tokio::test]
    async fn each_item_has_its_turn_once() {
        let seen = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counted = seen.clone();
        let act = move |_, item: u64| {
            let seen = seen.clone();
            async move { Ok(seen.fetch_add(item, std::sync::atomic::Ordering::Relaxed) as usize) }
        };
        each(4, (1..=100).collect(), act).await.unwrap();
        assert_eq!(counted.load(std::sync::atomic::Ordering::Relaxed), 5050);
    }
}
