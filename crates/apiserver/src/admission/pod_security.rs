//! PodSecurity: pods keep to the security standard that their namespace's labels ask for; what makes pods is
//! warned about only (upstream `pod-security-admission/admission`).

mod checks;
mod configuration;
mod policy;

use super::{Attributes, Operation, Plugin, Take};
use arc_swap::ArcSwap;
use checks::{Violation, violations};
use configuration::Configuration;
use futures::future::BoxFuture;
use kaji_api::field::quoted;
use kaji_api::{GroupResource, Status, Value};
use policy::{Level, Policy, Rules};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const NAMESPACES: GroupResource = GroupResource::of("", "namespaces");
const PODS: GroupResource = GroupResource::of("", "pods");
/// How many pods of a namespace are looked at when its rules get stricter.
const MOST_PODS: usize = 3000;
/// Subresources that leave the spec alone.
const HARMLESS: [&str; 8] = ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];

/// Audit annotations.
const ENFORCED: &str = "pod-security.kubernetes.io/enforce-policy";
const VIOLATIONS: &str = "pod-security.kubernetes.io/audit-violations";
const EXEMPT: &str = "pod-security.kubernetes.io/exempt";

#[derive(Default)]
pub(super) struct PodSecurity(ArcSwap<Configuration>);

impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn configure<'a>(&'a self, told: Option<&Value>) -> Result<Take<'a>, String> {
        let configuration = told.map_or_else(|| Ok(Configuration::default()), Configuration::read)?;
        Ok(Box::new(move || self.0.store(Arc::new(configuration))))
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            let c = self.0.load_full();
            if !matches!(a.operation, Operation::Create | Operation::Update) {
                return Ok(());
            }
            let sub = a.target.sub.map_or("", |s| s.name);
            match (a.target.resource.group, a.target.resource.plural) {
                ("", "namespaces") if sub.is_empty() => namespace(a, &c),
                ("", "pods") if !HARMLESS.contains(&sub) => pod(a, &c).await,
                (group, plural) if sub.is_empty() => template(a, &c, group, plural).await,
                _ => Ok(()),
            }
        })
    }
}

/// The labels must make sense; where they get stricter, pods that are there are warned about.
fn namespace(a: &Attributes<'_>, c: &Configuration) -> Result<(), Status> {
    let (new, errors) = Policy::of(a.object, &c.defaults);
    let (old, old_errors) = Policy::of(a.old, &c.defaults);
    let told = |errors: &kaji_api::field::Errors| -> Vec<(String, String)> {
        errors.0.iter().map(|e| (e.field.clone(), e.message.clone())).collect()
    };
    let create = a.operation == Operation::Create;
    if !errors.is_empty() && (create || told(&errors) != told(&old_errors)) {
        return Err(Status::invalid("", "Namespace", a.object_name(), &errors));
    }
    let relaxed = new.enforce.minor == old.enforce.minor && new.enforce.level <= old.enforce.level;
    let unchanged = new.enforce == old.enforce || new.enforce.level == Level::Privileged || relaxed;
    let name = a.object_name();
    if c.namespaces.iter().any(|exempt| exempt == name) {
        if (create || !unchanged) && !new.is_privileged() && new != c.defaults {
            let (name, asked) = (quoted(name), new.asked(a.object));
            let text =
                format!("namespace {name} is exempt from Pod Security, and the policy ({asked}) will be ignored");
            a.cx.warnings.add(text);
        }
    } else if !create && !unchanged {
        let pods = a.api.list_cached(&PODS, name).into_iter().filter(|pod| !c.is_exempt_class(&pod["spec"]));
        existing(name, new.enforce, pods.collect()).into_iter().for_each(|w| a.cx.warnings.add(w));
    }
    Ok(())
}

