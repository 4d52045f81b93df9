//! Containers of all three kinds.

use super::pod::Whole;
use super::{At, env, forms, one_of, one_of_if_set, port_number, probe, resources, security, volume};
use kaji_api::field::Errors;
use kaji_api::{Value, names};

const PULL: &[&str] = &["Always", "IfNotPresent", "Never"];
const NOT_INIT: &str = "may not be set for init containers without restartPolicy=Always";
const NOT_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";

/// Fields that ephemeral containers may have.
const EPHEMERAL: &[&str] = &[
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "env",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
];

/// A pod's regular containers.
pub(crate) fn regular(at: At<'_>, whole: &Whole<'_>, e: &mut Errors) {
    if at.items().is_empty() {
        return at.required(e, "");
    }
    let mut seen: Vec<&str> = Vec::new();
    for container in at.list() {
        common(container, whole, e);
        unique(container.field("name"), &mut seen, e);
        probe::lifecycle(container.field("lifecycle"), whole.grace, whole.os, e);
        probe::probes(container, e);
        restart_policy(container, e);
    }
    let mut ports = Vec::new();
    at.list().for_each(|container| host_ports(container, &mut ports, e));
}

/// A pod's init containers, sidecars among them.
pub(crate) fn init(at: At<'_>, regular: &Value, whole: &Whole<'_>, e: &mut Errors) {
    let mut seen: Vec<&str> = regular.items().iter().map(|c| c["name"].str()).collect();
    for container in at.list() {
        let sidecar = container["restartPolicy"].str() == "Always";
        common(container, whole, e);
        restart_policy(container, e);
        let name = container.field("name");
        if seen.contains(&name.str()) {
            name.duplicate(e);
        } else if !name.str().is_empty() {
            seen.push(name.str());
        }
        // Upstream looks at each one alone, and counts from zero again.
        host_ports(at.index(0).with(container.v), &mut Vec::new(), e);
        if sidecar {
            probe::lifecycle(container.field("lifecycle"), whole.grace, whole.os, e);
            probe::probes(container, e);
        } else {
            for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if container.field(field).is_set() {
                    container.field(field).forbidden(e, NOT_INIT);
                }
            }
            for policy in container.field("resizePolicy").list().map(|p| p.field("restartPolicy")) {
                if policy.str() == "RestartContainer" {
                    policy.invalid(e, "must not be set to 'RestartContainer' for non-sidecar initContainers");
                }
            }
        }
    }
}

/// A pod's ephemeral containers.
pub(crate) fn ephemeral(at: At<'_>, spec: &Value, whole: &Whole<'_>, e: &mut Errors) {
    let others: Vec<&str> =
        ["containers", "initContainers"].iter().flat_map(|l| spec[*l].items()).map(|c| c["name"].str()).collect();
    let mut seen = others.clone();
    for container in at.list() {
        common(container, whole, e);
        trimmed_image(container, e);
        unique(container.field("name"), &mut seen, e);
        let target = container.field("targetContainerName");
        if !target.str().is_empty() && !others.contains(&target.str()) {
            target.not_found(e);
        }
        for (name, field) in container.v.entries() {
            if !EPHEMERAL.contains(&name) && !field.is_zero() {
                container.field(name).forbidden(e, NOT_EPHEMERAL);
            }
        }
        for mount in container.field("volumeMounts").list() {
            for field in ["subPath", "subPathExpr"] {
                if !mount[field].str().is_empty() {
                    mount.field(field).forbidden(e, NOT_EPHEMERAL);
                }
            }
        }
    }
}

fn unique<'a>(name: At<'a>, seen: &mut Vec<&'a str>, e: &mut Errors) {
    if seen.contains(&name.str()) {
        e.duplicate(&name.path(), name.str());
    } else {
        seen.push(name.str());
    }
}

/// What all containers share.
fn common(at: At<'_>, whole: &Whole<'_>, e: &mut Errors) {
    at.field("name").check_required(e, names::dns1123_label);
    at.field("image").need(e);
    one_of(at.field("terminationMessagePolicy"), e, &["File", "FallbackToLogsOnError"]);
    ports(at.field("ports"), e);
    env::variables(at.field("env"), e);
    env::from(at.field("envFrom"), e);
    mounts(at, whole, e);
    devices(at, whole, e);
    one_of(at.field("imagePullPolicy"), e, PULL);
    resources::requirements(at.field("resources"), &whole.claims, false, e);
    resize_policy(at.field("resizePolicy"), whole, e);
    security::container(at.field("securityContext"), whole.host_users, e);
}

/// Images of pods (not of templates) are checked for stray blanks.
pub(crate) fn trimmed_image(at: At<'_>, e: &mut Errors) {
    let image = at.field("image");
    if image.str().trim() != image.str() {
        image.invalid(e, "must not have leading or trailing whitespace");
    }
}

fn ports(at: At<'_>, e: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for port in at.list() {
        let name = port.field("name");
        if !name.str().is_empty() {
            let texts = forms::port_name(name.str());
            texts.iter().for_each(|text| name.invalid(e, text));
            if texts.is_empty() {
                unique(name, &mut seen, e);
            }
        }
        if port.field("containerPort").i64() == 0 {
            port.field("containerPort").required(e, "");
        } else {
            port_number(port.field("containerPort"), e);
        }
        if port.field("hostPort").i64() != 0 {
            port_number(port.field("hostPort"), e);
        }
        one_of(port.field("protocol"), e, &["SCTP", "TCP", "UDP"]);
    }
}

