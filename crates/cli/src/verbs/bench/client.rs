//! The thinnest client there is: HTTP/2 requests over a few TLS connections.

use anyhow::{Context, bail};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use rustls::pki_types::ServerName;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// So much may be under way; the defaults would make us wait for window updates.
const WINDOW: u32 = 8 << 20;

type Connection = SendRequest<Full<Bytes>>;

/// A server and the connections to it.
pub(crate) struct Target {
    connections: Vec<Connection>,
    server: String,
    token: Option<HeaderValue>,
    /// Where it listens.
    pub(crate) port: u16,
}

/// One request.
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) body: String,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>, body: impl Into<String>) -> Self {
        Call { method, path: path.into(), body: body.into() }
    }

    fn content_type(&self) -> &'static str {
        if self.method == Method::PATCH { "application/merge-patch+json" } else { "application/json" }
    }
}

impl Target {
    /// Connects as the kubeconfig's current context says.
    pub(crate) async fn connect(kubeconfig: &Path, connections: usize) -> anyhow::Result<Self> {
        let read = Kubeconfig::read_from(kubeconfig)?;
        let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await?;
        let host = config.cluster_url.host().context("the kubeconfig's server has no host")?.to_owned();
        let port = config.cluster_url.port_u16().unwrap_or(443);
        let mut tls = config.rustls_client_config()?;
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let connector = TlsConnector::from(Arc::new(tls));
        let bare = host.trim_matches(['[', ']']);
        let name = config.tls_server_name.clone().unwrap_or_else(|| bare.to_owned());
        let mut opened = Vec::new();
        for _ in 0..connections {
            opened.push(
                open(&connector, bare, port, &name).await.with_context(|| format!("no HTTP/2 with {host}:{port}"))?,
            );
        }
        let token = token(&config)?;
        Ok(Target { connections: opened, server: format!("https://{host}:{port}"), token, port })
    }

    /// Sends on the connection that the client with this number uses.
    pub(crate) async fn send(&self, client: usize, call: Call) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder()
            .method(&call.method)
            .uri(format!("{}{}", self.server, call.path))
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, call.content_type());
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let request = request.body(Full::new(Bytes::from(call.body)))?;
        let mut connection = self.connections[client % self.connections.len()].clone();
        connection.ready().await?;
        Ok(connection.send_request(request).await?)
    }

    /// Sends and reads the answer; anything but 2xx is an error. Says how long the answer was.
    pub(crate) async fn count(&self, client: usize, call: Call) -> anyhow::Result<usize> {
        let response = self.send(client, call).await?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        let (mut body, mut length) = (response.into_body(), 0);
        while let Some(frame) = body.frame().await {
            length += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(length)
    }

    /// Sends and reads the answer as JSON.
    pub(crate) async fn json(&self, call: Call) -> anyhow::Result<serde_json::Value> {
        let response = self.send(0, call).await?;
        if !response.status().is_success() {
            return Err(refused(response).await);
        }
        Ok(serde_json::from_slice(&response.into_body().collect().await?.to_bytes())?)
    }
}

/// What the server said instead.
async fn refused(response: Response<Incoming>) -> anyhow::Error {
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let status: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    anyhow::anyhow!("{code}: {}", status["message"].as_str().unwrap_or("no reason given"))
}

async fn open(connector: &TlsConnector, host: &str, port: u16, name: &str) -> anyhow::Result<Connection> {
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    let tls = connector.connect(ServerName::try_from(name.to_owned())?, tcp).await?;
    if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
        bail!("the server does not speak it");
    }
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .handshake(TokioIo::new(tls))
        .await?;
    // Its end shows as an error of the requests on it.
    tokio::spawn(connection);
    Ok(sender)
}

/// The bearer token, where there is one. Kube tells secrets to serializers alone.
fn token(config: &kube::Config) -> anyhow::Result<Option<HeaderValue>> {
    let told = serde_json::to_value(&config.auth_info)?;
    let token = match (told["token"].as_str(), told["tokenFile"].as_str()) {
        (Some(token), _) => token.to_owned(),
        (None, Some(file)) => std::fs::read_to_string(file).with_context(|| format!("could not read {file}"))?,
        (None, None) => return Ok(None),
    };
    Ok(Some(format!("Bearer {}", token.trim()).parse()?))
}
