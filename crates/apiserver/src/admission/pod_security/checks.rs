//! The checks of the pod security standards, with the releases in which each began or changed (upstream
//! `pod-security-admission/policy`).

use super::policy::{Level, Rules};
use kaji_api::Value;
use kaji_api::field::quoted;
use std::collections::BTreeSet;

/// Newer than any release that changed a rule.
const LATEST: u32 = u32::MAX;

/// What is wrong with a pod: in a word, and in detail.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub(super) reason: String,
    pub(super) detail: String,
}

impl Violation {
    fn new(reason: impl Into<String>, detail: impl Into<String>) -> Option<Self> {
        Some(Violation { reason: reason.into(), detail: detail.into() })
    }
}

/// A pod, or the template of one, under the rules of a release.
struct Pod<'a> {
    metadata: &'a Value,
    spec: &'a Value,
    minor: u32,
}

type Check = fn(&Pod<'_>) -> Option<Violation>;

/// Baseline: check, from release, and the release from which restricted replaces it.
const BASELINE: &[(Check, u32, Option<u32>)] = &[
    (app_armor, 0, None),
    (capabilities, 0, Some(22)),
    (host_namespaces, 0, None),
    (host_paths, 0, Some(0)),
    (host_ports, 0, None),
    (probe_hosts, 34, None),
    (privileged, 0, None),
    (proc_mount, 0, Some(35)),
    (se_linux, 0, None),
    (seccomp, 0, Some(19)),
    (sysctls, 0, None),
    (host_process, 0, None),
];

const RESTRICTED: &[(Check, u32)] = &[
    (escalation, 8),
    (few_capabilities, 22),
    (masked_proc, 35),
    (volumes, 0),
    (non_root, 0),
    (not_user_zero, 23),
    (set_seccomp, 19),
];

/// What of a pod's metadata and spec the rules forbid, in upstream's order.
pub(super) fn violations(rules: Rules, metadata: &Value, spec: &Value) -> Vec<Violation> {
    let minor = rules.minor.unwrap_or(LATEST);
    let pod = Pod { metadata, spec, minor };
    let restricted = rules.level == Level::Restricted;
    let replaced = |by: Option<u32>| restricted && by.is_some_and(|from| minor >= from);
    let baseline = BASELINE.iter().filter(|(_, from, by)| minor >= *from && !replaced(*by)).map(|(check, ..)| check);
    let strict = RESTRICTED.iter().filter(|(_, from)| restricted && minor >= *from).map(|(check, _)| check);
    match rules.level {
        Level::Privileged => Vec::new(),
        Level::Baseline | Level::Restricted => baseline.chain(strict).filter_map(|check| check(&pod)).collect(),
    }
}

impl<'a> Pod<'a> {
    fn containers(&self) -> impl Iterator<Item = &'a Value> {
        let spec = self.spec;
        ["initContainers", "containers", "ephemeralContainers"].into_iter().flat_map(move |l| spec[l].items())
    }

    /// The names of the containers whose security context is such.
    fn named(&self, mut such: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
        let chosen = self.containers().filter(|c| such(&c["securityContext"]));
        chosen.map(|c| c["name"].str()).collect()
    }

    fn context(&self) -> &'a Value {
        &self.spec["securityContext"]
    }

    fn is_windows(&self) -> bool {
        self.minor >= 25 && self.spec["os"]["name"].str() == "windows"
    }

    /// Users of the pod are nobody on the node.
    fn has_own_users(&self) -> bool {
        self.minor >= 35 && self.spec["hostUsers"].as_bool() == Some(false)
    }
}

fn plural(word: &str, count: usize) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

fn join<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|i| format!("\"{}\"", i.as_ref())).collect::<Vec<_>>().join(", ")
}

fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", names.len()), join(names))
}

/// Who set something: the pod, containers, or both.
fn setters(pod: bool, names: &[&str]) -> Option<String> {
    let of_containers = (!names.is_empty()).then(|| containers(names));
    let all: Vec<String> = pod.then(|| "pod".to_owned()).into_iter().chain(of_containers).collect();
    (!all.is_empty()).then(|| all.join(" and "))
}

fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    let mut values = BTreeSet::new();
    let mut bad = |context: &Value| {
        let Some(profile) = context.get("appArmorProfile") else { return false };
        let kind = profile["type"].str();
        let bad = !matches!(kind, "RuntimeDefault" | "Localhost");
        bad.then(|| values.insert(kind.to_owned()));
        bad
    };
    let whole = bad(pod.context());
    let named = pod.named(bad);
    let allowed = |v: &str| v.is_empty() || v == "runtime/default" || v.starts_with("localhost/");
    let noted = pod.metadata["annotations"]
        .entries()
        .filter(|(k, v)| k.starts_with("container.apparmor.security.beta.kubernetes.io/") && !allowed(v.str()));
    let mut noted: Vec<String> = noted.map(|(k, v)| format!("{k}={}", quoted(v.str()))).collect();
    noted.sort_unstable();
    let annotations = (!noted.is_empty()).then(|| plural("annotation", noted.len()));
    let who: Vec<String> = setters(whole, &named).into_iter().chain(annotations).collect();
    if who.is_empty() {
        return None;
    }
    let values: Vec<String> = values.into_iter().chain(noted).collect();
    Violation::new(
        plural("forbidden AppArmor profile", values.len()),
        format!("{} must not set AppArmor profile type to {}", who.join(" and "), join(&values)),
    )
}

const USUAL_CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Who adds capabilities other than these, as upstream tells it.
fn added(pod: &Pod<'_>, allowed: &[&str]) -> Option<String> {
    let mut bad = BTreeSet::new();
    let named = pod.named(|context| {
        let mut more = context["capabilities"]["add"].items().iter().map(Value::str).filter(|c| !allowed.contains(c));
        more.by_ref().map(|c| bad.insert(c)).count() > 0
    });
    let told = || format!("{} must not include {} in securityContext.capabilities.add", containers(&named), join(&bad));
    (!named.is_empty()).then(told)
}

fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    Violation::new("non-default capabilities", added(pod, &USUAL_CAPABILITIES)?)
}

fn few_capabilities(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_windows() {
        return None;
    }
    let keep = pod.named(|context| !context["capabilities"]["drop"].items().iter().any(|c| c.str() == "ALL"));
    let keep = (!keep.is_empty())
        .then(|| format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keep)));
    let details: Vec<String> = keep.into_iter().chain(added(pod, &["NET_BIND_SERVICE"])).collect();
    if details.is_empty() { None } else { Violation::new("unrestricted capabilities", details.join("; ")) }
}

fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let shared = ["hostNetwork", "hostPID", "hostIPC"].iter().filter(|f| pod.spec[**f].bool());
    let shared: Vec<String> = shared.map(|f| format!("{f}=true")).collect();
    if shared.is_empty() { None } else { Violation::new("host namespaces", shared.join(", ")) }
}

fn host_paths(pod: &Pod<'_>) -> Option<Violation> {
    let of_host = pod.spec["volumes"].items().iter().filter(|v| v.get("hostPath").is_some());
    let names: Vec<&str> = of_host.map(|v| v["name"].str()).collect();
    if names.is_empty() {
        return None;
    }
    Violation::new("hostPath volumes", format!("{} {}", plural("volume", names.len()), join(&names)))
}

fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let ports = |c: &Value| -> Vec<String> {
        c["ports"]
            .items()
            .iter()
            .filter_map(|p| p["hostPort"].as_i64())
            .filter(|p| *p != 0)
            .map(|p| p.to_string())
            .collect()
    };
    let named: Vec<&str> = pod.containers().filter(|c| !ports(c).is_empty()).map(|c| c["name"].str()).collect();
    let all: BTreeSet<String> = pod.containers().flat_map(ports).collect();
    uses("hostPort", "hostPort", &named, all.len(), &all.into_iter().collect::<Vec<_>>().join(", "))
}

/// That containers use what they should not.
fn uses(reason: &str, what: &str, named: &[&str], count: usize, list: &str) -> Option<Violation> {
    if named.is_empty() {
        return None;
    }
    let verb = if named.len() == 1 { "uses" } else { "use" };
    Violation::new(reason, format!("{} {verb} {} {list}", containers(named), plural(what, count)))
}

