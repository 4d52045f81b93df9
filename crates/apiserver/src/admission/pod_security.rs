//! PodSecurity: pods keep to the security standard that their namespace's labels ask for; what makes pods is
//! warned about only (upstream `pod-security-admission/admission`).

mod checks;
mod policy;

use super::{Attributes, Operation, Plugin};
use checks::{Violation, violations};
use futures::future::BoxFuture;
use kaji_api::field::quoted;
use kaji_api::{GroupResource, Status, Value};
use policy::{Level, Policy, Rules};
use std::collections::{BTreeMap, BTreeSet};

const NAMESPACES: GroupResource = GroupResource::of("", "namespaces");
const PODS: GroupResource = GroupResource::of("", "pods");
/// How many pods of a namespace are looked at when its rules get stricter.
const MOST_PODS: usize = 3000;
/// Subresources that leave the spec alone.
const HARMLESS: [&str; 8] = ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];

/// Audit annotations.
const ENFORCED: &str = "pod-security.kubernetes.io/enforce-policy";
const VIOLATIONS: &str = "pod-security.kubernetes.io/audit-violations";

pub(super) struct PodSecurity;

impl Plugin for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            if !matches!(a.operation, Operation::Create | Operation::Update) {
                return Ok(());
            }
            let sub = a.target.sub.map_or("", |s| s.name);
            match (a.target.resource.group, a.target.resource.plural) {
                ("", "namespaces") if sub.is_empty() => namespace(a),
                ("", "pods") if !HARMLESS.contains(&sub) => pod(a).await,
                (group, plural) if sub.is_empty() => template(a, group, plural).await,
                _ => Ok(()),
            }
        })
    }
}

/// The labels must make sense; where they get stricter, pods that are there are warned about.
fn namespace(a: &Attributes<'_>) -> Result<(), Status> {
    let (new, errors) = Policy::of(a.object);
    let (old, old_errors) = Policy::of(a.old);
    let told = |errors: &kaji_api::field::Errors| -> Vec<(String, String)> {
        errors.0.iter().map(|e| (e.field.clone(), e.message.clone())).collect()
    };
    let create = a.operation == Operation::Create;
    if !errors.is_empty() && (create || told(&errors) != told(&old_errors)) {
        return Err(Status::invalid("", "Namespace", a.object_name(), &errors));
    }
    let relaxed = new.enforce.minor == old.enforce.minor && new.enforce.level <= old.enforce.level;
    if !create && new.enforce != old.enforce && new.enforce.level != Level::Privileged && !relaxed {
        let name = a.object_name();
        existing(name, new.enforce, a.api.list_cached(&PODS, name)).into_iter().for_each(|w| a.cx.warnings.add(w));
    }
    Ok(())
}

/// What pods that are there violate of new rules.
fn existing(namespace: &str, rules: Rules, pods: Vec<Value>) -> Vec<String> {
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
fn one_of_each_first(pods: Vec<Value>) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    let (mut first, siblings): (Vec<Value>, Vec<Value>) = pods.into_iter().partition(|pod| {
        let owner = pod["metadata"]["ownerReferences"].items().iter().find(|o| o["controller"].bool());
        owner.is_none_or(|o| seen.insert(o["uid"].str().to_owned()))
    });
    first.extend(siblings);
    first
}

async fn policy_of(a: &Attributes<'_>) -> Result<Option<Policy>, Status> {
    let mut found = a.api.get_shared(&NAMESPACES, "", a.namespace);
    if found.is_none() {
        a.api.fresh().await?;
        found = a.api.get_shared(&NAMESPACES, "", a.namespace);
    }
    Ok(found.map(|namespace| Policy::of(&namespace).0))
}

async fn pod(a: &Attributes<'_>) -> Result<(), Status> {
    let missing = || Status::internal(format!("failed to lookup namespace {}", quoted(a.namespace)));
    let policy = policy_of(a).await?.ok_or_else(missing)?;
    if a.operation == Operation::Update && !matters(a.object, a.old) {
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

async fn template(a: &Attributes<'_>, group: &str, plural: &str) -> Result<(), Status> {
    let template = match (group, plural) {
        ("", "podtemplates") => &a.object["template"],
        ("batch", "cronjobs") => &a.object["spec"]["jobTemplate"]["spec"]["template"],
        ("", "replicationcontrollers")
        | ("apps", "deployments" | "replicasets" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => &a.object["spec"]["template"],
        _ => return Ok(()),
    };
    if !template.is_null()
        && let Some(policy) = policy_of(a).await?
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
