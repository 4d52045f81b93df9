//! Clients that ask for much and read little.

use super::Seen;
use super::frames::{END_HEADERS, END_STREAM, HEADERS, frame, get, numbers, talk};
use super::http::{Connection, Request};
use super::site::{NAMESPACE, Site, Who};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;

/// Objects of half a megabyte each.
const OBJECTS: usize = 20;
const SIZE: usize = 500 << 10;
/// How long readers do not read.
const PAUSE: Duration = Duration::from_secs(3);

async fn fill(site: &Site, prefix: &str, objects: usize, size: usize) -> Result<(), String> {
    let all = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    for n in 0..objects {
        let data = "x".repeat(size);
        let object =
            format!(r#"{{"metadata":{{"name":"{prefix}-{n}","labels":{{"of":"{prefix}"}}}},"data":{{"a":"{data}"}}}}"#);
        let answer = site.ask(Who::Admin, &Request::post(&all, object)).await?;
        if answer.code != 201 {
            return Err(format!("{}: {}", answer.code, answer.text()));
        }
    }
    Ok(())
}

async fn empty(site: &Site, prefix: &str) -> Result<(), String> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps?labelSelector=of%3D{prefix}");
    site.ask(Who::Admin, &Request::delete(&path)).await.map(drop)
}

/// Begins a request and reads a little of the answer.
async fn begin(site: &Site, path: &str) -> Result<Connection, String> {
    let mut connection = site.connect(Who::Admin, "http/1.1").await?;
    Request::get(path).send(&mut connection).await?;
    let mut head = [0; 512];
    connection.read(&mut head).await.map_err(|e| e.to_string())?;
    Ok(connection)
}

/// Lists of ten megabytes, read to the first half a kilobyte.
pub(super) async fn lists(site: &Site) -> Seen {
    fill(site, "large", OBJECTS, SIZE).await?;
    let readers = 60 * site.scale;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps?labelSelector=of%3Dlarge");
    let mut held = Vec::new();
    for _ in 0..readers {
        held.push(begin(site, &path).await?);
    }
    site.serves_admin().await?;
    tokio::time::sleep(PAUSE).await;
    site.serves().await?;
    // Who reads on gets everything.
    let mut rest = Vec::new();
    let last = held.pop().ok_or("no reader")?;
    let mut last = last;
    last.read_to_end(&mut rest).await.map_err(|e| e.to_string())?;
    drop(held);
    empty(site, "large").await?;
    match rest.len() > OBJECTS * SIZE {
        true => Ok(format!("{readers} readers; the one that went on got {} MiB", rest.len() >> 20)),
        false => Err(format!("a reader that paused got {} bytes", rest.len())),
    }
}

/// Watches whose events nobody takes.
pub(super) async fn watches(site: &Site) -> Seen {
    let watchers = 100 * site.scale;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps?watch=1&resourceVersion=0&timeoutSeconds=60");
    let mut held = Vec::new();
    fill(site, "small", 1, 10).await?;
    for _ in 0..watchers {
        held.push(begin(site, &path).await?);
    }
    // Much more than sockets hold.
    for _ in 0..site.scale {
        fill(site, "seen", 40, 200 << 10).await?;
        empty(site, "seen").await?;
    }
    site.serves_admin().await?;
    drop(held);
    empty(site, "small").await?;
    Ok(format!("{watchers} watchers, {} MiB of events each", 16 * site.scale))
}

/// Streams of one connection, as many as are allowed.
const STREAMS: usize = 250;
/// `SETTINGS_INITIAL_WINDOW_SIZE` of 0: nothing may be sent of any body.
const SHUT: &[u8] = &[0, 4, 0, 0, 0, 0];
/// How soon others are answered meanwhile.
const ANSWERED: Duration = Duration::from_secs(5);

/// The largest document in all its forms, on streams whose windows stay shut.
pub(super) async fn documents(site: &Site) -> Seen {
    let protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let forms: [&[(&str, &str)]; 3] = [&[("accept-encoding", "gzip")], &[], &[("accept", protobuf)]];
    let held = PAUSE * u32::try_from(1 + site.scale).unwrap_or(1).min(15);
    let connections = (0..4 * site.scale).map(|_| {
        let streams = numbers().zip(forms.iter().cycle()).take(STREAMS);
        let requests = streams.map(|(n, form)| {
            let headers = [&[("user-agent", "load")], *form].concat();
            frame(HEADERS, END_STREAM | END_HEADERS, n, &get("/openapi/v2", &headers))
        });
        talk(site, Who::Admin, SHUT, requests, held)
    });
    let others = async {
        let (begun, mut slowest) = (Instant::now(), Duration::ZERO);
        while begun.elapsed() < held {
            let asked = Instant::now();
            site.serves_admin().await?;
            slowest = slowest.max(asked.elapsed());
        }
        Ok::<_, String>(slowest)
    };
    let (heard, slowest) = futures::future::try_join(futures::future::try_join_all(connections), others).await?;
    let answers: usize = heard.iter().map(|heard| heard.answers).sum();
    match answers == heard.len() * STREAMS && slowest < ANSWERED {
        true => Ok(format!("{answers} readers; others waited {slowest:?} at most")),
        false => Err(format!("{heard:?}; others waited {slowest:?}")),
    }
}
