//! Reaching kubelets, pods and services: TCP, TLS by whom we trust, one HTTP/1.1 request per connection.

use crate::config::Config;
use crate::remote::resolve;
use crate::remote::tls::Anybody;
use crate::server::Api;
use crate::server::body::RequestBody;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long a connection may take to come about.
const PATIENCE: Duration = Duration::from_secs(30);

/// Somebody to ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Backend {
    /// Whether over TLS.
    pub(super) https: bool,
    /// Address or name.
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) trust: Trust,
}

/// Whose certificate is believed, and who we say we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// The authority of kubelets; we are the API server.
    Kubelet,
    /// Anybody's; we are the API server.
    KubeletUnverified,
    /// Anybody's; we are nobody.
    Anything,
}

/// Why nobody answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackendError {
    /// The address is not reached.
    #[error("dial tcp {address}: {cause}")]
    Dial { address: String, cause: std::io::Error },
    /// It takes too long.
    #[error("dial tcp {0}: i/o timeout")]
    Timeout(String),
    /// A file of the configuration cannot be read.
    #[error("could not read {path}: {cause}")]
    ReadFile { path: PathBuf, cause: std::io::Error },
    /// A file of the configuration holds something else.
    #[error("{path} is unusable: {why}")]
    BadFile { path: PathBuf, why: String },
    /// The name cannot stand in a certificate.
    #[error("{0} is no name for a certificate")]
    Name(String),
    /// Certificates do not convince.
    #[error("tls: {0}")]
    Tls(std::io::Error),
    /// The connection breaks before an answer.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// A connection, whatever is below.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Backend {
    /// Host and port, as in URLs.
    pub(super) fn authority(&self) -> String {
        resolve::authority(&self.host, self.port)
    }

    async fn connect(&self, config: &Config) -> Result<Box<dyn Io>, BackendError> {
        let address = self.authority();
        let tcp = TcpStream::connect((self.host.as_str(), self.port));
        let tcp = tcp.await.map_err(|cause| BackendError::Dial { address, cause })?;
        let _ = tcp.set_nodelay(true);
        if !self.https {
            return Ok(Box::new(tcp));
        }
        let tls = TlsConnector::from(Arc::new(self.trust.tls(config).await?));
        let name = ServerName::try_from(self.host.clone()).map_err(|_| BackendError::Name(self.host.clone()))?;
        Ok(Box::new(tls.connect(name, tcp).await.map_err(BackendError::Tls)?))
    }

    /// Asks, and waits for the head of the answer. Upgrades are possible.
    pub(super) async fn send(
        &self,
        api: &Api,
        request: Request<RequestBody>,
    ) -> Result<Response<Incoming>, BackendError> {
        let connecting = tokio::time::timeout(PATIENCE, self.connect(api.config()));
        let io = connecting.await.map_err(|_| BackendError::Timeout(self.authority()))??;
        let mut builder = hyper::client::conn::http1::Builder::new();
        let (mut sender, connection) = builder.preserve_header_case(true).handshake(TokioIo::new(io)).await?;
        // Ends with the answer's body, whoever drops it.
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "connection to a backend broke");
            }
        });
        Ok(sender.send_request(request).await?)
    }
}

impl Trust {
    /// Made anew for each connection, so that renewed certificates are used at once.
    async fn tls(self, config: &Config) -> Result<ClientConfig, BackendError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .expect("the provider speaks the default versions");
        let builder = match (self, &config.kubelets.authority) {
            (Trust::Kubelet, Some(authority)) => builder.with_root_certificates(roots(authority).await?),
            _ => builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider))),
        };
        let mut tls = match &config.kubelets.identity {
            Some((path, key_path)) if self != Trust::Anything => {
                let key = read(key_path).await?;
                let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| bad(key_path, &e))?;
                builder.with_client_auth_cert(certificates(path).await?, key).map_err(|e| bad(path, &e))?
            }
            _ => builder.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(tls)
    }
}

async fn roots(path: &Path) -> Result<RootCertStore, BackendError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(path).await?);
    Ok(roots)
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BackendError> {
    let pem = read(path).await?;
    CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().map_err(|e| bad(path, &e))
}

async fn read(path: &Path) -> Result<Vec<u8>, BackendError> {
    tokio::fs::read(path).await.map_err(|cause| BackendError::ReadFile { path: path.to_owned(), cause })
}

fn bad(path: &Path, why: &dyn std::fmt::Display) -> BackendError {
    BackendError::BadFile { path: path.to_owned(), why: why.to_string() }
}
