//! The HTTP requests of probes and lifecycle hooks: no pool, no certificate checks, redirects within the host.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::HTTPGetAction;
use rustls::pki_types::ServerName;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// More of an answer is not read.
const MAX_BODY: usize = 10 << 10;
const MAX_REDIRECTS: usize = 10;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    tls: bool,
    host: String,
    port: u16,
    path: String,
    headers: Vec<(String, String)>,
}

/// An answer.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) body: String,
    /// It points to another host, where it was not followed.
    pub(crate) redirected_away: bool,
}

impl Ask {
    /// From a pod's own words; the agent's headers where it sets none.
    pub(crate) fn of(action: &HTTPGetAction, ip: &str, port: u16, agent: &str) -> Self {
        let path = action.path.clone().unwrap_or_default();
        let mut headers: Vec<(String, String)> = Vec::new();
        for header in action.http_headers.iter().flatten() {
            headers.push((header.name.clone(), header.value.clone()));
        }
        for (name, value) in [("User-Agent", agent), ("Accept", "*/*")] {
            if !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        // An empty value means: do not send it.
        headers.retain(|(name, value)| {
            !(value.is_empty() && (name.eq_ignore_ascii_case("user-agent") || name.eq_ignore_ascii_case("accept")))
        });
        Ask {
            tls: action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            host: action.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| ip.to_owned()),
            port,
            path: if path.starts_with('/') { path } else { format!("/{path}") },
            headers,
        }
    }

    /// The same over plain HTTP.
    pub(crate) fn without_tls(&self) -> Self {
        Ask { tls: false, ..self.clone() }
    }

    /// Whether it goes over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls
    }

    fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }

    fn url(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority(), self.path)
    }
}

/// Connects; the error reads as Go's.
pub(crate) async fn connect(host: &str, port: u16, timeout: Duration) -> Result<TcpStream, String> {
    let shown = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    match tokio::time::timeout(timeout, TcpStream::connect((host, port))).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(format!("dial tcp {shown}: connect: {}", words(&error))),
        Err(_) => Err(format!("dial tcp {shown}: i/o timeout")),
    }
}

fn words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        std::io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        std::io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}

/// Asks, following redirects within the host.
pub(crate) async fn get(ask: &Ask, timeout: Duration) -> Result<Answered, String> {
    let work = async {
        let mut ask = ask.clone();
        for _ in 0..=MAX_REDIRECTS {
            let (mut answered, location) = once(&ask, timeout).await?;
            let Some(location) = location.filter(|_| (300..400).contains(&answered.status)) else {
                return Ok(answered);
            };
            match redirect(&ask, &location) {
                Some(next) => ask = next,
                None => {
                    answered.redirected_away = true;
                    return Ok(answered);
                }
            }
        }
        Err(format!("Get {:?}: stopped after {MAX_REDIRECTS} redirects", ask.url()))
    };
    match tokio::time::timeout(timeout, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(format!(
            "Get {:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
            ask.url()
        )),
    }
}

/// Where a redirect leads, if it stays on the host.
fn redirect(ask: &Ask, location: &str) -> Option<Ask> {
    if location.starts_with('/') && !location.starts_with("//") {
        return Some(Ask { path: location.to_owned(), ..ask.clone() });
    }
    let uri: http::Uri = location.parse().ok()?;
    let tls = uri.scheme_str()? == "https";
    let host = uri.host()?.trim_matches(['[', ']']).to_owned();
    (host == ask.host).then(|| Ask {
        tls,
        host,
        port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
        path: uri.path_and_query().map_or_else(|| "/".to_owned(), |path| path.to_string()),
        headers: ask.headers.clone(),
    })
}

async fn once(ask: &Ask, timeout: Duration) -> Result<(Answered, Option<String>), String> {
    let failed = |why: String| format!("Get {:?}: {why}", ask.url());
    let stream = connect(&ask.host, ask.port, timeout).await.map_err(failed)?;
    if !ask.tls {
        return exchange(ask, stream).await.map_err(failed);
    }
    let name = ServerName::try_from(ask.host.clone()).map_err(|error| failed(error.to_string()))?;
    let stream = tokio_rustls::TlsConnector::from(client()).connect(name, stream).await;
    let stream = stream.map_err(|error| match error.to_string() {
        text if text.contains("InvalidContentType") || text.contains("corrupt message") => {
            failed("http: server gave HTTP response to HTTPS client".to_owned())
        }
        text => failed(text),
    })?;
    exchange(ask, stream).await.map_err(failed)
}

async fn exchange<S>(ask: &Ask, stream: S) -> Result<(Answered, Option<String>), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let text = |error: hyper::Error| {
        if error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() }
    };
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(text)?;
    let connection = tokio::spawn(connection);
    let mut request = http::Request::builder().uri(&ask.path).header("Connection", "close");
    if !ask.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        request = request.header("Host", ask.authority());
    }
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    let answer = sender.send_request(request).await.map_err(text)?;
    let status = answer.status().as_u16();
    let location = answer.headers().get("Location").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let body = Limited::new(answer.into_body(), MAX_BODY).collect().await;
    let body = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default();
    connection.abort();
    Ok((Answered { status, body, redirected_away: false }, location))
}

/// Pods' certificates are their own affair: none is checked.
fn client() -> Arc<rustls::ClientConfig> {
    static CLIENT: OnceLock<Arc<rustls::ClientConfig>> = OnceLock::new();
    CLIENT.get_or_init(|| Arc::new(unverified())).clone()
}

fn unverified() -> rustls::ClientConfig {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth()
}

#[derive(Debug)]
struct AnyCertificate(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &rustls::pki_types::CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
