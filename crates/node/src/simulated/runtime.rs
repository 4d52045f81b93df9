//! A container runtime that only remembers.

use super::RUN;
use crate::cri::{RuntimeError, v1};
use crate::runtime::{
    ContainerView, Description, Event, Executed, Known, PodView, Runtime, SandboxView, State, StreamAsk, labels,
};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

type Answer<T> = Result<T, RuntimeError>;

#[derive(Default)]
struct Memory {
    /// By pod uid, newest first.
    pods: HashMap<String, (Known, PodView)>,
    next: u64,
    cidr: Option<ipnet::IpNet>,
    taken: BTreeSet<IpAddr>,
    events: Option<mpsc::Sender<Event>>,
    run: HashMap<String, Duration>,
}

/// The memory of one simulated node.
pub(super) struct Simulated {
    memory: Arc<Mutex<Memory>>,
}

fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

fn missing(id: &str) -> RuntimeError {
    RuntimeError { code: "NotFound", message: format!("{id} not found") }
}

impl Memory {
    fn id(&mut self, what: &str) -> String {
        self.next += 1;
        format!("{what}-{:012x}-{}", self.next, uuid::Uuid::new_v4().simple())
    }

    fn container(&mut self, id: &str) -> Option<&mut ContainerView> {
        self.pods.values_mut().flat_map(|(_, view)| &mut view.containers).find(|container| container.id == id)
    }

    fn address(&mut self) -> Option<IpAddr> {
        let cidr = self.cidr?;
        // The first address is the bridge's.
        let free = cidr.hosts().skip(1).find(|ip| !self.taken.contains(ip))?;
        self.taken.insert(free);
        Some(free)
    }

    /// Ends a container; whether it ran.
    fn end(&mut self, id: &str, exit_code: i32) -> bool {
        let Some(container) = self.container(id).filter(|container| container.state != State::Exited) else {
            return false;
        };
        container.state = State::Exited;
        container.exit_code = exit_code;
        container.finished_at = now();
        container.reason = if exit_code == 0 { "Completed" } else { "Error" }.to_owned();
        true
    }
}

impl Simulated {
    pub(super) fn new() -> Self {
        Simulated { memory: Arc::default() }
    }

    /// Where pods get their addresses from.
    pub(super) fn set_cidr(&self, cidr: &str) {
        self.memory.lock().cidr = cidr.parse().ok();
    }
}

/// `2s`, `500ms`, `1m30s`.
fn duration(text: &str) -> Option<Duration> {
    let span: jiff::SignedDuration = text.parse().ok()?;
    Duration::try_from(span).ok()
}

#[async_trait]
impl Runtime for Simulated {
    fn kind(&self) -> &str {
        "simulated"
    }

    async fn describe(&self) -> Answer<Description> {
        Ok(Description { version: format!("simulated://{}", env!("CARGO_PKG_VERSION")), ..Default::default() })
    }

    async fn known(&self) -> Answer<Vec<Known>> {
        Ok(self.memory.lock().pods.values().map(|(known, _)| known.clone()).collect())
    }

    async fn pod(&self, uid: &str) -> Answer<PodView> {
        Ok(self.memory.lock().pods.get(uid).map(|(_, view)| view.clone()).unwrap_or_default())
    }

    async fn run_sandbox(&self, config: v1::PodSandboxConfig, _: &str) -> Answer<String> {
        let mut memory = self.memory.lock();
        let metadata = config.metadata.unwrap_or_default();
        let options = config.linux.and_then(|l| l.security_context).and_then(|c| c.namespace_options);
        let host_network = options.is_some_and(|options| options.network() == v1::NamespaceMode::Node);
        let ips = match host_network {
            true => Vec::new(),
            false => {
                let ip = memory.address();
                vec![ip.ok_or_else(|| RuntimeError::unknown("no free address in the node's pod CIDR"))?.to_string()]
            }
        };
        let id = memory.id("sandbox");
        let sandbox = SandboxView { id: id.clone(), ready: true, attempt: metadata.attempt, host_network, ips };
        let known = Known { uid: metadata.uid.clone(), namespace: metadata.namespace, name: metadata.name };
        let (_, view) = memory.pods.entry(metadata.uid).or_insert_with(|| (known, PodView::default()));
        view.sandboxes.insert(0, sandbox);
        Ok(id)
    }

