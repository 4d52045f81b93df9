//! A server of others on loopback, over TLS: what webhooks and aggregated API servers are to this one.

use crate::authn::PeerCertificates;
use base64::prelude::*;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use kaji_pki::{Authority, Certificate, Subject, Usage};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use serde_json::{Value as Json, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

pub(crate) type Answer = http::Response<Full<Bytes>>;
type Handler = Arc<dyn Fn(http::Request<Bytes>) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A running server; ends when dropped.
pub(crate) struct Extension {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    pub(crate) connections: Arc<AtomicUsize>,
    _running: JoinSet<()>,
}

impl Extension {
    /// Answers under the names `localhost`, `hook.ns.svc` and 127.0.0.1.
    pub(crate) async fn start<F>(handler: F) -> Self
    where
        F: Fn(http::Request<Bytes>) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
    {
        Self::start_asking(false, handler).await
    }

    /// The same; it may ask for certificates of its own authority, too, but takes clients without.
    pub(crate) async fn start_asking<F>(for_certificates: bool, handler: F) -> Self
    where
        F: Fn(http::Request<Bytes>) -> BoxFuture<'static, Answer> + Send + Sync + 'static,
    {
        let authority = Authority::generate("extension-ca", Duration::from_secs(3600)).unwrap();
        let certificate = Certificate {
            subject: Subject::new("hook", &[]),
            dns: vec!["localhost".to_owned(), "hook.ns.svc".to_owned()],
            ips: vec![[127, 0, 0, 1].into()],
            usage: Usage::Server,
            lifetime: Duration::from_secs(1800),
        };
        let (chain, key) = authority.issue_with_key(&certificate).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap()).unwrap();
        let clients = match for_certificates {
            true => WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
                .allow_unauthenticated()
                .build()
                .unwrap(),
            false => WebPkiClientVerifier::no_client_auth(),
        };
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap(),
            )
            .unwrap();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let mut running = JoinSet::new();
        running.spawn(accept(listener, TlsAcceptor::from(Arc::new(tls)), Arc::new(handler), connections.clone()));
        Extension { address, authority, connections, _running: running }
    }

    pub(crate) fn ca_bundle(&self) -> String {
        BASE64_STANDARD.encode(self.authority.certificate_pem())
    }

    /// A `clientConfig` by URL.
    pub(crate) fn client_config(&self, path: &str) -> Json {
        json!({"url": format!("https://{}{path}", self.address), "caBundle": self.ca_bundle()})
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, handler: Handler, connections: Arc<AtomicUsize>) {
    let mut running = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (tls, handler) = (tls.clone(), handler.clone());
        connections.fetch_add(1, Ordering::Relaxed);
        running.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let chain = stream.get_ref().1.peer_certificates().map(|chain| PeerCertificates::new(chain.to_vec()));
            let service = service_fn(move |mut request| {
                if let Some(chain) = chain.clone() {
                    request.extensions_mut().insert(chain);
                }
                answer(handler.clone(), request)
            });
            let builder = auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(handler: Handler, request: http::Request<Incoming>) -> Result<Answer, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    Ok(handler(http::Request::from_parts(parts, body)).await)
}

/// An answer with a body.
pub(crate) fn reply(code: u16, body: impl Into<Bytes>) -> Answer {
    http::Response::builder()
        .status(code)
        .header("content-type", "application/json")
        .body(Full::new(body.into()))
        .unwrap()
}
