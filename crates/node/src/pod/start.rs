//! Starting things: the sandbox, then a container with its image, environment and mounts.

use super::config::{self, ContainerInput, SandboxInput};
use super::pull::{self, Pulls, Refusal};
use super::security::ImageUser;
use super::{env, expand, hooks, hosts, reference, stop};
use crate::agent::Agent;
use crate::cri::v1;
use crate::runtime::PodView;
use crate::simulated::{OF_JOBS, RUN};
use crate::volume::Mounted;
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};
use kaji_client::event::EventType;
use std::collections::BTreeMap;
use std::path::Path;

/// What starting a container needs.
pub(crate) struct Place<'a> {
    pub(crate) agent: &'a Agent,
    pub(crate) pod: &'a Pod,
    pub(crate) view: &'a PodView,
    pub(crate) sandbox: &'a str,
    pub(crate) sandbox_config: &'a v1::PodSandboxConfig,
    pub(crate) ips: &'a [String],
    pub(crate) mounted: &'a Mounted,
}

/// The sandbox configuration of a pod.
pub(crate) fn sandbox_config(agent: &Agent, pod: &Pod, attempt: u32) -> Result<v1::PodSandboxConfig, String> {
    let resolv_conf = std::fs::read_to_string(&agent.config.resolv_conf).unwrap_or_default();
    let facts = agent.facts();
    config::sandbox(
        pod,
        &SandboxInput {
            facts: &facts,
            resolv_conf: &resolv_conf,
            logs: &agent.config.pod_logs_dir,
            cgroup_parent: agent.cgroups.as_ref().map(|groups| groups.of(pod)).unwrap_or_default(),
            attempt,
        },
    )
}

/// Makes a sandbox and returns its id.
pub(crate) async fn sandbox(agent: &Agent, pod: &Pod, config: v1::PodSandboxConfig) -> Result<String, String> {
    if !agent.is_simulated() {
        std::fs::create_dir_all(&config.log_directory).map_err(|error| error.to_string())?;
    }
    let handler = ""; // runtime classes are not told apart yet
    let made = agent.runtime.run_sandbox(config, handler).await;
    made.inspect(|id| agent.remember(id, super::uid(pod))).map_err(|error| error.to_string())
}

/// Starts a container; a refusal says why not, in the status' words. Events tell of each step.
pub(crate) async fn container(
    place: &Place<'_>,
    container: &Container,
    pulls: &mut Pulls,
    target: Option<&str>,
) -> Result<(), Refusal> {
    let agent = place.agent;
    let about = reference(place.pod, Some(&container.name));
    let event = |kind, reason: &str, message: &str| agent.recorder.event(&about, kind, reason, message);
    let failed = |reason: &str, message: String| {
        event(EventType::Warning, "Failed", &format!("Error: {message}"));
        (reason.to_owned(), message)
    };
    let image =
        pull::image(agent, place.pod, container, pulls, place.sandbox_config).await.inspect_err(|(reason, _)| {
            event(EventType::Warning, "Failed", &format!("Error: {reason}"));
        })?;
    let config = container_config(place, container, &image, target).await;
    let config = config.map_err(|message| failed("CreateContainerConfigError", message))?;
    let created = agent.runtime.create_container(place.sandbox, config, place.sandbox_config.clone()).await;
    let id = created.map_err(|error| failed("CreateContainerError", error.message))?;
    agent.remember(&id, super::uid(place.pod));
    event(EventType::Normal, "Created", "Container created");
    let started = agent.runtime.start_container(&id).await;
    started.map_err(|error| failed("RunContainerError", error.message))?;
    event(EventType::Normal, "Started", "Container started");
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
    let Some(hook) = hook else { return Ok(()) };
    if let Err(message) = hooks::run(agent, place.pod, container, &id, hook, place.ips).await {
        event(EventType::Warning, "FailedPostStartHook", "PostStartHook failed");
        let kill = stop::Killing { id: &id, message: Some("FailedPostStartHook"), ..Default::default() };
        if let Err(error) = stop::container(agent, place.pod, container, kill, place.ips).await {
            tracing::warn!(%error, "container whose hook failed was not stopped");
        }
        return Err(("PostStartHookError".to_owned(), message));
    }
    Ok(())
}

async fn container_config(
    place: &Place<'_>,
    container: &Container,
    image: &v1::Image,
    target: Option<&str>,
) -> Result<v1::ContainerConfig, String> {
    let (agent, pod) = (place.agent, place.pod);
    let facts = agent.facts();
    let services = agent.services();
    let sources = env::Sources { pod, ips: place.ips, facts: &facts, objects: &agent.objects, services: &services };
    let env = if agent.is_simulated() { Vec::new() } else { env::environment(&sources, container).await? };
    let mounts = mounts(place, container, &env).await?;
    let input = ContainerInput {
        facts: &facts,
        image_ref: image.id.clone(),
        user: ImageUser::of(Some(image)),
        env,
        mounts,
        restart_count: restart_count(place, &container.name),
        target: target.map(|name| target_id(place.view, name)).transpose()?,
    };
    let mut config = config::container(pod, container, input)?;
    if agent.is_simulated() {
        config.annotations.extend(simulated_run(pod, container));
    } else {
        let dir = config::log_dir_of(&agent.config.pod_logs_dir, pod).join(&container.name);
        std::fs::create_dir_all(&dir).map_err(|error| {
            format!("create container log directory for container {} failed: {error}", container.name)
        })?;
    }
    Ok(config)
}

