//! Resource quotas.

use super::Strategy;
use crate::validation::{At, IMMUTABLE, resources};
use kaji_api::Value;
use kaji_api::field::Errors;

/// Resource quotas.
pub struct ResourceQuotas;

const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "VolumeAttributesClass",
    "CrossNamespacePodAffinity",
];

impl Strategy for ResourceQuotas {
    fn default(&self, obj: &mut Value) {
        for path in [["spec", "hard"], ["status", "hard"], ["status", "used"]] {
            if !obj.at(&path).is_zero() {
                resources::round_up(obj.entry_at(&path));
            }
        }
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        amounts(spec.field("hard"), e);
        scopes(spec, e);
        selector(spec, e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        self.validate(obj, e);
        let (at, was) = (At::root(obj).fields(&["spec", "scopes"]), old["spec"]["scopes"].items());
        let same = at.items().iter().all(|s| was.contains(s)) && was.iter().all(|s| at.items().contains(s));
        if !same {
            at.invalid_as(e, at.v.clone(), IMMUTABLE);
        }
    }

    fn validate_status_update(&self, obj: &Value, _: &Value, e: &mut Errors) {
        let status = At::root(obj).field("status");
        amounts(status.field("hard"), e);
        amounts(status.field("used"), e);
    }
}

fn amounts(at: At<'_>, e: &mut Errors) {
    for (name, amount) in at.map() {
        resources::name(amount, name, e);
        if !name.contains('/') && !resources::is_quota_name(name) {
            amount.invalid_as(e, name, "must be a standard resource for quota");
        }
        resources::amount(amount, name, e);
    }
}

/// Whether a scope says anything about a resource.
fn applies(scope: &str, resource: &str) -> bool {
    let compute = ["cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        s if SCOPES.contains(&s) => resource == "pods" || compute.contains(&resource),
        _ => true,
    }
}

fn conflicting(scopes: &[&str]) -> usize {
    let pairs = [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")];
    pairs.iter().filter(|(a, b)| scopes.contains(a) && scopes.contains(b)).count()
}

fn scopes(spec: At<'_>, e: &mut Errors) {
    let at = spec.field("scopes");
    let all: Vec<&str> = at.v.items().iter().map(Value::str).collect();
    for scope in &all {
        if !SCOPES.contains(scope) {
            at.invalid(e, "unsupported scope");
        }
        for (name, _) in spec["hard"].entries() {
            if resources::is_quota_name(name) && !applies(scope, name) {
                at.invalid(e, "unsupported scope applied to resource");
            }
        }
    }
    (0..conflicting(&all)).for_each(|_| at.invalid(e, "conflicting scopes"));
}

fn selector(spec: At<'_>, e: &mut Errors) {
    let whole = spec.field("scopeSelector");
    let at = whole.field("matchExpressions");
    let mut all = Vec::new();
    for requirement in at.v.items() {
        let scope = requirement["scopeName"].str();
        let (operator, values) =
            (at.field("operator").with(&requirement["operator"]), at.field("values").with(&requirement["values"]));
        if !SCOPES.contains(&scope) {
            at.field("scopeName").invalid_as(e, scope, "unsupported scope");
        }
        for (name, _) in spec["hard"].entries() {
            if resources::is_quota_name(name) && !applies(scope, name) {
                at.invalid_as(e, whole.v.clone(), "unsupported scope applied to resource");
            }
        }
        let plain = SCOPES.contains(&scope) && !matches!(scope, "PriorityClass" | "VolumeAttributesClass");
        if plain && operator.str() != "Exists" {
            operator.invalid(e, "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity");
        }
        match operator.str() {
            "In" | "NotIn" if values.items().is_empty() => {
                values.required(e, "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
            }
            "Exists" | "DoesNotExist" if !values.items().is_empty() => {
                values.invalid(e, "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => operator.invalid(e, "not a valid selector operator"),
        }
        all.push(scope);
    }
    let plain = spec.field("scopes");
    (0..conflicting(&all)).for_each(|_| at.invalid_as(e, plain.v.clone(), "conflicting scopes"));
}
