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

pub(super) fn client_tls(s: &Server, certificate: bool) -> rustls::ClientConfig {
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

/// A client certificate of an authority of its own, and that authority.
fn strangers(dir: &std::path::Path) {
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    let openssl = |arguments: String| super::harness::openssl(dir, &arguments);
    openssl(format!(
        "req -x509 {ec} -keyout other-ca.key -out other-ca.crt -subj /CN=other-ca -addext basicConstraints=critical,CA:TRUE"
    ));
    openssl(format!(
        "req -x509 {ec} -keyout client.key -out client.crt -subj /O=system:masters/CN=stranger -CA other-ca.crt -CAkey other-ca.key -addext basicConstraints=CA:FALSE -addext extendedKeyUsage=clientAuth"
    ));
}

async fn nodes(s: &Server, address: std::net::SocketAddr) -> Option<u16> {
    let tls = client_tls(s, true);
    let connector = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let uri = format!("https://localhost:{}/api/v1/nodes", address.port()).parse().unwrap();
    client.get(uri).await.ok().map(|answer| answer.status().as_u16())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_authorities_and_certificates_are_followed() {
    let s = Server::start().await;
    let listener = s.api.bind().await.unwrap();
    let address = listener.address();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let (api, shutdown) = (s.api.clone(), shutdown.clone());
        async move { api.serve_on(listener, shutdown).await }
    });
    assert_eq!(nodes(&s, address).await, Some(200));
    let client_ca = s.api.config().client_ca.clone();
    let former = std::fs::read_to_string(&client_ca).unwrap();
    strangers(&s.dir.0);
    assert_ne!(nodes(&s, address).await, Some(200), "a stranger");
    // An unusable file changes nothing. The file that clients trust stays as it was, hence the copy.
    let page = |well: &str| format!("kaji_config_reloads_total{{config=\"certificates\",status=\"{well}\"}}");
    let told = async |line: String| {
        let until = async {
            while !s.get("/metrics").await.text().contains(&line) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), until).await.unwrap_or_else(|_| panic!("no {line}"));
    };
    std::fs::write(&s.api.config().tls_cert, "nonsense").unwrap();
    told(page("failure")).await;
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    super::harness::openssl(
        &s.dir.0,
        &format!(
            "req -x509 {ec} -keyout server.key -out server.crt -subj /CN=renewed -CA ca.crt -CAkey ca.key -addext basicConstraints=CA:FALSE -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext extendedKeyUsage=serverAuth"
        ),
    );
    let other = std::fs::read_to_string(s.dir.0.join("other-ca.crt")).unwrap();
    std::fs::write(&client_ca, format!("{former}{other}")).unwrap();
    told(page("success")).await;
    let until = async {
        while nodes(&s, address).await != Some(200) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), until).await.expect("the new authority counts");
    shutdown.cancel();
    tokio::time::timeout(std::time::Duration::from_secs(20), serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn bad_serving_flags_stop_the_start() {
    for (chance, fine) in [(0.0, true), (0.02, true), (0.021, false), (-0.1, false)] {
        let serving = crate::config::Serving { goaway_chance: chance, ..Default::default() };
        assert_eq!(serving.validate().is_ok(), fine, "{chance}");
    }
    let s = Server::start_with(|config| config.serving.min_version = "VersionTLS9".to_owned()).await;
    let refused = s.api.bind().await.err().unwrap().to_string();
    assert_eq!(refused, "unknown tls version \"VersionTLS9\"");
}

/// A certificate of the server's authority, in `NAME.crt` and `NAME.key`.
fn issue(dir: &std::path::Path, name: &str, alternatives: &str) {
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    super::harness::openssl(
        dir,
        &format!(
            "req -x509 {ec} -keyout {name}.key -out {name}.crt -subj /CN={name} -CA ca.crt -CAkey ca.key -addext basicConstraints=CA:FALSE -addext subjectAltName={alternatives} -addext extendedKeyUsage=serverAuth"
        ),
    );
}

fn pair(dir: &std::path::Path, text: &str) -> crate::config::NamedPair {
    let pair: crate::config::NamedPair = text.parse().unwrap();
    crate::config::NamedPair { cert: dir.join(pair.cert), key: dir.join(pair.key), names: pair.names }
}

/// The certificate that a client is shown that asks for a name; none: the handshake fails.
async fn shown(s: &Server, address: std::net::SocketAddr, name: &str) -> Option<Vec<u8>> {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client_tls(s, false)));
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let stream = connector.connect(name, stream).await.ok()?;
    stream.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_shown_the_certificate_of_the_name_they_ask_for() {
    let s = Server::start_with(|config| {
        let dir = config.tls_cert.parent().unwrap().to_owned();
        issue(&dir, "first", "DNS:first.example,DNS:shared.example");
        issue(&dir, "second", "DNS:*.second.example,DNS:shared.example,IP:127.0.0.2");
        let texts = ["first.crt,first.key", "second.crt,second.key:*.second.example,127.0.0.2"];
        config.serving.named = texts.map(|text| pair(&dir, text)).into();
        config.bind = ([0, 0, 0, 0], 0).into();
    })
    .await;
    let listener = s.api.bind().await.unwrap();
    let port = listener.address().port();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let (api, shutdown) = (s.api.clone(), shutdown.clone());
        async move { api.serve_on(listener, shutdown).await }
    });
    let of = |name: &str| Some(CertificateDer::from_pem_file(s.dir.0.join(format!("{name}.crt"))).unwrap().to_vec());
    let (here, there) = (([127, 0, 0, 1], port).into(), ([127, 0, 0, 2], port).into());
    let table = [
        (here, "localhost", "server"),
        (here, "127.0.0.1", "server"),
        (here, "first.example", "first"),
        (here, "shared.example", "first"),
        (here, "x.second.example", "second"),
        (there, "127.0.0.2", "second"),
        (there, "first.example", "first"),
    ];
    for (address, name, file) in table {
        assert!(shown(&s, address, name).await == of(file), "{name} at {address}");
    }
    let told = async |well: &str| {
        let line = format!("kaji_config_reloads_total{{config=\"certificates\",status=\"{well}\"}}");
        let until = async {
            while !s.get("/metrics").await.text().contains(&line) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(20), until).await.unwrap_or_else(|_| panic!("no {line}"));
    };
    let before = of("first");
    std::fs::write(s.dir.0.join("first.crt"), "nonsense").unwrap();
    told("failure").await;
    assert!(shown(&s, here, "first.example").await == before, "the last good one stays");
    issue(&s.dir.0, "first", "DNS:renewed.example");
    told("success").await;
    let until = async {
        while shown(&s, here, "renewed.example").await != of("first") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), until).await.expect("the new certificate is shown");
    shutdown.cancel();
    tokio::time::timeout(std::time::Duration::from_secs(20), serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn unusable_certificates_for_names_stop_the_start() {
    let refused = async |cert: &'static str, key: &'static str| {
        let change = |config: &mut crate::Config| {
            let dir = config.tls_cert.parent().unwrap().to_owned();
            std::fs::write(dir.join("empty"), "").unwrap();
            config.serving.named = vec![pair(&dir, &format!("{cert},{key}"))];
        };
        let s = Server::start_with(change).await;
        let error = s.api.bind().await.err().unwrap().to_string();
        error.replace(&format!("{}/", s.dir.0.display()), "")
    };
    let absent = refused("absent.crt", "server.key").await;
    assert_eq!(absent, "could not read a certificate of --tls-sni-cert-key absent.crt");
    let empty = refused("empty", "server.key").await;
    assert_eq!(empty, "a certificate of --tls-sni-cert-key empty is unusable: it holds no certificate");
    let unfit = refused("server.crt", "client.key").await;
    let start = "a certificate of --tls-sni-cert-key server.crt is unusable: it does not go with the key in client.key";
    assert!(unfit.starts_with(start), "{unfit}");
}
