//! Over the network: TLS, HTTP/1.1 and HTTP/2, shutdown.

use super::Server;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

fn client_tls(s: &Server, certificate: bool) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(s.dir.0.join("ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    match certificate {
        false => builder.with_no_client_auth(),
        true => builder
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_file(s.dir.0.join("client.crt")).unwrap()],
                PrivateKeyDer::from_pem_file(s.dir.0.join("client.key")).unwrap(),
            )
            .unwrap(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_network_is_served_until_shutdown() {
    let s = Server::start().await;
    let listener = s.api.bind().await.unwrap();
    let address = listener.address();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let (api, shutdown) = (s.api.clone(), shutdown.clone());
        async move { api.serve_on(listener, shutdown).await }
    });
    for http2 in [false, true] {
        let connector = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(client_tls(&s, true)).https_only();
        let connector = if http2 { connector.enable_http2().build() } else { connector.enable_http1().build() };
        let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).http2_only(http2).build(connector);
        let uri = |path: &str| format!("https://localhost:{}{path}", address.port()).parse::<http::Uri>().unwrap();
        let answer = client.get(uri("/healthz")).await.unwrap();
        assert_eq!(answer.status(), 200);
        let version = if http2 { http::Version::HTTP_2 } else { http::Version::HTTP_11 };
        assert_eq!(answer.version(), version);
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "ok");
    }
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(client_tls(&s, false))
        .https_only()
        .enable_http1()
        .build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let uri = format!("https://localhost:{}/api/v1/namespaces", address.port()).parse().unwrap();
    let answer = client.get(uri).await.unwrap();
    assert_eq!(answer.status(), 401);
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&body).unwrap()["message"], "Unauthorized");
    shutdown.cancel();
    tokio::time::timeout(std::time::Duration::from_secs(20), serving).await.unwrap().unwrap();
}
