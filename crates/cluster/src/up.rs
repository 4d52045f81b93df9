//! `kaji up`: every part in one process, in boot order.
//!
//! Each part gets a client with its own identity and meets the others at the API alone. A part that ends
//! with an error takes the cluster down with it, naming itself.

mod detach;
mod node;
mod roles;

pub use detach::detach;
pub use node::host_name;

use crate::data_dir::{DataDir, DataDirError, read, write_private};
use crate::instance::{Instance, InstanceError};
use crate::kubeconfig;
use crate::material::{Material, MaterialError, ServingNames};
use crate::preflight::{self, Missing};
use crate::progress::Progress;
use crate::stop;
use futures::future::BoxFuture;
use kaji_apiserver::{Api, UserInfo};
use kaji_client::Client;
use kaji_pki::Subject;
use kaji_store::embedded::Embedded;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// A part that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The scheduler.
    Scheduler,
    /// The controllers.
    ControllerManager,
    /// Cluster DNS.
    Dns,
    /// The service proxy.
    Proxy,
}

impl Part {
    /// The part that `--disable` calls so.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "scheduler" => Part::Scheduler,
            "controller-manager" => Part::ControllerManager,
            "dns" => Part::Dns,
            "proxy" => Part::Proxy,
            _ => return None,
        })
    }
}

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--data-dir`.
    pub data_dir: PathBuf,
    /// `--bind-address`.
    pub bind_address: IpAddr,
    /// `--port`; 0 picks a free one.
    pub port: u16,
    /// `--write-kubeconfig`.
    pub write_kubeconfig: Option<PathBuf>,
    /// `--control-plane-only`.
    pub control_plane_only: bool,
    /// `--simulated-nodes`.
    pub simulated_nodes: Option<u16>,
    /// `--disable`.
    pub disabled: Vec<Part>,
    /// `--container-runtime-endpoint`.
    pub runtime_endpoint: Option<String>,
    /// `--pod-infra-container-image`.
    pub sandbox_image: Option<String>,
}

impl Options {
    /// Whether a node with real containers runs here.
    fn real_node(&self) -> bool {
        !self.control_plane_only && self.simulated_nodes.is_none()
    }

    fn enabled(&self, part: Part) -> bool {
        !self.disabled.contains(&part)
    }
}

/// Why there is no cluster.
#[derive(Debug, thiserror::Error)]
pub enum UpError {
    /// The machine lacks something.
    #[error("this machine cannot run a node yet:\n{}\nWithout these: kaji up --simulated-nodes 3", list(.0))]
    Preflight(Vec<Missing>),
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// Another process is there.
    #[error(
        "a cluster runs in {dir} already (process {pid}); stop it with `kaji down`, or name another directory with --data-dir"
    )]
    Running {
        /// The directory.
        dir: PathBuf,
        /// Its process.
        pid: i32,
    },
    /// Address ranges.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// Keys and certificates.
    #[error("could not prepare keys and certificates")]
    Material(#[from] MaterialError),
    /// The store.
    #[error("could not open the store")]
    Store(#[from] kaji_store::StoreError),
    /// The API server.
    #[error("the API server could not start")]
    Api(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The bridge or the DNS address.
    #[error("could not set up the pod network")]
    Network(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A part ended.
    #[error("the {part} stopped: {cause}")]
    Part {
        /// Which.
        part: &'static str,
        /// Why.
        cause: String,
    },
    /// A part did not become ready.
    #[error("the {part} was not ready after {} s; last seen: {last}", .waited.as_secs())]
    NotReady {
        /// Which.
        part: &'static str,
        /// How long we waited.
        waited: Duration,
        /// What was seen last.
        last: String,
    },
    /// The process in the background ended before it was ready.
    #[error("the cluster did not start; its log is {log}:\n{tail}")]
    Detached {
        /// The log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// Signals cannot be heard.
    #[error("could not listen for signals: {0}")]
    Signal(std::io::Error),
}

fn list(missing: &[Missing]) -> String {
    missing.iter().map(|m| format!("  missing: {}\n           {}", m.what, m.remedy)).collect::<Vec<_>>().join("\n")
}

/// A running cluster, and what all steps of its start share.
pub struct Cluster {
    pub(crate) options: Options,
    pub(crate) dir: DataDir,
    pub(crate) instance: Instance,
    pub(crate) material: Material,
    store: Arc<Embedded>,
    pub(crate) api: Api,
    pub(crate) address: SocketAddr,
    pub(crate) progress: Progress,
    pub(crate) shutdown: CancellationToken,
    pub(crate) parts: JoinSet<Result<(), UpError>>,
}

/// Starts the cluster and runs it until a signal or a failure.
pub fn run(options: Options) -> BoxFuture<'static, Result<(), UpError>> {
    Box::pin(async move {
        let mut cluster = Cluster::start(options).await?;
        cluster.announce();
        let outcome = cluster.wait().await;
        cluster.stop().await;
        outcome
    })
}

/// Directory, keys, store and API server.
async fn begin(options: Options) -> Result<Cluster, UpError> {
    let progress = Progress::new();
    progress.line(&format!("Kaji {} starting in {}", env!("CARGO_PKG_VERSION"), options.data_dir.display()));
    let dir = DataDir::open(&options.data_dir)?;
    if let Some(pid) = stop::running(&dir)? {
        return Err(UpError::Running { dir: dir.path().to_owned(), pid });
    }
    let instance = Instance::load_or_choose(&dir)?;
    let material = Material::open(&dir)?;
    progress.ready("certificates", "");
    if options.real_node() {
        node::prepare_network(&instance).await?;
        progress.ready("pod network", &format!("{} on {}", instance.pods, instance.bridge()));
    }
    let advertise = if options.real_node() { instance.node_address().into() } else { outward_address() };
    let store = Arc::new(Embedded::open(&dir.store(), kaji_store::embedded::Options::default())?);
    // From here on the store's lock is ours: two starts at once cannot both come this far.
    write_private(&dir.pid_file(), std::process::id().to_string().as_bytes())?;
    progress.ready("store", "");

    let config = api_config(&options, &instance, &material, advertise)?;
    let shutdown = CancellationToken::new();
    let api = Api::start(config, store.clone()).await.map_err(|e| UpError::Api(Box::new(e)))?;
    let listener = api.bind().await.map_err(|e| UpError::Api(Box::new(e)))?;
    let address = listener.address();
    let mut parts = JoinSet::new();
    let (server, stop) = (api.clone(), shutdown.clone());
    parts.spawn(async move {
        server.serve_on(listener, stop).await;
        Ok(())
    });
    progress.ready("API server", &format!("https://{address}"));
    Ok(Cluster { options, dir, instance, material, store, api, address, progress, shutdown, parts })
}

fn api_config(
    options: &Options,
    instance: &Instance,
    material: &Material,
    advertise_address: IpAddr,
) -> Result<kaji_apiserver::Config, UpError> {
    let mut ips: Vec<IpAddr> =
        vec![Ipv4Addr::LOCALHOST.into(), advertise_address, instance.api_service_address().into()];
    ips.push(instance.node_address().into());
    if !options.bind_address.is_unspecified() {
        ips.push(options.bind_address);
    }
    ips.push(outward_address());
    let names = ServingNames { dns: vec![node::host_name()], ips };
    let serving = material.api_serving(&names)?;
    let kubelet_client = material.kubelet_client()?;
    let proxy_client = material.front_proxy_client()?;
    Ok(kaji_apiserver::Config {
        bind: SocketAddr::new(options.bind_address, options.port),
        advertise_address,
        tls_cert: serving.cert,
        tls_key: serving.key,
        client_ca: material.cluster_files().cert,
        accounts: kaji_apiserver::config::Accounts::new(material.service_account_key()),
        service_range: ipnet::IpNet::V4(instance.services),
        node_ports: (30000, 32767),
        front_proxy: Some(kaji_apiserver::config::FrontProxy::new(material.front_proxy_ca())),
        proxy_client_cert: Some(proxy_client.cert),
        proxy_client_key: Some(proxy_client.key),
        kubelets: kaji_apiserver::config::Kubelets {
            identity: Some((kubelet_client.cert, kubelet_client.key)),
            authority: Some(material.cluster_files().cert),
            address_types: Vec::new(),
        },
        runtime: kaji_apiserver::config::RuntimeConfig::default(),
        gates: kaji_apiserver::config::Gates::default(),
        bearers: kaji_apiserver::config::Bearers::default(),
        audit: kaji_apiserver::audit::Options::default(),
        serving: kaji_apiserver::config::Serving::default(),
        encryption: kaji_apiserver::encryption::Options {
            provider_config: Some(material.encryption_config()),
            automatic_reload: true,
            former_key: material.former_encryption_key(),
        },
        admission: kaji_apiserver::admission::Options::default(),
        tracing: None,
        limits: kaji_apiserver::Limits::default(),
    })
}

/// The address this machine would send from; nothing is sent.
fn outward_address() -> IpAddr {
    let ask = || {
        let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
        socket.local_addr().ok().map(|a| a.ip())
    };
    ask().unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}

impl Cluster {
    /// Starts every part that the options ask for; returns once the nodes are ready.
    pub fn start(options: Options) -> BoxFuture<'static, Result<Self, UpError>> {
        Box::pin(Self::start_parts(options))
    }

    async fn start_parts(options: Options) -> Result<Self, UpError> {
        if options.real_node() {
            let missing = preflight::real_node(options.runtime_endpoint.is_some());
            if !missing.is_empty() {
                return Err(UpError::Preflight(missing));
            }
        }
        let mut cluster = begin(options).await?;
        cluster.write_kubeconfigs()?;
        cluster.start_control_plane().await?;
        if cluster.options.real_node() {
            cluster.start_real_node().await?;
        } else if let Some(count) = cluster.options.simulated_nodes {
            cluster.start_simulated_nodes(count).await?;
        }
        Ok(cluster)
    }

    /// Where the API server listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.admin_kubeconfig()
    }

    /// A client with an identity, in process.
    pub fn client(&self, user: &str, groups: &[&str]) -> Client {
        local_client(&self.api, user, groups)
    }

    fn write_kubeconfigs(&self) -> Result<(), UpError> {
        let ca = self.material.cluster().certificate_pem().to_owned();
        let host = if self.address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { self.address.ip() };
        let server = format!("https://{}", SocketAddr::new(host, self.address.port()));
        let users = [
            ("admin", Subject::new("kubernetes-admin", &["system:masters"])),
            ("scheduler", Subject::new("system:kube-scheduler", &[])),
            ("controller-manager", Subject::new("system:kube-controller-manager", &[])),
            ("proxy", Subject::new("system:kube-proxy", &[])),
            ("dns", Subject::new("system:kaji-dns", &[])),
        ];
        for (name, subject) in users {
            let user = subject.common_name.clone();
            let (cert, key) = self.material.client(subject)?;
            let text = kubeconfig::render(&server, &ca, &user, &cert, &key);
            write_private(&self.dir.kubeconfigs().join(format!("{name}.conf")), text.as_bytes())?;
        }
        if let (Some(path), Some(text)) = (&self.options.write_kubeconfig, read(&self.dir.admin_kubeconfig())?) {
            write_private(path, text.as_bytes())?;
        }
        Ok(())
    }

    async fn start_control_plane(&mut self) -> Result<(), UpError> {
        roles::ensure(self.client("system:apiserver", &["system:masters"])).await?;
        if self.options.enabled(Part::ControllerManager) {
            self.start_controllers();
            self.progress.ready("controllers", "");
        }
        if self.options.enabled(Part::Scheduler) {
            let client = self.client("system:kube-scheduler", &[]);
            let stop = self.shutdown.clone();
            self.spawn("scheduler", async move {
                kaji_scheduler::run(client, kaji_scheduler::Config::default(), stop).await.map_err(|e| chain(&e))
            });
            self.progress.ready("scheduler", "");
        }
        Ok(())
    }

    fn start_controllers(&mut self) {
        let api = self.api.clone();
        let client_for = move |user: &str| local_client(&api, user, &service_account_groups(user));
        let config = kaji_controllers::Config {
            cluster_cidr: Some(ipnet::IpNet::V4(self.instance.pods)),
            root_ca_pem: self.material.cluster().certificate_pem().to_owned(),
            signing_ca: Some((
                self.material.cluster().certificate_pem().to_owned(),
                self.material.cluster().key().to_pem().unwrap_or_default(),
            )),
            ..kaji_controllers::Config::default()
        };
        let stop = self.shutdown.clone();
        self.spawn("controller manager", async move {
            kaji_controllers::run(&client_for, config, stop).await.map_err(|e| chain(&e))
        });
    }

    /// Runs a part; its end before shutdown is a failure of the whole.
    pub(crate) fn spawn<F>(&mut self, part: &'static str, run: F)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let stop = self.shutdown.clone();
        self.parts.spawn(async move {
            match run.await {
                Err(cause) => Err(UpError::Part { part, cause }),
                Ok(()) if stop.is_cancelled() => Ok(()),
                Ok(()) => Err(UpError::Part { part, cause: "it ended by itself".to_owned() }),
            }
        });
    }

    fn announce(&self) {
        let kubeconfig = self.options.write_kubeconfig.clone().unwrap_or_else(|| self.dir.admin_kubeconfig());
        self.progress.line(&format!(
            "\nReady in {:.2} s. Your kubeconfig: {path}\n\n  \
             export KUBECONFIG={path}\n  \
             kubectl get nodes,pods -A\n  \
             kubectl apply -f examples/guestbook/\n  \
             kubectl explain deployment.spec.strategy\n",
            self.progress.elapsed().as_secs_f64(),
            path = kubeconfig.display(),
        ));
        // `kaji up --detach` waits for this file.
        if let Err(error) = write_private(&detach::ready_file(&self.dir), std::process::id().to_string().as_bytes()) {
            tracing::warn!(%error, "could not say that the cluster is ready");
        }
    }

    async fn wait(&mut self) -> Result<(), UpError> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt()).map_err(UpError::Signal)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(UpError::Signal)?;
        tokio::select! {
            _ = interrupt.recv() => Ok(()),
            _ = terminate.recv() => Ok(()),
            Some(ended) = self.parts.join_next() => match ended {
                Ok(outcome) => outcome,
                Err(panic) => Err(UpError::Part { part: "cluster", cause: panic.to_string() }),
            },
        }
    }

    /// Stops every part; containers go on.
    pub async fn stop(&mut self) {
        self.progress.line("stopping");
        self.shutdown.cancel();
        let all = async { while self.parts.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(15), all).await.is_err() {
            tracing::warn!("some parts did not stop in 15 s; leaving them behind");
        }
        self.api.stop();
        self.store.close();
        for path in [self.dir.pid_file(), detach::ready_file(&self.dir)] {
            // A leftover is recognised by its dead pid.
            let _ = std::fs::remove_file(path);
        }
    }
}

fn local_client(api: &Api, user: &str, groups: &[&str]) -> Client {
    let mut groups: Vec<String> = groups.iter().map(|g| (*g).to_owned()).collect();
    groups.push("system:authenticated".to_owned());
    let user = UserInfo { name: user.to_owned(), groups, ..UserInfo::default() };
    kaji_client::local::client(api.local(user))
}

fn service_account_groups(user: &str) -> Vec<&'static str> {
    if user.starts_with("system:serviceaccount:kube-system:") {
        vec!["system:serviceaccounts", "system:serviceaccounts:kube-system"]
    } else {
        Vec::new()
    }
}
