//! The listener: TCP, TLS with optional client certificates, HTTP/1.1 and HTTP/2, graceful end.

use super::body::Response;
use super::gather::Gathered;
use super::tls::{self, Tls};
use super::{Api, StartError};
use crate::authn::PeerCertificates;
use crate::pipeline;
use crate::reload;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take for the handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long requests at work get at shutdown.
const GRACE: Duration = Duration::from_secs(10);
const MAX_CONNECTIONS: usize = 16_384;
const MAX_STREAMS: u32 = 250;
/// What Go's server takes, and upstream with it.
const MAX_HEADERS: usize = 1 << 20;
/// How long nothing is accepted when there are no descriptors or buffers left: until running connections end, the next
/// attempt would fail at once again.
const BREATH: Duration = Duration::from_millis(50);

/// Why serving ended early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The certificates cannot be used together.
    #[error("could not set up TLS")]
    Tls(#[source] rustls::Error),
    /// Start-up failed.
    #[error(transparent)]
    Start(#[from] StartError),
}

/// A bound socket that serves when told to.
pub struct Listener {
    tcp: TcpListener,
    tls: Arc<Tls>,
}

impl Listener {
    /// Where it listens; the port is the real one.
    pub fn address(&self) -> SocketAddr {
        self.tcp.local_addr().expect("a bound socket has an address")
    }
}

impl Api {
    /// Binds the configured address.
    pub async fn bind(&self) -> Result<Listener, ServeError> {
        let address = self.config().bind;
        let tls = Arc::new(Tls::new(self)?);
        let tcp = TcpListener::bind(address).await.map_err(|cause| StartError::Listen { address, cause })?;
        Ok(Listener { tcp, tls })
    }

    /// Listens and answers until `shutdown`; then ends watches, lets the rest finish, and returns.
    pub fn serve(&self, shutdown: CancellationToken) -> BoxFuture<'_, Result<(), ServeError>> {
        Box::pin(async move {
            let listener = self.bind().await?;
            self.serve_on(listener, shutdown).await;
            Ok(())
        })
    }

    /// Answers on a bound socket until `shutdown`.
    pub fn serve_on(&self, listener: Listener, shutdown: CancellationToken) -> BoxFuture<'_, ()> {
        Box::pin(self.accept(listener, shutdown))
    }

    async fn accept(&self, listener: Listener, shutdown: CancellationToken) {
        let connections = TaskTracker::new();
        let room = Arc::new(Semaphore::new(room()));
        tracing::info!(address = %listener.address(), "serving");
        if self.config().bind.port() == 0 {
            // Only now is it known which port pods reach this server at.
            let published = crate::bootstrap::publish(self, listener.address().port()).await;
            if let Err(error) = published {
                tracing::error!(%error, "could not publish the address of this server");
            }
        }
        let (api, tls) = (self.clone(), listener.tls.clone());
        tokio::spawn(reload::watch(tls::files(self), self.stopped().clone(), move || tls.reload(&api)));
        loop {
            let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = listener.tcp.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = connection(self.clone(), listener.tls.current(), stream, peer);
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    tokio::time::sleep(BREATH).await;
                }
            }
        }
        drop(listener);
        self.stopping().cancel();
        connections.close();
        if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
            tracing::warn!(open = connections.len(), "connections left open at shutdown");
        }
        self.stop();
        self.close_audit().await;
    }
}

/// How many connections are open at once: of the files that this process may have open, a quarter is left for all else.
fn room() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    (files - files / 4).clamp(1, MAX_CONNECTIONS)
}

async fn connection(api: Api, tls: Arc<ServerConfig>, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let stream = match tokio::time::timeout(PATIENCE, TlsAcceptor::from(tls).accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%peer, %error, "TLS handshake failed"),
        Err(_) => return tracing::debug!(%peer, "TLS handshake took too long"),
    };
    let chain = stream.get_ref().1.peer_certificates().map(|c| PeerCertificates(Arc::new(c.to_vec())));
    let stopping = api.stopping().clone();
    let max_streams = match api.config().serving.max_streams {
        0 => MAX_STREAMS,
        asked => asked,
    };
    let goaway = CancellationToken::new();
    let told = goaway.clone();
    let service = service_fn(move |request| answer(api.clone(), request, peer, chain.clone(), goaway.clone()));
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE * 3).max_buf_size(MAX_HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(4 << 20)
        .max_concurrent_streams(max_streams)
        .max_header_list_size(MAX_HEADERS as u32)
        .max_pending_accept_reset_streams(20)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15));
    let serve = |stream| Box::pin(builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned());
    let mut serving = Gathered::new(stream, serve);
    let ended = tokio::select! {
        ended = &mut serving => ended,
        () = stopping.cancelled() => {
            serving.connection().as_mut().graceful_shutdown();
            serving.await
        }
        () = told.cancelled() => {
            serving.connection().as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, error, "connection ended");
    }
}

async fn answer(
    api: Api,
    request: http::Request<Incoming>,
    peer: SocketAddr,
    chain: Option<PeerCertificates>,
    goaway: CancellationToken,
) -> Result<Response, Infallible> {
    let chance = api.config().serving.goaway_chance;
    if chance > 0.0 && request.version() == http::Version::HTTP_2 && super::fraction() < chance {
        // What runs on this connection goes on; new requests come over another, perhaps to another server.
        goaway.cancel();
    }
    let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
    request.extensions_mut().insert(peer);
    if let Some(chain) = chain {
        request.extensions_mut().insert(chain);
    }
    Ok(pipeline::serve(&api, request).await)
}
