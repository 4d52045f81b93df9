//! So much at once that some of it must be refused.

use super::Seen;
use super::http::{Answer, Connection, Request};
use super::site::{NAMESPACE, Site, Who};
use futures::future::try_join_all;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A flow has six queues of fifty requests, beside the seats: so many are sure to be too many.
const CLIENTS: usize = 700;
/// How soon others are answered meanwhile.
const ANSWERED: Duration = Duration::from_secs(5);
const TEXT: &str = "Too many requests, please try again later.\n";

/// One user's writes overflow the queues of their flow: others do not notice.
pub(super) async fn flow(site: &Site) -> Seen {
    let before = rejected(site).await?;
    let neighbour = async {
        let mut slowest = Duration::ZERO;
        for n in 0..10 {
            let asked = Instant::now();
            let answer = site.ask(Who::Neighbour, &write("neighbour", n, "")).await?;
            if answer.code != 201 {
                return Err(format!("the neighbour was answered with {}: {}", answer.code, answer.text()));
            }
            slowest = slowest.max(asked.elapsed());
        }
        Ok(slowest)
    };
    // Half of them have so little time that they cannot wait for their turn.
    let timeout = |n: usize| if n.is_multiple_of(2) { "" } else { "?timeout=200ms" };
    let flood = burst(site, CLIENTS * site.scale.min(10), |n| write("flow", n, timeout(n)));
    let (answers, slowest) = futures::future::try_join(flood, neighbour).await?;
    let codes = codes(&answers, &[201, 429, 504])?;
    let after = rejected(site).await?;
    let counted = |reason: &str| after.get(reason).unwrap_or(&0) - before.get(reason).unwrap_or(&0);
    let (full, late, cancelled) = (counted("queue-full"), counted("time-out"), counted("cancelled"));
    let refused = codes.get(&429).copied().unwrap_or(0);
    let seen = format!(
        "{codes:?}; counted: {full} found their queue full, {late} waited too long, {cancelled} went; others waited {slowest:?}"
    );
    let well = full > 0 && codes.contains_key(&201) && refused == full + late && slowest < ANSWERED;
    if well { Ok(seen) } else { Err(seen) }
}

/// Without priority and fairness, whoever finds the server full is refused at once.
pub(super) async fn inflight(site: &Site) -> Seen {
    let flags =
        ["--enable-priority-and-fairness=false", "--max-requests-inflight=1", "--max-mutating-requests-inflight=1"];
    let other = site.beside("inflight", &flags).await;
    let answers = burst(&other, CLIENTS, |n| write("inflight", n, "")).await?;
    let codes = codes(&answers, &[201, 429])?;
    other.serves_admin().await?;
    other.serves().await?;
    match codes.len() {
        2 => Ok(format!("{codes:?}")),
        _ => Err(format!("not some served and some refused: {codes:?}")),
    }
}

/// An object that must reach the disk before its seat is free.
fn write(prefix: &str, n: usize, query: &str) -> Request {
    let object =
        format!(r#"{{"metadata":{{"generateName":"{prefix}-{n}-"}},"involvedObject":{{"namespace":"{NAMESPACE}"}}}}"#);
    Request::post(&format!("/api/v1/namespaces/{NAMESPACE}/events{query}"), object)
}

/// Asks over so many connections at the same moment.
async fn burst(site: &Site, clients: usize, request: impl Fn(usize) -> Request) -> Result<Vec<Answer>, String> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(site.connect(Who::Somebody, "http/1.1").await?);
    }
    let ask = |(n, mut connection): (usize, Connection)| {
        let request = request(n);
        async move {
            request.send(&mut connection).await?;
            Answer::read(&mut connection).await
        }
    };
    try_join_all(connections.into_iter().enumerate().map(ask)).await
}

/// How often each code was seen; refusals must be as upstream's are.
fn codes(answers: &[Answer], known: &[u16]) -> Result<BTreeMap<u16, u64>, String> {
    let mut codes = BTreeMap::new();
    for answer in answers {
        let (text, after) = (answer.text(), answer.header("retry-after"));
        let seconds = after.and_then(|seconds| seconds.parse::<u32>().ok()).unwrap_or(0);
        if !known.contains(&answer.code) || (answer.code == 429 && (text != TEXT || seconds == 0)) {
            return Err(format!("{}, Retry-After {after:?}: {text}", answer.code));
        }
        *codes.entry(answer.code).or_default() += 1;
    }
    Ok(codes)
}

/// `apiserver_flowcontrol_rejected_requests_total` by reason.
async fn rejected(site: &Site) -> Result<BTreeMap<String, u64>, String> {
    let page = site.ask(Who::Admin, &Request::get("/metrics")).await?.text();
    let lines = page.lines().filter_map(|line| line.strip_prefix("apiserver_flowcontrol_rejected_requests_total{"));
    let mut counts = BTreeMap::new();
    for line in lines {
        let reason = line.split_once("reason=\"").and_then(|(_, rest)| rest.split_once('"'));
        let count = line.rsplit_once(' ').and_then(|(_, count)| count.parse::<u64>().ok());
        let ((reason, _), count) = reason.zip(count).ok_or_else(|| format!("not understood: {line}"))?;
        *counts.entry(reason.to_owned()).or_default() += count;
    }
    Ok(counts)
}
