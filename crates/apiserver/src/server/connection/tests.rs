use super::*;
use crate::tests::Server;
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;

const DOCUMENT: &str = "/openapi/v2";

/// A connection of an administrator, and the server's end of it at work.
fn connect(s: &Server) -> (DuplexStream, JoinHandle<()>) {
    let (client, server) = tokio::io::duplex(64 << 10);
    let certificate = CertificateDer::from_pem_file(s.dir.0.join("client.crt")).unwrap();
    let peer = Peer { address: ([127, 0, 0, 1], 1).into(), chain: Some(PeerCertificates::new(vec![certificate])) };
    (client, tokio::spawn(serve(s.api.clone(), server, peer)))
}

fn get(path: &str) -> http::Request<Empty<Bytes>> {
    http::Request::get(format!("http://localhost{path}")).body(Empty::new()).unwrap()
}

/// A server whose document is made: that takes real time.
async fn server() -> Server {
    let s = Server::start().await;
    s.get(DOCUMENT).await.ok();
    s
}

#[tokio::test]
async fn a_stream_that_nobody_reads_is_reset_and_others_go_on() {
    let s = server().await;
    let (client, _running) = connect(&s);
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.initial_stream_window_size(1000).timer(TokioTimer::new());
    let (mut sender, connection) = builder.handshake(TokioIo::new(client)).await.unwrap();
    tokio::spawn(connection);
    let unread = sender.send_request(get(DOCUMENT)).await.unwrap();
    assert_eq!(unread.status(), 200);
    let mut watch = sender.send_request(get("/api/v1/namespaces?watch=1")).await.unwrap();
    assert!(watch.frame().await.unwrap().is_ok());
    tokio::time::pause();
    tokio::time::sleep(STALLED + Duration::from_secs(1)).await;
    let broken = format!("{:?}", unread.into_body().collect().await.unwrap_err());
    assert!(broken.contains("Reset") && broken.contains("CANCEL"), "{broken}");
    let version = sender.send_request(get("/version")).await.unwrap().into_body().collect().await.unwrap();
    assert!(version.to_bytes().starts_with(b"{"));
    assert!(!watch.body().is_end_stream(), "it has nothing to say and waits for nobody");
}

#[tokio::test]
async fn a_connection_that_nobody_reads_is_cut() {
    let s = server().await;
    let (mut client, running) = connect(&s);
    client.write_all(format!("GET {DOCUMENT} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    let mut head = [0; 12];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    tokio::time::timeout(STALLED * 3, running).await.expect("it is cut").unwrap();
    let took = begun.elapsed();
    assert!((STALLED / 2..=STALLED * 2).contains(&took), "{took:?}");
}
