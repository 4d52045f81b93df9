//! The node's side of the start: bridge, node agent, service proxy, DNS; or simulated nodes.

use super::{Cluster, Part, UpError, chain};
use crate::instance::Instance;
use crate::preflight;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use kaji_client::Client;
use parking_lot::Mutex;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// How long a node may take until it is ready.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long to wait before saying for what.
const TELL_AFTER: Duration = Duration::from_secs(10);

/// The machine's name as a node name: lower case, the first label of a long name kept whole.
pub fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

/// The first /24 of the pods' range: what the controller gives the first node.
fn node_range(instance: &Instance) -> Ipv4Net {
    Ipv4Net::new(instance.pods.network(), 24).expect("24 is a valid prefix length")
}

/// Makes the bridge and the interface that holds the DNS address, before anything needs their addresses.
pub(super) async fn prepare_network(instance: &Instance) -> Result<(), UpError> {
    let boxed = |e: kaji_network::bridge::Error| UpError::Network(Box::new(e));
    let range = ipnet::IpNet::V4(node_range(instance));
    kaji_network::bridge::ensure(&instance.bridge(), &[range]).await.map_err(boxed)?;
    kaji_network::bridge::ensure_dummy(&instance.dns_interface(), &[instance.dns_address().into()]).await.map_err(boxed)
}

impl Cluster {
    /// The node agent, the proxy and DNS; returns once the node is ready.
    pub(super) async fn start_real_node(&mut self) -> Result<(), UpError> {
        let name = host_name();
        let config = self.node_config(&name)?;
        let client = self.client(&format!("system:node:{name}"), &["system:nodes"]);
        let stop = self.shutdown.clone();
        self.spawn("node agent", async move { kaji_node::run(client, config, stop).await.map_err(|e| chain(&e)) });
        if self.options.enabled(Part::Proxy) {
            self.start_proxy(&name);
        }
        if self.options.enabled(Part::Dns) {
            self.start_dns();
        }
        self.wait_for_node(&name).await?;
        self.progress.ready("node", &format!("{name} ({})", self.instance.node_address()));
        Ok(())
    }

    fn node_config(&self, name: &str) -> Result<kaji_node::Config, UpError> {
        let address: IpAddr = self.instance.node_address().into();
        let serving = self.material.node_serving(name, vec![address, IpAddr::from([127, 0, 0, 1])])?;
        let pem = |path: &Path| -> Result<Option<String>, UpError> { Ok(crate::data_dir::read(path)?) };
        let mut config = kaji_node::Config::new(name, self.dir.node());
        config.node_ips = vec![address];
        config.containerd_state_dir = self.instance.runtime_dir();
        config.container_runtime_endpoint = self.options.runtime_endpoint.clone();
        config.pod_infra_container_image = self.options.sandbox_image.clone();
        config.sandbox_binary = std::env::current_exe().ok();
        config.bridge = self.instance.bridge();
        config.cni_bin_dirs = preflight::cni_dir().into_iter().collect();
        config.port = 0;
        config.tls_cert_pem = pem(&serving.cert)?;
        config.tls_key_pem = pem(&serving.key)?;
        config.client_ca_pem = Some(self.material.cluster().certificate_pem().to_owned());
        config.trusted_clients = vec!["kube-apiserver-kubelet-client".to_owned()];
        config.cluster_dns = vec![self.instance.dns_address().into()];
        config.cgroup_root = format!("/{}", self.instance.bridge());
        Ok(config)
    }

    fn start_proxy(&mut self, node: &str) {
        let mut config = kaji_network::proxy::Config::new(&self.instance.table(), node);
        config.node_ips = vec![self.instance.node_address().into()];
        config.cluster_cidrs = vec![ipnet::IpNet::V4(self.instance.pods)];
        config.service_cidrs = vec![ipnet::IpNet::V4(self.instance.services)];
        config.bridge = Some(self.instance.bridge());
        config.cluster_dns = vec![self.instance.dns_address().into()];
        let client = self.client("system:kube-proxy", &[]);
        let stop = self.shutdown.clone();
        self.spawn("service proxy", async move {
            kaji_network::proxy::run(client, config, stop).await.map_err(|e| chain(&e))
        });
        self.progress.ready("service proxy", "");
    }

    fn start_dns(&mut self) {
        let address = SocketAddr::new(self.instance.dns_address().into(), 53);
        let config = kaji_dns::Config::new("cluster.local", vec![address]);
        let client = self.client("system:kaji-dns", &[]);
        let stop = self.shutdown.clone();
        self.spawn("cluster DNS", async move { kaji_dns::run(client, config, stop).await.map_err(|e| chain(&e)) });
        self.progress.ready("cluster DNS", &address.ip().to_string());
    }

    /// Simulated nodes, in this process; returns once all are ready.
    pub(super) async fn start_simulated_nodes(&mut self, count: u16) -> Result<(), UpError> {
        let names: Vec<String> = (1..=count).map(|i| format!("sim-{i}")).collect();
        let api = self.api.clone();
        // Every node acts as itself; what all of them follow is followed once, by an identity that may see it all.
        let client_for = move |name: &str| match name {
            "" => super::local_client(&api, "system:kaji-simulated-nodes", &[]),
            name => super::local_client(&api, &format!("system:node:{name}"), &["system:nodes"]),
        };
        let (stop, own) = (self.shutdown.clone(), names.clone());
        self.spawn("simulated nodes", async move {
            kaji_node::run_simulated(&client_for, own, stop).await.map_err(|e| chain(&e))
        });
        for name in &names {
            self.wait_for_node(name).await?;
        }
        self.progress.ready("nodes", &format!("{count} simulated"));
        Ok(())
    }

    /// Waits until the node says it is ready, or a part has failed; says what it waits for when that takes long.
    async fn wait_for_node(&mut self, name: &str) -> Result<(), UpError> {
        let client = self.client("system:apiserver", &["system:masters"]);
        let last = Mutex::new("no node object".to_owned());
        let mut ready = std::pin::pin!(until_ready(client, name.to_owned(), &last));
        let mut over = std::pin::pin!(tokio::time::sleep(PATIENCE));
        loop {
            tokio::select! {
                () = &mut ready => return Ok(()),
                Some(ended) = self.parts.join_next() => return Err(match ended {
                    Ok(Err(error)) => error,
                    _ => UpError::Part { part: "cluster", cause: "a part ended during the start".to_owned() },
                }),
                () = &mut over => {
                    return Err(UpError::NotReady { part: "node", waited: PATIENCE, last: last.lock().clone() });
                }
                () = tokio::time::sleep(TELL_AFTER) => {
                    self.progress.line(&format!("  … waiting for node {name}: {}", last.lock()));
                }
            }
        }
    }
}

/// Watches a node until its Ready condition is true; `last` tells what it said before.
async fn until_ready(client: Client, name: String, last: &Mutex<String>) {
    use futures::StreamExt;
    let nodes: kube::Api<Node> = kube::Api::all(client);
    let mut states = std::pin::pin!(kube::runtime::watcher::watch_object(nodes, &name));
    while let Some(state) = states.next().await {
        let said = match state {
            Ok(Some(node)) => {
                let conditions = node.status.and_then(|s| s.conditions).unwrap_or_default();
                match conditions.into_iter().find(|c| c.type_ == "Ready") {
                    Some(c) if c.status == "True" => return,
                    Some(c) => c.message.unwrap_or(c.status),
                    None => "no Ready condition".to_owned(),
                }
            }
            Ok(None) => "no node object".to_owned(),
            Err(error) => chain(&error),
        };
        *last.lock() = said;
    }
}
