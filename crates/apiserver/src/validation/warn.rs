//! Warnings about pods that are accepted but will hardly do what was meant.

use super::pod::all_containers;
use super::{At, ip, resources};
use kaji_api::Value;

/// What to use instead of an old node label.
pub(crate) fn old_node_label(key: &str) -> Option<&'static str> {
    Some(match key {
        "beta.kubernetes.io/arch" => "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "beta.kubernetes.io/os" => "deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "failure-domain.beta.kubernetes.io/region" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead"
        }
        "failure-domain.beta.kubernetes.io/zone" => {
            "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"
        }
        "beta.kubernetes.io/instance-type" => {
            "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead"
        }
        "app.kubernetes.io/created-by" => "deprecated since v1.9",
        "scheduler.alpha.kubernetes.io/preferAvoidPods" => "deprecated since v1.22; use Taints and Tolerations instead",
        "node-role.kubernetes.io/master" => "use \"node-role.kubernetes.io/control-plane\" instead",
        _ => return None,
    })
}

const OLD_ANNOTATIONS: &[(&str, &str)] = &[
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    ("security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
];

const OLD_VOLUMES: &[(&str, &str)] = &[
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// Warnings about a pod or, at its place in an object, a template.
pub(crate) fn pod(at: At<'_>, out: &mut Vec<String>) {
    let spec = at.field("spec");
    placement(spec, out);
    let annotations = at.fields(&["metadata", "annotations"]);
    for (key, text) in OLD_ANNOTATIONS {
        if annotations.key(key).is_set() {
            out.push(format!("{}: {text}", annotations.key(key).path()));
        }
    }
    volumes(spec, out);
    duplicates(spec, "hostAliases", "ip", out);
    duplicates(spec, "imagePullSecrets", "name", out);
    for secret in spec.field("imagePullSecrets").list().filter(|s| s["name"].str().is_empty()) {
        out.push(format!("{}: invalid empty name \"\"", secret.field("name").path()));
    }
    bytes(spec.field("overhead"), out);
    seccomp(at, out);
    for container in all_containers(spec) {
        bytes(container.fields(&["resources", "limits"]), out);
        bytes(container.fields(&["resources", "requests"]), out);
        env(container, out);
    }
    ports(spec, out);
    let grace = spec.field("terminationGracePeriodSeconds");
    if grace.i64() < 0 {
        out.push(format!("{}: must be >= 0; negative values are invalid and will be treated as 1", grace.path()));
    }
    null_selectors(spec.field("affinity"), out);
    spec.fields(&["dnsConfig", "nameservers"]).list().for_each(|server| ip::warn(server, out));
    spec.field("hostAliases").list().for_each(|alias| ip::warn(alias.field("ip"), out));
}

fn placement(spec: At<'_>, out: &mut Vec<String>) {
    for (key, at) in spec.field("nodeSelector").map() {
        if let Some(text) = old_node_label(key) {
            out.push(format!("{}: {text}", at.path()));
        }
    }
    let nodes = spec.fields(&["affinity", "nodeAffinity"]);
    let required = nodes.fields(&["requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"]);
    let preferred = nodes.field("preferredDuringSchedulingIgnoredDuringExecution");
    for term in required.list().chain(preferred.list().map(|t| t.field("preference"))) {
        for key in term.field("matchExpressions").list().map(|r| r.field("key")) {
            if let Some(text) = old_node_label(key.str()) {
                out.push(format!("{}: {} is {text}", key.path(), key.str()));
            }
        }
    }
    for constraint in spec.field("topologySpreadConstraints").list() {
        let key = constraint.field("topologyKey");
        if let Some(text) = old_node_label(key.str()) {
            out.push(format!("{}: {} is {text}", key.path(), key.str()));
        }
        null_selector(constraint, out);
    }
}

fn null_selector(term: At<'_>, out: &mut Vec<String>) {
    let selector = term.field("labelSelector");
    if !selector.is_set() {
        out.push(format!("{}: a null labelSelector results in matching no pod", selector.path()));
    }
}

fn null_selectors(affinity: At<'_>, out: &mut Vec<String>) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let at = affinity.field(kind);
        at.field("requiredDuringSchedulingIgnoredDuringExecution").list().for_each(|t| null_selector(t, out));
        for term in at.field("preferredDuringSchedulingIgnoredDuringExecution").list() {
            null_selector(term.field("podAffinityTerm"), out);
        }
    }
}

fn volumes(spec: At<'_>, out: &mut Vec<String>) {
    for volume in spec.field("volumes").list() {
        for (name, text) in OLD_VOLUMES {
            if volume.field(name).is_set() {
                let shown = if *name == "storageos" { "storageOS" } else { name };
                out.push(format!("{}: {text}", volume.field(shown).path()));
            }
        }
        let claim = volume.fields(&["ephemeral", "volumeClaimTemplate", "spec"]);
        if claim.is_set() {
            claim_spec(claim, out);
        }
        overlapping(volume.v, out);
    }
}

/// Sizes of claims count whole bytes.
pub(crate) fn claim_spec(at: At<'_>, out: &mut Vec<String>) {
    let size = at.fields(&["resources", "requests"]).key("storage");
    let q = resources::quantity(size.v);
    if q.milli_value() % 1000 != 0 {
        out.push(format!("{}: fractional byte value \"{q}\" is invalid, must be an integer", size.path()));
    }
}

/// Paths in one volume of which one is, or is below, another.
fn overlapping(volume: &Value, out: &mut Vec<String>) {
    let name = volume["name"].str();
    let plain = [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"), ("downwardAPI", "", "")];
    for (field, kind, of) in plain {
        let source = &volume[field];
        let what = if of.is_empty() { "DownwardAPI".into() } else { format!("{kind} \"{}\"", source[of].str()) };
        let mut seen = Vec::new();
        for item in source["items"].items() {
            collide(name, &what, (item["path"].str(), String::new()), &mut seen, out);
        }
    }
    let mut seen = Vec::new();
    for source in volume["projected"]["sources"].items() {
        if source.is_zero() {
            out.push(format!("volume \"{name}\" (Projected) has no sources provided"));
        }
        for path in projected_paths(source) {
            collide(name, "Projected", path, &mut seen, out);
        }
    }
}

fn projected_paths(source: &Value) -> Vec<(&str, String)> {
    let items = |of: &str| source[of]["items"].items().iter().map(|i| i["path"].str());
    let mut out: Vec<(&str, String)> = Vec::new();
    for (field, kind) in [("configMap", "ConfigMap"), ("secret", "Secret")] {
        out.extend(items(field).map(|p| (p, format!("{kind} \"{}\"", source[field]["name"].str()))));
    }
    out.extend(items("downwardAPI").map(|p| (p, "DownwardAPI".to_owned())));
    if let Some(path) = source["serviceAccountToken"]["path"].as_str() {
        out.push((path, "ServiceAccountToken".to_owned()));
    }
    let bundle = &source["clusterTrustBundle"];
    if let Some(path) = bundle["path"].as_str() {
        let name = bundle["name"].as_str().unwrap_or(bundle["signerName"].str());
        out.push((path, format!("ClusterTrustBundle \"{name}\"")));
    }
    let certificate = &source["podCertificate"];
    let paths = [("certificateChainPath", "chain"), ("keyPath", "key"), ("credentialBundlePath", "credential bundle")];
    for (field, what) in paths {
        if let Some(path) = certificate[field].as_str() {
            out.push((path, format!("PodCertificate {what}")));
        }
    }
    out
}

fn collide<'a>(
    volume: &str,
    what: &str,
    (path, source): (&'a str, String),
    seen: &mut Vec<(&'a str, String)>,
    out: &mut Vec<String>,
) {
    let path = path.trim_end_matches('/');
    let shown = |(path, source): &(&str, String)| match source.as_str() {
        "" => format!("\"{path}\""),
        source => format!("\"{path}\" ({source})"),
    };
    let below = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let this = (path, source);
    for other in seen.iter().filter(|(p, _)| !path.is_empty() && !p.is_empty() && (below(p, path) || below(path, p))) {
        out.push(format!("volume \"{volume}\" ({what}): overlapping paths: {} with {}", shown(&this), shown(other)));
    }
    seen.push(this);
}

fn duplicates(spec: At<'_>, list: &'static str, field: &'static str, out: &mut Vec<String>) {
    let mut seen: Vec<&str> = Vec::new();
    for at in spec.field(list).list().map(|item| item.field(field)) {
        if seen.contains(&at.str()) {
            out.push(format!("{}: duplicate {field} \"{}\"", at.path(), at.str()));
        } else {
            seen.push(at.str());
        }
    }
}

fn bytes(list: At<'_>, out: &mut Vec<String>) {
    for name in ["memory", "ephemeral-storage"] {
        let at = list.key(name);
        let q = resources::quantity(at.v);
        if q.milli_value() % 1000 != 0 {
            out.push(format!("{}: fractional byte value \"{q}\" is invalid, must be an integer", at.path()));
        }
    }
}

fn seccomp(at: At<'_>, out: &mut Vec<String>) {
    let annotations = at.fields(&["metadata", "annotations"]);
    let text = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
    let pod = annotations.key("seccomp.security.alpha.kubernetes.io/pod");
    if pod.is_set() && at["spec"]["securityContext"]["seccompProfile"].is_null() {
        out.push(format!("{}: {text}", pod.path()));
    }
    for container in all_containers(at.field("spec")) {
        let key = format!("container.seccomp.security.alpha.kubernetes.io/{}", container["name"].str());
        if container["securityContext"]["seccompProfile"].is_null() && annotations.v.get(&key).is_some() {
            out.push(format!("{}: {text}", annotations.path().key(&key)));
        }
    }
}

fn env(container: At<'_>, out: &mut Vec<String>) {
    let mut seen: Vec<&str> = Vec::new();
    for variable in container.field("env").list() {
        let (name, value) = (variable.v["name"].str(), variable.v["value"].str());
        if !seen.contains(&name) {
            seen.push(name);
            continue;
        }
        let own = format!("$({name})");
        if !variable.v["valueFrom"].is_null() || value == own || !value.contains(&own) {
            let text = format!("hides previous definition of \"{name}\", which may be dropped when using apply");
            out.push(format!("{}: {text}", variable.path()));
        }
    }
}

fn ports(spec: At<'_>, out: &mut Vec<String>) {
    let all: Vec<At<'_>> = all_containers(spec).flat_map(|c| c.field("ports").list()).collect();
    for (i, port) in all.iter().enumerate() {
        let (host, address) = (port.field("hostPort").i64(), port["hostIP"].str());
        let same = |o: &&At<'_>| o["containerPort"] == port["containerPort"] && o["protocol"] == port["protocol"];
        for other in all[..i].iter().filter(same) {
            let (other_host, other_address) = (other.field("hostPort").i64(), other["hostIP"].str());
            let what = if (address, host) == (other_address, other_host) {
                "duplicate"
            } else if host == 0 || other_host == 0 {
                "overlapping"
            } else if host == other_host && address.is_empty() != other_address.is_empty() {
                "dangerously ambiguous"
            } else {
                continue;
            };
            out.push(format!("{}: {what} port definition with {}", port.path(), other.path()));
        }
    }
    for (i, port) in all.iter().enumerate().filter(|(_, p)| !p["name"].str().is_empty()) {
        if let Some(first) = all[..i].iter().find(|o| o["name"] == port["name"]) {
            let (name, first) = (port["name"].str(), first.path());
            let text = format!(
                "duplicate port name \"{name}\" with {first}, services and probes that select ports by name will use {first}"
            );
            out.push(format!("{}: {text}", port.path()));
        }
    }
}
