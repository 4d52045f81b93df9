//! The spec of a pod, in pods and in templates.

use super::forms;
use super::{At, container, ip, labels, one_of, range_text, resources, scheduling, security, volume, windows};
use kaji_api::field::Errors;
use kaji_api::{Value, names};

/// What the parts of a pod must know of the whole.
pub(crate) struct Whole<'a> {
    /// A pod itself; else a template.
    pub(crate) is_pod: bool,
    /// The volumes that are well-formed.
    pub(crate) volumes: Vec<(&'a str, &'a Value)>,
    /// Names of its resource claims.
    pub(crate) claims: Vec<&'a str>,
    /// Seconds it has for stopping.
    pub(crate) grace: Option<i64>,
    /// Its restart policy.
    pub(crate) restart: &'a str,
    /// The operating system it names.
    pub(crate) os: Option<&'a str>,
    /// Shares the host's user namespace.
    pub(crate) host_users: bool,
}

impl<'a> Whole<'a> {
    fn of(spec: At<'a>, is_pod: bool) -> Self {
        Whole {
            is_pod,
            volumes: Vec::new(),
            claims: spec.v["resourceClaims"]
                .items()
                .iter()
                .map(|c| c["name"].str())
                .filter(|n| !n.is_empty())
                .collect(),
            grace: spec.v["terminationGracePeriodSeconds"].as_i64(),
            restart: spec.v["restartPolicy"].str(),
            os: (!spec.v["os"].is_null()).then(|| spec.v["os"]["name"].str()),
            host_users: spec.v["hostUsers"].as_bool().unwrap_or(true),
        }
    }

    /// A well-formed volume by name.
    pub(crate) fn volume(&self, name: &str) -> Option<&'a Value> {
        self.volumes.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
    }
}

