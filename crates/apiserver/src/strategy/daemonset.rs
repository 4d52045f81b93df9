//! Daemon sets.

use super::deployment::selector_is_kept;
use super::{Strategy, defaults, keep, template_warnings};
use crate::context::RequestContext;
use crate::validation::{At, labels, nonnegative, template, workload};
use kaji_api::Value;
use kaji_api::field::Errors;

/// Daemon sets.
pub struct DaemonSets;

/// Counts changes of the template; once a field, an annotation since apps/v1.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

const COUNTS: &[&str] = &[
    "currentNumberScheduled",
    "numberMisscheduled",
    "desiredNumberScheduled",
    "numberReady",
    "observedGeneration",
    "updatedNumberScheduled",
    "numberAvailable",
    "numberUnavailable",
    "collisionCount",
];

impl Strategy for DaemonSets {
    fn default(&self, obj: &mut Value) {
        defaults::template(obj, &["spec", "template"]);
        let strategy = obj.entry_at(&["spec", "updateStrategy"]);
        strategy.set_default("type", "RollingUpdate");
        if strategy["type"].str() == "RollingUpdate" {
            let rolling = strategy.entry("rollingUpdate");
            rolling.set_default("maxUnavailable", 1);
            rolling.set_default("maxSurge", 0);
        }
        // Upstream writes it into every object of this version, whoever sent it.
        let generation = template_generation(obj);
        set_template_generation(obj, generation);
    }

    fn prepare_create(&self, _: &RequestContext, obj: &mut Value) {
        obj.remove("status");
        let asked = template_generation(obj).max(1);
        set_template_generation(obj, asked);
    }

    fn prepare_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "status");
        let changed = obj["spec"]["template"] != old["spec"]["template"];
        set_template_generation(obj, template_generation(old) + i64::from(changed));
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        let (selector, at) = (spec.field("selector"), spec.field("template"));
        labels::selector(selector, e);
        template::selected(at, selector.v, e);
        if selector.is_set() && labels::is_empty(selector.v) {
            selector.invalid(e, "empty selector is invalid for daemonset");
        }
        template::template(at, e);
        template::runs_forever(at, "DaemonSet", e);
        nonnegative(spec.field("minReadySeconds"), e);
        strategy(spec.field("updateStrategy"), e);
        nonnegative(spec.field("revisionHistoryLimit"), e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        selector_is_kept(obj, old, e);
        self.validate(obj, e);
    }

    fn validate_status_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        let status = At::root(obj).field("status");
        workload::counts(status, COUNTS, e);
        workload::collisions(status, &old["status"], e);
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        template_warnings(obj, old, &["spec", "template"], &mut out);
        out
    }

    fn has_generation(&self) -> bool {
        true
    }
}

fn template_generation(obj: &Value) -> i64 {
    obj.annotation(TEMPLATE_GENERATION).and_then(|n| n.parse().ok()).unwrap_or_default()
}

fn set_template_generation(obj: &mut Value, n: i64) {
    obj.entry_at(&["metadata", "annotations"]).set(TEMPLATE_GENERATION, n.to_string());
}

fn strategy(at: At<'_>, e: &mut Errors) {
    let rolling = at.field("rollingUpdate");
    match at["type"].str() {
        "OnDelete" => {}
        "RollingUpdate" if !rolling.is_set() => rolling.required(e, ""),
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.field("maxUnavailable"), rolling.field("maxSurge"));
            workload::number_or_percent(unavailable, e);
            workload::number_or_percent(surge, e);
            workload::at_most_all(unavailable, e);
            workload::at_most_all(surge, e);
            match (workload::number_of(unavailable.v) != 0, workload::number_of(surge.v) != 0) {
                (true, true) => surge.invalid(e, "may not be set when maxUnavailable is non-zero"),
                (false, false) => unavailable.required(e, "cannot be 0 when maxSurge is 0"),
                _ => {}
            }
        }
        _ => at.not_supported(e, &["RollingUpdate", "OnDelete"]),
    }
}
