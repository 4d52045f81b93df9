//! The node object: made at the start, kept true, and a lease that says we live.

mod conditions;
pub(crate) mod machine;

use crate::agent::Agent;
use crate::config::Config;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeDaemonEndpoints, NodeStatus, ObjectReference, Taint,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference};
use kaji_client::Client;
use kaji_client::event::EventType;
use kube::api::{Api, Patch, PatchParams, PostParams};
use machine::Machine;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const LEASES: &str = "kube-node-lease";
/// How many images a node lists.
const MAX_IMAGES: usize = 50;

/// A reference to a node for events; its uid is its name, as upstream has it.
pub(crate) fn reference(name: &str) -> ObjectReference {
    ObjectReference {
        kind: Some("Node".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(name.to_owned()),
        ..Default::default()
    }
}

/// What keeps the node object.
pub(crate) struct Keeper {
    pub(crate) client: Client,
    pub(crate) config: Arc<Config>,
    pub(crate) machine: Machine,
    pub(crate) addresses: Vec<String>,
    /// The port of the kubelet API; 0: none.
    pub(crate) port: u16,
    pub(crate) agent: Arc<Agent>,
}

impl Keeper {
    /// Keeps node and lease until shutdown.
    pub(crate) async fn run(self) {
        let shutdown = self.agent.shutdown.clone();
        tokio::select! {
            () = self.keep_status() => {}
            () = self.keep_lease() => {}
            () = shutdown.cancelled() => {}
        }
    }

    fn nodes(&self) -> Api<Node> {
        Api::all(self.client.clone())
    }

    // Status

    async fn keep_status(&self) {
        let mut last: Option<(Value, tokio::time::Instant)> = None;
        let mut ready = None;
        let mut delay = Duration::from_millis(200);
        loop {
            let status = self.status().await;
            let is_ready = conditions::is_ready(&status);
            let comparable = conditions::without_times(&status);
            let due = last.as_ref().is_none_or(|(sent, at)| {
                *sent != comparable || at.elapsed() >= self.config.node_status_report_frequency
            });
            if due {
                match self.send(&status).await {
                    Ok(node) => {
                        self.agent.set_node(Arc::new(node));
                        last = Some((comparable, tokio::time::Instant::now()));
                        delay = Duration::from_millis(200);
                        if ready != Some(is_ready) {
                            self.tell(is_ready);
                            ready = Some(is_ready);
                        }
                    }
                    Err(error) => {
                        tracing::warn!(node = %self.config.node_name, %error, "node status not sent");
                        tokio::time::sleep(delay).await;
                        delay = (delay * 2).min(Duration::from_secs(7));
                        continue;
                    }
                }
            }
            // Until it is ready, every moment counts.
            let pause = if is_ready { self.config.node_status_update_frequency } else { Duration::from_millis(200) };
            tokio::time::sleep(pause).await;
        }
    }

    fn tell(&self, ready: bool) {
        let name = &self.config.node_name;
        let about = reference(name);
        let mut reasons = vec!["NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"];
        reasons.push(if ready { "NodeReady" } else { "NodeNotReady" });
        for reason in reasons {
            let message = format!("Node {name} status is now: {reason}");
            self.agent.recorder.event(&about, EventType::Normal, reason, &message);
        }
    }

    /// Writes the status; a node that is not there is made.
    async fn send(&self, status: &NodeStatus) -> Result<Node, kube::Error> {
        let nodes = self.nodes();
        let present = nodes.get_opt(&self.config.node_name).await?;
        let Some(present) = present else {
            if !self.config.register_node {
                let gone = kube::core::Status::failure("the node is not registered", "NotFound").with_code(404);
                return Err(kube::Error::Api(gone.boxed()));
            }
            return nodes.create(&PostParams::default(), &self.node(status.clone())).await;
        };
        self.keep_labels(&present).await?;
        let mut status = status.clone();
        let old = present.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        conditions::keep_transitions(&mut status, old);
        let mut patch = serde_json::to_value(&status).unwrap_or_default();
        if let Some(addresses) = patch.get_mut("addresses").and_then(Value::as_array_mut) {
            addresses.insert(0, json!({ "$patch": "replace" }));
        }
        let patch = json!({ "status": patch });
        nodes.patch_status(&self.config.node_name, &PatchParams::default(), &Patch::Strategic(patch)).await
    }

    /// Labels that we stand for are put back when they differ.
    async fn keep_labels(&self, present: &Node) -> Result<(), kube::Error> {
        let known = present.metadata.labels.clone().unwrap_or_default();
        let wanted = self.labels();
        let differing: BTreeMap<_, _> =
            wanted.into_iter().filter(|(key, value)| known.get(key) != Some(value)).collect();
        if differing.is_empty() {
            return Ok(());
        }
        let patch = json!({ "metadata": { "labels": differing } });
        let nodes = self.nodes();
        nodes.patch(&self.config.node_name, &PatchParams::default(), &Patch::Strategic(patch)).await.map(drop)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let arch = crate::image::architecture();
        let mut labels: BTreeMap<String, String> = [
            ("beta.kubernetes.io/arch", arch),
            ("beta.kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", arch),
            ("kubernetes.io/hostname", &self.config.node_name),
            ("kubernetes.io/os", "linux"),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
        labels.extend(self.config.node_labels.clone());
        labels
    }

    fn node(&self, status: NodeStatus) -> Node {
        let mut node = Node { status: Some(status), ..Node::default() };
        node.metadata.name = Some(self.config.node_name.clone());
        node.metadata.labels = Some(self.labels());
        let managed = ("volumes.kubernetes.io/controller-managed-attach-detach".to_owned(), "true".to_owned());
        let mut annotations = BTreeMap::from([managed]);
        if !self.config.node_ips.is_empty() {
            let ips: Vec<String> = self.config.node_ips.iter().map(ToString::to_string).collect();
            annotations.insert("alpha.kubernetes.io/provided-node-ip".to_owned(), ips.join(","));
        }
        node.metadata.annotations = Some(annotations);
        let spec = node.spec.get_or_insert_default();
        let taints: Vec<Taint> = self.config.register_with_taints.iter().filter_map(|text| taint(text)).collect();
        spec.taints = (!taints.is_empty()).then_some(taints);
        spec.provider_id = (!self.config.provider_id.is_empty()).then(|| self.config.provider_id.clone());
        node
    }

    async fn status(&self) -> NodeStatus {
        let described = self.agent.runtime.describe().await;
        let (runtime, problem) = match described {
            Ok(described) => {
                let network = self.agent.network_problem().or(described.network_problem);
                let problem = described.runtime_problem.or(network);
                (described.version, problem.map(|problem| format!("container runtime network not ready: {problem}")))
            }
            Err(error) => (String::new(), Some(format!("container runtime is down: {error}"))),
        };
        let mut addresses: Vec<NodeAddress> = self
            .addresses
            .iter()
            .map(|ip| NodeAddress { type_: "InternalIP".to_owned(), address: ip.clone() })
            .collect();
        addresses.push(NodeAddress { type_: "Hostname".to_owned(), address: self.config.node_name.clone() });
        let endpoint = DaemonEndpoint { port: i32::from(self.port) };
        NodeStatus {
            addresses: Some(addresses),
            capacity: Some(self.machine.capacity(self.config.max_pods)),
            allocatable: Some(self.machine.allocatable(&self.config)),
            conditions: Some(conditions::all(problem, &self.machine, Timestamp::now())),
            daemon_endpoints: Some(NodeDaemonEndpoints { kubelet_endpoint: Some(endpoint) }),
            images: self.images().await,
            node_info: Some(self.machine.info(&runtime)),
            ..NodeStatus::default()
        }
    }

    async fn images(&self) -> Option<Vec<ContainerImage>> {
        let mut images = self.agent.runtime.images().await.ok()?;
        images.sort_by_key(|image| std::cmp::Reverse(image.size));
        let image = |image: crate::cri::v1::Image| ContainerImage {
            names: Some(image.repo_digests.into_iter().chain(image.repo_tags).take(5).collect()),
            size_bytes: i64::try_from(image.size).ok(),
        };
        let images: Vec<ContainerImage> = images.into_iter().take(MAX_IMAGES).map(image).collect();
        (!images.is_empty()).then_some(images)
    }

    // Lease

    async fn keep_lease(&self) {
        let period = self.config.node_lease_duration / 4;
        let mut held: Option<Lease> = None;
        let mut delay = Duration::from_millis(200);
        loop {
            match self.renew(held.take()).await {
                Ok(lease) => {
                    // A lease without its owner is made complete as soon as the node is known.
                    let complete = lease.metadata.owner_references.is_some();
                    held = Some(lease);
                    delay = Duration::from_millis(200);
                    tokio::time::sleep(if complete { period } else { Duration::from_secs(1) }).await;
                }
                Err(error) => {
                    tracing::debug!(node = %self.config.node_name, %error, "node lease not renewed");
                    tokio::time::sleep(delay).await;
                    delay = (delay * 2).min(Duration::from_secs(7));
                }
            }
        }
    }

    async fn renew(&self, held: Option<Lease>) -> Result<Lease, kube::Error> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone(), LEASES);
        let name = &self.config.node_name;
        let known = match held {
            Some(lease) => Some(lease),
            None => leases.get_opt(name).await?,
        };
        let fresh = known.is_none();
        let mut lease = known.unwrap_or_default();
        lease.metadata.name = Some(name.clone());
        lease.metadata.namespace = Some(LEASES.to_owned());
        if let Some(uid) = self.agent.node().and_then(|node| node.metadata.uid.clone()) {
            lease.metadata.owner_references = Some(vec![OwnerReference {
                api_version: "v1".to_owned(),
                kind: "Node".to_owned(),
                name: name.clone(),
                uid,
                ..Default::default()
            }]);
        }
        let seconds = i32::try_from(self.config.node_lease_duration.as_secs()).ok();
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(name.clone()),
            lease_duration_seconds: seconds,
            renew_time: Some(MicroTime(Timestamp::now())),
            ..lease.spec.unwrap_or_default()
        });
        match fresh {
            true => leases.create(&PostParams::default(), &lease).await,
            false => leases.replace(name, &PostParams::default(), &lease).await,
        }
    }
}

/// `key=value:effect` or `key:effect`.
fn taint(text: &str) -> Option<Taint> {
    let (place, effect) = text.rsplit_once(':')?;
    let (key, value) = place.split_once('=').unwrap_or((place, ""));
    Some(Taint {
        key: key.to_owned(),
        value: (!value.is_empty()).then(|| value.to_owned()),
        effect: effect.to_owned(),
        time_added: None,
    })
}

/// A quantity as the API writes it.
pub(crate) fn quantity(text: impl Into<String>) -> Quantity {
    Quantity(text.into())
}
