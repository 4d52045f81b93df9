//! The start of a real node, in order.

use crate::agent::{Agent, Parts, housekeeping, statuses::Statuses};
use crate::cgroup::Cgroups;
use crate::config::Config;
use crate::containerd::{self, Containerd, Settings};
use crate::node::{Keeper, machine};
use crate::objects::Objects;
use crate::pod::Facts;
use crate::resources::{self, CpuLimits};
use crate::runtime::Runtime;
use crate::runtime::remote::Remote;
use crate::volume::{Disk, Tokens};
use crate::{Error, image, network, server};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kaji_client::event::Recorder;
use kaji_client::{Client, Informers};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The sandbox image's name, without its tag.
const SANDBOX: &str = "kaji.local/sandbox";

pub(crate) async fn run(client: Client, mut config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    for dir in [&config.root_dir, &config.pod_logs_dir] {
        let path = dir.display().to_string();
        std::fs::create_dir_all(dir).map_err(|cause| Error::Prepare { path, cause })?;
    }
    let own = own_containerd(&mut config).await?;
    let endpoint = config.container_runtime_endpoint.clone().or_else(|| own.as_ref().map(Containerd::endpoint));
    let endpoint = endpoint.expect("a runtime is named or our own");
    let supervisor = own.map(|own| tokio::spawn(own.supervise(shutdown.clone())));
    let outcome = run_on(client, config, &endpoint, shutdown.clone()).await;
    shutdown.cancel();
    if let Some(supervisor) = supervisor {
        let _ = supervisor.await;
    }
    outcome
}

/// Starts a containerd of our own where no endpoint is named.
async fn own_containerd(config: &mut Config) -> Result<Option<Containerd>, Error> {
    if config.container_runtime_endpoint.is_some() {
        return Ok(None);
    }
    containerd::check(&config.cni_bin_dirs)?;
    let sandbox_image = match (&config.pod_infra_container_image, &config.sandbox_binary) {
        (Some(image), _) => image.clone(),
        (None, Some(binary)) => sandbox_name(binary)?,
        (None, None) => {
            let what = "a sandbox image must be named, or a static binary to make one of";
            return Err(Error::Config(what.to_owned()));
        }
    };
    let settings = Settings {
        dir: config.containerd_dir.clone(),
        state_dir: config.containerd_state_dir.clone(),
        sandbox_image: sandbox_image.clone(),
        cni_conf_dir: config.cni_conf_dir.clone(),
        cni_bin_dir: containerd::cni_bin_dir(&config.cni_bin_dirs)?.to_owned(),
    };
    let containerd = Containerd::start(settings).await?;
    if config.pod_infra_container_image.is_none() {
        if let Some(binary) = &config.sandbox_binary {
            provide_sandbox(&containerd.endpoint(), &sandbox_image, binary).await?;
        }
        config.pod_infra_container_image = Some(sandbox_image);
    }
    Ok(Some(containerd))
}

/// A name that changes with the binary, so that a new one is imported once.
fn sandbox_name(binary: &Path) -> Result<String, Error> {
    let meta =
        std::fs::metadata(binary).map_err(|cause| Error::Prepare { path: binary.display().to_string(), cause })?;
    Ok(format!("{SANDBOX}:{}-{:x}-{:x}", env!("CARGO_PKG_VERSION"), meta.len(), meta.mtime()))
}

async fn provide_sandbox(endpoint: &str, name: &str, binary: &Path) -> Result<(), Error> {
    let known = image::list(endpoint).await.map_err(Error::SandboxImage)?;
    if known.iter().any(|image| image.tags.iter().any(|tag| tag == name)) {
        return Ok(());
    }
    let path = binary.display().to_string();
    let archive = image::archive(name, binary, &["pause"]).map_err(|cause| Error::Prepare { path, cause })?;
    image::import_from(endpoint, "the sandbox image", std::io::Cursor::new(archive))
        .await
        .map_err(Error::SandboxImage)?;
    Ok(())
}

