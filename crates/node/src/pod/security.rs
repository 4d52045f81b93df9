//! Security contexts: the pod's and the container's made one, as CRI takes it.

use crate::cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, PodSecurityContext, SELinuxOptions, SeccompProfile, SecurityContext};

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// What an image says about its user.
#[derive(Clone, Debug, Default)]
pub(crate) struct ImageUser {
    pub(crate) uid: Option<i64>,
    pub(crate) name: String,
}

impl ImageUser {
    /// From the runtime's image status; no user is root.
    pub(crate) fn of(image: Option<&v1::Image>) -> Self {
        let Some(image) = image else { return ImageUser::default() };
        match (&image.uid, image.username.is_empty()) {
            (Some(uid), _) => ImageUser { uid: Some(uid.value), name: String::new() },
            (None, false) => ImageUser { uid: None, name: image.username.clone() },
            (None, true) => ImageUser { uid: Some(0), name: String::new() },
        }
    }
}

fn of_pod(pod: &Pod) -> Option<&PodSecurityContext> {
    pod.spec.as_ref()?.security_context.as_ref()
}

fn pick<T: Clone>(
    pod: &Pod,
    container: &Container,
    outer: impl Fn(&PodSecurityContext) -> Option<T>,
    inner: impl Fn(&SecurityContext) -> Option<T>,
) -> Option<T> {
    container.security_context.as_ref().and_then(inner).or_else(|| of_pod(pod).and_then(outer))
}

/// The user a container was told to run as.
pub(crate) fn run_as_user(pod: &Pod, container: &Container) -> Option<i64> {
    pick(pod, container, |outer| outer.run_as_user, |inner| inner.run_as_user)
}

/// Any container of the pod is privileged.
pub(crate) fn has_privileged(pod: &Pod) -> bool {
    let privileged = |container: &Container| {
        container.security_context.as_ref().is_some_and(|context| context.privileged == Some(true))
    };
    pod.spec.as_ref().is_some_and(|spec| crate::resources::containers(spec).any(privileged))
}

/// The namespaces a pod has of its own.
pub(crate) fn namespaces(pod: &Pod) -> v1::NamespaceOption {
    let spec = pod.spec.as_ref();
    let host = |flag: Option<bool>, own: v1::NamespaceMode| {
        i32::from(if flag == Some(true) { v1::NamespaceMode::Node } else { own })
    };
    let pid = if spec.and_then(|spec| spec.share_process_namespace) == Some(true) {
        v1::NamespaceMode::Pod
    } else {
        v1::NamespaceMode::Container
    };
    v1::NamespaceOption {
        network: host(spec.and_then(|spec| spec.host_network), v1::NamespaceMode::Pod),
        pid: host(spec.and_then(|spec| spec.host_pid), pid),
        ipc: host(spec.and_then(|spec| spec.host_ipc), v1::NamespaceMode::Pod),
        target_id: String::new(),
        userns_options: None,
    }
}

/// The security context of a sandbox.
pub(crate) fn of_sandbox(pod: &Pod) -> Result<v1::LinuxSandboxSecurityContext, String> {
    let mut context = v1::LinuxSandboxSecurityContext {
        namespace_options: Some(namespaces(pod)),
        privileged: has_privileged(pod),
        seccomp: Some(profile(v1::security_profile::ProfileType::RuntimeDefault, "")),
        ..Default::default()
    };
    if let Some(outer) = of_pod(pod) {
        context.run_as_user = outer.run_as_user.map(|value| v1::Int64Value { value });
        context.run_as_group = outer.run_as_group.map(|value| v1::Int64Value { value });
        context.supplemental_groups = supplemental(outer);
        context.supplemental_groups_policy = policy(outer)?.into();
        context.selinux_options = outer.se_linux_options.as_ref().map(selinux);
    }
    Ok(context)
}

/// The security context of a container; an error is upstream's message.
pub(crate) fn of_container(
    pod: &Pod,
    container: &Container,
    image: &ImageUser,
    seccomp_default: bool,
) -> Result<v1::LinuxContainerSecurityContext, String> {
    let own = container.security_context.clone().unwrap_or_default();
    let user = run_as_user(pod, container);
    let privileged = own.privileged == Some(true);
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |list: &[&str]| list.iter().filter(|_| !unmasked).map(|path| (*path).to_owned()).collect();
    let mut context = v1::LinuxContainerSecurityContext {
        capabilities: own.capabilities.as_ref().map(|capabilities| v1::Capability {
            add_capabilities: capabilities.add.clone().unwrap_or_default(),
            drop_capabilities: capabilities.drop.clone().unwrap_or_default(),
            add_ambient_capabilities: Vec::new(),
        }),
        privileged,
        namespace_options: Some(namespaces(pod)),
        selinux_options: pick(
            pod,
            container,
            |outer| outer.se_linux_options.clone(),
            |inner| inner.se_linux_options.clone(),
        )
        .as_ref()
        .map(selinux),
        run_as_user: user.map(|value| v1::Int64Value { value }),
        run_as_group: pick(pod, container, |outer| outer.run_as_group, |inner| inner.run_as_group)
            .map(|value| v1::Int64Value { value }),
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: Some(seccomp(pod, container, seccomp_default)?),
        apparmor: apparmor(pod, container),
        ..Default::default()
    };
    if user.is_none() {
        match image.uid {
            Some(value) => context.run_as_user = Some(v1::Int64Value { value }),
            None => context.run_as_username.clone_from(&image.name),
        }
    }
    if let Some(outer) = of_pod(pod) {
        context.supplemental_groups = supplemental(outer);
        context.supplemental_groups_policy = policy(outer)?.into();
    }
    Ok(context)
}