fn host_ports(container: At<'_>, seen: &mut Vec<String>, e: &mut Errors) {
    for port in container.field("ports").list().filter(|p| p.field("hostPort").i64() != 0) {
        let at = port.field("hostPort");
        let key = format!("{}/{}/{}", port["protocol"].str(), port["hostIP"].str(), at.i64());
        if seen.contains(&key) { at.duplicate_as(e, key) } else { seen.push(key) }
    }
}

fn mounts(container: At<'_>, whole: &Whole<'_>, e: &mut Errors) {
    let (list, devices) = (container.field("volumeMounts"), container["volumeDevices"].items());
    let privileged = container["securityContext"]["privileged"].bool();
    let mut seen: Vec<&str> = Vec::new();
    for mount in list.list() {
        let (name, path) = (mount.field("name"), mount.field("mountPath"));
        name.need(e);
        if whole.volume(name.str()).is_none() {
            name.not_found(e);
        }
        path.need(e);
        if seen.contains(&path.str()) {
            path.invalid(e, "must be unique");
        }
        seen.push(path.str());
        if devices.iter().any(|d| d["name"].str() == name.str()) {
            name.invalid(e, "must not already exist in volumeDevices");
        }
        if devices.iter().any(|d| d["devicePath"].str() == path.str()) {
            path.invalid(e, "must not already exist as a path in volumeDevices");
        }
        let (sub, expression) = (&mount.v["subPath"], &mount.v["subPathExpr"]);
        if !sub.str().is_empty() {
            volume::descending(list.field("subPath").with(sub), e);
        }
        if !expression.str().is_empty() {
            if !sub.str().is_empty() {
                mount.field("subPathExpr").invalid(e, "subPathExpr and subPath are mutually exclusive");
            }
            volume::descending(list.field("subPathExpr").with(expression), e);
        }
        propagation(list, mount.v, privileged, e);
    }
}

/// Upstream names the list here, not the mount.
fn propagation(list: At<'_>, mount: &Value, privileged: bool, e: &mut Errors) {
    let at = list.field("mountPropagation");
    let value = mount["mountPropagation"].str();
    if !value.is_empty() && !["Bidirectional", "HostToContainer", "None"].contains(&value) {
        e.not_supported(&at.path(), value, &["Bidirectional", "HostToContainer", "None"]);
    }
    if value == "Bidirectional" && !privileged {
        at.forbidden(e, "Bidirectional mount propagation is available only to privileged containers");
    }
    let at = list.field("recursiveReadOnly");
    match mount["recursiveReadOnly"].str() {
        "" | "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount["readOnly"].bool() {
                at.forbidden(e, "may only be specified when readOnly is true");
            }
            if !matches!(value, "" | "None") {
                at.forbidden(e, "may only be specified when mountPropagation is None or not specified");
            }
        }
        other => e.not_supported(&at.path(), other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn devices(container: At<'_>, whole: &Whole<'_>, e: &mut Errors) {
    let mounts = container["volumeMounts"].items();
    let (mut names, mut paths): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for device in container.field("volumeDevices").list() {
        let (name, path) = (device.field("name"), device.field("devicePath"));
        name.need(e);
        if names.contains(&name.str()) {
            name.invalid(e, "must be unique");
        }
        match whole.volume(name.str()) {
            Some(v) if v["persistentVolumeClaim"].is_null() && v["ephemeral"].is_null() => {
                let text = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                name.invalid(e, text);
            }
            Some(_) => {}
            None => name.not_found(e),
        }
        path.need(e);
        if paths.contains(&path.str()) {
            path.invalid(e, "must be unique");
        }
        if volume::has_backsteps(path.str()) {
            path.invalid(e, "can not contain backsteps ('..')");
        } else {
            paths.push(path.str());
        }
        if mounts.iter().any(|m| m["name"].str() == name.str()) {
            name.invalid(e, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|m| m["mountPath"].str() == path.str()) {
            path.invalid(e, "must not already exist as a path in volumeMounts");
        }
        if !name.str().is_empty() {
            names.push(name.str());
        }
    }
}

/// Upstream names the list here, except for duplicates.
fn resize_policy(at: At<'_>, whole: &Whole<'_>, e: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for policy in at.list() {
        let (resource, restart) = (&policy.v["resourceName"], &policy.v["restartPolicy"]);
        if seen.contains(&resource.str()) {
            policy.duplicate_as(e, resource.clone());
        }
        seen.push(resource.str());
        one_of(at.with(resource), e, &["cpu", "memory"]);
        one_of(at.with(restart), e, &["NotRequired", "RestartContainer"]);
        if whole.restart == "Never" && restart.str() != "NotRequired" {
            at.with(restart).invalid(e, "must be 'NotRequired' when pod `restartPolicy` is 'Never'");
        }
    }
}

fn restart_policy(container: At<'_>, e: &mut Errors) {
    let (policy, rules) = (container.field("restartPolicy"), container.field("restartPolicyRules"));
    if !policy.is_set() && !rules.items().is_empty() {
        policy.required(e, "must specify restartPolicy when restart rules are used");
    }
    one_of_if_set(policy, e, &["Always", "Never", "OnFailure"]);
    if rules.items().len() > 20 {
        rules.too_many(e, 20);
    }
    for rule in rules.list() {
        let actions = ["Restart", "RestartAllContainers"];
        if !actions.contains(&rule["action"].str()) {
            rule.field("action").not_supported(e, &actions);
        }
        let codes = rule.field("exitCodes");
        if !codes.is_set() {
            codes.required(e, "must be specified");
            continue;
        }
        if !["In", "NotIn"].contains(&codes["operator"].str()) {
            codes.field("operator").not_supported(e, &["In", "NotIn"]);
        }
        if codes["values"].items().len() > 255 {
            codes.field("values").too_many(e, 255);
        }
    }
}
