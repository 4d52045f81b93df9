//! What pods run on, as pod logic sees it: one trait, a real runtime behind CRI and a simulated one.
//!
//! Identity is in labels: every sandbox and container names its pod, so an agent that starts again finds what
//! is there by asking the runtime, not by remembering.

pub(crate) mod exits;
pub(crate) mod labels;
pub(crate) mod remote;
mod termination;

use crate::cri::{RuntimeError, v1};
use async_trait::async_trait;
use std::time::Duration;
use tokio::sync::mpsc;

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Made, not started. Next: Running.
    Created,
    /// Its process lives. Next: Exited.
    Running,
    /// Its process ended.
    Exited,
    /// The runtime lost track of it.
    Unknown,
}

/// One container as the runtime shows it. Times are nanoseconds since 1970, 0 for never.
#[derive(Clone, Debug)]
pub(crate) struct ContainerView {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) started_at: i64,
    pub(crate) finished_at: i64,
    pub(crate) exit_code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) image: String,
    pub(crate) image_ref: String,
    pub(crate) restart_count: i32,
    pub(crate) hash: String,
    pub(crate) log_path: String,
    /// The resources in force, as the API writes them; empty: not known.
    pub(crate) resources: String,
    pub(crate) user: Option<v1::LinuxContainerUser>,
}

/// One sandbox as the runtime shows it.
#[derive(Clone, Debug)]
pub(crate) struct SandboxView {
    pub(crate) id: String,
    pub(crate) ready: bool,
    pub(crate) attempt: u32,
    pub(crate) host_network: bool,
    pub(crate) ips: Vec<String>,
}

/// A pod as the runtime shows it, newest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct PodView {
    pub(crate) sandboxes: Vec<SandboxView>,
    pub(crate) containers: Vec<ContainerView>,
}

impl PodView {
    /// The newest container of a name.
    pub(crate) fn container(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|container| container.name == name)
    }

    /// The addresses of the newest sandbox, if it is up.
    pub(crate) fn ips(&self) -> Vec<String> {
        self.sandboxes.first().filter(|sandbox| sandbox.ready).map(|sandbox| sandbox.ips.clone()).unwrap_or_default()
    }

    /// Nothing of the pod runs.
    pub(crate) fn is_still(&self) -> bool {
        !self.containers.iter().any(|container| container.state == State::Running)
    }
}

/// A pod that the runtime has something of.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) uid: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// The runtime about itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Description {
    pub(crate) version: String,
    /// Why it is not ready to run containers; none: it is.
    pub(crate) runtime_problem: Option<String>,
    /// Why its network is not ready; none: it is.
    pub(crate) network_problem: Option<String>,
}

/// Something happened that may concern a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The container or sandbox of this id ended; the runtime shows it by now.
    Ended(String),
    /// Events may have been missed: look at everything.
    Missed,
}

/// How a command in a container ended.
#[derive(Clone, Debug)]
pub(crate) struct Executed {
    pub(crate) exit_code: i32,
    pub(crate) output: Vec<u8>,
}

/// A stream that a client wants.
#[derive(Clone, Debug)]
pub(crate) enum StreamAsk {
    Exec { container: String, command: Vec<String>, tty: bool, stdin: bool, stdout: bool, stderr: bool },
    Attach { container: String, tty: bool, stdin: bool, stdout: bool, stderr: bool },
    PortForward { sandbox: String, ports: Vec<i32> },
}

type Answer<T> = Result<T, RuntimeError>;

/// A container runtime.
#[async_trait]
pub(crate) trait Runtime: Send + Sync + 'static {
    /// The name that prefixes container ids.
    fn kind(&self) -> &str;
    async fn describe(&self) -> Answer<Description>;
    async fn known(&self) -> Answer<Vec<Known>>;
    async fn pod(&self, uid: &str) -> Answer<PodView>;
    async fn run_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Answer<String>;
    async fn stop_sandbox(&self, id: &str) -> Answer<()>;
    async fn remove_sandbox(&self, id: &str) -> Answer<()>;
    async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Answer<String>;
    async fn start_container(&self, id: &str) -> Answer<()>;
    async fn stop_container(&self, id: &str, grace: i64) -> Answer<()>;
    async fn remove_container(&self, id: &str) -> Answer<()>;
    async fn update_resources(&self, id: &str, resources: v1::LinuxContainerResources) -> Answer<()>;
    async fn exec(&self, id: &str, command: &[String], timeout: Option<Duration>) -> Answer<Executed>;
    async fn stream_url(&self, ask: StreamAsk) -> Answer<String>;
    async fn reopen_log(&self, id: &str) -> Answer<()>;
    async fn stats(&self) -> Answer<Vec<v1::ContainerStats>>;
    async fn image(&self, name: &str) -> Answer<Option<v1::Image>>;
    async fn images(&self) -> Answer<Vec<v1::Image>>;
    async fn pull(&self, name: &str, auth: Option<v1::AuthConfig>, pod: v1::PodSandboxConfig) -> Answer<String>;
    async fn remove_image(&self, id: &str) -> Answer<()>;
    async fn image_filesystems(&self) -> Answer<Vec<v1::FilesystemUsage>>;
    /// Sends events until the receiver is gone.
    async fn follow(&self, events: mpsc::Sender<Event>);
}
