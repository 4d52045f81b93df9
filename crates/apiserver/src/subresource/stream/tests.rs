//! Streams through a whole server to a kubelet that only pretends.

mod kubectl;
mod kubelet;
mod proxying;

use super::PROTOCOL_VERSION;
use crate::spdy;
use crate::tests::Server;
use bytes::{Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use kubelet::Kubelet;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value as Json, json};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::sync::{CancellationToken, DropGuard};

const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// A server on the network, a node and its kubelet, and pods on it.
struct Stage {
    server: Server,
    kubelet: Kubelet,
    address: SocketAddr,
    _shutdown: DropGuard,
}

impl Stage {
    async fn set() -> Self {
        let server = Server::start_with(|c| c.admission.disabled = vec!["ServiceAccount".to_owned()]).await;
        server.post("/api/v1/namespaces", &json!({"metadata": {"name": "ns"}})).await.ok();
        let kubelet = Kubelet::start(&server.dir.0).await;
        server.post("/api/v1/nodes", &json!({"metadata": {"name": "n1"}})).await.ok();
        let status = json!({"status": {
            "addresses": [{"type": "Hostname", "address": "n1"}, {"type": "InternalIP", "address": "127.0.0.1"}],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.address.port()}}
        }});
        server.merge("/api/v1/nodes/n1/status", &status).await.ok();
        let listener = server.api.bind().await.unwrap();
        let (address, shutdown) = (listener.address(), CancellationToken::new());
        let (api, token) = (server.api.clone(), shutdown.clone());
        tokio::spawn(async move { api.serve_on(listener, token).await });
        let stage = Stage { server, kubelet, address, _shutdown: shutdown.drop_guard() };
        stage.pod("web", &["main"], "n1").await;
        stage
    }

    async fn pod(&self, name: &str, containers: &[&str], node: &str) {
        let containers: Vec<Json> = containers.iter().map(|c| json!({"name": c, "image": "i"})).collect();
        let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": containers}});
        if !node.is_empty() {
            pod["spec"]["nodeName"] = node.into();
        }
        self.server.post("/api/v1/namespaces/ns/pods", &pod).await.ok();
    }

    async fn connect(&self) -> TlsStream<TcpStream> {
        let tls = TlsConnector::from(Arc::new(client_tls(&self.server.dir.0)));
        let tcp = TcpStream::connect(self.address).await.unwrap();
        tls.connect(ServerName::try_from("localhost").unwrap(), tcp).await.unwrap()
    }

    /// A WebSocket, and the protocol that the server chose.
    async fn websocket(&self, path: &str, protocol: &str) -> (WebSocket, String) {
        let mut request = format!("wss://localhost{path}").into_client_request().unwrap();
        if !protocol.is_empty() {
            request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        let (socket, response) = soon(tokio_tungstenite::client_async(request, self.connect().await)).await.unwrap();
        let chosen = response.headers().get("sec-websocket-protocol").map(|v| v.to_str().unwrap().to_owned());
        (socket, chosen.unwrap_or_default())
    }

    /// An upgraded connection.
    async fn upgrade(&self, path: &str, protocol: &str) -> hyper::upgrade::Upgraded {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.connect().await)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let request = Request::post(path)
            .header("host", "localhost")
            .header("connection", "Upgrade")
            .header("upgrade", spdy::PROTOCOL)
            .header(PROTOCOL_VERSION, protocol)
            .body(Empty::<Bytes>::new())
            .unwrap();
        let mut response = soon(sender.send_request(request)).await.unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()[PROTOCOL_VERSION], protocol);
        soon(hyper::upgrade::on(&mut response)).await.unwrap()
    }
}

type WebSocket = tokio_tungstenite::WebSocketStream<TlsStream<TcpStream>>;

fn client_tls(dir: &Path) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.join("ca.crt")).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(dir.join("client.crt")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(dir.join("client.key")).unwrap();
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .unwrap()
}

/// What came on each channel until the server said goodbye.
async fn channels(socket: &mut WebSocket) -> [Vec<u8>; 5] {
    let mut all: [Vec<u8>; 5] = Default::default();
    while let Some(message) = soon(socket.next()).await {
        match message.unwrap() {
            Message::Binary(bytes) => all[usize::from(bytes[0])].extend_from_slice(&bytes[1..]),
            Message::Close(_) => break,
            _ => {}
        }
    }
    all
}