/// Refuses root where the pod forbids it.
pub(crate) fn verify_non_root(pod: &Pod, container: &Container, image: &ImageUser) -> Result<(), String> {
    let forbidden = pick(pod, container, |outer| outer.run_as_non_root, |inner| inner.run_as_non_root);
    if forbidden != Some(true) {
        return Ok(());
    }
    let place = format!("(pod: \"{}\", container: {})", super::full_name(pod), container.name);
    match (run_as_user(pod, container), image.uid) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {place}")),
        (Some(_), _) => Ok(()),
        (None, None) if !image.name.is_empty() => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({}), cannot verify user is non-root {place}",
            image.name
        )),
        (None, Some(0)) => Err(format!("container has runAsNonRoot and image will run as root {place}")),
        (None, _) => Ok(()),
    }
}

fn supplemental(outer: &PodSecurityContext) -> Vec<i64> {
    outer.fs_group.into_iter().chain(outer.supplemental_groups.iter().flatten().copied()).collect()
}

fn policy(outer: &PodSecurityContext) -> Result<v1::SupplementalGroupsPolicy, String> {
    match outer.supplemental_groups_policy.as_deref() {
        None | Some("Merge") => Ok(v1::SupplementalGroupsPolicy::Merge),
        Some("Strict") => Ok(v1::SupplementalGroupsPolicy::Strict),
        Some(other) => Err(format!("unsupported supplementalGroupsPolicy: {other}")),
    }
}

fn selinux(options: &SELinuxOptions) -> v1::SeLinuxOption {
    v1::SeLinuxOption {
        user: options.user.clone().unwrap_or_default(),
        role: options.role.clone().unwrap_or_default(),
        r#type: options.type_.clone().unwrap_or_default(),
        level: options.level.clone().unwrap_or_default(),
    }
}

fn profile(kind: v1::security_profile::ProfileType, reference: &str) -> v1::SecurityProfile {
    v1::SecurityProfile { profile_type: kind.into(), localhost_ref: reference.to_owned() }
}

fn seccomp(pod: &Pod, container: &Container, default: bool) -> Result<v1::SecurityProfile, String> {
    use v1::security_profile::ProfileType;
    let chosen: Option<SeccompProfile> =
        pick(pod, container, |outer| outer.seccomp_profile.clone(), |inner| inner.seccomp_profile.clone());
    match chosen {
        None if default => Ok(profile(ProfileType::RuntimeDefault, "")),
        None => Ok(profile(ProfileType::Unconfined, "")),
        Some(chosen) => match chosen.type_.as_str() {
            "RuntimeDefault" => Ok(profile(ProfileType::RuntimeDefault, "")),
            "Localhost" => match chosen.localhost_profile.as_deref() {
                // Upstream's seccomp profile root.
                Some(file) => Ok(profile(ProfileType::Localhost, &format!("/var/lib/kubelet/seccomp/{file}"))),
                None => Err("localhostProfile must be set if seccompProfile type is Localhost.".to_owned()),
            },
            _ => Ok(profile(ProfileType::Unconfined, "")),
        },
    }
}

fn apparmor(pod: &Pod, container: &Container) -> Option<v1::SecurityProfile> {
    use v1::security_profile::ProfileType;
    let chosen =
        pick(pod, container, |outer| outer.app_armor_profile.clone(), |inner| inner.app_armor_profile.clone())?;
    Some(match chosen.type_.as_str() {
        "RuntimeDefault" => profile(ProfileType::RuntimeDefault, ""),
        "Localhost" => profile(ProfileType::Localhost, chosen.localhost_profile.as_deref().unwrap_or_default()),
        _ => profile(ProfileType::Unconfined, ""),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(
            serde_json::json!({ "metadata": { "name": "p", "namespace": "d", "uid": "u" }, "spec": spec }),
        )
        .expect("a pod")
    }

    #[test]
    fn the_container_overrides_the_pod() {
        let pod = pod(serde_json::json!({
            "securityContext": { "runAsUser": 1000, "runAsGroup": 7, "fsGroup": 5, "supplementalGroups": [6] },
            "containers": [{ "name": "c", "securityContext": {
                "runAsUser": 2000, "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } } }],
        }));
        let container = &pod.spec.as_ref().expect("spec").containers[0];
        let context = of_container(&pod, container, &ImageUser::default(), false).expect("valid");
        assert_eq!(context.run_as_user.map(|v| v.value), Some(2000));
        assert_eq!(context.run_as_group.map(|v| v.value), Some(7));
        assert_eq!(context.supplemental_groups, [5, 6]);
        assert!(context.no_new_privs);
        assert_eq!(context.masked_paths.len(), MASKED.len());
    }

    #[test]
    fn root_is_refused_where_forbidden() {
        let pod = pod(serde_json::json!({
            "securityContext": { "runAsNonRoot": true }, "containers": [{ "name": "c" }],
        }));
        let container = &pod.spec.as_ref().expect("spec").containers[0];
        let verify = |image: ImageUser| verify_non_root(&pod, container, &image);
        assert_eq!(
            verify(ImageUser { uid: Some(0), name: String::new() }),
            Err("container has runAsNonRoot and image will run as root (pod: \"p_d(u)\", container: c)".to_owned())
        );
        assert!(
            verify(ImageUser { uid: None, name: "nobody".into() })
                .is_err_and(|e| e.contains("non-numeric user (nobody)"))
        );
        assert_eq!(verify(ImageUser { uid: Some(5), name: String::new() }), Ok(()));
    }
}
