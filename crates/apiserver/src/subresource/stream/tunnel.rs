//! Port-forwarding by WebSocket: binary messages carry the bytes of a SPDY connection to the kubelet.

use super::location::Location;
use super::proxy::refused;
use super::websocket::{self, Socket};
use super::{Connect, PROTOCOL_VERSION, failed, spawn, spdy_request, upgrade_of};
use crate::server::body::Response;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::StatusCode;
use http::header::UPGRADE;
use http::request::Parts;
use http_body_util::{BodyExt, Empty};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kaji_api::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;

/// Bytes of one message to the client, at most.
const PIECE: usize = 32 << 10;

/// Answers.
pub(super) async fn serve(connect: &Connect<'_>, location: Location, mut parts: Parts) -> Result<Response, Status> {
    let protocols: Vec<&str> = websocket::tunnelled(&parts.headers).collect();
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let request = spdy_request(&location, &protocols).map(|()| body);
    let answer = location.backend.send(connect.api, request).await;
    let mut answer = answer.map_err(|error| failed(format!("error dialing backend: {error}")))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(refused(answer));
    }
    let text = |name: &str| answer.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned();
    if !text(UPGRADE.as_str()).to_ascii_lowercase().contains("spdy/3.1") {
        return Err(failed("unable to upgrade: missing upgrade headers in response"));
    }
    let protocol = match text(PROTOCOL_VERSION).trim() {
        "" => String::new(),
        protocol => websocket::tunnel(protocol),
    };
    let response = websocket::accept(&parts.headers, &protocol)?;
    let client = upgrade_of(&mut parts)?;
    let backend = hyper::upgrade::on(&mut answer);
    spawn(connect.api, parts.extensions.remove(), async move {
        if let (Ok(client), Ok(backend)) = tokio::join!(websocket::open(client), backend) {
            copy(client, backend).await;
        }
    });
    Ok(response)
}

/// Copies both ways until either side ends.
async fn copy(client: Socket, backend: Upgraded) {
    let (mut sink, mut source) = client.split();
    let (mut read, mut write) = tokio::io::split(TokioIo::new(backend));
    let to_backend = async {
        while let Some(Ok(message)) = source.next().await {
            match message {
                Message::Binary(bytes) => {
                    write.write_all(&bytes).await.ok()?;
                    write.flush().await.ok()?;
                }
                // As upstream: a tunnel has no other kind of message.
                Message::Text(_) => return None,
                _ => {}
            }
        }
        Some(())
    };
    let to_client = async {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            if read.read_buf(&mut piece).await.ok()? == 0 {
                break;
            }
            sink.send(Message::Binary(piece.into())).await.ok()?;
        }
        let _ = sink.send(websocket::goodbye()).await;
        sink.close().await.ok()
    };
    tokio::select! {
        _ = to_backend => {}
        _ = to_client => {}
    }
    let _ = write.shutdown().await;
}