const POD: &str = "/api/v1/namespaces/ns/pods/web";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_come_from_the_kubelet() {
    let stage = Stage::set().await;
    let s = &stage.server;
    let answer = s.get(&format!("{POD}/log?tailLines=3&timestamps=true")).await;
    assert_eq!((answer.code, answer.text().as_str()), (200, "log of ns/web/main tailLines=3&timestamps=true\n"));
    assert_eq!(answer.headers["content-type"], "text/plain");
    let skipped = s.get(&format!("{POD}/log?insecureSkipTLSVerifyBackend=true")).await;
    assert_eq!(skipped.code, 200);
    assert_eq!(
        s.get(&format!("{POD}/log?tailLines=-1")).await.message(422),
        "PodLogOptions \"web\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0"
    );
    assert_eq!(s.get(&format!("{POD}/log?container=x")).await.message(400), "container x is not valid for pod web");
    assert_eq!(s.get("/api/v1/namespaces/ns/pods/no/log").await.message(404), "pods \"no\" not found");
    stage.pod("two", &["waiting", "b"], "n1").await;
    let two = "/api/v1/namespaces/ns/pods/two/log";
    assert_eq!(
        s.get(two).await.message(400),
        "a container name must be specified for pod two, choose one of: [waiting b]"
    );
    assert_eq!(
        s.get(&format!("{two}?container=waiting")).await.message(400),
        "container \"waiting\" in pod \"two\" is waiting to start: ContainerCreating"
    );
    stage.pod("missing", &["gone"], "n1").await;
    assert_eq!(
        s.get("/api/v1/namespaces/ns/pods/missing/log").await.message(404),
        "the server could not find the requested resource ( pods/log missing)"
    );
    stage.pod("homeless", &["a"], "").await;
    assert_eq!(s.get("/api/v1/namespaces/ns/pods/homeless/log").await.code, 204);
    stage.pod("lost", &["a"], "n2").await;
    assert_eq!(s.get("/api/v1/namespaces/ns/pods/lost/log").await.message(404), "nodes \"n2\" not found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_followed() {
    let stage = Stage::set().await;
    let request = crate::tests::request("GET", &format!("{POD}/log?follow=true"), &[], b"");
    let mut body = stage.server.raw(request).await.into_body();
    for line in ["first\n", "second\n"] {
        stage.kubelet.write(line).await;
        assert_eq!(soon(body.frame()).await.unwrap().unwrap().into_data().unwrap(), line);
    }
    drop(body);
    soon(stage.kubelet.unfollowed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_come_by_websocket() {
    let stage = Stage::set().await;
    let (mut socket, protocol) = stage.websocket(&format!("{POD}/log"), "binary.k8s.io").await;
    assert_eq!(protocol, "binary.k8s.io");
    let mut all = Vec::new();
    while let Some(Ok(Message::Binary(bytes))) = soon(socket.next()).await {
        all.extend_from_slice(&bytes);
    }
    assert_eq!(all, b"log of ns/web/main \n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_run_by_websocket() {
    let stage = Stage::set().await;
    let path = format!("{POD}/exec?command=cat&stdin=true&stdout=true&stderr=true");
    let (mut socket, protocol) = stage.websocket(&path, "v5.channel.k8s.io").await;
    assert_eq!(protocol, "v5.channel.k8s.io");
    let hello = soon(socket.next()).await.unwrap().unwrap();
    assert_eq!(hello, Message::Binary(Bytes::from_static(&[1])));
    socket.send(Message::Binary(Bytes::from_static(b"\0hello"))).await.unwrap();
    assert_eq!(soon(socket.next()).await.unwrap().unwrap(), Message::Binary(Bytes::from_static(b"\x01hello")));
    socket.send(Message::Binary(Bytes::from_static(&[255, 0]))).await.unwrap();
    let [_, stdout, stderr, status, _] = channels(&mut socket).await;
    assert_eq!((stdout.as_slice(), stderr.as_slice()), (&b""[..], &b"bye"[..]));
    assert_eq!(serde_json::from_slice::<Json>(&status).unwrap(), json!({"metadata": {}, "status": "Success"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_tell_how_they_ended() {
    let stage = Stage::set().await;
    let (mut socket, protocol) =
        stage.websocket(&format!("{POD}/exec?command=exit&command=3&stdout=true"), "v4.channel.k8s.io").await;
    assert_eq!(protocol, "v4.channel.k8s.io");
    let [_, stdout, _, status, _] = channels(&mut socket).await;
    assert_eq!(stdout, b"");
    let status: Json = serde_json::from_slice(&status).unwrap();
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"], json!([{"reason": "ExitCode", "message": "3"}]));
    // Before version 4 success was not told; whoever names no protocol gets the first.
    for protocol in ["channel.k8s.io", ""] {
        let (mut socket, chosen) =
            stage.websocket(&format!("{POD}/exec?command=exit&command=0&stdout=true"), protocol).await;
        assert_eq!(chosen, protocol);
        assert_eq!(channels(&mut socket).await[3], b"");
    }
    let (mut socket, _) = stage.websocket(&format!("{POD}/exec?command=refuse&stdout=true"), "v5.channel.k8s.io").await;
    let status: Json = serde_json::from_slice(&channels(&mut socket).await[3]).unwrap();
    assert_eq!(
        status["message"],
        "Internal error occurred: unable to upgrade connection: container not found (\"main\")"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn terminals_are_resized() {
    let stage = Stage::set().await;
    let path = format!("{POD}/attach?stdin=true&stdout=true&stderr=true&tty=true");
    let (mut socket, _) = stage.websocket(&path, "v5.channel.k8s.io").await;
    socket.send(Message::Binary(Bytes::from_static(b"\x04{\"Width\":80}"))).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"{\"Width\":80}") {
        let Message::Binary(bytes) = soon(socket.next()).await.unwrap().unwrap() else { panic!("bytes") };
        assert_eq!(bytes[0], 1);
        seen.extend_from_slice(&bytes[1..]);
    }
    drop(socket);
    soon(stage.kubelet.hung_up()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spdy_passes_through() {
    let stage = Stage::set().await;
    let path = format!("{POD}/exec?command=cat&stdin=true&stdout=true");
    let upgraded = stage.upgrade(&path, "v4.channel.k8s.io").await;
    let connection = spdy::Connection::client(TokioIo::new(upgraded));
    let (mut error, _) = connection.open(&[("streamType", "error")]).await.unwrap();
    let (_stdin, input) = connection.open(&[("streamType", "stdin")]).await.unwrap();
    let (mut stdout, _) = connection.open(&[("streamType", "stdout")]).await.unwrap();
    let sent: Bytes = vec![b'x'; 1 << 20].into();
    let sending = async {
        input.send(sent.clone()).await.unwrap();
        input.finish().await.unwrap();
    };
    let receiving = async {
        let mut all = BytesMut::new();
        while let Some(bytes) = stdout.next().await {
            all.extend_from_slice(&bytes);
        }
        all.freeze()
    };
    let ((), received) = soon(async { tokio::join!(sending, receiving) }).await;
    assert_eq!(received, sent);
    let status = soon(error.next()).await.unwrap();
    assert_eq!(serde_json::from_slice::<Json>(&status).unwrap()["status"], "Success");
    let refused = stage.server.post(&format!("{POD}/exec?command=cat"), &json!({})).await;
    assert_eq!(refused.message(400), "Upgrade request required");
    let dry = stage.server.post(&format!("{POD}/exec?dryRun=All"), &json!({})).await;
    assert_eq!(dry.message(400), "dryRun is not supported");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ports_are_forwarded() {
    let stage = Stage::set().await;
    let path = format!("{POD}/portforward");
    let mut raw = TokioIo::new(stage.upgrade(&path, "portforward.k8s.io").await);
    raw.write_all(b"ping").await.unwrap();
    let mut echo = [0; 4];
    soon(raw.read_exact(&mut echo)).await.unwrap();
    assert_eq!(&echo, b"ping");
    let (mut socket, protocol) = stage.websocket(&path, "SPDY/3.1+portforward.k8s.io").await;
    assert_eq!(protocol, "SPDY/3.1+portforward.k8s.io");
    for word in ["one", "two"] {
        socket.send(Message::Binary(word.as_bytes().to_vec().into())).await.unwrap();
        let Message::Binary(bytes) = soon(socket.next()).await.unwrap().unwrap() else { panic!("bytes") };
        assert_eq!(bytes, word);
    }
    drop(socket);
    soon(stage.kubelet.hung_up()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_is_not_enough_to_run_commands() {
    let stage = Stage::set().await;
    let s = &stage.server;
    let role = json!({"metadata": {"name": "reads"}, "rules": [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["get"]}]});
    s.post("/apis/rbac.authorization.k8s.io/v1/clusterroles", &role).await.ok();
    let binding = json!({
        "metadata": {"name": "reads"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reads"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}]
    });
    s.post("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await.ok();
    let jane = s.as_user("jane", &["system:authenticated"]);
    let request = crate::tests::request("GET", &format!("{POD}/exec?command=cat"), &[], b"");
    let answer = crate::tests::answer(crate::tests::ask(&jane, request).await).await;
    let message = answer.message(403);
    assert!(message.starts_with("pods \"web\" is forbidden"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_keep_away_from_the_server_itself() {
    let stage = Stage::set().await;
    let s = &stage.server;
    let status = json!({"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}});
    s.merge(&format!("{POD}/status"), &status).await.ok();
    assert_eq!(s.get(&format!("{POD}/proxy/")).await.message(400), "address not allowed");
    assert_eq!(s.get("/api/v1/nodes/n1/proxy/metrics").await.message(400), "address not allowed");
    assert_eq!(
        s.get("/api/v1/namespaces/ns/pods/ftp:web:1/proxy/").await.message(400),
        "invalid pod request \"ftp:web:1\""
    );
    let service = json!({"metadata": {"name": "svc"}, "spec": {"ports": [{"port": 80}]}});
    s.post("/api/v1/namespaces/ns/services", &service).await.ok();
    let path = "/api/v1/namespaces/ns/services";
    assert_eq!(
        s.get(&format!("{path}/svc:80/proxy/")).await.message(503),
        "no endpoints available for service \"svc:80\""
    );
    assert_eq!(
        s.get(&format!("{path}/svc:81/proxy/")).await.message(503),
        "no service port 81 found for service \"svc\""
    );
}
