//! Whole clusters in one test process, and waits that say what they last saw.
//!
//! ```ignore
//! let cluster = Cluster::simulated(2).await;
//! cluster.create(deployment("web", 3)).await;
//! cluster.until("three pods run", async |c| c.running("app=web").await == 3).await;
//! ```

pub mod history;
pub mod load;
pub mod process;
pub mod torture;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kaji_client::Client;
use kaji_cluster::up::{self, Options};
use kube::api::{ListParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// A path that nobody else has, in this process or another; nothing is there.
pub(crate) fn unused_dir(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("kaji-{name}-{}-{number}", std::process::id()));
    // A leftover of a killed run.
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

/// No wait lasts longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A cluster in this process, on a free port and in a directory of its own.
pub struct Cluster {
    running: up::Cluster,
    dir: PathBuf,
}

impl Cluster {
    /// A control plane and simulated nodes, in a directory that is new.
    pub async fn simulated(nodes: u16) -> Self {
        Self::start(unused_dir("test"), nodes).await
    }

    async fn start(dir: PathBuf, nodes: u16) -> Self {
        let options = Options {
            data_dir: dir.clone(),
            bind_address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            write_kubeconfig: None,
            control_plane_only: false,
            simulated_nodes: Some(nodes),
            disabled: Vec::new(),
            runtime_endpoint: None,
            sandbox_image: None,
        };
        let running = up::Cluster::start(options).await.expect("the cluster starts");
        Cluster { running, dir }
    }

    /// The administrator's client.
    pub fn client(&self) -> Client {
        self.running.client("kubernetes-admin", &["system:masters"])
    }

    /// The cluster behind.
    pub fn running(&self) -> &up::Cluster {
        &self.running
    }

    /// Makes an object in the `default` namespace.
    pub async fn create<K>(&self, object: K) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + std::fmt::Debug
            + Serialize
            + DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client(), "default");
        api.create(&PostParams::default(), &object).await.expect("the object is valid")
    }

    /// The pods in `default` that a label selector selects.
    pub async fn pods(&self, selector: &str) -> Vec<Pod> {
        let api: Api<Pod> = Api::namespaced(self.client(), "default");
        api.list(&ListParams::default().labels(selector)).await.expect("pods can be listed").items
    }

    /// How many selected pods run and are ready.
    pub async fn ready(&self, selector: &str) -> usize {
        let ready = |p: &&Pod| {
            let conditions = p.status.as_ref().and_then(|s| s.conditions.as_ref());
            p.metadata.deletion_timestamp.is_none()
                && conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True")
        };
        self.pods(selector).await.iter().filter(ready).count()
    }

    /// Waits until `look` says `Ok`; panics with the last `Err` when that takes too long.
    pub async fn until<T>(&self, what: &str, mut look: impl AsyncFnMut(&Self) -> Result<T, String>) -> T {
        let deadline = Instant::now() + PATIENCE;
        let mut beat = tokio::time::interval(Duration::from_millis(50));
        loop {
            beat.tick().await;
            match look(self).await {
                Ok(value) => return value,
                Err(last) if Instant::now() > deadline => panic!("waited in vain until {what}; last seen: {last}"),
                Err(_) => {}
            }
        }
    }

    /// Stops the cluster and starts it again on the same directory.
    pub async fn restart(mut self, nodes: u16) -> Self {
        self.running.stop().await;
        let dir = self.dir.clone();
        drop(self.running);
        Self::start(dir, nodes).await
    }

    /// Stops the cluster and removes its directory.
    pub async fn end(mut self) {
        self.running.stop().await;
        // Best effort: it is a temporary directory.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A deployment labelled `app=NAME`.
pub fn deployment(name: &str, replicas: i32) -> Deployment {
    serde_json::from_value(serde_json::json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "example.invalid/image:1"}]}
            }
        }
    }))
    .expect("a valid deployment")
}