    async fn stop_sandbox(&self, id: &str) -> Answer<()> {
        let mut memory = self.memory.lock();
        let sandboxes = memory.pods.values_mut().flat_map(|(_, view)| &mut view.sandboxes);
        let mut freed = Vec::new();
        for sandbox in sandboxes.filter(|sandbox| sandbox.id == id && sandbox.ready) {
            sandbox.ready = false;
            freed.append(&mut sandbox.ips);
        }
        for ip in freed.iter().filter_map(|ip| ip.parse().ok()) {
            memory.taken.remove(&ip);
        }
        Ok(())
    }

    async fn remove_sandbox(&self, id: &str) -> Answer<()> {
        self.stop_sandbox(id).await?;
        let mut memory = self.memory.lock();
        memory.pods.values_mut().for_each(|(_, view)| view.sandboxes.retain(|sandbox| sandbox.id != id));
        memory.pods.retain(|_, (_, view)| !(view.sandboxes.is_empty() && view.containers.is_empty()));
        Ok(())
    }

    async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Answer<String> {
        let mut memory = self.memory.lock();
        let id = memory.id("container");
        let uid = sandbox_config.metadata.unwrap_or_default().uid;
        if let Some(run) = config.annotations.get(RUN).and_then(|text| duration(text)) {
            memory.run.insert(id.clone(), run);
        }
        let metadata = config.metadata.unwrap_or_default();
        let annotation = |key: &str| config.annotations.get(key).cloned().unwrap_or_default();
        let image = config.image.unwrap_or_default();
        let container = ContainerView {
            id: id.clone(),
            name: metadata.name,
            state: State::Created,
            started_at: 0,
            finished_at: 0,
            exit_code: 0,
            reason: String::new(),
            message: String::new(),
            image: image.user_specified_image,
            image_ref: image.image,
            restart_count: annotation(labels::RESTART_COUNT).parse().unwrap_or_default(),
            hash: annotation(labels::HASH),
            log_path: String::new(),
            resources: annotation(labels::RESOURCES),
            user: None,
        };
        let (_, view) = memory.pods.get_mut(&uid).ok_or_else(|| missing(sandbox))?;
        view.containers.insert(0, container);
        Ok(id)
    }

    async fn start_container(&self, id: &str) -> Answer<()> {
        let mut memory = self.memory.lock();
        let container = memory.container(id).ok_or_else(|| missing(id))?;
        container.state = State::Running;
        container.started_at = now();
        if let Some(run) = memory.run.remove(id) {
            let (memory, id) = (self.memory.clone(), id.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(run).await;
                let events = {
                    let mut memory = memory.lock();
                    if memory.end(&id, 0) { memory.events.clone() } else { None }
                };
                if let Some(events) = events {
                    let _ = events.send(Event::Ended(id)).await;
                }
            });
        }
        Ok(())
    }

    async fn stop_container(&self, id: &str, _: i64) -> Answer<()> {
        // As a process that ends on SIGTERM.
        self.memory.lock().end(id, 143);
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Answer<()> {
        let mut memory = self.memory.lock();
        memory.run.remove(id);
        memory.pods.values_mut().for_each(|(_, view)| view.containers.retain(|container| container.id != id));
        Ok(())
    }

    async fn update_resources(&self, _: &str, _: v1::LinuxContainerResources) -> Answer<()> {
        Ok(())
    }

    async fn exec(&self, _: &str, _: &[String], _: Option<Duration>) -> Answer<Executed> {
        Ok(Executed { exit_code: 0, output: Vec::new() })
    }

    async fn stream_url(&self, _: StreamAsk) -> Answer<String> {
        Err(RuntimeError { code: "Unimplemented", message: "a simulated node has no processes".to_owned() })
    }

    async fn reopen_log(&self, _: &str) -> Answer<()> {
        Ok(())
    }

    async fn stats(&self) -> Answer<Vec<v1::ContainerStats>> {
        Ok(Vec::new())
    }

    async fn image(&self, name: &str) -> Answer<Option<v1::Image>> {
        Ok(Some(v1::Image { id: format!("simulated:{name}"), ..Default::default() }))
    }

    async fn images(&self) -> Answer<Vec<v1::Image>> {
        Ok(Vec::new())
    }

    async fn pull(&self, name: &str, _: Option<v1::AuthConfig>, _: v1::PodSandboxConfig) -> Answer<String> {
        Ok(format!("simulated:{name}"))
    }

    async fn remove_image(&self, _: &str) -> Answer<()> {
        Ok(())
    }

    async fn image_filesystems(&self) -> Answer<Vec<v1::FilesystemUsage>> {
        Ok(Vec::new())
    }

    async fn follow(&self, events: mpsc::Sender<Event>) {
        self.memory.lock().events = Some(events.clone());
        events.closed().await;
    }
}