async fn run_on(client: Client, config: Config, endpoint: &str, shutdown: CancellationToken) -> Result<(), Error> {
    let unreachable = |cause| Error::Runtime { endpoint: endpoint.to_owned(), cause };
    let runtime = Remote::connect(endpoint, config.runtime_request_timeout).await.map_err(unreachable)?;
    let runtime: Arc<dyn Runtime> = Arc::new(runtime);
    let machine = machine::Machine::this(&config);
    let addresses = machine::addresses(&config);
    let config = Arc::new(config);
    let facts = facts(&config, &machine, &addresses);
    let informers = Informers::new(client.clone());
    let node_name = config.node_name.clone();
    let services = informers.of::<Service>();
    let agent = Arc::new_cyclic(|agent: &Weak<Agent>| {
        let woken = agent.clone();
        let objects = Arc::new(Objects::new(client.clone(), move |uid| {
            if let Some(agent) = woken.upgrade() {
                agent.wake(uid);
            }
        }));
        let tokens = Arc::new(Tokens::new(client.clone()));
        Agent::new(Parts {
            volumes: Arc::new(Disk::new(&config.root_dir, objects.clone(), tokens)),
            objects,
            runtime: runtime.clone(),
            recorder: Recorder::new(client.clone(), "kubelet", &node_name),
            statuses: Statuses::new(client.clone()),
            services: Some(services.clone()),
            cgroups: config.cgroups_per_qos.then(|| Cgroups::new(&config.cgroup_root, facts.cpu)),
            facts,
            config: config.clone(),
            shutdown: shutdown.clone(),
            simulated: false,
        })
    });
    agent.set_network_problem(Some("the node's pod network is not set up yet".to_owned()));
    let server = server::open(agent.clone(), client.clone(), machine.clone()).await?;
    let keeper =
        Keeper { client, config: config.clone(), machine, addresses, port: server.port(), agent: agent.clone() };
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(server.run());
    tasks.spawn(keeper.run());
    tasks.spawn(agent.statuses.clone().run(4));
    tasks.spawn(agent.clone().follow_runtime());
    tasks.spawn(keep_network(agent.clone(), informers.selected::<Node>(&format!("metadata.name={node_name}"))));
    services.synced().await;
    let pods = informers.selected::<Pod>(&format!("spec.nodeName={node_name}"));
    let told = agent.clone();
    pods.on_change(move |change| told.on_change(change));
    tokio::select! {
        () = pods.synced() => {}
        () = shutdown.cancelled() => {}
    }
    tasks.spawn(housekeeping::run(agent.clone()));
    shutdown.cancelled().await;
    agent.stopped().await;
    tasks.shutdown().await;
    Ok(())
}

/// What pods must know of this node.
pub(crate) fn facts(config: &Config, machine: &machine::Machine, addresses: &[String]) -> Facts {
    let allocatable = machine.allocatable(config);
    let amounts = allocatable.keys().map(|name| (name.clone(), resources::amount(Some(&allocatable), name))).collect();
    Facts {
        host_ips: addresses.to_vec(),
        cluster_domain: config.cluster_domain.clone(),
        cluster_dns: config.cluster_dns.iter().map(ToString::to_string).collect(),
        allocatable: amounts,
        memory_capacity: i64::try_from(machine.memory).unwrap_or(i64::MAX),
        cpu: CpuLimits {
            quota: config.cpu_cfs_quota,
            period: i64::try_from(config.cpu_cfs_quota_period.as_micros()).unwrap_or(100_000),
        },
        seccomp_default: config.seccomp_default,
    }
}

/// Writes the pod network's configuration when the node has its CIDR; says when the network is ready.
async fn keep_network(agent: Arc<Agent>, nodes: Arc<kaji_client::Informer<Node>>) {
    let changed = Arc::new(tokio::sync::Notify::new());
    let told = changed.clone();
    nodes.on_change(move |_| told.notify_one());
    let mut written: Option<Vec<String>> = None;
    loop {
        let node = nodes.list().into_iter().next();
        if let Some(node) = &node {
            agent.set_node(node.clone());
        }
        let cidrs = node.as_deref().map(pod_cidrs).unwrap_or_default();
        let cidrs = if cidrs.is_empty() { agent.config.pod_cidr.clone().into_iter().collect() } else { cidrs };
        if agent.config.bridge_network && !cidrs.is_empty() && written.as_ref() != Some(&cidrs) {
            match network::write(&agent.config, &cidrs) {
                Ok(file) => {
                    tracing::info!(file = %file.display(), ?cidrs, "pod network configured");
                    written = Some(cidrs);
                }
                Err(error) => tracing::error!(%error, "pod network not configured"),
            }
        }
        let waiting = agent.config.bridge_network && written.is_none();
        let problem = match agent.runtime.describe().await {
            _ if waiting => Some("the node has no pod CIDR yet".to_owned()),
            Ok(described) => described.network_problem,
            Err(error) => Some(error.to_string()),
        };
        let settled = problem.is_none() || waiting;
        agent.set_network_problem(problem);
        // The runtime reads its network configuration in its own time: look again soon until it has.
        let pause = if settled { Duration::from_secs(60) } else { Duration::from_millis(100) };
        tokio::select! {
            () = changed.notified() => {}
            () = tokio::time::sleep(pause) => {}
            () = agent.shutdown.cancelled() => return,
        }
    }
}

pub(crate) fn pod_cidrs(node: &Node) -> Vec<String> {
    let Some(spec) = &node.spec else { return Vec::new() };
    spec.pod_cidrs
        .clone()
        .filter(|cidrs| !cidrs.is_empty())
        .unwrap_or_else(|| spec.pod_cidr.clone().into_iter().collect())
}
