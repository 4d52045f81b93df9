//! Connections that are there and do nothing, or next to it.

use super::Seen;
use super::site::{Site, Who};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// So many at once, as far as this process may have files open.
fn many(site: &Site) -> usize {
    let open = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(65_536);
    let room = usize::try_from(open).unwrap_or(65_536).saturating_sub(200);
    (2_000 * site.scale).min(room)
}

/// A server that has given up on a silent client closes its connection.
const GIVEN_UP: Duration = Duration::from_secs(20);

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return true,
            Ok(_) => {}
        }
    }
}

/// Connections that send nothing: others are served, and they are closed in time.
pub(super) async fn silent(site: &Site) -> Seen {
    let mut held = Vec::new();
    for _ in 0..many(site) {
        held.push(site.dial().await?);
    }
    site.serves_admin().await?;
    site.serves().await?;
    let count = held.len();
    let closed = held
        .iter_mut()
        .map(|stream| async move { tokio::time::timeout(GIVEN_UP, is_closed(stream)).await.unwrap_or(false) });
    let left = futures::future::join_all(closed).await.into_iter().filter(|closed| !closed).count();
    match left {
        0 => Ok(format!("{count} connections, all closed by the server")),
        left => Err(format!("{left} of {count} connections are still open")),
    }
}

/// A handshake at a byte a second.
pub(super) async fn slow(site: &Site) -> Seen {
    // The beginning of a handshake record that would be long.
    let hello: &[u8] = &[0x16, 0x03, 0x01, 0x40, 0x00, 0x01, 0x00, 0x3f, 0xfc, 0x03, 0x03];
    let one = |mut stream: TcpStream| async move {
        let (mut read, mut write) = stream.split();
        let sending = async {
            let mut beat = tokio::time::interval(Duration::from_secs(1));
            for byte in hello.iter().copied().chain(std::iter::repeat(0)) {
                beat.tick().await;
                if write.write_all(&[byte]).await.is_err() {
                    break;
                }
            }
        };
        let mut buffer = [0; 64];
        let closed = async { while read.read(&mut buffer).await.is_ok_and(|n| n > 0) {} };
        tokio::select! {
            () = sending => true,
            () = closed => true,
            () = tokio::time::sleep(GIVEN_UP) => false,
        }
    };
    let mut streams = Vec::new();
    for _ in 0..many(site) / 2 {
        streams.push(site.dial().await?);
    }
    let count = streams.len();
    let all = futures::future::join_all(streams.into_iter().map(one));
    let (ended, served) = tokio::join!(all, async {
        site.serves_admin().await?;
        site.serves().await
    });
    served?;
    match ended.iter().filter(|ended| !**ended).count() {
        0 => Ok(format!("{count} slow handshakes, all given up")),
        left => Err(format!("{left} of {count} slow handshakes still go on")),
    }
}

/// Whole handshakes, one after another by many at once, and nothing asked.
pub(super) async fn passing(site: &Site) -> Seen {
    let each = 20 * site.scale;
    let one = |_| async move {
        for _ in 0..each {
            drop(site.connect(Who::Admin, "h2").await?);
        }
        Ok::<(), String>(())
    };
    let (all, served) = tokio::join!(futures::future::try_join_all((0..20).map(one)), site.serves_admin());
    all?;
    served?;
    Ok(format!("{} handshakes", 20 * each))
}
