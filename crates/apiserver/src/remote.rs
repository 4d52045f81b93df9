//! Extension servers: the one way to webhooks and aggregated API servers.
//!
//! A [`Peer`] says where a server is and by what its certificate is believed, in the words of the objects that
//! name it (`clientConfig`, an `APIService`). A [`Remote`] is a pool of connections to it: keep one as long as the
//! peer stays the same. [`Remote::post`] is one JSON call with a limit in time and size; [`Remote::send`] passes
//! any request through, upgrades included.
//!
//! Services are not reached through their cluster address, since the machine may have no service proxy, but
//! through a ready endpoint, chosen anew for each connection (upstream with `--enable-aggregator-routing`).
//! Texts of failures follow Go's, which people search for.

mod connect;
mod error;
pub(crate) mod resolve;
mod status;
pub(crate) mod tls;
pub(crate) mod unix;
mod user;

pub(crate) use error::RemoteError;
pub(crate) use resolve::authority;
pub(crate) use status::from_answer;
pub(crate) use user::{User, escaped};

use crate::server::Api;
use crate::server::body::RequestBody;
use crate::spans::{self, Span};
use base64::prelude::*;
use bytes::{Bytes, BytesMut};
use connect::Connector;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kaji_api::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(90);
/// Unused connections kept per peer.
const MOST_IDLE: usize = 25;
const HTTPS: u16 = 443;
const HTTP: u16 = 80;
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At an address that everybody reaches.
    Address {
        /// Whether over TLS.
        https: bool,
        /// Name or address, IPv6 without brackets.
        host: String,
        /// Its port.
        port: u16,
    },
    /// Behind a service of this cluster; always over TLS.
    Service {
        /// The service's namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The service's port.
        port: u16,
    },
}

/// A server: where it is, how it is believed, and which path is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Where.
    pub(crate) place: Place,
    /// The path that [`Remote::post`] calls.
    pub(crate) path: String,
    /// Authorities of its certificate, PEM; none: those of the machine.
    pub(crate) ca_bundle: Vec<u8>,
    /// Believe any certificate.
    pub(crate) insecure: bool,
    /// Show the certificate of `--proxy-client-cert-file`.
    pub(crate) identify: bool,
}

impl Peer {
    /// The server of a `clientConfig`, of webhooks and conversions alike.
    pub(crate) fn from_client_config(config: &Value) -> Result<Self, String> {
        let ca_bundle = BASE64_STANDARD.decode(config["caBundle"].str()).map_err(|e| format!("caBundle: {e}"))?;
        let service = &config["service"];
        let (place, path) = match (service.is_null(), config["url"].str()) {
            (false, _) => {
                let port = service["port"].as_i64().and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0);
                (Place::service(service, port.unwrap_or(HTTPS)), service["path"].str().to_owned())
            }
            (true, "") => return Err("webhook configuration must have either service or URL".to_owned()),
            (true, url) => Place::parse(url).map_err(|why| format!("Unparsable URL: {why}"))?,
        };
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        Ok(Peer { place, path, ca_bundle, insecure: false, identify: false })
    }

    /// The server's name in certificates and the `Host` header, without the port.
    pub(crate) fn server_name(&self) -> String {
        match &self.place {
            Place::Address { host, .. } => host.clone(),
            Place::Service { namespace, name, .. } => format!("{name}.{namespace}.svc"),
        }
    }

    /// Scheme and authority, as in URLs.
    pub(crate) fn origin(&self) -> String {
        let name = self.server_name();
        match &self.place {
            Place::Address { https, port, .. } => {
                let (scheme, usual) = if *https { ("https", HTTPS) } else { ("http", HTTP) };
                let authority = resolve::authority(&name, *port);
                let authority = authority.strip_suffix(&format!(":{usual}")).unwrap_or(&authority);
                format!("{scheme}://{authority}")
            }
            Place::Service { port, .. } => format!("https://{}", resolve::authority(&name, *port)),
        }
    }
}

impl Place {
    /// The place of a service reference (`namespace`, `name`).
    pub(crate) fn service(reference: &Value, port: u16) -> Self {
        let text = |key: &str| reference[key].str().to_owned();
        Place::Service { namespace: text("namespace"), name: text("name"), port }
    }

