//! Pods: what may be set when, quality of service, grace, and what selectors see of them.

use super::{Strategy, defaults, keep, keep_meta};
use crate::context::RequestContext;
use crate::validation::{At, pod, pod_status, pod_update, qos, warn};
use kaji_api::field::Errors;
use kaji_api::{Value, value};
use std::borrow::Cow;

/// Pods.
pub struct Pods;

impl Strategy for Pods {
    fn default(&self, obj: &mut Value) {
        let spec = obj.entry("spec");
        defaults::pod_spec(spec);
        defaults::pod(spec);
    }

    fn prepare_create(&self, cx: &RequestContext, obj: &mut Value) {
        let class = qos::computed(&obj["spec"]);
        let mut status = value!({"phase": "Pending"});
        if !obj["spec"]["schedulingGates"].items().is_empty() {
            status.set("conditions", vec![gated()]);
        }
        status.set("qosClass", class);
        obj.set("status", status);
        merge_label_keys(obj);
        app_armor_fields(cx, obj);
    }

    fn prepare_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "status");
    }

    fn prepare_status_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "spec");
        for field in ["deletionTimestamp", "ownerReferences"] {
            keep_meta(obj, old, field);
        }
        if obj["status"]["qosClass"].str().is_empty() {
            keep(obj.entry("status"), &old["status"], "qosClass");
        }
        keep_observed(obj.entry("status"), &old["status"]);
    }

    fn validate(&self, obj: &Value, errors: &mut Errors) {
        pod::create(At::root(obj), errors);
    }

    fn validate_update(&self, obj: &Value, old: &Value, errors: &mut Errors) {
        pod_update::update(At::root(obj), old, errors);
    }

    fn validate_status_update(&self, obj: &Value, old: &Value, errors: &mut Errors) {
        pod_status::update(At::root(obj), old, errors);
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        if old.is_none() {
            super::name_warning(obj, old, "the Pod's hostname", &mut out);
            warn::pod(At::root(obj), &mut out);
        }
        out
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn grace(&self, obj: &mut Value, asked: Option<i64>) -> Option<i64> {
        let spec = &obj["spec"];
        let over = matches!(obj["status"]["phase"].str(), "Failed" | "Succeeded");
        if spec["nodeName"].str().is_empty() || over {
            return Some(0);
        }
        let seconds = asked.or(spec["terminationGracePeriodSeconds"].as_i64()).unwrap_or_default();
        Some(if seconds < 0 { 1 } else { seconds })
    }

    fn selectable<'a>(&self, obj: &'a Value, field: &str) -> Option<Cow<'a, str>> {
        let (spec, status) = (&obj["spec"], &obj["status"]);
        Some(Cow::Borrowed(match field {
            "spec.nodeName" => spec["nodeName"].str(),
            "spec.restartPolicy" => spec["restartPolicy"].str(),
            "spec.schedulerName" => spec["schedulerName"].str(),
            "spec.serviceAccountName" => spec["serviceAccountName"].str(),
            "spec.hostNetwork" => {
                if spec["hostNetwork"].bool() {
                    "true"
                } else {
                    "false"
                }
            }
            "status.phase" => status["phase"].str(),
            "status.podIP" => status["podIPs"].items().first().map_or("", |ip| ip["ip"].str()),
            "status.nominatedNodeName" => status["nominatedNodeName"].str(),
            _ => return None,
        }))
    }
}

fn gated() -> Value {
    value!({
        "type": "PodScheduled",
        "status": "False",
        "lastProbeTime": null,
        "lastTransitionTime": (super::now()),
        "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
    })
}

/// A status writer that knows nothing of observed generations does not clear them.
fn keep_observed(status: &mut Value, old: &Value) {
    if status["observedGeneration"].is_zero() {
        keep(status, old, "observedGeneration");
    }
    let mut known: Vec<&Value> = old["conditions"].items().iter().collect();
    for condition in status.get_mut("conditions").map(Value::items_mut).unwrap_or_default() {
        let Some(at) = known.iter().position(|c| c["type"] == condition["type"]) else { continue };
        let was = known.remove(at);
        if condition["observedGeneration"].is_zero() {
            keep(condition, was, "observedGeneration");
        }
    }
}

