//! Disruption budgets.

use super::Strategy;
use crate::validation::{At, labels, one_of_if_set, workload};
use kaji_api::field::Errors;
use kaji_api::{Value, value};

/// Disruption budgets.
pub struct PodDisruptionBudgets;

impl Strategy for PodDisruptionBudgets {
    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        let limits = [spec.field("minAvailable"), spec.field("maxUnavailable")];
        if limits.iter().all(|l| l.is_set()) {
            let shown = value!({
                "MinAvailable": (spec["minAvailable"].clone()),
                "Selector": (spec["selector"].clone()),
                "MaxUnavailable": (spec["maxUnavailable"].clone()),
                "UnhealthyPodEvictionPolicy": (spec["unhealthyPodEvictionPolicy"].clone()),
            });
            spec.invalid_as(e, shown, "minAvailable and maxUnavailable cannot be both set");
        }
        for limit in limits.into_iter().filter(|l| l.is_set()) {
            workload::number_or_percent(limit, e);
            workload::at_most_all(limit, e);
        }
        labels::selector(spec.field("selector"), e);
        one_of_if_set(spec.field("unhealthyPodEvictionPolicy"), e, &["AlwaysAllow", "IfHealthyBudget"]);
    }

    fn validate_status_update(&self, obj: &Value, _: &Value, e: &mut Errors) {
        let counts = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
        workload::counts(At::root(obj).field("status"), &counts, e);
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn has_generation(&self) -> bool {
        true
    }
}
