//! What the API server is told at start.

mod accounts;
mod pair;

pub use accounts::Accounts;
pub use pair::NamedPair;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

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
    /// `--service-cluster-ip-range`; the first address is the `kubernetes` service's.
    pub service_range: ipnet::IpNet,
    /// `--service-node-port-range`, inclusive.
    pub node_ports: (u16, u16),
    /// `--requestheader-client-ca-file`, if front proxies are trusted.
    pub front_proxy_ca: Option<PathBuf>,
    /// `--proxy-client-cert-file`, `--proxy-client-key-file`: the identity towards aggregated API servers.
    pub proxy_client_cert: Option<PathBuf>,
    /// Its key.
    pub proxy_client_key: Option<PathBuf>,
    /// `--kubelet-client-certificate`, `--kubelet-client-key`: the identity towards kubelets.
    pub kubelet_client_cert: PathBuf,
    /// Its key.
    pub kubelet_client_key: PathBuf,
    /// `--kubelet-certificate-authority`.
    pub kubelet_ca: PathBuf,
    /// `--audit-*`.
    pub audit: crate::audit::Options,
    /// `--encryption-provider-config`, `--encryption-provider-config-automatic-reload`.
    pub encryption: crate::encryption::Options,
    /// `--authorization-mode` is `Node,RBAC`; admission plugins to leave out: `--disable-admission-plugins`.
    pub disabled_admission: Vec<String>,
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

/// How connections are served; upstream's defaults.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Serving {
    /// `--tls-sni-cert-key`: certificates for clients that ask for these names.
    pub named: Vec<NamedPair>,
    /// `--external-hostname`: what clients are told to reach this server at; none: the advertised address.
    pub external_host: Option<String>,
    /// `--tls-min-version`, by Go's name, such as `VersionTLS13`; empty: 1.2.
    pub min_version: String,
    /// `--tls-cipher-suites`, for TLS 1.2; none: all that are safe.
    pub cipher_suites: Vec<String>,
    /// `--http2-max-streams-per-connection`; 0: 250.
    pub max_streams: u32,
    /// `--goaway-chance`: how often an HTTP/2 client is told to connect anew, so that several servers share the load.
    pub goaway_chance: f64,
}

impl Serving {
    /// Upstream's checks and texts.
    pub fn validate(&self) -> Result<(), String> {
        match (0.0..=0.02).contains(&self.goaway_chance) {
            true => Ok(()),
            false => Err("--goaway-chance can not be less than 0 or greater than 0.02".to_owned()),
        }
    }
}

/// Limits on requests at work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `--max-requests-inflight`: reading requests at once. With fairness this and the next are summed, and the sum
    /// must be positive; without, 0 is no limit.
    pub reading: usize,
    /// `--max-mutating-requests-inflight`: writing requests at once.
    pub writing: usize,
    /// `--enable-priority-and-fairness`: requests beyond wait in fair queues, by priority.
    pub fairness: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { reading: 400, writing: 200, fairness: true }
    }
}
