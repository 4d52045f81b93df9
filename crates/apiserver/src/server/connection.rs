//! One connection: HTTP/1.1 or HTTP/2, until either side has enough.

use super::Api;
use super::body::{Body, Request};
use super::gather::Gathered;
use super::patience::{Outgoing, Streams, Turns, patient};
use crate::authn::PeerCertificates;
use crate::pipeline;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// How long a client may take for the head of a request.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a client may take nothing of an answer. (Upstream gives an answer as much time altogether.)
const STALLED: Duration = Duration::from_secs(60);
const MAX_STREAMS: u32 = 250;
/// What Go's server takes, and upstream with it.
const MAX_HEADERS: usize = 1 << 20;
/// The most of an answer that waits in a stream for the connection.
const MAX_SENDING: usize = 128 << 10;

/// Who is at the other end.
#[derive(Clone)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// Its certificates, if it has any.
    pub(super) chain: Option<PeerCertificates>,
}

/// Answers what comes over a connection.
pub(super) async fn serve<S>(api: Api, stream: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stopping = api.stopping().clone();
    let max_streams = match api.config().serving.max_streams {
        0 => MAX_STREAMS,
        asked => asked,
    };
    let (address, goaway) = (peer.address, CancellationToken::new());
    let told = goaway.clone();
    let service = service_fn(move |request| answer(api.clone(), request, peer.clone(), goaway.clone()));
    let mut builder = auto::Builder::new(Streams { patience: STALLED });
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE).max_buf_size(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(max_streams)
        .max_send_buf_size(MAX_SENDING)
        .max_header_list_size(MAX_HEADERS as u32)
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15));
    let turns = Turns::default();
    let serve = |stream| Box::pin(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned());
    let mut serving = Gathered::new(stream, turns.clone(), serve);
    let serving = async {
        tokio::select! {
            ended = &mut serving => return ended,
            () = stopping.cancelled() => {}
            () = told.cancelled() => {}
        }
        serving.connection().as_mut().graceful_shutdown();
        serving.await
    };
    match patient(serving, &turns, STALLED).await {
        Some(Ok(())) => {}
        Some(Err(error)) => tracing::debug!(peer = %address, error, "connection ended"),
        None => tracing::debug!(peer = %address, "connection cut: nothing of what is sent is taken"),
    }
}

async fn answer(
    api: Api,
    request: http::Request<Incoming>,
    peer: Peer,
    goaway: CancellationToken,
) -> Result<http::Response<Outgoing<Body>>, Infallible> {
    let chance = api.config().serving.goaway_chance;
    if chance > 0.0 && request.version() == http::Version::HTTP_2 && super::fraction() < chance {
        // What runs on this connection goes on; new requests come over another, perhaps to another server.
        goaway.cancel();
    }
    let mut request: Request = request.map(|body| body.map_err(Into::into).boxed_unsync());
    request.extensions_mut().insert(peer.address);
    if let Some(chain) = peer.chain {
        request.extensions_mut().insert(chain);
    }
    Ok(pipeline::serve(&api, request).await.map(Outgoing::new))
}

#[cfg(test)]
mod tests;
