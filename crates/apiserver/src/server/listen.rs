//! The listener: TCP, TLS with optional client certificates, graceful end.

use super::connection::{self, Peer};
use super::tls::{self, Tls};
use super::{Api, StartError};
use crate::authn::PeerCertificates;
use crate::reload;
use futures::future::BoxFuture;
use rustls::ServerConfig;
use rustls::server::Acceptor;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a client may take for either part of the handshake.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long requests at work get at shutdown.
const GRACE: Duration = Duration::from_secs(10);
const MAX_CONNECTIONS: usize = 16_384;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
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
        let tcp = listen(address, self.config().serving.share_port);
        let tcp = tcp.map_err(|cause| StartError::Listen { address, cause })?;
        Ok(Listener { tcp, tls })
    }

    /// Listens and answers until `shutdown`; then ends watches, lets the rest finish, and returns. Boxed for the reason
    /// that [`Api::start`] is.
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
        let (api, leave) = (self.clone(), CancellationToken::new());
        let (delay, left) = (self.config().serving.shutdown_delay, leave.clone());
        tokio::spawn(async move {
            shutdown.cancelled().await;
            // Others learn that it goes before it does.
            api.leave();
            tokio::time::sleep(delay).await;
            left.cancel();
        });
        loop {
            let permit = room.clone().acquire_owned().await.expect("the semaphore is never closed");
            let accepted = tokio::select! {
                () = leave.cancelled() => break,
                accepted = listener.tcp.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let tls = listener.tls.at(stream.local_addr().unwrap_or(self.config().bind).ip());
                    let connection = connection(self.clone(), tls, stream, peer);
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
        if timeout(GRACE, connections.wait()).await.is_err() {
            tracing::warn!(open = connections.len(), "connections left open at shutdown");
        }
        self.stop();
        tokio::join!(self.close_audit(), self.close_traces());
    }
}

fn listen(address: SocketAddr, share_port: bool) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(share_port)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// How many connections are open at once: of the files that this process may have open, a quarter is left for all else.
fn room() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let files = files.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX));
    (files - files / 4).clamp(1, MAX_CONNECTIONS)
}

async fn connection(api: Api, tls: Arc<ServerConfig>, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    match handshake(tls, stream).await {
        Ok(stream) => {
            let chain = stream.get_ref().1.peer_certificates().map(|c| PeerCertificates::new(c.to_vec()));
            connection::serve(api, stream, Peer { address: peer, chain }).await;
        }
        Err(error) => tracing::debug!(%peer, %error, "TLS handshake failed"),
    }
}

/// The client's first message, then the rest, each in time: who waited for a busy server has its time all the same.
async fn handshake(tls: Arc<ServerConfig>, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let begun = timeout(PATIENCE, LazyConfigAcceptor::new(Acceptor::default(), stream)).await??;
    timeout(PATIENCE, begun.into_stream(tls)).await?
}
