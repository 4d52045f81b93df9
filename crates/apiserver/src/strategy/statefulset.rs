//! Stateful sets.

use super::{Strategy, defaults, keep, template_warnings};
use crate::context::RequestContext;
use crate::validation::{At, claim, nonnegative, resources, template, warn, workload};
use kaji_api::field::Errors;
use kaji_api::{Value, names, value};

/// Stateful sets.
pub struct StatefulSets;

const FIXED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
    'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

const CHANGEABLE: &[&str] = &[
    "replicas",
    "template",
    "updateStrategy",
    "minReadySeconds",
    "ordinals",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
];

impl Strategy for StatefulSets {
    fn default_first(&self, obj: &mut Value) {
        let strategy = obj.entry_at(&["spec", "updateStrategy"]);
        if strategy["type"].str().is_empty() {
            strategy.set("type", "RollingUpdate");
            strategy.set_default("rollingUpdate", Value::object());
        }
    }

    fn default(&self, obj: &mut Value) {
        defaults::template(obj, &["spec", "template"]);
        let spec = obj.entry("spec");
        let strategy = spec.entry("updateStrategy");
        if strategy["rollingUpdate"].is_null() {
            strategy.remove("rollingUpdate");
        }
        if strategy["type"].str() == "RollingUpdate" && !strategy["rollingUpdate"].is_null() {
            strategy.entry("rollingUpdate").set_default("partition", 0);
        }
        let retention = spec.entry("persistentVolumeClaimRetentionPolicy");
        retention.set_default("whenDeleted", "Retain");
        retention.set_default("whenScaled", "Retain");
        for claim in spec.get_mut("volumeClaimTemplates").map(Value::items_mut).unwrap_or_default() {
            claim.set("kind", "PersistentVolumeClaim");
            claim.set("apiVersion", "v1");
            claim.entry("spec").set_default("volumeMode", "Filesystem");
            claim.entry("status").set_default("phase", "Pending");
            if let Some(list) = claim["spec"]["resources"].get("requests").cloned() {
                let mut list = list;
                resources::round_up(&mut list);
                claim.entry_at(&["spec", "resources"]).set("requests", list);
            }
        }
    }

    fn prepare_create(&self, _: &RequestContext, obj: &mut Value) {
        obj.remove("status");
        drop_max_unavailable(obj, None);
    }

    fn prepare_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "status");
        drop_max_unavailable(obj, Some(old));
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        validate(At::root(obj).field("spec"), true, e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        validate(At::root(obj).field("spec"), false, e);
        let mut same = obj["spec"].clone();
        for field in CHANGEABLE {
            keep(&mut same, &old["spec"], field);
        }
        let fields = |v: &Value| v.entries().filter(|(_, v)| !v.is_null()).count();
        let equal = fields(&same) == fields(&old["spec"])
            && same.entries().all(|(k, v)| v.is_null() || old["spec"].get(k) == Some(v));
        if !equal {
            At::root(obj).field("spec").forbidden(e, FIXED);
        }
    }

    fn validate_status_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        let status = At::root(obj).field("status");
        let counts = [
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
            "observedGeneration",
            "collisionCount",
        ];
        workload::counts(status, &counts, e);
        let bounded = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
        workload::replicas(status, &bounded, "status.readyReplicas", e);
        workload::collisions(status, &old["status"], e);
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        template_warnings(obj, old, &["spec", "template"], &mut out);
        let spec = At::root(obj).field("spec");
        for claim in spec.field("volumeClaimTemplates").list() {
            let place =
                if old.is_none() { claim.with(&claim.v["spec"]) } else { claim.field("Spec").with(&claim.v["spec"]) };
            warn::claim_spec(place, &mut out);
        }
        if spec.field("revisionHistoryLimit").i64() < 0 {
            out.push("spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended".to_owned());
        }
        out
    }

    fn name_check(&self) -> fn(&str) -> Vec<String> {
        names::dns1123_label
    }

    fn has_generation(&self) -> bool {
        true
    }
}

