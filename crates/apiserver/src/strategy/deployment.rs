//! Deployments.

use super::{Strategy, defaults, keep, keep_meta, name_warning, template_warnings};
use crate::context::RequestContext;
use crate::validation::{At, immutable, nonnegative, template, workload};
use kaji_api::Value;
use kaji_api::field::Errors;

/// Deployments.
pub struct Deployments;

const COUNTS: &[&str] = &[
    "observedGeneration",
    "replicas",
    "updatedReplicas",
    "readyReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "terminatingReplicas",
    "collisionCount",
];

impl Strategy for Deployments {
    fn default(&self, obj: &mut Value) {
        defaults::template(obj, &["spec", "template"]);
        let strategy = obj.entry_at(&["spec", "strategy"]);
        strategy.set_default("type", "RollingUpdate");
        if strategy["type"].str() == "RollingUpdate" {
            let rolling = strategy.entry("rollingUpdate");
            rolling.set_default("maxUnavailable", "25%");
            rolling.set_default("maxSurge", "25%");
        }
    }

    fn prepare_status_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "spec");
        keep_meta(obj, old, "labels");
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        nonnegative(spec.field("replicas"), e);
        template::selector(spec.field("selector"), "empty selector is invalid for deployment", e);
        of_replicas(spec, e);
        strategy(spec.field("strategy"), e);
        nonnegative(spec.field("minReadySeconds"), e);
        nonnegative(spec.field("revisionHistoryLimit"), e);
        let deadline = spec.field("progressDeadlineSeconds");
        if deadline.is_set() {
            nonnegative(deadline, e);
            if deadline.i64() <= spec.field("minReadySeconds").i64() {
                deadline.invalid(e, "must be greater than minReadySeconds");
            }
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        self.validate(obj, e);
        selector_is_kept(obj, old, e);
    }

    fn validate_status_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        let status = At::root(obj).field("status");
        workload::counts(status, COUNTS, e);
        let bounded = ["updatedReplicas", "readyReplicas", "availableReplicas"];
        workload::replicas(status, &bounded, "readyReplicas", e);
        workload::collisions(status, &old["status"], e);
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        name_warning(obj, old, "Pod names and hostnames", &mut out);
        template_warnings(obj, old, &["spec", "template"], &mut out);
        out
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn counts_as_change(&self, obj: &Value, old: &Value) -> bool {
        obj["spec"] != old["spec"] || obj["metadata"]["annotations"] != old["metadata"]["annotations"]
    }
}

/// The template of deployments and replica sets.
pub(super) fn of_replicas(spec: At<'_>, e: &mut Errors) {
    let at = spec.field("template");
    template::selected(at, &spec.v["selector"], e);
    template::template(at, e);
    template::runs_forever(at, "ReplicaSet", e);
}

/// `spec.selector` is for ever.
pub(super) fn selector_is_kept(obj: &Value, old: &Value, e: &mut Errors) {
    let path = ["spec", "selector"];
    immutable(At::root(obj).fields(&path), At::root(old).fields(&path), e);
}

fn strategy(at: At<'_>, e: &mut Errors) {
    let rolling = at.field("rollingUpdate");
    match at["type"].str() {
        "Recreate" if rolling.is_set() => {
            rolling.forbidden(e, "may not be specified when strategy `type` is 'Recreate'");
        }
        "Recreate" => {}
        "RollingUpdate" if !rolling.is_set() => {
            rolling.required(e, "this should be defaulted and never be nil");
        }
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.field("maxUnavailable"), rolling.field("maxSurge"));
            workload::number_or_percent(unavailable, e);
            workload::number_or_percent(surge, e);
            if workload::number_of(unavailable.v) == 0 && workload::number_of(surge.v) == 0 {
                unavailable.invalid(e, "may not be 0 when `maxSurge` is 0");
            }
            workload::at_most_all(unavailable, e);
        }
        _ => at.not_supported(e, &["Recreate", "RollingUpdate"]),
    }
}
