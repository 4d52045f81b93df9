//! The kubelet API: logs, streams, pods, stats and metrics over HTTPS.
//!
//! Every request but health checks is authenticated (client certificate or token) and authorized (a trusted
//! identity, or the API server's word), as upstream does. Answers never hold a lock or a worker.

mod access;
mod logs;
mod metrics;
mod routes;
mod stats;
mod stream;
mod tls;

use crate::Error;
use crate::agent::Agent;
use crate::node::machine::Machine;
use access::{Access, Peer};
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use kaji_client::Client;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// How many connections are served at a time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 1024;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
/// An answer's body.
pub(crate) type Body = BoxBody<Bytes, BoxError>;
pub(crate) type Answer = Response<Body>;

/// A whole body.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// A plain text answer, with a line end as Go writes errors.
pub(crate) fn text(status: u16, text: impl Into<String>) -> Answer {
    let mut answer = Response::new(full(text.into()));
    *answer.status_mut() = http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    answer
}

/// A JSON answer.
pub(crate) fn json(value: &impl serde::Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let mut answer = Response::new(full(bytes));
            let kind = http::HeaderValue::from_static("application/json");
            answer.headers_mut().insert(http::header::CONTENT_TYPE, kind);
            answer
        }
        Err(error) => text(500, error.to_string()),
    }
}

/// What requests are answered from.
pub(crate) struct Shared {
    pub(crate) agent: Arc<Agent>,
    pub(crate) machine: Machine,
    pub(crate) access: Access,
    pub(crate) rates: stats::Rates,
}

/// The open listener.
pub(crate) struct Server {
    listener: TcpListener,
    healthz: Option<TcpListener>,
    port: u16,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
}

/// Opens the listener.
pub(crate) async fn open(agent: Arc<Agent>, client: Client, machine: Machine) -> Result<Server, Error> {
    let config = agent.config.clone();
    let bind = async |address: (std::net::IpAddr, u16)| {
        let failed = |cause| Error::Serve { address: format!("{}:{}", address.0, address.1), cause };
        TcpListener::bind(address).await.map_err(failed)
    };
    let listener = bind((config.address, config.port)).await?;
    let port = listener.local_addr().map(|address| address.port()).unwrap_or(config.port);
    let healthz = match config.healthz_port {
        Some(port) => Some(bind((std::net::Ipv4Addr::LOCALHOST.into(), port)).await?),
        None => None,
    };
    if let Some(bound) = &config.bound_port {
        bound.store(port, Ordering::Relaxed);
    }
    let tls = tls::acceptor(&config, &agent.facts().host_ips)?;
    let access = Access::new(client, &config);
    let shared = Arc::new(Shared { agent, machine, access, rates: stats::Rates::default() });
    Ok(Server { listener, healthz, port, tls, shared })
}

impl Server {
    /// The port really used.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Serves until dropped.
    pub(crate) async fn run(self) {
        if let Some(listener) = self.healthz {
            tokio::spawn(serve_health(listener, self.shared.agent.shutdown.clone()));
        }
        let places = Arc::new(tokio::sync::Semaphore::new(MAX_CONNECTIONS));
        loop {
            let place = places.clone().acquire_owned().await.expect("never closed");
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of descriptors, most likely: others must end first.
                    tracing::warn!(%error, "kubelet API connection not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let (tls, shared) = (self.tls.clone(), self.shared.clone());
            tokio::spawn(async move {
                connection(tls, stream, shared).await;
                drop(place);
            });
        }
    }
}

async fn connection(tls: TlsAcceptor, stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_secs(10), tls.accept(stream)).await else { return };
    let peer = Peer::of(stream.get_ref().1.peer_certificates());
    let shutdown = shared.agent.shutdown.clone();
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let (shared, peer) = (shared.clone(), peer.clone());
        answer(shared, peer, request)
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
    let served = server.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::select! {
        served = served => {
            if let Err(error) = served {
                tracing::debug!(%error, "kubelet API connection");
            }
        }
        () = shutdown.cancelled() => {}
    }
}

fn answer(
    shared: Arc<Shared>,
    peer: Peer,
    request: Request<Incoming>,
) -> BoxFuture<'static, Result<Answer, std::convert::Infallible>> {
    Box::pin(async move {
        if let Err(refusal) = shared.access.check(&peer, &request).await {
            return Ok(refusal);
        }
        Ok(routes::route(&shared, request).await)
    })
}

/// `/healthz` in the clear, on loopback.
async fn serve_health(listener: TcpListener, shutdown: tokio_util::sync::CancellationToken) {
    let service = || {
        hyper::service::service_fn(|_: Request<Incoming>| async { Ok::<_, std::convert::Infallible>(text(200, "ok")) })
    };
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let serve = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service());
                tokio::spawn(async move { tokio::time::timeout(Duration::from_secs(10), serve).await.map(drop) });
            }
            () = shutdown.cancelled() => return,
        }
    }
}