/// What pods that are there violate of new rules.
fn existing(namespace: &str, rules: Rules, pods: Vec<Arc<Value>>) -> Vec<String> {
    let total = pods.len();
    let mut by_reason: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for pod in one_of_each_first(pods).iter().take(MOST_PODS) {
        let found = violations(rules, &pod["metadata"], &pod["spec"]);
        if !found.is_empty() {
            let reasons: Vec<String> = found.into_iter().map(|v| v.reason).collect();
            by_reason.entry(reasons.join(", ")).or_default().insert(pod.name().to_owned());
        }
    }
    let mut warnings = Vec::new();
    if total > MOST_PODS {
        warnings.push(format!(
            "new PodSecurity enforce level only checked against the first {MOST_PODS} of {total} existing pods"
        ));
    }
    if !by_reason.is_empty() {
        warnings.push(format!(
            "existing pods in namespace {} violate the new PodSecurity enforce level {}",
            quoted(namespace),
            quoted(&rules.to_string())
        ));
    }
    let mut told: Vec<String> = by_reason.iter().map(|(reason, names)| pods_violate(reason, names)).collect();
    told.sort_unstable();
    warnings.extend(told);
    warnings
}

fn pods_violate(reason: &str, names: &BTreeSet<String>) -> String {
    let first = names.first().map_or("", String::as_str);
    match names.len() {
        0 | 1 => format!("{first}: {reason}"),
        2 => format!("{first} (and 1 other pod): {reason}"),
        n => format!("{first} (and {} other pods): {reason}", n - 1),
    }
}

/// One pod of each controller before its siblings, so that a few large sets don't use up what is looked at.
fn one_of_each_first(pods: Vec<Arc<Value>>) -> Vec<Arc<Value>> {
    let mut seen = BTreeSet::new();
    let (mut first, siblings): (Vec<_>, Vec<_>) = pods.into_iter().partition(|pod| {
        let owner = pod["metadata"]["ownerReferences"].items().iter().find(|o| o["controller"].bool());
        owner.is_none_or(|o| seen.insert(o["uid"].str().to_owned()))
    });
    first.extend(siblings);
    first
}

/// Whether nothing is asked of what this request makes; the audit log is told why.
fn is_exempt(a: &Attributes<'_>, c: &Configuration) -> bool {
    let reason = if c.namespaces.iter().any(|exempt| exempt == a.namespace) {
        "namespace"
    } else if c.usernames.contains(&a.cx.user.name) {
        "user"
    } else {
        return false;
    };
    a.cx.audit.annotate(EXEMPT, reason);
    true
}

/// The same, by what runs the pod.
fn is_exempt_pod(a: &Attributes<'_>, c: &Configuration, spec: &Value) -> bool {
    let exempt = c.is_exempt_class(spec);
    if exempt {
        a.cx.audit.annotate(EXEMPT, "runtimeClass");
    }
    exempt
}

async fn policy_of(a: &Attributes<'_>, c: &Configuration) -> Result<Option<Policy>, Status> {
    let mut found = a.api.get_cached(&NAMESPACES, "", a.namespace);
    if found.is_none() {
        a.api.fresh().await?;
        found = a.api.get_cached(&NAMESPACES, "", a.namespace);
    }
    Ok(found.map(|namespace| Policy::of(&namespace, &c.defaults).0))
}

async fn pod(a: &Attributes<'_>, c: &Configuration) -> Result<(), Status> {
    if is_exempt(a, c) {
        return Ok(());
    }
    let missing = || Status::internal(format!("failed to lookup namespace {}", quoted(a.namespace)));
    let policy = policy_of(a, c).await?.ok_or_else(missing)?;
    if a.operation == Operation::Update && !matters(a.object, a.old) || is_exempt_pod(a, c, &a.object["spec"]) {
        return Ok(());
    }
    let found = violations(policy.enforce, &a.object["metadata"], &a.object["spec"]);
    a.cx.audit.annotate(ENFORCED, policy.enforce.to_string());
    audit(a, policy.audit, &a.object["metadata"], &a.object["spec"]);
    if !found.is_empty() {
        let why = format!("violates PodSecurity {}: {}", quoted(&policy.enforce.to_string()), told(&found));
        return Err(Status::forbidden(&a.target.resource.group_resource(), a.object_name(), &why));
    }
    warn(a, policy.warn, &a.object["metadata"], &a.object["spec"]);
    Ok(())
}

