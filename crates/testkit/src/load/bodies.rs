//! Bodies that are too large, or never done.

use super::Seen;
use super::http::Request;
use super::site::{NAMESPACE, Site, Who};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;

const LIMIT: usize = 3 << 20;

fn all() -> String {
    format!("/api/v1/namespaces/{NAMESPACE}/configmaps")
}

/// 413 for a byte too much, in every verb; the limit itself is no offence.
pub(super) async fn large(site: &Site) -> Seen {
    let too_large = "Request entity too large: limit is 3145728";
    let body = vec![b' '; LIMIT + 1];
    let one = format!("{}/x", all());
    site.refuses("POST", &Request::post(&all(), body.clone()), 413, too_large).await?;
    site.refuses("PUT", &Request::new("PUT", &one, "application/json", body.clone()), 413, too_large).await?;
    for kind in ["json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"] {
        let path = format!("{one}?fieldManager=load");
        let request = Request::new("PATCH", &path, &format!("application/{kind}"), body.clone());
        site.refuses(kind, &request, 413, too_large).await?;
    }
    site.refuses("DELETE", &Request::new("DELETE", &one, "application/json", body), 413, too_large).await?;
    site.refuses("as large as may be", &Request::post(&all(), vec![b' '; LIMIT]), 400, "").await?;
    // What fits in a request is still too large for the store.
    let data = format!(r#"{{"metadata":{{"name":"x"}},"data":{{"a":"{}"}}}}"#, "x".repeat(2 << 20));
    site.refuses("too long for a config map", &Request::post(&all(), data), 422, "Too long").await?;
    Ok("413 in every verb".to_owned())
}

/// Chunks that never end are answered with 413, too.
pub(super) async fn endless(site: &Site) -> Seen {
    let mut sent = 0;
    let mut connection = site.connect(Who::Somebody, "http/1.1").await?;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: load\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        all()
    );
    connection.write_all(head.as_bytes()).await.map_err(|e| e.to_string())?;
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let (mut read, mut write) = tokio::io::split(connection);
    let sending = async {
        // The server may close; it must not take more and more.
        while sent < 64 * LIMIT {
            if write.write_all(chunk.as_bytes()).await.is_err() {
                std::future::pending::<()>().await;
            }
            sent += 0x10000;
        }
    };
    let reading = async {
        let mut all = vec![0; 64 << 10];
        let n = tokio::io::AsyncReadExt::read(&mut read, &mut all).await.map_err(|e| e.to_string())?;
        Ok::<String, String>(String::from_utf8_lossy(&all[..n]).into_owned())
    };
    let answer = tokio::select! {
        answer = reading => answer?,
        () = sending => return Err("the server took everything and said nothing".to_owned()),
    };
    match answer.starts_with("HTTP/1.1 413") {
        true => Ok(format!("413 after {} MiB", sent >> 20)),
        false => Err(format!("answered with {answer}")),
    }
}

/// A request that is not done in time is given up, whatever still comes.
pub(super) async fn slow(site: &Site) -> Seen {
    let begun = Instant::now();
    let uploads = (0..50 * site.scale).map(|_| upload(site));
    let codes = futures::future::try_join_all(uploads).await?;
    let took = begun.elapsed();
    match codes.iter().all(|code| *code == 504) && took < Duration::from_secs(30) {
        true => Ok(format!("{} uploads got 504 after {took:?}", codes.len())),
        false => Err(format!("{codes:?} after {took:?}")),
    }
}

async fn upload(site: &Site) -> Result<u16, String> {
    let mut connection = site.connect(Who::Admin, "http/1.1").await?;
    let request = Request::post(&format!("{}?timeout=2s", all()), vec![b' '; 1000]);
    connection.write_all(request.head().as_bytes()).await.map_err(|e| e.to_string())?;
    let (mut read, mut write) = tokio::io::split(connection);
    let sending = async {
        let mut beat = tokio::time::interval(Duration::from_millis(100));
        for _ in 0..900 {
            beat.tick().await;
            if write.write_all(b" ").await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let reading = async {
        let mut head = [0; 64];
        tokio::io::AsyncReadExt::read_exact(&mut read, &mut head[..12]).await.map_err(|e| e.to_string())?;
        let code = String::from_utf8_lossy(&head[9..12]).parse();
        code.map_err(|_| format!("answered with {}", String::from_utf8_lossy(&head)))
    };
    tokio::select! {
        code = reading => code,
        () = sending => Err("unreachable: the upload goes on".to_owned()),
    }
}
