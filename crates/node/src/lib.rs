//! The node agent: pods over CRI, volumes, probes, streaming, status; simulated nodes.
//!
//! One agent per node. Pods bound to the node come from an informer; each has one worker, a state machine
//! (`pod`) that compares what the API wants with what the runtime shows and carries out the difference. Events
//! of the runtime, probes, timers and API changes wake the worker; nothing polls while nothing happens.
//!
//! [`run`] is a real node on a container runtime; [`run_simulated`] is any number of nodes that share all pod
//! logic and differ only below the runtime, network and volume traits.

mod agent;
mod boot;
mod cgroup;
pub mod config;
pub mod containerd;
pub mod cri;
pub mod image;
mod network;
mod node;
mod objects;
pub mod pause;
mod pod;
mod probe;
mod resources;
mod runtime;
mod server;
mod simulated;
mod volume;

pub use config::Config;
pub use pause::pause_main;

use futures::future::BoxFuture;
use kaji_client::Client;
use tokio_util::sync::CancellationToken;

/// Why a node agent could not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration contradicts itself or the machine.
    #[error("{0}")]
    Config(String),
    /// The container runtime could not be started.
    #[error(transparent)]
    Containerd(#[from] containerd::ContainerdError),
    /// The container runtime could not be reached or refused.
    #[error("container runtime at {endpoint}")]
    Runtime {
        /// Its socket.
        endpoint: String,
        /// Why.
        #[source]
        cause: cri::RuntimeError,
    },
    /// A directory or file of the agent could not be made.
    #[error("could not prepare {path}")]
    Prepare {
        /// Which.
        path: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The agent's own HTTPS endpoint could not be opened.
    #[error("could not serve the kubelet API on {address}")]
    Serve {
        /// The address asked for.
        address: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// Certificates or keys for the HTTPS endpoint are unusable.
    #[error("unusable certificate or key for the kubelet API: {0}")]
    Tls(String),
    /// The sandbox image could not be made or imported.
    #[error("could not provide the sandbox image")]
    SandboxImage(#[source] image::ImageError),
}

/// Runs a node until `shutdown`; running containers stay as they are.
///
/// Boxed, so that the part's code is generated in this crate, once, and not again in each that awaits it.
pub fn run(client: Client, config: Config, shutdown: CancellationToken) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(boot::run(client, config, shutdown))
}

/// Runs simulated nodes until `shutdown`. `client_for` gives a node's own client by its name, and for the empty
/// name the one through which all of them share informers (it must be allowed to list and watch pods, nodes and services).
pub fn run_simulated<'a>(
    client_for: &'a (dyn Fn(&str) -> Client + Sync),
    names: Vec<String>,
    shutdown: CancellationToken,
) -> BoxFuture<'a, Result<(), Error>> {
    Box::pin(simulated::run(client_for, names, shutdown))
}
