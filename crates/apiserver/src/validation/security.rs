//! Security contexts of pods and containers.

use super::volume::descending;
use super::{At, forms, one_of_if_set, windows};
use kaji_api::field::Errors;

const PROFILES: &[&str] = &["Localhost", "RuntimeDefault", "Unconfined"];

fn id(at: At<'_>, e: &mut Errors) {
    if let Some(text) = at.as_i64().and_then(forms::id) {
        at.invalid(e, &text);
    }
}

/// A container's security context.
pub(crate) fn container(at: At<'_>, host_users: bool, e: &mut Errors) {
    if !at.is_set() {
        return;
    }
    id(at.field("runAsUser"), e);
    id(at.field("runAsGroup"), e);
    let mount = at.field("procMount");
    one_of_if_set(mount, e, &["Default", "Unmasked"]);
    if host_users && mount.str() == "Unmasked" {
        mount.invalid(e, "`hostUsers` must be false to use `Unmasked`");
    }
    seccomp(at.field("seccompProfile"), e);
    if at["allowPrivilegeEscalation"].as_bool() == Some(false) {
        if at["privileged"].bool() {
            at.invalid(e, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        if at["capabilities"]["add"].items().iter().any(|c| c.str() == "CAP_SYS_ADMIN") {
            at.invalid(e, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    windows::options(at.field("windowsOptions"), e);
    app_armor(at.field("appArmorProfile"), e);
}

/// A pod's security context.
pub(crate) fn pod(spec: At<'_>, e: &mut Errors) {
    let at = spec.field("securityContext");
    id(at.field("fsGroup"), e);
    id(at.field("runAsUser"), e);
    id(at.field("runAsGroup"), e);
    for group in at.field("supplementalGroups").list() {
        id(group, e);
    }
    if spec["shareProcessNamespace"].bool() && spec["hostPID"].bool() {
        let text = "ShareProcessNamespace and HostPID cannot both be enabled";
        at.field("shareProcessNamespace").invalid_as(e, true, text);
    }
    sysctls(spec, at.field("sysctls"), e);
    one_of_if_set(at.field("fsGroupChangePolicy"), e, &["Always", "OnRootMismatch"]);
    seccomp(at.field("seccompProfile"), e);
    windows::options(at.field("windowsOptions"), e);
    app_armor(at.field("appArmorProfile"), e);
    one_of_if_set(at.field("supplementalGroupsPolicy"), e, &["Merge", "Strict"]);
    one_of_if_set(at.field("seLinuxChangePolicy"), e, &["MountOption", "Recursive"]);
}

fn sysctls(spec: At<'_>, at: At<'_>, e: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for sysctl in at.list() {
        let name = sysctl.field("name");
        let s = name.str();
        if s.is_empty() {
            name.required(e, "");
        } else if !forms::is_sysctl(s) {
            let text = "must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            name.invalid(e, text);
        } else if seen.contains(&s) {
            name.duplicate(e);
        }
        let dotted = s.replace('/', ".");
        if spec["hostNetwork"].bool() && dotted.starts_with("net.") {
            name.invalid(e, "may not be specified when 'hostNetwork' is true");
        } else if spec["hostIPC"].bool() && is_ipc(&dotted) {
            name.invalid(e, "may not be specified when 'hostIPC' is true");
        }
        seen.push(s);
    }
}

fn is_ipc(sysctl: &str) -> bool {
    sysctl == "kernel.sem" || ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|prefix| sysctl.starts_with(prefix))
}

fn seccomp(at: At<'_>, e: &mut Errors) {
    if !at.is_set() {
        return;
    }
    let (kind, profile) = (at.field("type"), at.field("localhostProfile"));
    match kind.str() {
        "" => kind.required(e, "type is required when seccompProfile is set"),
        s if PROFILES.contains(&s) => {}
        _ => kind.not_supported(e, PROFILES),
    }
    if kind.str() == "Localhost" {
        if profile.is_set() {
            descending(profile, e);
        } else {
            profile.required(e, "must be set when seccomp type is Localhost");
        }
    } else if profile.is_set() {
        profile.invalid_as(e, at.v.clone(), "can only be set when seccomp type is Localhost");
    }
}

fn app_armor(at: At<'_>, e: &mut Errors) {
    if !at.is_set() {
        return;
    }
    let (kind, profile) = (at.field("type"), at.field("localhostProfile"));
    match kind.str() {
        "Localhost" if !profile.is_set() => profile.required(e, "must be set when AppArmor type is Localhost"),
        "Localhost" => {
            if profile.str().trim() != profile.str() {
                profile.invalid(e, "must not be padded with whitespace");
            } else if profile.str().is_empty() {
                profile.required(e, "must be set when AppArmor type is Localhost");
            }
            if profile.str().len() > 4095 {
                profile.too_long(e, 4095);
            }
        }
        "RuntimeDefault" | "Unconfined" => {
            if profile.is_set() {
                profile.invalid(e, "can only be set when AppArmor type is Localhost");
            }
        }
        "" => kind.required(e, "type is required when appArmorProfile is set"),
        _ => kind.not_supported(e, PROFILES),
    }
}