    /// Place and path of a URL.
    pub(crate) fn parse(url: &str) -> Result<(Self, String), String> {
        let uri: http::Uri = url.parse().map_err(|e: http::uri::InvalidUri| e.to_string())?;
        let host = uri.host().ok_or_else(|| "no host".to_owned())?.trim_matches(['[', ']']).to_owned();
        let https = uri.scheme_str() != Some("http");
        let port = uri.port_u16().unwrap_or(if https { HTTPS } else { HTTP });
        Ok((Place::Address { https, host, port }, uri.path().to_owned()))
    }
}

/// One call of [`Remote::post`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// The query, without `?`; may be empty.
    pub(crate) query: &'a str,
    /// The User-Agent.
    pub(crate) agent: &'static str,
    /// How long it may take in all.
    pub(crate) limit: Duration,
    /// How long the answer may be, in bytes.
    pub(crate) most: usize,
}

/// Connections to a peer; cheap to clone.
#[derive(Clone)]
pub(crate) struct Remote {
    peer: Arc<Peer>,
    user: Option<Arc<User>>,
    client: Client<Connector, RequestBody>,
}

impl Remote {
    /// Opens nothing yet.
    pub(crate) fn new(api: &Api, peer: Peer) -> Self {
        Self::with_user(api, peer, None)
    }

    /// Calls as somebody.
    pub(crate) fn with_user(api: &Api, peer: Peer, user: Option<Arc<User>>) -> Self {
        let peer = Arc::new(peer);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .pool_timer(TokioTimer::new())
            .http1_preserve_header_case(true)
            .build(Connector::new(api, peer.clone(), user.clone()));
        Remote { peer, user, client }
    }

    /// Whom it reaches.
    pub(crate) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// As whom.
    pub(crate) fn user(&self) -> Option<&User> {
        self.user.as_deref()
    }

    /// Sends a request whose URI holds path and query alone, and waits for the head of the answer. The answer to
    /// an upgrade can be upgraded.
    pub(crate) async fn send(&self, mut request: Request<RequestBody>) -> Result<Response<Incoming>, RemoteError> {
        let target = request.uri().path_and_query().map_or("/", |t| t.as_str());
        let uri = format!("{}{target}", self.peer.origin());
        *request.uri_mut() = uri.parse().map_err(|_| RemoteError::Target(uri))?;
        self.client.request(request).await.map_err(RemoteError::from)
    }

    /// Sends JSON to the peer's path and gives the answer's code and body.
    pub(crate) async fn post(&self, call: Call<'_>, body: Bytes) -> Result<(u16, Bytes), RemoteError> {
        let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
        let target = format!("{}{query}", self.peer.path);
        let url = || format!("{}{target}", self.peer.origin());
        let span = spans::client(&Method::POST, url);
        let exchange = self.exchange(&target, call, body, span.as_deref());
        let answer = tokio::time::timeout(call.limit, exchange).await.unwrap_or(Err(RemoteError::Deadline));
        if let (Some(span), Err(error)) = (&span, &answer) {
            span.broke(error.to_string());
        }
        answer.map_err(|cause| RemoteError::Call { method: "Post", url: url(), cause: Box::new(cause) })
    }

    async fn exchange(
        &self,
        target: &str,
        call: Call<'_>,
        body: Bytes,
        span: Option<&Span>,
    ) -> Result<(u16, Bytes), RemoteError> {
        let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
        let request = Request::post(target).header(CONTENT_TYPE, JSON).header(USER_AGENT, call.agent);
        let request = request.header(ACCEPT, "application/json, */*").body(body);
        let mut request = request.map_err(|_| RemoteError::Target(target.to_owned()))?;
        if let Some(user) = &self.user {
            user.sign(request.headers_mut()).await?;
        }
        spans::inject(request.headers_mut(), span);
        let answer = self.send(request).await?;
        let code = answer.status().as_u16();
        if let Some(span) = span {
            span.answered(code);
        }
        Ok((code, read(answer.into_body(), call.most).await?))
    }
}

/// A whole body of bounded length.
pub(crate) async fn read(mut body: Incoming, most: usize) -> Result<Bytes, RemoteError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| RemoteError::Broken("unexpected EOF".to_owned()))?;
        let Ok(piece) = frame.into_data() else { continue };
        if whole.len() + piece.len() > most {
            return Err(RemoteError::TooLarge(most));
        }
        whole.extend_from_slice(&piece);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests;
