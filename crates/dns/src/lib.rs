//! Cluster DNS: names of services and pods, as the Kubernetes DNS specification 1.1.0 has them; everything else goes
//! to the host's resolvers.
//!
//! One instance runs on every node at the cluster DNS address, fed by informers. It answers about the cluster from
//! an index that is kept up to date change by change, so a query costs two map lookups and no question leaves the
//! node. Behaviour the specification leaves open follows CoreDNS with its usual Kubernetes configuration (`ttl 30`,
//! `pods insecure`, `fallthrough in-addr.arpa ip6.arpa`, `cache 30`).
//!
//! Until the first lists are in, names of the cluster get SERVFAIL, and other names are forwarded.
//!
//! Needed in the cluster: list and watch of services, namespaces and endpointslices (discovery.k8s.io).
//! Needed on the node: the addresses to listen on exist (`kaji_network::bridge::ensure_dummy`), and the right to
//! bind port 53. Sockets are bound to one address each, so answers leave from the address that was asked.

mod answer;
mod cache;
mod forward;
mod index;
mod question;
mod resolv;
mod server;

pub use resolv::Upstreams;

use forward::Forwarder;
use futures::future::BoxFuture;
use hickory_proto::rr::Name;
use index::Index;
use k8s_openapi::api::core::v1::{Namespace, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kaji_client::{Client, Informer, Informers};
use parking_lot::RwLock;
use server::Server;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::{TcpListener, UdpSocket};
use tokio_util::sync::CancellationToken;

/// What the DNS has to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster's domain (`cluster.local`).
    pub domain: String,
    /// Where to answer, over UDP and TCP: the cluster DNS address and port 53.
    pub listen: Vec<SocketAddr>,
    /// Time to live of answers about the cluster, in seconds.
    pub ttl: u32,
    /// Who answers other names.
    pub upstreams: Upstreams,
}

impl Config {
    /// The usual settings: a TTL of 30 s, other names by `/etc/resolv.conf`.
    pub fn new(domain: &str, listen: Vec<SocketAddr>) -> Self {
        let upstreams = Upstreams::ResolvConf("/etc/resolv.conf".into());
        Self { domain: domain.to_owned(), listen, ttl: 30, upstreams }
    }
}

/// Why the DNS does not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The domain is no DNS name.
    #[error("cluster domain {0:?} is not a DNS name")]
    Domain(String),
    /// An address is taken or not there.
    #[error("could not listen on {address} for cluster DNS; does the address exist on this host, and is port {} free?", address.port())]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
}

/// Answers until shutdown.
///
/// Boxed, so that the part's code is generated in this crate, once, and not again in each that awaits it.
pub fn run(client: Client, config: Config, shutdown: CancellationToken) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move { run_with(&Informers::new(client), config, shutdown).await })
}

/// Answers until shutdown, sharing the informers of others in the process.
pub async fn run_with(informers: &Informers, config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let index = Arc::new(RwLock::new(Index::default()));
    let sockets = Sockets::bind(&config.listen).await?;
    let server = sockets.server(&config, index.clone())?;
    let watched = Watched::start(informers, &index);
    let serving = sockets.serve(&server, &shutdown);
    tokio::select! {
        () = watched.synced() => {}
        () = shutdown.cancelled() => {}
    }
    server.set_synced();
    tracing::info!(domain = config.domain, listen = ?config.listen, "cluster DNS is ready");
    futures::future::join_all(serving).await;
    Ok(())
}

/// UDP and TCP on one address. With port 0, TCP follows where UDP landed; where somebody has that port, another is tried.
async fn pair(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    const TRIES: usize = 16;
    let mut left = if address.port() == 0 { TRIES } else { 1 };
    loop {
        left -= 1;
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Err(error) if left > 0 && error.kind() == io::ErrorKind::AddrInUse => {}
            bound => return Ok((udp, bound?)),
        }
    }
}

struct Sockets {
    udp: Vec<Arc<UdpSocket>>,
    tcp: Vec<TcpListener>,
}

impl Sockets {
    async fn bind(addresses: &[SocketAddr]) -> Result<Self, Error> {
        let mut sockets = Self { udp: Vec::new(), tcp: Vec::new() };
        for address in addresses.iter().copied() {
            let (udp, tcp) = pair(address).await.map_err(|cause| Error::Listen { address, cause })?;
            sockets.udp.push(Arc::new(udp));
            sockets.tcp.push(tcp);
        }
        Ok(sockets)
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.udp.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    fn server(&self, config: &Config, index: Arc<RwLock<Index>>) -> Result<Arc<Server>, Error> {
        let mut domain = Name::from_ascii(&config.domain).map_err(|_| Error::Domain(config.domain.clone()))?;
        domain.set_fqdn(true);
        let own = self.addresses();
        let zone = answer::Zone::new(&domain, config.ttl, own.iter().map(SocketAddr::ip).collect());
        Ok(Arc::new(Server::new(index, zone, Forwarder::new(config.upstreams.clone(), own))))
    }

    fn serve(self, server: &Arc<Server>, shutdown: &CancellationToken) -> Vec<tokio::task::JoinHandle<()>> {
        let udp = self.udp.into_iter().map(|s| tokio::spawn(server::udp(s, server.clone(), shutdown.clone())));
        let tcp = self.tcp.into_iter().map(|s| tokio::spawn(server::tcp(s, server.clone(), shutdown.clone())));
        udp.chain(tcp).collect()
    }
}

struct Watched {
    services: Arc<Informer<Service>>,
    slices: Arc<Informer<EndpointSlice>>,
    namespaces: Arc<Informer<Namespace>>,
}

impl Watched {
    fn start(informers: &Informers, index: &Arc<RwLock<Index>>) -> Self {
        let watched = Self { services: informers.of(), slices: informers.of(), namespaces: informers.of() };
        let to = index.clone();
        watched.services.on_change(move |c| to.write().set_service(&c.key.namespace, &c.key.name, c.new.as_deref()));
        let to = index.clone();
        watched.slices.on_change(move |c| to.write().set_slice(&c.key.name, c.old.as_deref(), c.new.as_deref()));
        let to = index.clone();
        watched.namespaces.on_change(move |c| to.write().set_namespace(&c.key.name, c.new.is_some()));
        watched
    }

    async fn synced(&self) {
        self.services.synced().await;
        self.slices.synced().await;
        self.namespaces.synced().await;
    }
}

#[cfg(test)]
mod tests;