/// `maxUnavailable` is behind a gate that is off: it stays only where it was.
fn drop_max_unavailable(obj: &mut Value, old: Option<&Value>) {
    let path = ["spec", "updateStrategy", "rollingUpdate"];
    if old.is_none_or(|old| old.at(&path)["maxUnavailable"].is_null()) && !obj.at(&path).is_null() {
        obj.entry_at(&path).remove("maxUnavailable");
    }
}

fn validate(spec: At<'_>, new: bool, e: &mut Errors) {
    let policy = spec.field("podManagementPolicy");
    match policy.str() {
        "" => policy.required(e, ""),
        "OrderedReady" | "Parallel" => {}
        _ => policy.invalid(e, "must be 'OrderedReady' or 'Parallel'"),
    }
    strategy(spec.field("updateStrategy"), e);
    for field in ["whenDeleted", "whenScaled"] {
        let at = spec.fields(&["persistentVolumeClaimRetentionPolicy", field]);
        if !["Retain", "Delete"].contains(&at.str()) {
            at.not_supported(e, &["Retain", "Delete"]);
        }
    }
    if new {
        for claim in spec.field("volumeClaimTemplates").list() {
            claim::spec(claim.field("spec"), e);
        }
    }
    nonnegative(spec.field("replicas"), e);
    nonnegative(spec.field("minReadySeconds"), e);
    nonnegative(spec.field("ordinals.start").with(&spec.v["ordinals"]["start"]), e);
    if new {
        spec.field("serviceName").check_if_set(e, names::dns1123_label);
    }
    template::selector(spec.field("selector"), "empty selector is invalid for statefulset", e);
    let checked = with_claims(spec.v);
    let at = spec.field("template").with(&checked);
    template::selected(at, &spec.v["selector"], e);
    let before = e.0.len();
    template::template(at, e);
    // Upstream looks at labels and annotations a second time.
    let again: Vec<_> = e.0[before..]
        .iter()
        .filter(|x| ["spec.template.labels", "spec.template.annotations"].iter().any(|p| x.field.starts_with(p)))
        .cloned()
        .collect();
    e.0.extend(again);
    template::runs_forever(spec.field("template"), "StatefulSet", e);
}

/// The template as its pods will be: with volumes for the claims, and names left to the controller.
fn with_claims(spec: &Value) -> Value {
    let mut template = spec["template"].clone();
    let claims = spec["volumeClaimTemplates"].items();
    let pod = template.entry("spec");
    pod.remove("subdomain");
    pod.remove("hostname");
    if claims.is_empty() {
        return template;
    }
    let name = |claim: &Value| claim["metadata"]["name"].clone();
    let mut volumes: Vec<Value> = Vec::new();
    for claim in claims {
        let source = value!({"claimName": (name(claim))});
        volumes.retain(|v| v["name"] != name(claim));
        volumes.push(value!({"name": (name(claim)), "persistentVolumeClaim": source}));
    }
    let own = pod["volumes"].items().iter().filter(|v| !claims.iter().any(|c| name(c) == v["name"]));
    volumes.extend(own.cloned().collect::<Vec<_>>());
    pod.set("volumes", volumes);
    template
}

fn strategy(at: At<'_>, e: &mut Errors) {
    let rolling = at.field("rollingUpdate");
    match at["type"].str() {
        "" => at.required(e, ""),
        "OnDelete" => {
            if rolling.is_set() {
                rolling.invalid(e, "only allowed for updateStrategy 'RollingUpdate'");
            }
        }
        "RollingUpdate" => {
            nonnegative(rolling.field("partition"), e);
            let unavailable = rolling.field("maxUnavailable");
            if unavailable.is_set() {
                workload::number_or_percent(unavailable, e);
                if workload::number_of(unavailable.v) == 0 {
                    unavailable.invalid(e, "cannot be 0");
                }
                workload::at_most_all(unavailable, e);
            }
        }
        _ => at.invalid(e, "must be 'RollingUpdate' or 'OnDelete'"),
    }
}
