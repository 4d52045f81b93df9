//! HTTP/2 by hand: frames that no client library sends.

use super::http::Connection;
use super::site::{Site, Who};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RESET: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
/// How long a talk goes on at most.
const LIMIT: Duration = Duration::from_secs(60);

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are short").to_be_bytes();
    let mut out = length[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A header that is in no table, as it is.
pub(super) fn header(name: &str, value: &str) -> Vec<u8> {
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

/// The headers of a request, `more` among them.
pub(super) fn get(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let headers = [(":method", "GET"), (":scheme", "https"), (":path", path), (":authority", "load")];
    headers.iter().chain(more).flat_map(|(name, value)| header(name, value)).collect()
}

/// What the server did on a connection.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) answers: usize,
    pub(super) resets: usize,
    pub(super) goaway: bool,
    pub(super) closed: bool,
}

/// Sends frames until all are sent or the server closes, hearing what it says, and then for a while.
pub(super) async fn talk(
    site: &Site,
    who: Who,
    settings: &[u8],
    pieces: impl Iterator<Item = Vec<u8>>,
    wait: Duration,
) -> Result<Heard, String> {
    let connection = site.connect(who, "h2").await?;
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
pub(super) fn numbers() -> impl Iterator<Item = u32> {
    (0..).map(|n| 2 * n + 1)
}