fn probe_hosts(pod: &Pod<'_>) -> Option<Violation> {
    let hosts = |c: &Value| -> Vec<String> {
        let probes = ["livenessProbe", "readinessProbe", "startupProbe"].map(|f| &c[f]);
        let hooks = ["postStart", "preStop"].map(|f| &c["lifecycle"][f]);
        let handlers = probes.into_iter().chain(hooks);
        let hosts = handlers.flat_map(|h| [h["httpGet"]["host"].str(), h["tcpSocket"]["host"].str()]);
        hosts.filter(|h| !h.is_empty()).map(str::to_owned).collect()
    };
    let named: BTreeSet<&str> = pod.containers().filter(|c| !hosts(c).is_empty()).map(|c| c["name"].str()).collect();
    let all: BTreeSet<String> = pod.containers().flat_map(hosts).collect();
    let named: Vec<&str> = named.into_iter().collect();
    uses("probe or lifecycle host", "probe or lifecycle host", &named, all.len(), &join(&all))
}

fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let named = pod.named(|context| context["privileged"].bool());
    if named.is_empty() {
        return None;
    }
    Violation::new("privileged", format!("{} must not set securityContext.privileged=true", containers(&named)))
}

fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_own_users() { None } else { masked_proc(pod) }
}

fn masked_proc(pod: &Pod<'_>) -> Option<Violation> {
    let mut kinds = BTreeSet::new();
    let named = pod.named(|context| {
        let kind = context["procMount"].str();
        let bad = !matches!(kind, "" | "Default");
        bad.then(|| kinds.insert(kind));
        bad
    });
    if named.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.procMount to {}", containers(&named), join(&kinds));
    Violation::new("procMount", detail)
}

fn se_linux(pod: &Pod<'_>) -> Option<Violation> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let engine = pod.minor >= 31;
    let mut bad = |context: &Value| {
        let options = &context["seLinuxOptions"];
        let kind = options["type"].str();
        let known = matches!(kind, "" | "container_t" | "container_init_t" | "container_kvm_t")
            || engine && kind == "container_engine_t";
        (!known).then(|| types.insert(kind.to_owned()));
        let (sets_user, sets_role) = (!options["user"].str().is_empty(), !options["role"].str().is_empty());
        user |= sets_user;
        role |= sets_role;
        !known || sets_user || sets_role
    };
    let whole = bad(pod.context());
    let named = pod.named(bad);
    let who = setters(whole, &named)?;
    let types = (!types.is_empty()).then(|| format!("{} {}", plural("type", types.len()), join(&types)));
    let parts = types.into_iter().chain(user.then(|| "user may not be set".to_owned()));
    let parts: Vec<String> = parts.chain(role.then(|| "role may not be set".to_owned())).collect();
    Violation::new(
        "seLinuxOptions",
        format!("{who} set forbidden securityContext.seLinuxOptions: {}", parts.join("; ")),
    )
}

/// Whether a profile is set (none: not at all) and good.
fn profile(context: &Value) -> Option<(bool, &str)> {
    let kind = context.get("seccompProfile")?["type"].str();
    Some((matches!(kind, "RuntimeDefault" | "Localhost"), kind))
}

fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    if pod.minor < 19 {
        return seccomp_annotations(pod);
    }
    let whole = profile(pod.context()).filter(|(good, _)| !good);
    let mut values: BTreeSet<&str> = whole.iter().map(|(_, kind)| *kind).collect();
    let named = pod.named(|context| {
        let bad = profile(context).filter(|(good, _)| !good);
        bad.map(|(_, kind)| values.insert(kind)).is_some()
    });
    let who = setters(whole.is_some(), &named)?;
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {}", join(&values));
    Violation::new("seccompProfile", detail)
}