/// `matchLabelKeys` of affinity terms and spread constraints become terms of their selectors.
fn merge_label_keys(pod: &mut Value) {
    let labels = pod["metadata"]["labels"].clone();
    let spec = pod.entry("spec");
    for constraint in spec.get_mut("topologySpreadConstraints").map(Value::items_mut).unwrap_or_default() {
        merge(constraint, &labels, "matchLabelKeys", "In");
    }
    let Some(affinity) = spec.get_mut("affinity") else { return };
    for kind in ["podAffinity", "podAntiAffinity"] {
        let Some(terms) = affinity.get_mut(kind) else { continue };
        for name in
            ["requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution"]
        {
            for item in terms.get_mut(name).map(Value::items_mut).unwrap_or_default() {
                let term = if name.starts_with("pref") { item.entry("podAffinityTerm") } else { item };
                merge(term, &labels, "matchLabelKeys", "In");
                merge(term, &labels, "mismatchLabelKeys", "NotIn");
            }
        }
    }
}

fn merge(term: &mut Value, labels: &Value, field: &str, operator: &'static str) {
    if term["labelSelector"].is_null() {
        return;
    }
    let keys = term[field].clone();
    for key in keys.items() {
        let Some(label) = labels.get(key.str()) else { continue };
        let added = value!({"key": (key.clone()), "operator": operator, "values": [(label.clone())]});
        term.entry_at(&["labelSelector", "matchExpressions"]).push(added);
    }
}

/// Old AppArmor annotations become fields, with a warning.
fn app_armor_fields(cx: &RequestContext, pod: &mut Value) {
    if pod["spec"]["os"]["name"].str() == "windows" || pod["metadata"]["annotations"].is_null() {
        return;
    }
    let annotations = pod["metadata"]["annotations"].clone();
    let of_pod = pod["spec"]["securityContext"]["appArmorProfile"].clone();
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in pod.entry("spec").get_mut(list).map(Value::items_mut).unwrap_or_default() {
            let key = format!("container.apparmor.security.beta.kubernetes.io/{}", container["name"].str());
            let Some(text) = annotations[key.as_str()].as_str() else { continue };
            if !container["securityContext"]["appArmorProfile"].is_null() {
                continue;
            }
            let field = app_armor_field(text);
            let differs = field.as_ref().is_some_and(|f| *f != of_pod);
            if field.is_none() || differs {
                cx.warnings.add(format!(
                    "metadata.annotations[{key}]: deprecated since v1.30; use the \"appArmorProfile\" field instead"
                ));
            }
            if let Some(field) = field.filter(|_| differs) {
                container.entry("securityContext").set("appArmorProfile", field);
            }
        }
    }
}

fn app_armor_field(annotation: &str) -> Option<Value> {
    match annotation {
        "unconfined" => Some(value!({"type": "Unconfined"})),
        "runtime/default" => Some(value!({"type": "RuntimeDefault"})),
        other => {
            let profile = other.strip_prefix("localhost/").filter(|p| !p.is_empty() && p.trim() == *p)?;
            Some(value!({"type": "Localhost", "localhostProfile": profile}))
        }
    }
}

/// What `ephemeralcontainers` may not touch is restored.
pub(crate) fn prepare_ephemeral(obj: &mut Value, old: &Value) {
    let containers = obj["spec"]["ephemeralContainers"].clone();
    super::status_meta(obj, old);
    keep(obj, old, "status");
    keep(obj, old, "spec");
    obj.entry("spec").set("ephemeralContainers", containers);
}

/// What is wrong with an update through `ephemeralcontainers`.
pub(crate) fn validate_ephemeral(obj: &Value, old: &Value, errors: &mut Errors) {
    pod_update::ephemeral(At::root(obj), old, errors);
}

/// What `resize` may not touch is restored; containers that are not the same ones are left for validation.
pub(crate) fn prepare_resize(obj: &mut Value, old: &Value) {
    let lists = ["containers", "initContainers"];
    if lists.iter().any(|l| obj["spec"][*l].items().len() != old["spec"][*l].items().len()) {
        return;
    }
    let mut spec = old["spec"].clone();
    keep(&mut spec, &obj["spec"], "resources");
    for list in lists {
        let same = obj["spec"][list].items().iter().zip(spec[list].items()).all(|(n, o)| n["name"] == o["name"]);
        if !same {
            keep(&mut spec, &obj["spec"], list);
            continue;
        }
        let resized = spec.get_mut(list).map(Value::items_mut).unwrap_or_default();
        for (container, new) in resized.iter_mut().zip(obj["spec"][list].items()) {
            keep(container, new, "resources");
            keep(container, new, "resizePolicy");
        }
    }
    super::status_meta(obj, old);
    keep(obj, old, "status");
    obj.set("spec", spec);
}

/// What is wrong with an update through `resize`.
pub(crate) fn validate_resize(obj: &Value, old: &Value, errors: &mut Errors) {
    pod_update::resize(At::root(obj), old, errors);
}