/// Init, regular and ephemeral containers, as upstream visits them.
pub(crate) fn all_containers(spec: At<'_>) -> impl Iterator<Item = At<'_>> {
    ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(move |l| spec.field(l).list())
}

/// A new pod, metadata apart.
pub(crate) fn create(pod: At<'_>, e: &mut Errors) {
    whole(pod, e);
    let at = pod.field("spec");
    if !at["ephemeralContainers"].items().is_empty() {
        at.field("ephemeralContainers").forbidden(e, "cannot be set on create");
    }
    if !at["nodeName"].str().is_empty() && !at["schedulingGates"].items().is_empty() {
        at.field("nodeName").forbidden(e, "cannot be set until all schedulingGates have been cleared");
    }
    annotated_profiles(pod, e);
}

/// A pod's annotations and spec: what is checked at creation and at every update.
pub(crate) fn whole(pod: At<'_>, e: &mut Errors) {
    annotations(pod.fields(&["metadata", "annotations"]), pod.v, e);
    let at = pod.field("spec");
    let name = pod.v["metadata"]["name"].str();
    let mirror = pod.v.annotation("kubernetes.io/config.mirror").is_some();
    spec(at, name, true, mirror, e);
    if at["serviceAccountName"].str().is_empty() {
        for source in at.field("volumes").list().flat_map(|v| v.fields(&["projected", "sources"]).list()) {
            if source.field("serviceAccountToken").is_set() {
                let text = "must not be specified when serviceAccountName is not set";
                source.field("serviceAccountToken").forbidden(e, text);
            }
        }
    }
    for container in ["containers", "initContainers"].into_iter().flat_map(|l| at.field(l).list()) {
        container::trimmed_image(container, e);
    }
}

/// Annotations that mean something to pods.
pub(crate) fn annotations(at: At<'_>, pod: &Value, e: &mut Errors) {
    let mirror = at.key("kubernetes.io/config.mirror");
    if mirror.is_set() && pod["spec"]["nodeName"].str().is_empty() {
        mirror.invalid(e, "must set spec.nodeName if mirror pod annotation is set");
    }
    let cost = at.key("controller.kubernetes.io/pod-deletion-cost");
    if cost.is_set() && !is_cost(cost.str()) {
        cost.invalid(e, "must be a 32bit integer");
    }
    for (key, value) in at.map() {
        if let Some(name) = key.strip_prefix("container.apparmor.security.beta.kubernetes.io/") {
            if !all_containers(At::root(pod).field("spec")).any(|c| c["name"].str() == name) {
                value.invalid_as(e, name, "container not found");
            }
            let s = value.str();
            if !matches!(s, "" | "runtime/default" | "unconfined") && !s.starts_with("localhost/") {
                value.invalid(e, &format!("invalid AppArmor profile name: \"{s}\""));
            }
        }
        let seccomp = key == "seccomp.security.alpha.kubernetes.io/pod"
            || key.starts_with("container.seccomp.security.alpha.kubernetes.io/");
        if seccomp {
            seccomp_annotation(at.field(key), e);
        }
    }
}

fn is_cost(s: &str) -> bool {
    !s.starts_with('+') && s.parse::<i32>().is_ok() && (s == "0" || !s.trim_start_matches('-').starts_with('0'))
}

fn seccomp_annotation(at: At<'_>, e: &mut Errors) {
    match at.str() {
        "runtime/default" | "docker/default" | "unconfined" => {}
        s if s.starts_with("localhost/") => {
            let rest = Value::from(s.trim_start_matches("localhost/"));
            volume::descending(at.with(&rest), e);
        }
        _ => at.invalid(e, "must be a valid seccomp profile"),
    }
}

/// Profiles in annotations must say what the fields say.
pub(crate) fn annotated_profiles(pod: At<'_>, e: &mut Errors) {
    let annotation = |key: &str| pod.v["metadata"]["annotations"][key].as_str();
    let at = pod.field("spec");
    let of_pod = at.field("securityContext");
    if let Some(text) = annotation("seccomp.security.alpha.kubernetes.io/pod") {
        matches_annotation(of_pod.field("seccompProfile"), text, "seccomp", e);
    }
    for container in all_containers(at) {
        let key = format!("container.seccomp.security.alpha.kubernetes.io/{}", container["name"].str());
        if let Some(text) = annotation(&key) {
            matches_annotation(container.fields(&["securityContext", "seccompProfile"]), text, "seccomp", e);
        }
    }
    if at["os"]["name"].str() == "windows" {
        return;
    }
    for container in all_containers(at) {
        let key = format!("container.apparmor.security.beta.kubernetes.io/{}", container["name"].str());
        let own = container.fields(&["securityContext", "appArmorProfile"]);
        let effective = if own.is_set() { own } else { own.with(&of_pod.v["appArmorProfile"]) };
        if let Some(text) = annotation(&key) {
            matches_annotation(effective, text, "apparmor", e);
        }
    }
}

fn matches_annotation(profile: At<'_>, annotation: &str, what: &str, e: &mut Errors) {
    let same = match profile["type"].str() {
        "Unconfined" => annotation == "unconfined",
        "RuntimeDefault" => annotation == "runtime/default" || (what == "seccomp" && annotation == "docker/default"),
        "Localhost" => match annotation.strip_prefix("localhost/") {
            Some(path) if profile["localhostProfile"].as_str() == Some(path) => true,
            Some(_) => {
                let text = format!("{what} profile in annotation and field must match");
                return profile.field("localhostProfile").forbidden(e, &text);
            }
            None => false,
        },
        _ => true,
    };
    if !same {
        profile.field("type").forbidden(e, &format!("{what} type in annotation and field must match"));
    }
}

/// The spec. `name` is the pod's (empty in templates); `mirror` for pods that a node made by itself.
pub(crate) fn spec(at: At<'_>, name: &str, is_pod: bool, mirror: bool, e: &mut Errors) {
    let grace = at.field("terminationGracePeriodSeconds");
    if !grace.is_set() {
        grace.required(e, "");
    }
    let mut whole = Whole::of(at, is_pod);
    volume::volumes(at.field("volumes"), name, &mut whole, e);
    resource_claims(at.field("resourceClaims"), mirror, e);
    container::regular(at.field("containers"), &whole, e);
    container::init(at.field("initContainers"), &at.v["containers"], &whole, e);
    container::ephemeral(at.field("ephemeralContainers"), at.v, &whole, e);
    resources::pod(at, &whole.claims, e);
    host_network(at, is_pod, e);
    one_of(at.field("restartPolicy"), e, &["Always", "OnFailure", "Never"]);
    one_of(at.field("dnsPolicy"), e, &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]);
    labels::labels(at.field("nodeSelector"), e);
    security::pod(at, e);
    scheduling::affinity(at.field("affinity"), e);
    dns(at, e);
    for gate in at.field("readinessGates").list() {
        gate.field("conditionType").check(e, names::qualified_name);
    }
    scheduling::gates(at.field("schedulingGates"), e);
    scheduling::spread(at.field("topologySpreadConstraints"), e);
    windows::host_process(at, e);
    host_users(at, e);
    host_name(at, e);
    references(at, e);
    if at.field("overhead").is_set() {
        resources::overhead(at.field("overhead"), e);
    }
    windows::os(at, &whole, e);
    let group = at.field("schedulingGroup");
    if group.is_set() {
        match group.field("podGroupName") {
            name if name.is_set() => name.check(e, names::dns1123_subdomain),
            name => name.invalid_as(e, Value::Null, "must specify one of: `podGroupName`"),
        }
    }
    env_files(at, e);
}

