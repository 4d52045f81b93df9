//! Placement: nodes that nobody runs, pods for them, and how long until each pod has its node.

use super::client::Call;
use super::load::{Measured, each};
use super::scenario::{Bench, name};
use super::watch::follow;
use http::Method;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The label of our nodes, whose value is our namespace's name: no other pods want them, and ours want no others.
const OURS: &str = "bench.kaji.dev/of";

/// Makes the nodes; the names are those of the pods to come.
pub(crate) async fn nodes(bench: Arc<Bench>) -> anyhow::Result<Vec<String>> {
    let (clients, count, objects) = (bench.options.clients, bench.options.nodes, bench.options.objects as u64);
    let act = move |client, number: usize| {
        let bench = bench.clone();
        async move { bench.target.count(client, Call::new(Method::POST, "/api/v1/nodes", node(&bench, number))).await }
    };
    each(clients, (0..count).collect(), act).await?;
    Ok((0..objects).map(|number| name(0, number)).collect())
}

/// Takes the nodes away again.
pub(crate) fn removal(bench: &Bench) -> Call {
    Call::new(Method::DELETE, format!("/api/v1/nodes?labelSelector={OURS}%3D{}", bench.namespace()), "")
}

/// Creates the pods with all clients, and counts each when a watch shows it with a node.
pub(crate) async fn place(bench: Arc<Bench>) -> anyhow::Result<Measured> {
    let (clients, count) = (bench.options.clients, bench.options.objects);
    let listed = bench.target.json(Call::new(Method::GET, format!("{}?limit=1", bench.path("pods")), "")).await?;
    let version = listed["metadata"]["resourceVersion"].as_str().unwrap_or_default().parse()?;
    let sent: Arc<Vec<AtomicU64>> = Arc::new((0..count).map(|_| AtomicU64::new(0)).collect());
    let origin = Instant::now();
    let placed = tokio::spawn(count_placed(bench.clone(), version, sent.clone(), origin));
    let act = move |client, number: usize| {
        let (bench, sent) = (bench.clone(), sent.clone());
        async move {
            sent[number].store(origin.elapsed().as_nanos() as u64, Ordering::Relaxed);
            bench.target.count(client, Call::new(Method::POST, bench.path("pods"), pod(&bench, number))).await
        }
    };
    each(clients, (0..count).rev().collect(), act).await?;
    let mut measured = placed.await??;
    measured.elapsed = origin.elapsed();
    Ok(measured)
}

/// Watches pods that have a node until all have. Servers end the watches of those who do not keep up: as long as there
/// is progress, it is resumed.
async fn count_placed(
    bench: Arc<Bench>,
    version: u64,
    sent: Arc<Vec<AtomicU64>>,
    origin: Instant,
) -> anyhow::Result<Measured> {
    let seen = Arc::new(AtomicU64::new(version));
    let mut all = Measured::default();
    loop {
        let left = sent.len() - all.latencies.total() as usize;
        let version = seen.load(Ordering::Relaxed);
        let query = format!("watch=true&resourceVersion={version}&fieldSelector=spec.nodeName%21%3D");
        let stream =
            bench.target.send(0, Call::new(Method::GET, format!("{}?{query}", bench.path("pods")), "")).await?;
        anyhow::ensure!(stream.status().is_success(), "the watch was refused with {}", stream.status());
        let of_line = |line: &[u8]| {
            seen.fetch_max(number_behind(line, b"\"resourceVersion\":\"").unwrap_or_default(), Ordering::Relaxed);
            placed(line).and_then(|number| sent.get(number)).map(nanoseconds)
        };
        let mut some = follow(stream.into_body(), origin, left, of_line).await;
        if some.errors > 0 && some.latencies.total() > 0 {
            (some.errors, some.first_error) = (0, None);
        }
        all.add(some);
        if all.latencies.total() as usize == sent.len() || all.errors > 0 {
            return Ok(all);
        }
    }
}

fn nanoseconds(count: &AtomicU64) -> Duration {
    Duration::from_nanos(count.load(Ordering::Relaxed))
}

/// The number of the pod that an event shows with a node for the first time.
fn placed(line: &[u8]) -> Option<usize> {
    number_behind(line.strip_prefix(br#"{"type":"ADDED","#)?, b"\"name\":\"object-0-").map(|number| number as usize)
}

/// The digits behind the first of these words.
fn number_behind(line: &[u8], word: &[u8]) -> Option<u64> {
    let at = line.windows(word.len()).position(|w| w == word)? + word.len();
    let digits = line[at..].iter().take_while(|b| b.is_ascii_digit());
    Some(digits.fold(0, |n, b| n * 10 + u64::from(b - b'0')))
}

fn node(bench: &Bench, number: usize) -> String {
    let room = json!({"cpu": "32", "memory": "256Gi", "pods": "110", "ephemeral-storage": "1Ti"});
    json!({
        "metadata": {"name": format!("{}-{number}", bench.namespace()), "labels": {OURS: bench.namespace()}},
        "status": {"capacity": room, "allocatable": room, "conditions": [{"type": "Ready", "status": "True"}]},
    })
    .to_string()
}

/// Nobody reports for the nodes: the pod tolerates what that leads to.
fn pod(bench: &Bench, number: usize) -> String {
    let container = json!({
        "name": "main", "image": "bench.invalid/main:1", "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
    });
    json!({
        "metadata": {"name": name(0, number as u64), "labels": {"app": "bench"}},
        "spec": {
            "nodeSelector": {OURS: bench.namespace()}, "tolerations": [{"operator": "Exists"}],
            "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0, "containers": [container],
        },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pods_count_once() {
        let line = br#"{"type":"ADDED","object":{"kind":"Pod","metadata":{"name":"object-0-42","uid":"1"}}}"#;
        assert_eq!(placed(line), Some(42));
        assert_eq!(placed(br#"{"type":"MODIFIED","object":{"metadata":{"name":"object-0-42"}}}"#), None);
    }
}
