//! A kubelet that only pretends: logs, commands and ports that echo.

use super::{client_tls, soon};
use crate::server::body::BoxError;
use crate::spdy::{Connection, Incoming};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming as RequestBody};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;

type Body = UnsyncBoxBody<Bytes, BoxError>;

/// The listening end, and what tests look at.
pub(super) struct Kubelet {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    follower: Mutex<Option<mpsc::Sender<Bytes>>>,
    followed: Notify,
    hung_up: Notify,
}

impl Kubelet {
    pub(super) async fn start(dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shared) = (listener.local_addr().unwrap(), Arc::new(Shared::default()));
        let tls = TlsAcceptor::from(Arc::new(server_tls(dir)));
        let accepting = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, shared) = (tls.clone(), accepting.clone());
                tokio::spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let service = service_fn(move |request| answer(shared.clone(), request));
                    let serving =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    let _ = serving.with_upgrades().await;
                });
            }
        });
        Kubelet { address, shared }
    }

    /// Adds to the log that is followed.
    pub(super) async fn write(&self, line: &str) {
        let sender = loop {
            if let Some(sender) = self.shared.follower.lock().await.clone() {
                break sender;
            }
            soon(self.shared.followed.notified()).await;
        };
        sender.send(Bytes::copy_from_slice(line.as_bytes())).await.unwrap();
    }

    /// Nobody follows the log any more.
    pub(super) async fn unfollowed(&self) {
        let sender = self.shared.follower.lock().await.clone().unwrap();
        sender.closed().await;
    }

    /// A stream's other end went away.
    pub(super) async fn hung_up(&self) {
        self.shared.hung_up.notified().await;
    }
}

/// Only the authority's clients are let in.
fn server_tls(dir: &Path) -> rustls::ServerConfig {
    // Also proves that the client's own material is sound.
    let _ = client_tls(dir);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca.crt")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().unwrap();
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![CertificateDer::from_pem_file(dir.join("server.crt")).unwrap()],
            PrivateKeyDer::from_pem_file(dir.join("server.key")).unwrap(),
        )
        .unwrap()
}

async fn answer(shared: Arc<Shared>, request: Request<RequestBody>) -> Result<Response<Body>, Infallible> {
    let path = request.uri().path().to_owned();
    let query = request.uri().query().unwrap_or_default().to_owned();
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    Ok(match parts.as_slice() {
        ["containerLogs", _, pod, "waiting"] => {
            text(400, format!("container \"waiting\" in pod \"{pod}\" is waiting to start: ContainerCreating"))
        }
        ["containerLogs", _, _, "gone"] => text(404, "pod does not exist".to_owned()),
        ["containerLogs", ..] if query == "follow=true" => follow(&shared).await,
        ["containerLogs", namespace, pod, container] => {
            text(200, format!("log of {namespace}/{pod}/{container} {query}\n"))
        }
        ["exec", ..] if query.contains("command=refuse") => text(500, "container not found (\"main\")".to_owned()),
        ["exec" | "attach", ..] => upgrade(request, move |io| command(io, query, shared)),
        ["portForward", _, "web"] => upgrade(request, move |io| echo(io, shared)),
        ["portForward", ..] => upgrade(request, echo_ports),
        _ => text(404, "404 page not found".to_owned()),
    })
}

fn text(code: u16, text: String) -> Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}

async fn follow(shared: &Shared) -> Response<Body> {
    let (sender, lines) = mpsc::channel(4);
    *shared.follower.lock().await = Some(sender);
    shared.followed.notify_one();
    Response::new(StreamBody::new(ReceiverStream::new(lines).map(|line| Ok(Frame::data(line)))).boxed_unsync())
}

type Upgraded = TokioIo<hyper::upgrade::Upgraded>;

fn upgrade<F: Future<Output = ()> + Send + 'static>(
    mut request: Request<RequestBody>,
    serve: impl FnOnce(Upgraded) -> F + Send + 'static,
) -> Response<Body> {
    assert_eq!(request.headers()["upgrade"], "SPDY/3.1");
    assert_eq!(request.method(), "POST");
    let protocol = request.headers()["x-stream-protocol-version"].clone();
    let upgrading = hyper::upgrade::on(&mut request);
    tokio::spawn(async move { serve(TokioIo::new(upgrading.await.unwrap())).await });
    let mut response = text(200, String::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert("connection", "Upgrade".parse().unwrap());
    headers.insert("upgrade", "SPDY/3.1".parse().unwrap());
    headers.insert("x-stream-protocol-version", protocol);
    response
}

async fn echo(mut io: Upgraded, shared: Arc<Shared>) {
    let mut buffer = BytesMut::new();
    while io.read_buf(&mut buffer).await.is_ok_and(|n| n > 0) {
        io.write_all(&buffer.split()).await.unwrap();
    }
    shared.hung_up.notify_one();
}

/// Every connection to a port has two streams, of which one carries data.
async fn echo_ports(io: Upgraded) {
    let (_connection, mut streams) = Connection::server(io);
    while let Some(mut stream) = streams.recv().await {
        let kind = |kind: &str| stream.headers.iter().any(|(k, v)| k == "streamtype" && v == kind);
        if kind("error") {
            let _ = stream.writer.finish().await;
            continue;
        }
        tokio::spawn(async move {
            while let Some(bytes) = stream.reader.next().await {
                let _ = stream.writer.send(bytes).await;
            }
            let _ = stream.writer.finish().await;
        });
    }
}

/// `cat` echoes its input, and what it is told of the terminal; `exit` ends with the code it is given.
async fn command(io: Upgraded, query: String, shared: Arc<Shared>) {
    let (_connection, mut incoming) = Connection::server(io);
    let count = 1
        + ["input=1", "output=1", "tty=1"].iter().filter(|s| query.contains(*s)).count()
        + usize::from(query.contains("error=1") && !query.contains("tty=1"));
    let mut streams: Vec<Incoming> = Vec::new();
    while streams.len() < count {
        streams.push(soon(incoming.recv()).await.expect("a stream"));
    }
    let mut find = |kind: &str| {
        let at = streams.iter().position(|s| s.headers.iter().any(|(k, v)| k == "streamtype" && v == kind))?;
        Some(streams.swap_remove(at))
    };
    let (error, stdin, stdout, stderr) = (find("error").unwrap(), find("stdin"), find("stdout"), find("stderr"));
    for mut input in [find("resize"), stdin].into_iter().flatten() {
        let output = stdout.as_ref().unwrap().writer.clone();
        while let Some(bytes) = input.reader.next().await {
            if output.send(bytes).await.is_err() {
                break;
            }
        }
    }
    if let Some(stderr) = stderr {
        let _ = stderr.writer.send(Bytes::from_static(b"bye")).await;
    }
    let code = query.split('&').filter_map(|p| p.strip_prefix("command=")).nth(1).unwrap_or("0");
    let status = match code {
        "0" => r#"{"metadata":{},"status":"Success"}"#.to_owned(),
        code => format!(
            r#"{{"metadata":{{}},"status":"Failure","reason":"NonZeroExitCode","details":{{"causes":[{{"reason":"ExitCode","message":"{code}"}}]}}}}"#
        ),
    };
    let _ = error.writer.send(status.into()).await;
    shared.hung_up.notify_one();
    // The connection ends here, and with it all streams, as a container runtime ends them.
}