fn resource_claims(at: At<'_>, mirror: bool, e: &mut Errors) {
    let mut seen: Vec<&str> = Vec::new();
    for claim in at.list() {
        if mirror {
            super::pod_update::forbidden(e, "static pods do not support resource claims");
            continue;
        }
        let name = claim.field("name");
        if name.str().is_empty() {
            name.required(e, "");
        } else if seen.contains(&name.str()) {
            name.duplicate(e);
        } else {
            name.check(e, names::dns1123_label);
            seen.push(name.str());
        }
        let (own, template) = (claim.field("resourceClaimName"), claim.field("resourceClaimTemplateName"));
        match (own.is_set(), template.is_set()) {
            (true, true) => {
                let text = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified";
                claim.invalid(e, text);
            }
            (false, false) => {
                claim.invalid(e, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
            }
            _ => {}
        }
        for reference in [own, template].into_iter().filter(|r| r.is_set()) {
            reference.check(e, names::dns1123_subdomain);
        }
    }
}

fn host_network(at: At<'_>, is_pod: bool, e: &mut Errors) {
    if !at["hostNetwork"].bool() {
        return;
    }
    for port in at.field("containers").list().flat_map(|c| c.field("ports").list()) {
        let host = port.field("hostPort");
        if (is_pod || host.i64() != 0) && host.i64() != port.field("containerPort").i64() {
            host.invalid_as(e, host.i64(), "must match `containerPort` when `hostNetwork` is true");
        }
    }
}

fn dns(spec: At<'_>, e: &mut Errors) {
    let at = spec.field("dnsConfig");
    let (servers, searches) = (at.field("nameservers"), at.field("searches"));
    if spec["dnsPolicy"].str() == "None" {
        if !at.is_set() {
            return at.required(e, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if servers.items().is_empty() {
            return servers.required(e, "must provide at least one DNS nameserver when `dnsPolicy` is None");
        }
    }
    if servers.items().len() > 3 {
        servers.invalid(e, "must not have more than 3 nameservers");
    }
    servers.list().for_each(|server| ip::address(server, e, &[]));
    if searches.items().len() > 32 {
        searches.invalid(e, "must not have more than 32 search paths");
    }
    let length: usize = searches.items().iter().map(|s| s.str().len() + 1).sum();
    if length > 2049 {
        searches.invalid(e, "must not have more than 2048 characters (including spaces) in the search list");
    }
    for search in searches.list().filter(|s| s.str() != ".") {
        let domain = search.str().strip_suffix('.').unwrap_or(search.str());
        for text in forms::search_domain(domain) {
            search.invalid_as(e, domain, &text);
        }
    }
    for option in at.field("options").list().filter(|o| o["name"].str().is_empty()) {
        option.required(e, "must not be empty");
    }
}

fn host_users(at: At<'_>, e: &mut Errors) {
    if at["hostUsers"].as_bool() != Some(false) {
        return;
    }
    for (set, place) in [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")] {
        if at[set].bool() {
            at.field(place).forbidden(e, "when `hostUsers` is false");
        }
    }
    for container in all_containers(at).filter(|c| !c["volumeDevices"].items().is_empty()) {
        container.field("volumeDevices").forbidden(e, "when `hostUsers` is false");
    }
}

fn host_name(spec: At<'_>, e: &mut Errors) {
    let at = spec.field("hostnameOverride");
    if !at.is_set() {
        return;
    }
    if spec["setHostnameAsFQDN"].bool() {
        at.forbidden(e, "may not be specified when setHostnameAsFQDN is true");
    }
    if spec["hostNetwork"].bool() {
        at.forbidden(e, "may not be specified when hostNetwork is true");
    }
    if at.str().len() > 64 {
        at.too_long(e, 64);
    }
    at.check(e, names::dns1123_subdomain);
}

fn references(at: At<'_>, e: &mut Errors) {
    at.field("serviceAccountName").check_if_set(e, names::dns1123_subdomain);
    at.field("nodeName").check_if_set(e, names::dns1123_subdomain);
    let deadline = at.field("activeDeadlineSeconds");
    if deadline.is_set() && !(1..=i64::from(i32::MAX)).contains(&deadline.i64()) {
        deadline.invalid(e, &range_text(1, i64::from(i32::MAX)));
    }
    at.field("hostname").check_if_set(e, names::dns1123_label);
    at.field("subdomain").check_if_set(e, names::dns1123_label);
    scheduling::tolerations(at.field("tolerations"), e);
    for alias in at.field("hostAliases").list() {
        ip::address(alias.field("ip"), e, &[]);
        alias.field("hostnames").list().for_each(|name| name.check(e, names::dns1123_subdomain));
    }
    at.field("priorityClassName").check_if_set(e, names::dns1123_subdomain);
    if at.field("runtimeClassName").is_set() {
        at.field("runtimeClassName").check(e, names::dns1123_subdomain);
    }
    if at.field("preemptionPolicy").is_set() {
        one_of(at.field("preemptionPolicy"), e, &["PreemptLowerPriority", "Never"]);
    }
}

/// Variables from files: the files live in `emptyDir` volumes.
fn env_files(at: At<'_>, e: &mut Errors) {
    for variable in all_containers(at).flat_map(|c| c.field("env").list()) {
        let name = variable.fields(&["valueFrom", "fileKeyRef", "volumeName"]);
        if variable.v["valueFrom"]["fileKeyRef"].is_null() {
            continue;
        }
        match at["volumes"].items().iter().find(|v| v["name"].str() == name.str()) {
            None => name.not_found(e),
            Some(v) if v["emptyDir"].is_null() => {
                name.invalid(e, "referenced volume must be of type emptyDir");
            }
            Some(_) => {}
        }
    }
}
