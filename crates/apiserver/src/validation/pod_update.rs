//! What an update of a pod may change, and its `ephemeralcontainers` and `resize` subresources.

use super::diff::diff;
use super::{At, container, pod, qos, range_text, scheduling};
use kaji_api::Value;
use kaji_api::field::{Errors, FieldError, Reason};

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,\
    `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
    `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

const MIRROR: &str = "kubernetes.io/config.mirror";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// Forbidden at no field in particular.
pub(crate) fn forbidden(e: &mut Errors, text: &str) {
    let message = format!("Forbidden: {text}");
    e.0.push(FieldError { reason: Reason::Forbidden, field: String::new(), message });
}

/// An update of the pod itself.
pub(crate) fn update(new: At<'_>, old: &Value, e: &mut Errors) {
    pod::whole(new, e);
    annotations(new, old, e);
    let at = new.field("spec");
    let was = &old["spec"];
    for list in ["containers", "initContainers"] {
        if !images(at.field(list), &was[list], e) {
            return;
        }
    }
    if !deadline(at.field("activeDeadlineSeconds"), &was["activeDeadlineSeconds"], e) {
        return;
    }
    tolerations(at.field("tolerations"), &was["tolerations"], e);
    gates(at.field("schedulingGates"), &was["schedulingGates"], e);
    if at.v == was {
        return;
    }
    let mut munged = without_updatable(at.v, was);
    if !was["schedulingGates"].items().is_empty() {
        gated(at, was, &mut munged, e);
    }
    if munged != *was {
        let text = format!("pod updates may not change fields other than {UPDATABLE}\n{}", diff(was, &munged));
        at.forbidden(e, &text);
    }
}

/// Annotations that are fixed once a pod exists.
pub(crate) fn annotations(new: At<'_>, old: &Value, e: &mut Errors) {
    let at = new.fields(&["metadata", "annotations"]);
    let was = &old["metadata"]["annotations"];
    for (key, value) in was.entries().filter(|(k, v)| at.v.get(k) != Some(*v)) {
        let _ = value;
        if key.starts_with(APP_ARMOR) {
            e.forbidden(&at.path().key(key), "may not remove or update AppArmor annotations");
        }
        if key == MIRROR {
            e.forbidden(&at.path().key(key), "may not remove or update mirror pod annotation");
        }
    }
    for (key, value) in at.map().filter(|(k, _)| was.get(k).is_none()) {
        if key.starts_with(APP_ARMOR) {
            value.forbidden(e, "may not add AppArmor annotations");
        }
        if key == MIRROR {
            value.forbidden(e, "may not add mirror pod annotation");
        }
    }
    pod::annotations(at, new.v, e);
}

/// False when nothing else is worth checking.
fn images(at: At<'_>, was: &Value, e: &mut Errors) -> bool {
    if at.items().len() != was.items().len() {
        at.forbidden(e, "pod updates may not add or remove containers");
        return false;
    }
    for container in at.list() {
        container.field("image").need(e);
        container::trimmed_image(container, e);
    }
    true
}

fn deadline(at: At<'_>, was: &Value, e: &mut Errors) -> bool {
    match (at.as_i64(), was.as_i64()) {
        (Some(new), _) if !(0..=i64::from(i32::MAX)).contains(&new) => {
            at.invalid(e, &range_text(0, i64::from(i32::MAX)));
            return false;
        }
        (Some(new), Some(old)) if old < new => {
            at.invalid(e, "must be less than or equal to previous value");
            return false;
        }
        (None, Some(_)) => {
            at.invalid_as(e, Value::Null, "must not update from a positive integer to nil value");
        }
        _ => {}
    }
    true
}

fn tolerations(at: At<'_>, was: &Value, e: &mut Errors) {
    let plain = |t: &Value| {
        let mut t = t.clone();
        t.remove("tolerationSeconds");
        t
    };
    let kept = |old: &Value| at.items().iter().any(|new| plain(new) == plain(old));
    if !was.items().iter().all(kept) {
        return at.forbidden(e, "existing toleration can not be modified except its tolerationSeconds");
    }
    scheduling::tolerations(at, e);
}

fn gates(at: At<'_>, was: &Value, e: &mut Errors) {
    for gate in at.list() {
        let name = gate["name"].str();
        if !was.items().iter().any(|g| g["name"].str() == name) {
            let text = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            gate.field("name").forbidden(e, &text);
        }
    }
}

fn put(to: &mut Value, from: &Value, field: &'static str) {
    crate::strategy::keep(to, from, field);
}