async fn template(a: &Attributes<'_>, c: &Configuration, group: &str, plural: &str) -> Result<(), Status> {
    let template = match (group, plural) {
        ("", "podtemplates") => &a.object["template"],
        ("batch", "cronjobs") => &a.object["spec"]["jobTemplate"]["spec"]["template"],
        ("", "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => &a.object["spec"]["template"],
        _ => return Ok(()),
    };
    if !template.is_null()
        && !is_exempt(a, c)
        && !is_exempt_pod(a, c, &template["spec"])
        && let Some(policy) = policy_of(a, c).await?
    {
        audit(a, policy.audit, &template["metadata"], &template["spec"]);
        warn(a, policy.warn, &template["metadata"], &template["spec"]);
    }
    Ok(())
}

/// Tells the audit log what the namespace's `audit` level would refuse.
fn audit(a: &Attributes<'_>, rules: Rules, metadata: &Value, spec: &Value) {
    if !a.cx.audit.is_on() {
        return;
    }
    let found = violations(rules, metadata, spec);
    if !found.is_empty() {
        let text = format!("would violate PodSecurity {}: {}", quoted(&rules.to_string()), told(&found));
        a.cx.audit.annotate(VIOLATIONS, text);
    }
}

fn warn(a: &Attributes<'_>, rules: Rules, metadata: &Value, spec: &Value) {
    let found = violations(rules, metadata, spec);
    if !found.is_empty() {
        let text = format!("would violate PodSecurity {}: {}", quoted(&rules.to_string()), told(&found));
        a.cx.warnings.add(text);
    }
}

fn told(found: &[Violation]) -> String {
    let each = found.iter().map(|v| match v.detail.as_str() {
        "" => v.reason.clone(),
        detail => format!("{} ({detail})", v.reason),
    });
    each.collect::<Vec<_>>().join(", ")
}

/// Whether an update changes what the checks look at: the containers there are, and their images.
fn matters(new: &Value, old: &Value) -> bool {
    let fixed = ["containers", "initContainers"].iter().any(|list| {
        let (new, old) = (new["spec"][*list].items(), old["spec"][*list].items());
        new.len() != old.len() || new.iter().zip(old).any(|(n, o)| n["image"] != o["image"])
    });
    let before = old["spec"]["ephemeralContainers"].items();
    fixed
        || new["spec"]["ephemeralContainers"]
            .items()
            .iter()
            .any(|c| before.iter().find(|o| o["name"] == c["name"]).is_none_or(|o| o["image"] != c["image"]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    const RESTRICTED: Rules = Rules { level: Level::Restricted, minor: None };
    const BASELINE: Rules = Rules { level: Level::Baseline, minor: None };

    fn of(rules: Rules, spec: &Value) -> String {
        told(&violations(rules, &Value::Null, spec))
    }

    #[test]
    fn a_plain_pod_is_told_what_restricted_asks_for() {
        let spec = value!({"containers": [{"name": "c"}]});
        assert_eq!(of(BASELINE, &spec), "");
        assert_eq!(
            of(RESTRICTED, &spec),
            "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
             unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
             runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
             seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
        );
    }

    #[test]
    fn privileged_pods_are_beyond_baseline() {
        let spec = value!({"hostNetwork": true, "hostPID": true,
            "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
            "containers": [{"name": "a", "securityContext": {"privileged": true}},
                {"name": "b", "ports": [{"containerPort": 80, "hostPort": 80}]}]});
        assert_eq!(
            of(BASELINE, &spec),
            "host namespaces (hostNetwork=true, hostPID=true), hostPath volumes (volume \"v\"), \
             hostPort (container \"b\" uses hostPort 80), \
             privileged (container \"a\" must not set securityContext.privileged=true)"
        );
    }

    #[test]
    fn a_careful_pod_passes() {
        let spec = value!({
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "c", "securityContext":
                {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}]
        });
        assert_eq!(of(RESTRICTED, &spec), "");
    }
}
