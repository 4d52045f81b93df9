//! The real runtime: CRI over its socket.

use super::{
    Answer, ContainerView, Description, Event, Executed, Known, PodView, Runtime, SandboxView, State, StreamAsk, exits,
    labels, termination,
};
use crate::cri::{Cri, RuntimeError, v1};
use async_trait::async_trait;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// A CRI runtime behind a Unix socket.
pub(crate) struct Remote {
    cri: Cri,
    socket: PathBuf,
    kind: String,
}

impl Remote {
    /// Connects; fails where nothing answers.
    pub(crate) async fn connect(endpoint: &str, timeout: Duration) -> Answer<Self> {
        let cri = Cri::new(endpoint, timeout);
        let version = cri.version(v1::VersionRequest { version: "0.1.0".to_owned() }).await?;
        Ok(Remote { cri, socket: crate::cri::socket_path(endpoint), kind: version.runtime_name })
    }

    async fn sandbox(&self, item: &v1::PodSandbox) -> Answer<Option<SandboxView>> {
        let ask = v1::PodSandboxStatusRequest { pod_sandbox_id: item.id.clone(), verbose: false };
        let status = match self.cri.pod_sandbox_status(ask).await {
            Ok(answer) => answer.status.unwrap_or_default(),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let network = status.network.unwrap_or_default();
        let ips = std::iter::once(network.ip).chain(network.additional_ips.into_iter().map(|ip| ip.ip));
        let mode = status.linux.and_then(|l| l.namespaces).and_then(|n| n.options).map(|options| options.network());
        Ok(Some(SandboxView {
            id: status.id,
            ready: status.state == i32::from(v1::PodSandboxState::SandboxReady),
            attempt: status.metadata.map(|metadata| metadata.attempt).unwrap_or_default(),
            host_network: mode == Some(v1::NamespaceMode::Node),
            ips: ips.filter(|ip| !ip.is_empty()).collect(),
        }))
    }

    async fn container(&self, item: &v1::Container) -> Answer<Option<ContainerView>> {
        let ask = v1::ContainerStatusRequest { container_id: item.id.clone(), verbose: false };
        match self.cri.container_status(ask).await {
            Ok(answer) => Ok(answer.status.map(|status| view(&status))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn view(status: &v1::ContainerStatus) -> ContainerView {
    let state = match status.state() {
        v1::ContainerState::ContainerCreated => State::Created,
        v1::ContainerState::ContainerRunning => State::Running,
        v1::ContainerState::ContainerExited => State::Exited,
        v1::ContainerState::ContainerUnknown => State::Unknown,
    };
    let ended = state == State::Exited;
    let annotation = |key: &str| status.annotations.get(key).cloned().unwrap_or_default();
    ContainerView {
        id: status.id.clone(),
        name: status.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_default(),
        state,
        started_at: if state == State::Created { 0 } else { status.started_at },
        finished_at: if ended { status.finished_at } else { 0 },
        exit_code: if ended { status.exit_code } else { 0 },
        reason: if ended { status.reason.clone() } else { String::new() },
        message: if ended { termination::message(status) } else { String::new() },
        image: status.image.as_ref().map(|image| image.image.clone()).unwrap_or_default(),
        image_ref: status.image_ref.clone(),
        restart_count: annotation(labels::RESTART_COUNT).parse().unwrap_or_default(),
        hash: annotation(labels::HASH),
        log_path: status.log_path.clone(),
        resources: annotation(labels::RESOURCES),
        user: status.user.as_ref().and_then(|user| user.linux.clone()),
    }
}

fn of_pod(uid: &str) -> HashMap<String, String> {
    HashMap::from([(labels::POD_UID.to_owned(), uid.to_owned())])
}

#[async_trait]
impl Runtime for Remote {
    fn kind(&self) -> &str {
        &self.kind
    }

    async fn describe(&self) -> Answer<Description> {
        let version = self.cri.version(v1::VersionRequest::default()).await?;
        let status = self.cri.status(v1::StatusRequest { verbose: false }).await?.status.unwrap_or_default();
        let problem = |kind: &str| {
            let found = status.conditions.iter().find(|condition| condition.r#type == kind);
            let condition = found.cloned().unwrap_or_default();
            let text = format!("{kind}=false reason:{} message:{}", condition.reason, condition.message);
            (!condition.status).then_some(text)
        };
        Ok(Description {
            version: format!("{}://{}", version.runtime_name, version.runtime_version),
            runtime_problem: problem("RuntimeReady"),
            network_problem: problem("NetworkReady"),
        })
    }

    async fn known(&self) -> Answer<Vec<Known>> {
        let sandboxes = self.cri.list_pod_sandbox(v1::ListPodSandboxRequest::default()).await?.items;
        let containers = self.cri.list_containers(v1::ListContainersRequest::default()).await?.containers;
        let all = sandboxes.into_iter().map(|s| s.labels).chain(containers.into_iter().map(|c| c.labels));
        let mut pods: HashMap<String, Known> = HashMap::new();
        for mut labels in all {
            // What has no pod is not ours.
            let Some(uid) = labels.remove(labels::POD_UID) else { continue };
            let namespace = labels.remove(labels::POD_NAMESPACE).unwrap_or_default();
            let name = labels.remove(labels::POD_NAME).unwrap_or_default();
            pods.entry(uid.clone()).or_insert(Known { uid, namespace, name });
        }
        Ok(pods.into_values().collect())
    }

    async fn pod(&self, uid: &str) -> Answer<PodView> {
        let filter = v1::PodSandboxFilter { label_selector: of_pod(uid), ..Default::default() };
        let ask = v1::ListPodSandboxRequest { filter: Some(filter) };
        let mut sandboxes = self.cri.list_pod_sandbox(ask).await?.items;
        sandboxes.sort_by_key(|sandbox| std::cmp::Reverse(sandbox.created_at));
        let filter = v1::ContainerFilter { label_selector: of_pod(uid), ..Default::default() };
        let mut containers =
            self.cri.list_containers(v1::ListContainersRequest { filter: Some(filter) }).await?.containers;
        containers.sort_by_key(|container| std::cmp::Reverse(container.created_at));
        let sandboxes = futures::future::try_join_all(sandboxes.iter().map(|item| self.sandbox(item)));
        let containers = futures::future::try_join_all(containers.iter().map(|item| self.container(item)));
        let (sandboxes, containers) = futures::future::try_join(sandboxes, containers).await?;
        Ok(PodView {
            sandboxes: sandboxes.into_iter().flatten().collect(),
            containers: containers.into_iter().flatten().collect(),
        })
    }

    async fn run_sandbox(&self, config: v1::PodSandboxConfig, handler: &str) -> Answer<String> {
        let ask = v1::RunPodSandboxRequest { config: Some(config), runtime_handler: handler.to_owned() };
        Ok(self.cri.run_pod_sandbox(ask).await?.pod_sandbox_id)
    }

    async fn stop_sandbox(&self, id: &str) -> Answer<()> {
        let ask = v1::StopPodSandboxRequest { pod_sandbox_id: id.to_owned() };
        absent_is_fine(self.cri.stop_pod_sandbox(ask).await)
    }

    async fn remove_sandbox(&self, id: &str) -> Answer<()> {
        let ask = v1::RemovePodSandboxRequest { pod_sandbox_id: id.to_owned() };
        absent_is_fine(self.cri.remove_pod_sandbox(ask).await)
    }

    async fn create_container(
        &self,
        sandbox: &str,
        config: v1::ContainerConfig,
        sandbox_config: v1::PodSandboxConfig,
    ) -> Answer<String> {
        let ask = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox.to_owned(),
            config: Some(config),
            sandbox_config: Some(sandbox_config),
        };
        Ok(self.cri.create_container(ask).await?.container_id)
    }

    async fn start_container(&self, id: &str) -> Answer<()> {
        self.cri.start_container(v1::StartContainerRequest { container_id: id.to_owned() }).await.map(drop)
    }

    async fn stop_container(&self, id: &str, grace: i64) -> Answer<()> {
        let ask = v1::StopContainerRequest { container_id: id.to_owned(), timeout: grace };
        absent_is_fine(self.cri.stop_container(ask).await)
    }

    async fn remove_container(&self, id: &str) -> Answer<()> {
        let ask = v1::RemoveContainerRequest { container_id: id.to_owned() };
        absent_is_fine(self.cri.remove_container(ask).await)
    }

    async fn update_resources(&self, id: &str, resources: v1::LinuxContainerResources) -> Answer<()> {
        let ask = v1::UpdateContainerResourcesRequest {
            container_id: id.to_owned(),
            linux: Some(resources),
            annotations: HashMap::new(),
        };
        self.cri.update_container_resources(ask).await.map(drop)
    }

    async fn exec(&self, id: &str, command: &[String], timeout: Option<Duration>) -> Answer<Executed> {
        let timeout = timeout.map_or(0, |timeout| i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX));
        let ask = v1::ExecSyncRequest { container_id: id.to_owned(), cmd: command.to_vec(), timeout };
        let mut answer = self.cri.exec_sync(ask).await?;
        answer.stdout.append(&mut answer.stderr);
        Ok(Executed { exit_code: answer.exit_code, output: answer.stdout })
    }

    async fn stream_url(&self, ask: StreamAsk) -> Answer<String> {
        match ask {
            StreamAsk::Exec { container, command, tty, stdin, stdout, stderr } => {
                let ask = v1::ExecRequest { container_id: container, cmd: command, tty, stdin, stdout, stderr };
                Ok(self.cri.exec(ask).await?.url)
            }
            StreamAsk::Attach { container, tty, stdin, stdout, stderr } => {
                let ask = v1::AttachRequest { container_id: container, stdin, tty, stdout, stderr };
                Ok(self.cri.attach(ask).await?.url)
            }
            StreamAsk::PortForward { sandbox, ports } => {
                let ask = v1::PortForwardRequest { pod_sandbox_id: sandbox, port: ports };
                Ok(self.cri.port_forward(ask).await?.url)
            }
        }
    }

    async fn reopen_log(&self, id: &str) -> Answer<()> {
        let ask = v1::ReopenContainerLogRequest { container_id: id.to_owned() };
        self.cri.reopen_container_log(ask).await.map(drop)
    }

    async fn stats(&self) -> Answer<Vec<v1::ContainerStats>> {
        Ok(self.cri.list_container_stats(v1::ListContainerStatsRequest { filter: None }).await?.stats)
    }

    async fn image(&self, name: &str) -> Answer<Option<v1::Image>> {
        let image = Some(v1::ImageSpec { image: name.to_owned(), ..Default::default() });
        Ok(self.cri.image_status(v1::ImageStatusRequest { image, verbose: false }).await?.image)
    }

    async fn images(&self) -> Answer<Vec<v1::Image>> {
        let mut images = self.cri.list_images(v1::ListImagesRequest { filter: None }).await?.images;
        let pinned = crate::image::store::pinned(&self.socket).await;
        for image in &mut images {
            image.pinned |= image.repo_tags.iter().any(|tag| pinned.contains(tag));
        }
        Ok(images)
    }

    async fn pull(&self, name: &str, auth: Option<v1::AuthConfig>, pod: v1::PodSandboxConfig) -> Answer<String> {
        let image = Some(v1::ImageSpec { image: name.to_owned(), ..Default::default() });
        let answer = self.cri.pull_image(v1::PullImageRequest { image, auth, sandbox_config: Some(pod) }).await?;
        Ok(answer.image_ref)
    }

    async fn remove_image(&self, id: &str) -> Answer<()> {
        let image = Some(v1::ImageSpec { image: id.to_owned(), ..Default::default() });
        self.cri.remove_image(v1::RemoveImageRequest { image }).await.map(drop)
    }

    async fn image_filesystems(&self) -> Answer<Vec<v1::FilesystemUsage>> {
        Ok(self.cri.image_fs_info(v1::ImageFsInfoRequest {}).await?.image_filesystems)
    }

    async fn follow(&self, events: mpsc::Sender<Event>) {
        exits::follow(&self.cri, &self.socket, events).await;
    }
}

fn absent_is_fine<T>(answer: Result<T, RuntimeError>) -> Answer<()> {
    match answer {
        Ok(_) => Ok(()),
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