/// The new spec with everything that may change taken from the old one.
fn without_updatable(new: &Value, old: &Value) -> Value {
    let mut munged = new.clone();
    for list in ["containers", "initContainers"] {
        for (container, old) in
            munged[list].items().len().checked_sub(1).map_or(0..0, |n| 0..n + 1).zip(old[list].items())
        {
            let place = munged.get_mut(list).map(Value::items_mut).unwrap_or_default();
            put(&mut place[container], old, "image");
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        put(&mut munged, old, field);
    }
    if old["terminationGracePeriodSeconds"].as_i64().is_some_and(|n| n < 0)
        && munged["terminationGracePeriodSeconds"].as_i64() == Some(1)
    {
        put(&mut munged, old, "terminationGracePeriodSeconds");
    }
    munged
}

/// While gates hold a pod back, where it may run may still be narrowed.
fn gated(at: At<'_>, was: &Value, munged: &mut Value, e: &mut Errors) {
    let selector = at.field("nodeSelector");
    if !was["nodeSelector"].entries().all(|(k, v)| selector.v.get(k) == Some(v)) {
        let text = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        selector.invalid_as(e, selector.v.clone(), text);
    }
    put(munged, was, "nodeSelector");
    let affinity = at.fields(&["affinity", "nodeAffinity"]);
    let old = &was["affinity"]["nodeAffinity"];
    if affinity.v == old {
        return;
    }
    node_terms(affinity.fields(&["requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"]), old, e);
    let mut rest = munged.remove("affinity").unwrap_or_default();
    rest.remove("nodeAffinity");
    if !old.is_null() {
        rest.set("nodeAffinity", old.clone());
    }
    if !rest.is_zero() || !was["affinity"].is_null() {
        munged.set("affinity", if rest.is_null() { Value::object() } else { rest });
    }
    if munged["affinity"].is_zero() && was["affinity"].is_zero() {
        put(munged, was, "affinity");
    }
    // Field order plays no part in what was meant.
    if same_fields(&munged["affinity"], &was["affinity"]) {
        put(munged, was, "affinity");
    }
    if same_fields(munged, was) {
        *munged = was.clone();
    }
}

fn same_fields(a: &Value, b: &Value) -> bool {
    match (a.as_object(), b.as_object()) {
        (Some(x), Some(y)) => x.len() == y.len() && a.entries().all(|(k, v)| b.get(k) == Some(v)),
        _ => a == b,
    }
}

fn node_terms(at: At<'_>, old: &Value, e: &mut Errors) {
    let terms = old["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"].items();
    if !terms.is_empty() && terms.len() != at.items().len() {
        let text = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return at.invalid_as(e, at.v.clone(), text);
    }
    for (new, old) in at.list().zip(terms) {
        let extends = |field: &str| new.v[field].items().starts_with(old[field].items());
        let was_empty = old["matchExpressions"].is_zero() && old["matchFields"].is_zero();
        let still = new.v["matchExpressions"].is_zero() && new.v["matchFields"].is_zero();
        if !extends("matchExpressions") || !extends("matchFields") || (was_empty && !still) {
            new.invalid(e, "only additions are allowed (no mutations or deletions)");
        }
    }
}

/// An update through `ephemeralcontainers`: containers may be added there, nothing else.
pub(crate) fn ephemeral(new: At<'_>, old: &Value, e: &mut Errors) {
    if old.annotation(MIRROR).is_some() {
        return forbidden(e, "static pods do not support ephemeral containers");
    }
    pod::whole(new, e);
    annotations(new, old, e);
    let at = new.fields(&["spec", "ephemeralContainers"]);
    for was in old["spec"]["ephemeralContainers"].items() {
        let name = was["name"].str();
        match at.items().iter().find(|c| c["name"].str() == name) {
            None => at.forbidden(e, &format!("existing ephemeral containers \"{name}\" may not be removed\n")),
            Some(now) if now != was => {
                let text = format!("existing ephemeral containers \"{name}\" may not be changed\n{}", diff(was, now));
                at.forbidden(e, &text);
            }
            Some(_) => {}
        }
    }
}

/// An update through `resize`: CPU and memory may change, nothing else.
pub(crate) fn resize(new: At<'_>, old: &Value, e: &mut Errors) {
    if old.annotation(MIRROR).is_some() {
        return forbidden(e, "static pods cannot be resized");
    }
    if old["spec"]["os"]["name"].str() == "windows" {
        return forbidden(e, "windows pods cannot be resized");
    }
    pod::whole(new, e);
    let at = new.field("spec");
    let was = &old["spec"];
    if qos::class(old) != qos::computed(at.v) {
        let shown = new.v["status"]["qosClass"].clone();
        at.invalid_as(e, shown, "Pod QOS Class may not change as a result of resizing");
    }
    let running = old["status"]["containerStatuses"].items().iter().find(|c| !c["state"]["running"].is_null());
    if running.is_some_and(|c| c["resources"].is_null()) {
        at.forbidden(e, "Pod running on node without support for resize");
    }
    pod_level(at, was, e);
    if !old["status"]["nodeAllocatableResourceClaimStatuses"].is_zero() {
        at.forbidden(e, "pods with node allocatable resource claims cannot be resized");
    }
    if order(at, was, e) {
        resized_containers(at, was, e);
    }
}

fn is_some_set(resources: &Value) -> bool {
    !resources["requests"].is_zero() || !resources["limits"].is_zero()
}

fn pod_level(spec: At<'_>, was: &Value, e: &mut Errors) {
    let (at, old) = (spec.field("resources"), &was["resources"]);
    if !is_some_set(at.v) && !is_some_set(old) {
        return;
    }
    if !old.is_null() && !at.is_set() {
        return at.forbidden(e, "pod-level resources cannot be removed");
    }
    for (list, what) in [("requests", "requests"), ("limits", "limits")] {
        if removed(&at[list], &old[list]) {
            at.field(list).forbidden(e, &format!("pod-level resource {what} cannot be removed"));
        }
    }
    if without_compute(at.v) != without_compute(old) {
        spec.forbidden(e, "only cpu and memory resources are mutable at pod-level");
    }
}

fn removed(new: &Value, old: &Value) -> bool {
    old.entries().any(|(name, _)| new.get(name).is_none())
}

/// Resources without the two that may change; nothing left reads as absent.
fn without_compute(resources: &Value) -> Value {
    let mut rest = resources.clone();
    for list in ["limits", "requests"] {
        if let Some(list) = rest.get_mut(list) {
            list.remove("cpu");
            list.remove("memory");
        }
        if rest[list].is_zero() {
            rest.remove(list);
        }
    }
    if rest.is_zero() { Value::Null } else { rest }
}

/// False when containers are not the same ones.
fn order(at: At<'_>, was: &Value, e: &mut Errors) -> bool {
    let before = e.0.len();
    for list in ["containers", "initContainers"] {
        if at[list].items().len() != was[list].items().len() {
            at.field(list).forbidden(e, &format!("{list} may not be added or removed on resize"));
            continue;
        }
        for (container, old) in at.field(list).list().zip(was[list].items()) {
            if container["name"] != old["name"] {
                container.field("name").forbidden(e, &format!("{list} may not be renamed or reordered on resize"));
            }
        }
    }
    e.0.len() == before
}

fn resized_containers(at: At<'_>, was: &Value, e: &mut Errors) {
    let same = |new: &Value, old: &Value| {
        let plain = |c: &Value| {
            let mut c = c.clone();
            let rest = without_compute(&c["resources"]);
            c.set("resources", rest);
            c
        };
        plain(new) == plain(old)
    };
    for list in ["initContainers", "containers"] {
        for (container, old) in at.field(list).list().zip(was[list].items()) {
            let resources = container.field("resources");
            for (list, what) in [("requests", "requests"), ("limits", "limits")] {
                if removed(&resources[list], &old["resources"][list]) {
                    resources.field(list).forbidden(e, &format!("resource {what} cannot be removed"));
                }
            }
        }
    }
    for (container, old) in at.field("containers").list().zip(was["containers"].items()) {
        if !same(container.v, old) {
            at.forbidden(e, "only cpu and memory resources are mutable");
        }
    }
    for (container, old) in at.field("initContainers").list().zip(was["initContainers"].items()) {
        if !same(container.v, old) {
            container.forbidden(e, "only cpu and memory resources for init or sidecar containers are mutable");
        }
        let restarts = container["resizePolicy"].items().iter().any(|p| p["restartPolicy"].str() == "RestartContainer");
        if container.v != old && container["restartPolicy"].str() != "Always" && restarts {
            let text = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            container.forbidden(e, text);
        }
    }
    let rest = |spec: &Value| {
        let mut spec = spec.clone();
        ["containers", "initContainers", "resources"].iter().for_each(|f| drop(spec.remove(f)));
        spec
    };
    if e.is_empty() && rest(at.v) != rest(was) {
        at.forbidden(e, "only cpu and memory resources are mutable");
    }
}
