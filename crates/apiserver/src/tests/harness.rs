//! Starting a server and asking it.

use crate::config::Limits;
use crate::server::body::Body;
use crate::server::{Api, Local};
use crate::{Config, UserInfo};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use kaji_store::Store;
use kaji_store::embedded::{Embedded, Options};
use serde_json::Value as Json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpSocket;
use tower::ServiceExt;

/// Nothing a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// A directory that goes with the test.
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("kaji-apiserver-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&path).unwrap();
        TempDir(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// An address that refuses connections as long as the socket is kept: it is taken, and nobody listens.
pub(crate) fn refusing() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

pub(crate) fn openssl(dir: &Path, arguments: &str) {
    let done = Command::new("openssl").current_dir(dir).args(arguments.split_whitespace()).output().unwrap();
    assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

/// An authority, a serving certificate and a client's, and the keys that the configuration names.
fn make_pki(dir: &Path) {
    let ec = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2";
    openssl(
        dir,
        &format!(
            "req -x509 {ec} -keyout ca.key -out ca.crt -subj /CN=test-ca -addext basicConstraints=critical,CA:TRUE"
        ),
    );
    openssl(
        dir,
        &format!(
            "req -x509 {ec} -keyout server.key -out server.crt -subj /CN=server -CA ca.crt -CAkey ca.key -addext basicConstraints=CA:FALSE -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext extendedKeyUsage=serverAuth"
        ),
    );
    openssl(
        dir,
        &format!(
            "req -x509 {ec} -keyout client.key -out client.crt -subj /O=system:masters/CN=admin -CA ca.crt -CAkey ca.key -addext basicConstraints=CA:FALSE -addext extendedKeyUsage=clientAuth"
        ),
    );
    openssl(dir, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out sa.key");
}

/// Secrets are sealed, as `kaji up` does it.
fn encryption(dir: &Path) -> crate::encryption::Options {
    let file = dir.join("encryption.yaml");
    let text = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources: [{resources: \
                [secrets], providers: [{secretbox: {keys: [{name: key1, secret: \
                AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=}]}}, {identity: {}}]}]\n";
    std::fs::write(&file, text).unwrap();
    crate::encryption::Options { provider_config: Some(file), ..crate::encryption::Options::default() }
}

fn config(dir: &Path) -> Config {
    Config {
        bind: ([127, 0, 0, 1], 0).into(),
        advertise_address: [127, 0, 0, 1].into(),
        tls_cert: dir.join("server.crt"),
        tls_key: dir.join("server.key"),
        client_ca: dir.join("ca.crt"),
        accounts: crate::config::Accounts::new(dir.join("sa.key")),
        service_range: "10.96.0.0/16".parse().unwrap(),
        node_ports: (30000, 32767),
        front_proxy: None,
        proxy_client_cert: None,
        proxy_client_key: None,
        kubelets: crate::config::Kubelets {
            identity: Some((dir.join("client.crt"), dir.join("client.key"))),
            authority: Some(dir.join("ca.crt")),
            address_types: Vec::new(),
        },
        runtime: crate::config::RuntimeConfig::default(),
        gates: kaji_api::feature::Gates::default(),
        bearers: crate::config::Bearers::default(),
        audit: crate::audit::Options::default(),
        serving: crate::config::Serving::default(),
        encryption: encryption(dir),
        admission: crate::admission::Options::default(),
        tracing: None,
        limits: Limits::default(),
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) api: Api,
    pub(crate) dir: TempDir,
    local: Local,
    /// Its own store; none: others use it, too.
    store: Option<Arc<Embedded>>,
}

/// What it said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body of a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Json {
        assert!((200..300).contains(&self.code), "{}: {}", self.code, self.text());
        self.json()
    }

    /// The `Status` of a failure with this code.
    #[track_caller]
    pub(crate) fn fails(self, code: u16) -> Json {
        assert_eq!(self.code, code, "{}", self.text());
        let status = self.json();
        assert_eq!(status["kind"], "Status");
        assert_eq!(status["code"], code);
        status
    }

    /// The message of a failure with this code.
    #[track_caller]
    pub(crate) fn message(self, code: u16) -> String {
        self.fails(code)["message"].as_str().unwrap().to_owned()
    }

    pub(crate) fn warnings(&self) -> Vec<String> {
        self.headers.get_all("warning").iter().map(|v| v.to_str().unwrap().to_owned()).collect()
    }
}

impl Server {
    /// A fresh server, asked by a member of `system:masters`.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = TempDir::new();
        make_pki(&dir.0);
        let mut config = config(&dir.0);
        change(&mut config);
        Self::open(dir, config).await
    }

    async fn open(dir: TempDir, config: Config) -> Self {
        let store = Embedded::open(&dir.0.join("store"), Options::default()).unwrap();
        // Something happened before the caches began, so that a watch can ask for what they never saw.
        for _ in 0..3 {
            let change = kaji_store::Change::Put("/registry/elsewhere/x".to_owned(), Bytes::new());
            store.commit(Vec::new(), vec![change]).await.unwrap();
        }
        let store = Arc::new(store);
        let server = Self::open_on(dir, config, store.clone()).await;
        Server { store: Some(store), ..server }
    }

    /// A server on a store that others may use, too.
    pub(crate) async fn start_on(store: Arc<dyn Store>, advertise_address: [u8; 4]) -> Self {
        Self::start_on_with(store, |config| config.advertise_address = advertise_address.into()).await
    }

    /// The same, with a changed configuration.
    pub(crate) async fn start_on_with(store: Arc<dyn Store>, change: impl FnOnce(&mut Config)) -> Self {
        let dir = TempDir::new();
        make_pki(&dir.0);
        let mut config = config(&dir.0);
        change(&mut config);
        Self::open_on(dir, config, store).await
    }

    async fn open_on(dir: TempDir, config: Config, store: Arc<dyn Store>) -> Self {
        let api = Api::start(config, store).await.unwrap_or_else(|e| panic!("{e}: {e:?}"));
        let local = api.local(UserInfo::system());
        Server { api, dir, local, store: None }
    }

    /// Why a server does not start.
    pub(crate) async fn refused(change: impl FnOnce(&mut Config)) -> String {
        let dir = TempDir::new();
        make_pki(&dir.0);
        let mut config = config(&dir.0);
        change(&mut config);
        let store = Embedded::open(&dir.0.join("store"), Options::default()).unwrap();
        Api::start(config, Arc::new(store)).await.err().expect("a refusal").to_string()
    }

    /// Another server on the same data, after this one has stopped.
    pub(crate) async fn restart(self) -> Self {
        self.restart_with(|_| {}).await
    }

    /// The same with another configuration.
    pub(crate) async fn restart_with(self, change: impl FnOnce(&mut Config)) -> Self {
        let Server { api, dir, local, store } = self;
        drop(local);
        api.stop();
        store.expect("a store of its own").close();
        let mut config = api.config().clone();
        change(&mut config);
        drop(api);
        Self::open(dir, config).await
    }

    /// The server with a namespace to work in.
    pub(crate) async fn with_namespace(name: &str) -> Self {
        let server = Self::start().await;
        let namespace = serde_json::json!({"metadata": {"name": name}});
        server.post("/api/v1/namespaces", &namespace).await.ok();
        server
    }

    /// The same data, served by another user's identity.
    pub(crate) fn as_user(&self, name: &str, groups: &[&str]) -> Local {
        let groups = groups.iter().map(ToString::to_string).collect();
        self.api.local(UserInfo { name: name.to_owned(), groups, ..UserInfo::default() })
    }

    pub(crate) async fn raw(&self, request: Request<Full<Bytes>>) -> http::Response<Body> {
        ask(&self.local, request).await
    }

    pub(crate) async fn request(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        answer(self.raw(request(method, path, headers, body)).await).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &[], b"").await
    }

    pub(crate) async fn accepting(&self, path: &str, accept: &str) -> Answer {
        self.request("GET", path, &[("accept", accept)], b"").await
    }

    pub(crate) async fn post(&self, path: &str, object: &Json) -> Answer {
        self.send("POST", path, "application/json", object).await
    }

    pub(crate) async fn put(&self, path: &str, object: &Json) -> Answer {
        self.send("PUT", path, "application/json", object).await
    }

    pub(crate) async fn merge(&self, path: &str, patch: &Json) -> Answer {
        self.send("PATCH", path, "application/merge-patch+json", patch).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, content_type: &str, object: &Json) -> Answer {
        let body = serde_json::to_vec(object).unwrap();
        self.request(method, path, &[("content-type", content_type)], &body).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.request("DELETE", path, &[], b"").await
    }

    pub(crate) async fn delete_with(&self, path: &str, options: &Json) -> Answer {
        self.send("DELETE", path, "application/json", options).await
    }

    /// Begins a watch.
    pub(crate) async fn watch(&self, path: &str) -> Watching {
        let response = self.raw(request("GET", path, &[], b"")).await;
        assert_eq!(response.status(), StatusCode::OK);
        Watching::of(response.into_body())
    }
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Request<Full<Bytes>> {
    let mut builder = Request::builder().method(method.parse::<Method>().unwrap()).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::new(Bytes::copy_from_slice(body))).unwrap()
}

