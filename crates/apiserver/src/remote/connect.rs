//! New connections for a pool: where to, TCP, TLS.

use super::tls::{self, Identity, Pem};
use super::{Peer, Place, RemoteError, User, resolve};
use crate::cache::Caches;
use crate::server::Api;
use futures::future::BoxFuture;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(30);

type Tcp = TokioIo<TcpStream>;

/// Connects to one peer, whatever the URI says.
#[derive(Clone)]
pub(super) struct Connector(Arc<Inner>);

struct Inner {
    peer: Arc<Peer>,
    caches: Arc<Caches>,
    /// The certificate of the API server, for peers that it identifies itself to.
    proxy: Option<Identity>,
    user: Option<Arc<User>>,
}

impl Connector {
    pub(super) fn new(api: &Api, peer: Arc<Peer>, user: Option<Arc<User>>) -> Self {
        let config = api.config();
        let files = config.proxy_client_cert.clone().zip(config.proxy_client_key.clone()).filter(|_| peer.identify);
        let proxy =
            files.map(|(certificate, key)| Identity { certificate: Pem::File(certificate), key: Pem::File(key) });
        Connector(Arc::new(Inner { peer, caches: api.caches().clone(), proxy, user }))
    }
}

impl tower::Service<http::Uri> for Connector {
    type Response = MaybeHttpsStream<Tcp>;
    type Error = RemoteError;
    type Future = BoxFuture<'static, Result<Self::Response, RemoteError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), RemoteError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(async move { inner.connect().await })
    }
}

impl Inner {
    async fn connect(&self) -> Result<MaybeHttpsStream<Tcp>, RemoteError> {
        let (host, port) = resolve::address(&self.caches, &self.peer.place).map_err(RemoteError::Resolve)?;
        let address = resolve::authority(&host, port);
        let late = || RemoteError::Dial { address: address.clone(), why: "i/o timeout".to_owned() };
        let connecting = tokio::time::timeout(PATIENCE, TcpStream::connect((host.as_str(), port)));
        let tcp = connecting.await.map_err(|_| late())?.map_err(|e| RemoteError::dial(address.clone(), &e))?;
        let _ = tcp.set_nodelay(true);
        let tcp = TokioIo::new(tcp);
        if matches!(self.peer.place, Place::Address { https: false, .. }) {
            return Ok(MaybeHttpsStream::Http(tcp));
        }
        let name = self.peer.server_name();
        let identity = self.user.as_ref().and_then(|user| user.identity()).or(self.proxy.as_ref());
        let tls = TlsConnector::from(Arc::new(tls::config(&self.peer, identity).await?));
        let wanted = ServerName::try_from(name.clone())
            .map_err(|_| RemoteError::Tls(format!("tls: {name} is no name for a certificate")))?;
        let shaking = tokio::time::timeout(PATIENCE, tls.connect(wanted, TokioIo::new(tcp)));
        let stream = shaking.await.map_err(|_| RemoteError::Tls("net/http: TLS handshake timeout".to_owned()))?;
        let stream = stream.map_err(|error| RemoteError::handshake(&name, &error))?;
        Ok(MaybeHttpsStream::Https(TokioIo::new(stream)))
    }
}
