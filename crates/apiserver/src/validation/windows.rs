//! Rules about the operating system a pod names, and about Windows options.

use super::At;
use super::pod::{Whole, all_containers};
use kaji_api::field::Errors;
use kaji_api::names;

const NOT_ON_WINDOWS: &str = "cannot be set for a windows pod";

/// Options of Windows, which stand in security contexts.
pub(crate) fn options(at: At<'_>, e: &mut Errors) {
    at.field("gmsaCredentialSpecName").check_if_set(e, names::dns1123_subdomain);
    let credentials = at.field("gmsaCredentialSpec");
    if credentials.is_set() {
        match credentials.str().len() {
            0 => credentials.invalid(e, "gmsaCredentialSpec cannot be an empty string"),
            n if n > 64 << 10 => credentials.invalid(e, "gmsaCredentialSpec size must be under 64 KiB"),
            _ => {}
        }
    }
    if at.field("runAsUserName").is_set() {
        user_name(at.field("runAsUserName"), e);
    }
}

fn user_name(at: At<'_>, e: &mut Errors) {
    let parts: Vec<&str> = at.str().split('\\').collect();
    let (domain, user) = match parts.as_slice() {
        _ if at.str().is_empty() => return at.invalid(e, "runAsUserName cannot be an empty string"),
        _ if at.str().chars().any(|c| c.is_ascii_control()) => {
            return at.invalid(e, "runAsUserName cannot contain control characters");
        }
        [user] => (None, *user),
        [domain, user] => (Some(*domain), *user),
        _ => return at.invalid(e, "runAsUserName cannot contain more than one backslash"),
    };
    if let Some(domain) = domain {
        if domain.len() >= 256 {
            at.invalid(e, "runAsUserName's Domain length must be under 256 characters");
        }
        let net_bios = (1..=15).contains(&domain.chars().count())
            && !domain.starts_with('.')
            && !domain.contains(['\\', '/', ':', '*', '?', '"', '<', '>', '|']);
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        if !net_bios && !domain.split('.').all(label) {
            at.invalid(e, "runAsUserName's Domain doesn't match the NetBios nor the DNS format");
        }
    }
    if user.is_empty() {
        at.invalid(e, "runAsUserName's User cannot be empty");
    } else if user.len() > 104 {
        at.invalid(e, "runAsUserName's User length must not be longer than 104 characters");
    }
    if !user.is_empty() && user.chars().all(|c| matches!(c, '.' | ' ')) {
        at.invalid(e, "runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains(['"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']']) {
        at.invalid(e, "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]");
    }
}

/// Host-process pods: all containers or none, and on the host's network.
pub(crate) fn host_process(spec: At<'_>, e: &mut Errors) {
    let of_pod = spec["securityContext"]["windowsOptions"]["hostProcess"].as_bool();
    let (mut count, mut host) = (0, 0);
    for container in all_containers(spec) {
        count += 1;
        let at = container.fields(&["securityContext", "windowsOptions", "hostProcess"]);
        if let (Some(pod), Some(own)) = (of_pod, at.as_bool())
            && pod != own
        {
            let text = format!("pod hostProcess value must be identical if both are specified, was {pod}");
            at.invalid_as(e, own, &text);
        }
        host += u32::from(at.as_bool().or(of_pod).unwrap_or_default());
    }
    if host == 0 {
        return;
    }
    if host != count {
        let text = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        spec.invalid_as(e, "", text);
    }
    if !spec["hostNetwork"].bool() {
        let text = "hostNetwork must be true if pod contains any hostProcess containers";
        spec.field("hostNetwork").invalid_as(e, false, text);
    }
}

/// What pods may not set once they name their operating system.
pub(crate) fn os(spec: At<'_>, whole: &Whole<'_>, e: &mut Errors) {
    let os = spec.field("os");
    match whole.os {
        None => {}
        Some("") => os.field("name").required(e, ""),
        Some("linux") => linux(spec, e),
        Some("windows") => windows(spec, e),
        Some(name) => e.not_supported(&os.path(), name, &["linux", "windows"]),
    }
}

fn linux(spec: At<'_>, e: &mut Errors) {
    let contexts = std::iter::once(spec).chain(all_containers(spec));
    for options in contexts.map(|at| at.fields(&["securityContext", "windowsOptions"])).filter(|at| at.is_set()) {
        options.forbidden(e, "windows options cannot be set for a linux pod");
    }
}

fn windows(spec: At<'_>, e: &mut Errors) {
    let context = |name| spec.fields(&["securityContext", name]);
    let of_pod = [
        context("appArmorProfile"),
        context("seLinuxOptions"),
        spec.field("hostUsers"),
        spec.field("hostPID"),
        spec.field("hostIPC"),
        context("seccompProfile"),
        context("fsGroup"),
        context("fsGroupChangePolicy"),
        context("sysctls"),
        spec.field("shareProcessNamespace"),
        context("runAsUser"),
        context("runAsGroup"),
        context("supplementalGroups"),
        context("supplementalGroupsPolicy"),
        context("seLinuxChangePolicy"),
    ];
    for at in of_pod.into_iter().filter(|at| at.is_set()) {
        at.forbidden(e, NOT_ON_WINDOWS);
    }
    let of_container = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    for container in all_containers(spec) {
        for at in of_container.iter().map(|f| container.fields(&["securityContext", f])).filter(|at| at.is_set()) {
            at.forbidden(e, NOT_ON_WINDOWS);
        }
    }
}