pub(crate) async fn ask(local: &Local, request: Request<Full<Bytes>>) -> http::Response<Body> {
    tokio::time::timeout(PATIENCE, local.clone().oneshot(request)).await.expect("an answer in time").unwrap()
}

pub(crate) async fn answer(response: http::Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = tokio::time::timeout(PATIENCE, body.collect()).await.expect("a body in time").unwrap().to_bytes();
    Answer { code: parts.status.as_u16(), headers: parts.headers, body }
}

/// A running watch.
pub(crate) struct Watching {
    body: Body,
    buffer: Vec<u8>,
}

impl Watching {
    /// From the body of the answer.
    pub(crate) fn of(body: Body) -> Self {
        Watching { body, buffer: Vec::new() }
    }

    /// The next event; none when the watch is over.
    pub(crate) async fn next(&mut self) -> Option<Json> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).unwrap());
            }
            let frame = tokio::time::timeout(PATIENCE, self.body.frame()).await.expect("an event in time")?;
            self.buffer.extend_from_slice(frame.unwrap().data_ref().unwrap());
        }
    }

    /// The next event's type and object name.
    pub(crate) async fn told(&mut self) -> (String, String) {
        let event = self.next().await.expect("the watch goes on");
        let text = |v: &Json| v.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
    }
}
