//! Defaults of pods and templates that depend on other fields.

use crate::validation::resources::{self, aggregate, is_huge_page, is_overcommittable, pod_level, round_up};
use kaji_api::Value;

/// `metadata.labels` of an object from its template, where it has none.
pub(crate) fn labels_from_template(obj: &mut Value) {
    let labels = obj.at(&["spec", "template", "metadata", "labels"]).clone();
    if !labels.is_zero() && obj["metadata"]["labels"].is_zero() {
        obj.set_meta("labels", labels);
    }
}

/// What a spec gets in pods and templates alike.
pub(crate) fn pod_spec(spec: &mut Value) {
    if spec.is_null() {
        return;
    }
    service_account(spec);
    for volume in spec.get_mut("volumes").map(Value::items_mut).unwrap_or_default() {
        self::volume(volume);
    }
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in spec.get_mut(list).map(Value::items_mut).unwrap_or_default() {
            pull_policy(container, "image", "imagePullPolicy");
            requirements(container);
        }
    }
    requirements(spec);
    if let Some(overhead) = spec.get_mut("overhead") {
        round_up(overhead);
    }
}

/// The old name of the service account's field says the same as the new one.
fn service_account(spec: &mut Value) {
    match (spec["serviceAccountName"].str().to_owned(), spec["serviceAccount"].str().to_owned()) {
        (new, old) if new.is_empty() && !old.is_empty() => spec.set("serviceAccountName", old),
        (new, old) if new != old => spec.set("serviceAccount", new),
        _ => {}
    }
}

fn volume(volume: &mut Value) {
    if volume.entries().all(|(name, source)| name == "name" || source.is_null()) {
        volume.set("emptyDir", Value::object());
    }
    if let Some(image) = volume.get_mut("image") {
        pull_policy(image, "reference", "pullPolicy");
    }
    if let Some(spec) = volume.get_mut("ephemeral").and_then(|e| e.get_mut("volumeClaimTemplate")) {
        requirements(spec.entry("spec"));
    }
}

fn requirements(of: &mut Value) {
    let Some(resources) = of.get_mut("resources") else { return };
    for list in ["limits", "requests"] {
        if let Some(list) = resources.get_mut(list) {
            round_up(list);
        }
    }
}

/// `latest` is always pulled, other tags once.
fn pull_policy(of: &mut Value, image: &str, policy: &'static str) {
    if of[policy].str().is_empty() {
        let latest = is_latest(of[image].str());
        of.set(policy, if latest { "Always" } else { "IfNotPresent" });
    }
}

/// Whether an image is named by `latest`, in words or by naming neither tag nor digest. References that
/// are malformed name nothing.
fn is_latest(image: &str) -> bool {
    let (rest, digest) = image.split_once('@').map_or((image, None), |(rest, digest)| (rest, Some(digest)));
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
        _ => (rest, None),
    };
    match (tag, digest) {
        _ if !is_repository(path) => false,
        (Some(tag), _) => tag == "latest",
        (None, digest) => digest.is_none(),
    }
}

/// `[domain[:port]/]path`, lower case.
fn is_repository(name: &str) -> bool {
    let (domain, path) = match name.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" || has_upper(first) => (first, rest),
        _ => ("", name),
    };
    let part = |p: &str| {
        let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(p.bytes().next())
            && edge(p.bytes().last())
            && p.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
    };
    let domain_fine =
        domain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']'));
    domain_fine && path.split('/').all(part)
}

fn has_upper(s: &str) -> bool {
    s.bytes().any(|b| b.is_ascii_uppercase())
}

/// What pods get beyond what templates get.
pub(crate) fn pod(spec: &mut Value) {
    for list in ["containers", "initContainers"] {
        for container in spec.get_mut(list).map(Value::items_mut).unwrap_or_default() {
            requests_from_limits(container);
        }
    }
    pod_level_resources(spec);
    if spec["hostNetwork"].bool() {
        for list in ["containers", "initContainers"] {
            host_ports(spec.get_mut(list));
        }
    }
}

fn requests_from_limits(container: &mut Value) {
    let limits = container["resources"]["limits"].clone();
    if limits.is_zero() {
        return;
    }
    let requests = container.entry_at(&["resources", "requests"]);
    for (name, limit) in limits.entries() {
        requests.set_default(name.to_owned(), limit.clone());
    }
}

fn host_ports(containers: Option<&mut Value>) {
    for container in containers.map(Value::items_mut).unwrap_or_default() {
        for port in container.get_mut("ports").map(Value::items_mut).unwrap_or_default() {
            if port["hostPort"].is_zero() {
                let number = port["containerPort"].clone();
                port.set("hostPort", number);
            }
        }
    }
}

/// Resources of the pod as a whole, where it names some: huge-page limits from its containers, requests
/// from its containers or its limits.
fn pod_level_resources(spec: &mut Value) {
    let resources = &spec["resources"];
    if resources.is_null() || (resources["limits"].is_zero() && resources["requests"].is_zero()) {
        return;
    }
    for (name, q) in aggregate(spec, "limits").into_iter().filter(|(name, _)| is_huge_page(name)) {
        if spec["resources"]["requests"].get(&name).is_none() {
            spec.entry_at(&["resources", "limits"]).set_default(name, q.to_string());
        }
    }
    if spec["resources"]["limits"].is_zero() {
        return;
    }
    for (name, q) in aggregate(spec, "requests") {
        if pod_level(&name) && is_overcommittable(&name) {
            spec.entry_at(&["resources", "requests"]).set_default(name, q.to_string());
        }
    }
    let limits = spec["resources"]["limits"].clone();
    for (name, limit) in limits.entries().filter(|(name, _)| resources::pod_level(name)) {
        spec.entry_at(&["resources", "requests"]).set_default(name.to_owned(), limit.clone());
    }
}

/// The template of a workload.
pub(crate) fn template(obj: &mut Value, path: &[&'static str]) {
    if !obj.at(path).is_null() {
        pod_spec(obj.entry_at(path).entry("spec"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latest_is_what_names_no_other() {
        for image in ["pause", "a/b", "localhost:5000/x", "r.io/x:latest", "a/b/c"] {
            assert!(is_latest(image), "{image}");
        }
        for image in ["pause:3", "r.io:5000/x:1", "x@sha256:00", "x:1@sha256:00", "", "UPPER", "-x"] {
            assert!(!is_latest(image), "{image}");
        }
    }
}
