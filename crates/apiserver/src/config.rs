//! What the API server is told at start.

mod accounts;
mod bearers;
mod front_proxy;
pub(crate) mod gates;
mod kubelets;
mod pair;
pub(crate) mod runtime;
mod serving;

pub use accounts::Accounts;
pub use bearers::Bearers;
pub use front_proxy::FrontProxy;
pub use gates::SWITCHABLE;
pub use kaji_api::feature::Gates;
pub use kubelets::Kubelets;
pub use pair::NamedPair;
pub use runtime::RuntimeConfig;
pub use serving::{Anonymous, Serving};

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The checked configuration; upstream's flag that sets each field is named.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--bind-address` and `--secure-port`; port 0 picks a free one.
    pub bind: SocketAddr,
    /// `--advertise-address`: what the `kubernetes` service's endpoints name.
    pub advertise_address: IpAddr,
    /// `--tls-cert-file`, `--tls-private-key-file` (PEM).
    pub tls_cert: PathBuf,
    /// Its key.
    pub tls_key: PathBuf,
    /// `--client-ca-file`.
    pub client_ca: PathBuf,
    /// `--service-account-*`, `--api-audiences`: tokens of service accounts.
    pub accounts: Accounts,
    /// `--token-auth-file`, `--enable-bootstrap-token-auth`: other tokens.
    pub bearers: Bearers,
    /// `--service-cluster-ip-range`; the first address is the `kubernetes` service's.
    pub service_range: ipnet::IpNet,
    /// `--service-node-port-range`, inclusive.
    pub node_ports: (u16, u16),
    /// `--requestheader-*`, if front proxies are trusted.
    pub front_proxy: Option<FrontProxy>,
    /// `--proxy-client-cert-file`, `--proxy-client-key-file`: the identity towards aggregated API servers.
    pub proxy_client_cert: Option<PathBuf>,
    /// Its key.
    pub proxy_client_key: Option<PathBuf>,
    /// `--kubelet-*`: how kubelets are reached.
    pub kubelets: Kubelets,
    /// `--runtime-config`: which built-in API versions are served.
    pub runtime: RuntimeConfig,
    /// `--feature-gates`.
    pub gates: Gates,
    /// `--audit-*`.
    pub audit: crate::audit::Options,
    /// `--encryption-provider-config`, `--encryption-provider-config-automatic-reload`.
    pub encryption: crate::encryption::Options,
    /// `--enable-admission-plugins`, `--disable-admission-plugins`, `--admission-control-config-file`.
    pub admission: crate::admission::Options,
    /// `--tracing-config-file`.
    pub tracing: Option<PathBuf>,
    /// How many requests are served at once.
    pub limits: Limits,
    /// How connections are served.
    pub serving: Serving,
}

impl Config {
    /// Host and port that clients are told to reach this server at.
    pub(crate) fn outside_address(&self) -> String {
        match &self.serving.external_host {
            None => SocketAddr::new(self.advertise_address, self.bind.port()).to_string(),
            Some(host) if host.contains(':') => format!("[{host}]:{}", self.bind.port()),
            Some(host) => format!("{host}:{}", self.bind.port()),
        }
    }
}

/// Limits on requests at work, and on how long things last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `--max-requests-inflight`: reading requests at once. With fairness this and the next are summed, and the sum
    /// must be positive; without, 0 is no limit.
    pub reading: usize,
    /// `--max-mutating-requests-inflight`: writing requests at once.
    pub writing: usize,
    /// `--enable-priority-and-fairness`: requests beyond wait in fair queues, by priority.
    pub fairness: bool,
    /// `--request-timeout`: how long a request may take.
    pub request: Duration,
    /// `--min-request-timeout`: watches that don't say end after this to twice as long.
    pub watch: Duration,
    /// `--event-ttl`: how long events stay.
    pub event: Duration,
    /// `--etcd-healthcheck-timeout`: how long the store may take for the check `etcd`.
    pub health: Duration,
    /// `--etcd-readycheck-timeout`: how long for the check `etcd-readiness`.
    pub readiness: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            reading: 400,
            writing: 200,
            fairness: true,
            request: Duration::from_secs(60),
            watch: Duration::from_secs(1800),
            event: Duration::from_secs(3600),
            health: Duration::from_secs(2),
            readiness: Duration::from_secs(2),
        }
    }
}
