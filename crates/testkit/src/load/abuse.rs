//! HTTP/2 used against the server.

use super::Seen;
use super::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Heard, PING, PREFACE, RESET, SETTINGS, frame, get, header,
    numbers, talk,
};
use super::site::{NAMESPACE, Site, Who};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

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
        [frame(HEADERS, END_STREAM | END_HEADERS, n, &get(&path, &[])), frame(RESET, 0, n, &8u32.to_be_bytes())]
            .concat()
    });
    ended("rapid resets", &talk(site, Who::Somebody, &[], pieces, Duration::from_secs(1)).await?)
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
    let heard = talk(site, Who::Somebody, &[], pieces, Duration::from_secs(3)).await?;
    match heard.resets >= 1_000 || heard.goaway || heard.closed {
        true => Ok(format!("{heard:?}")),
        false => Err(format!("all streams were taken: {heard:?}")),
    }
}

/// Headers that go on in frame after frame (CVE-2024-27316).
pub(super) async fn continuations(site: &Site) -> Seen {
    let first = frame(HEADERS, END_STREAM, 1, &get("/version", &[]));
    let more = header("x", &"y".repeat(8_000));
    let rest = std::iter::repeat_with(move || frame(CONTINUATION, 0, 1, &more)).take(10_000 * site.scale);
    ended(
        "continuations",
        &talk(site, Who::Somebody, &[], std::iter::once(first).chain(rest), Duration::from_secs(1)).await?,
    )
}
