//! Fan-out: one writer, many watchers, and how long after a write each has its event.

use super::client::Call;
use super::load::Measured;
use super::scenario::Bench;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const NAME: &str = "watched";
/// Stands before the time of the write in every event.
const SENT: &[u8] = b"\"sent\":\"";
/// So much of what came last is told when a watch ends too early: an error is short.
const TOLD: usize = 300;
/// How long after the last write events may still come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Updates one object again and again before the eyes of all watchers.
pub(crate) async fn fan_out(bench: Arc<Bench>) -> anyhow::Result<Measured> {
    let path = bench.path("configmaps");
    let made = bench.target.json(Call::new(Method::POST, &path, config_map(0))).await?;
    let version = made["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let origin = Instant::now();
    let events = bench.options.events;
    let mut watchers = JoinSet::new();
    for watcher in 0..bench.options.watchers {
        let query = format!("watch=true&resourceVersion={version}&fieldSelector=metadata.name%3D{NAME}");
        let stream = bench.target.send(watcher, Call::new(Method::GET, format!("{path}?{query}"), "")).await?;
        anyhow::ensure!(stream.status().is_success(), "a watch was refused with {}", stream.status());
        watchers.spawn(follow(stream.into_body(), origin, events, sent));
    }
    let start = Instant::now();
    let mut pace = bench.options.rate.map(|rate| tokio::time::interval(Duration::from_secs(1) / rate));
    for _ in 0..events {
        if let Some(pace) = &mut pace {
            pace.tick().await;
        }
        let now = origin.elapsed().as_nanos() as u64;
        bench.target.count(0, Call::new(Method::PUT, format!("{path}/{NAME}"), config_map(now))).await?;
    }
    let mut all = Measured::default();
    while let Some(done) = watchers.join_next().await {
        all.add(done?);
    }
    all.elapsed = start.elapsed();
    bench.target.count(0, Call::new(Method::DELETE, format!("{path}/{NAME}"), "")).await?;
    Ok(all)
}

fn config_map(sent: u64) -> String {
    json!({"metadata": {"name": NAME}, "data": {"sent": sent.to_string(), "text": "x".repeat(500)}}).to_string()
}

/// Reads events until all have come, or none comes for long. `sent` tells when that of a line was asked for; none: it
/// doesn't count.
pub(super) async fn follow(
    mut body: Incoming,
    origin: Instant,
    events: usize,
    sent: impl Fn(&[u8]) -> Option<Duration>,
) -> Measured {
    let mut seen = Measured::default();
    let (mut rest, mut last) = (Vec::new(), Vec::new());
    let mut why = String::new();
    while (seen.latencies.total() as usize) < events {
        let frame = match tokio::time::timeout(PATIENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            other => {
                why = match other {
                    Ok(Some(Err(error))) => format!("the watch broke: {error}"),
                    Ok(_) => format!("the watch ended with {}", String::from_utf8_lossy(&last)),
                    Err(_) => format!("no event came for {} s", PATIENCE.as_secs()),
                };
                break;
            }
        };
        let Some(data) = frame.data_ref() else { continue };
        let now = origin.elapsed();
        rest.extend_from_slice(data);
        seen.bytes += data.len() as u64;
        let complete = rest.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        last.clear();
        last.extend_from_slice(&rest[..complete.min(TOLD)]);
        for line in rest[..complete].split(|b| *b == b'\n') {
            if let Some(sent) = sent(line) {
                seen.latencies.record(now.saturating_sub(sent));
            }
        }
        rest.drain(..complete);
    }
    let missing = (events as u64).saturating_sub(seen.latencies.total());
    if missing > 0 {
        seen.fail(missing, || why);
    }
    seen
}

/// When the write of an event was sent.
fn sent(line: &[u8]) -> Option<Duration> {
    let at = line.windows(SENT.len()).position(|w| w == SENT)? + SENT.len();
    let digits = line[at..].iter().take_while(|b| b.is_ascii_digit());
    Some(Duration::from_nanos(digits.fold(0, |n, b| n * 10 + u64::from(b - b'0'))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_tell_when_they_were_sent() {
        let line = br#"{"type":"MODIFIED","object":{"f:sent":{},"data":{"sent":"1500","text":"x"}}}"#;
        assert_eq!(sent(line), Some(Duration::from_nanos(1500)));
        assert_eq!(sent(b"{}"), None);
    }
}
