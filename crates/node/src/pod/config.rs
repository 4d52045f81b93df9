//! Sandbox and container configurations as CRI takes them.

use super::security::{self, ImageUser};
use super::{Facts, dns, expand::expand, hosts};
use crate::cri::v1;
use crate::resources;
use crate::runtime::labels;
use k8s_openapi::api::core::v1::{Container, Pod};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a pod's logs lie.
pub(crate) fn log_dir(base: &Path, namespace: &str, name: &str, uid: &str) -> PathBuf {
    base.join(format!("{namespace}_{name}_{uid}"))
}

/// Where a pod's logs lie.
pub(crate) fn log_dir_of(base: &Path, pod: &Pod) -> PathBuf {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let meta = &pod.metadata;
    log_dir(base, &text(&meta.namespace), &text(&meta.name), &text(&meta.uid))
}

/// What a sandbox is made from.
pub(crate) struct SandboxInput<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) resolv_conf: &'a str,
    pub(crate) logs: &'a Path,
    pub(crate) cgroup_parent: String,
    pub(crate) attempt: u32,
}

/// The configuration of a pod's sandbox. Host ports are not in it: the service proxy's rules do them.
pub(crate) fn sandbox(pod: &Pod, input: &SandboxInput<'_>) -> Result<v1::PodSandboxConfig, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let host_network = spec.is_some_and(|spec| spec.host_network == Some(true));
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let sysctls = spec.and_then(|spec| spec.security_context.as_ref()).and_then(|context| context.sysctls.as_ref());
    let sysctls = sysctls.into_iter().flatten().map(|sysctl| (sysctl.name.replace('/', "."), sysctl.value.clone()));
    Ok(v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata {
            name: text(&meta.name),
            uid: text(&meta.uid),
            namespace: text(&meta.namespace),
            attempt: input.attempt,
        }),
        hostname: if host_network { String::new() } else { hosts::kernel_name(pod, input.facts)? },
        log_directory: log_dir_of(input.logs, pod).to_string_lossy().into_owned(),
        dns_config: Some(dns::of_pod(pod, input.facts, input.resolv_conf)),
        port_mappings: Vec::new(),
        labels: labels::of_sandbox(pod),
        annotations: meta.annotations.clone().unwrap_or_default().into_iter().collect(),
        linux: Some(v1::LinuxPodSandboxConfig {
            cgroup_parent: input.cgroup_parent.clone(),
            security_context: Some(security::of_sandbox(pod)?),
            sysctls: sysctls.collect(),
            overhead: None,
            resources: None,
        }),
    })
}

/// What a container is made from.
pub(crate) struct ContainerInput<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) image_ref: String,
    pub(crate) user: ImageUser,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) mounts: Vec<v1::Mount>,
    pub(crate) restart_count: i32,
    /// The container whose process namespace an ephemeral container joins.
    pub(crate) target: Option<String>,
}

/// The configuration of a container.
pub(crate) fn container(
    pod: &Pod,
    container: &Container,
    input: ContainerInput<'_>,
) -> Result<v1::ContainerConfig, String> {
    security::verify_non_root(pod, container, &input.user)?;
    let facts = input.facts;
    let mut context = security::of_container(pod, container, &input.user, facts.seccomp_default)?;
    if let (Some(target), Some(options)) = (&input.target, &mut context.namespace_options) {
        options.pid = v1::NamespaceMode::Target.into();
        options.target_id.clone_from(target);
    }
    let values: BTreeMap<&str, &str> = input.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expanded = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|text| expand(text, |name| values.get(name).copied())).collect()
    };
    Ok(v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata {
            name: container.name.clone(),
            attempt: u32::try_from(input.restart_count).unwrap_or_default(),
        }),
        image: Some(v1::ImageSpec {
            image: input.image_ref,
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..Default::default()
        }),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: input
            .env
            .iter()
            .map(|(key, value)| v1::KeyValue { key: key.clone(), value: value.clone().into_bytes() })
            .collect(),
        mounts: input.mounts,
        labels: labels::of_container(pod, &container.name),
        annotations: labels::annotations(pod, container, input.restart_count),
        log_path: format!("{}/{}.log", container.name, input.restart_count),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources::of_container(pod, container, facts.cpu, facts.memory_capacity)),
            security_context: Some(context),
        }),
        stop_signal: stop_signal(container).into(),
        ..Default::default()
    })
}

fn stop_signal(container: &Container) -> v1::Signal {
    let named = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.stop_signal.as_deref());
    named.and_then(v1::Signal::from_str_name).unwrap_or(v1::Signal::RuntimeDefault)
}