fn seccomp_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let allowed = |v: &str| matches!(v, "runtime/default" | "docker/default") || v.starts_with("localhost/");
    let own = pod.containers().map(|c| format!("container.seccomp.security.alpha.kubernetes.io/{}", c["name"].str()));
    let keys = std::iter::once("seccomp.security.alpha.kubernetes.io/pod".to_owned()).chain(own);
    let noted = keys.filter_map(|k| {
        let value = pod.metadata["annotations"].get(&k)?.str();
        (!allowed(value)).then(|| format!("{k}={}", quoted(value)))
    });
    let noted: BTreeSet<String> = noted.collect();
    if noted.is_empty() {
        return None;
    }
    let list = noted.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    Violation::new("seccompProfile", format!("forbidden {} {list}", plural("annotation", noted.len())))
}

fn set_seccomp(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_windows() {
        return None;
    }
    if let Some(violation) = seccomp(pod) {
        return Some(violation);
    }
    let whole = profile(pod.context()).is_some();
    let named = pod.named(|context| !whole && profile(context).is_none());
    if named.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        containers(&named)
    );
    Violation::new("seccompProfile", detail)
}

/// Namespaced sysctls, with the release that let them in.
const SYSCTLS: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

fn sysctls(pod: &Pod<'_>) -> Option<Violation> {
    let names = pod.context()["sysctls"].items().iter().map(|s| s["name"].str());
    let safe = |name: &str| SYSCTLS.iter().any(|(known, from)| *known == name && pod.minor >= *from);
    let bad: Vec<&str> = names.filter(|name| !safe(name)).collect();
    if bad.is_empty() { None } else { Violation::new("forbidden sysctls", bad.join(", ")) }
}

fn host_process(pod: &Pod<'_>) -> Option<Violation> {
    let bad = |context: &Value| context["windowsOptions"]["hostProcess"].bool();
    let who = setters(bad(pod.context()), &pod.named(bad))?;
    Violation::new("hostProcess", format!("{who} must not set securityContext.windowsOptions.hostProcess=true"))
}

fn escalation(pod: &Pod<'_>) -> Option<Violation> {
    let named = pod.named(|context| context["allowPrivilegeEscalation"].as_bool() != Some(false));
    if pod.is_windows() || named.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&named));
    Violation::new("allowPrivilegeEscalation != false", detail)
}

const GOOD_VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn volumes(pod: &Pod<'_>) -> Option<Violation> {
    let bad = |v: &&Value| !GOOD_VOLUMES.iter().any(|f| v.get(f).is_some());
    let bad: Vec<&Value> = pod.spec["volumes"].items().iter().filter(bad).collect();
    if bad.is_empty() {
        return None;
    }
    let kind = |v: &&Value| v.entries().map(|(f, _)| f.to_owned()).find(|f| f != "name");
    let kinds: BTreeSet<String> = bad.iter().map(|v| kind(v).unwrap_or_else(|| "unknown".to_owned())).collect();
    let detail = format!(
        "{} {} {} {} {}",
        plural("volume", bad.len()),
        join(bad.iter().map(|v| v["name"].str())),
        if bad.len() == 1 { "uses" } else { "use" },
        plural("restricted volume type", kinds.len()),
        join(&kinds)
    );
    Violation::new("restricted volume types", detail)
}

fn non_root(pod: &Pod<'_>) -> Option<Violation> {
    const REASON: &str = "runAsNonRoot != true";
    if pod.has_own_users() {
        return None;
    }
    let says = |context: &Value| context["runAsNonRoot"].as_bool();
    let whole = says(pod.context());
    let explicit = pod.named(|context| says(context) == Some(false));
    if let Some(who) = setters(whole == Some(false), &explicit) {
        return Violation::new(REASON, format!("{who} must not set securityContext.runAsNonRoot=false"));
    }
    let silent = pod.named(|context| whole != Some(true) && says(context).is_none());
    if silent.is_empty() {
        return None;
    }
    Violation::new(REASON, format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent)))
}

fn not_user_zero(pod: &Pod<'_>) -> Option<Violation> {
    let zero = |context: &Value| context["runAsUser"].as_i64() == Some(0);
    if pod.has_own_users() {
        return None;
    }
    let who = setters(zero(pod.context()), &pod.named(zero))?;
    Violation::new("runAsUser=0", format!("{who} must not set runAsUser=0"))
}