/// How long a simulated container runs: an init container not at all, others as the pod says, those of a job's pod a
/// moment.
fn simulated_run(pod: &Pod, container: &Container) -> Option<(String, String)> {
    let inits = || pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    let init = inits().find(|init| init.name == container.name);
    let said = || pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(RUN)).cloned();
    let mut owners = pod.metadata.owner_references.iter().flatten();
    let of_job = owners.any(|owner| owner.controller == Some(true) && owner.kind == "Job");
    let run = match init {
        Some(init) if !crate::resources::is_sidecar(init) => Some("0s".to_owned()),
        Some(_) => said(),
        None => said().or_else(|| of_job.then(|| OF_JOBS.to_owned())),
    };
    run.map(|run| (RUN.to_owned(), run))
}

fn target_id(view: &PodView, name: &str) -> Result<String, String> {
    let found = view.container(name).filter(|view| view.state == crate::runtime::State::Running);
    found.map(|view| view.id.clone()).ok_or_else(|| format!("unable to find target container {name}"))
}

/// One more than the last known start; the log directory remembers where the runtime does not.
fn restart_count(place: &Place<'_>, name: &str) -> i32 {
    if let Some(last) = place.view.container(name) {
        return last.restart_count + 1;
    }
    let dir = config::log_dir_of(&place.agent.config.pod_logs_dir, place.pod).join(name);
    let logs = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let number = |file: std::fs::DirEntry| file.file_name().to_string_lossy().split('.').next()?.parse::<i32>().ok();
    logs.filter_map(number).max().map_or(0, |last| last + 1)
}

async fn mounts(place: &Place<'_>, container: &Container, env: &[(String, String)]) -> Result<Vec<v1::Mount>, String> {
    let mut mounts = Vec::new();
    let values: BTreeMap<&str, &str> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        mounts.push(volume_mount(place, container, index, mount, &values).await?);
    }
    let Some(dir) = place.agent.volumes.pod_dir(super::uid(place.pod)) else { return Ok(mounts) };
    let own_hosts = container.volume_mounts.iter().flatten().any(|mount| mount.mount_path == "/etc/hosts");
    if !own_hosts && !place.ips.is_empty() {
        mounts.push(hosts_file(place, &dir)?);
    }
    if let Some(path) = container.termination_message_path.as_deref().filter(|path| !path.is_empty()) {
        mounts.push(termination_file(&dir, &container.name, path)?);
    }
    Ok(mounts)
}

async fn volume_mount(
    place: &Place<'_>,
    container: &Container,
    index: usize,
    mount: &VolumeMount,
    values: &BTreeMap<&str, &str>,
) -> Result<v1::Mount, String> {
    let name = &mount.name;
    let volume = place.mounted.volumes.get(name);
    let volume =
        volume.ok_or_else(|| format!("cannot find volume {name:?} to mount into container {:?}", container.name))?;
    let mut sub_path = mount.sub_path.clone().unwrap_or_default();
    if let Some(text) = mount.sub_path_expr.as_deref().filter(|text| !text.is_empty()) {
        let missing = std::cell::Cell::new(false);
        sub_path = expand::expand(text, |name| {
            let found = values.get(name).copied();
            missing.set(missing.get() || found.is_none());
            found
        });
        if missing.get() {
            return Err(format!("missing value for {text:?}"));
        }
    }
    let host_path = if sub_path.is_empty() {
        volume.path.clone()
    } else {
        if sub_path.starts_with('/') {
            return Err(format!("error SubPath `{sub_path}` must not be an absolute path"));
        }
        if sub_path.split('/').any(|part| part == "..") {
            return Err(format!("unable to provision SubPath `{sub_path}`: must not contain '..'"));
        }
        let prepared = place.agent.volumes.sub_path(place.pod, container, index, volume, &sub_path).await;
        prepared.map_err(|error| {
            tracing::warn!(%error, volume = %name, "sub-path");
            format!("failed to prepare subPath for volumeMount {name:?} of container {:?}", container.name)
        })?
    };
    let container_path = match mount.mount_path.starts_with('/') {
        true => mount.mount_path.clone(),
        false => format!("/{}", mount.mount_path),
    };
    let propagation = match mount.mount_propagation.as_deref() {
        Some("HostToContainer") => v1::MountPropagation::PropagationHostToContainer,
        Some("Bidirectional") => v1::MountPropagation::PropagationBidirectional,
        _ => v1::MountPropagation::PropagationPrivate,
    };
    Ok(v1::Mount {
        container_path,
        host_path: host_path.to_string_lossy().into_owned(),
        readonly: mount.read_only == Some(true) || volume.read_only,
        propagation: propagation.into(),
        ..Default::default()
    })
}

fn hosts_file(place: &Place<'_>, dir: &Path) -> Result<v1::Mount, String> {
    let path = dir.join("etc-hosts");
    hosts::write(&path, place.pod, place.ips, &place.agent.facts()).map_err(|error| error.to_string())?;
    Ok(v1::Mount {
        container_path: "/etc/hosts".to_owned(),
        host_path: path.to_string_lossy().into_owned(),
        selinux_relabel: true,
        ..Default::default()
    })
}

/// A file of its own for each start, writable by whoever the container runs as.
fn termination_file(dir: &Path, name: &str, path: &str) -> Result<v1::Mount, String> {
    let make = || {
        let dir = dir.join("containers").join(name);
        std::fs::create_dir_all(&dir)?;
        let file = dir.join(&uuid::Uuid::new_v4().simple().to_string()[..8]);
        std::fs::File::create(&file)?;
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        Ok::<_, std::io::Error>(file)
    };
    let file = make().map_err(|error| format!("error on creating termination-log file: {error}"))?;
    Ok(v1::Mount {
        container_path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        host_path: file.to_string_lossy().into_owned(),
        ..Default::default()
    })
}
