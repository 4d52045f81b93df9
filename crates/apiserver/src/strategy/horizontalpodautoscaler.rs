//! Horizontal pod autoscalers, in the form of autoscaling/v2.

use super::Strategy;
use crate::validation::{At, labels, nonnegative, one_of_if_set, positive, resources};
use kaji_api::field::Errors;
use kaji_api::{Value, names, value};

/// Horizontal pod autoscalers.
pub struct HorizontalPodAutoscalers;

const KINDS: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];
const ONLY_ONE: &str = "must populate the given metric source only";

impl Strategy for HorizontalPodAutoscalers {
    fn default(&self, obj: &mut Value) {
        let spec = obj.entry("spec");
        spec.set_default("minReplicas", 1);
        if spec["metrics"].is_zero() {
            let target = value!({"type": "Utilization", "averageUtilization": 80});
            let cpu = value!({"type": "Resource", "resource": {"name": "cpu", "target": (target)}});
            spec.set("metrics", vec![cpu]);
        }
        if spec["behavior"].is_null() {
            return;
        }
        let pods = value!({"type": "Pods", "value": 4, "periodSeconds": 15});
        let all = value!({"type": "Percent", "value": 100, "periodSeconds": 15});
        let behavior = spec.entry("behavior");
        let up = behavior.entry("scaleUp");
        up.set_default("stabilizationWindowSeconds", 0);
        rules(up, vec![pods, all.clone()]);
        rules(behavior.entry("scaleDown"), vec![all]);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        let (min, max) = (spec.field("minReplicas"), spec.field("maxReplicas"));
        if min.is_set() && min.i64() < 1 {
            min.invalid(e, "must be greater than or equal to 1");
        }
        match max.i64() {
            0 => max.required(e, "must be set and greater than 0"),
            ..0 => max.invalid(e, "must be greater than or equal to 1"),
            _ => {}
        }
        if min.is_set() && max.i64() < min.i64() {
            max.invalid_as(e, max.i64(), "must be greater than or equal to `minReplicas`");
        }
        reference(spec.field("scaleTargetRef"), e);
        spec.field("metrics").list().for_each(|m| metric(m, e));
        for direction in ["scaleUp", "scaleDown"] {
            let at = spec.field("behavior").field(direction);
            if at.is_set() {
                scaling(at, e);
            }
        }
    }

    fn validate_status_update(&self, obj: &Value, _: &Value, e: &mut Errors) {
        let status = At::root(obj).field("status");
        nonnegative(status.field("currentReplicas"), e);
        nonnegative(status.field("desiredReplicas"), e);
    }
}

fn rules(of: &mut Value, policies: Vec<Value>) {
    of.set_default("selectPolicy", "Max");
    if of["policies"].is_zero() {
        of.set("policies", policies);
    }
}

fn reference(at: At<'_>, e: &mut Errors) {
    at.field("kind").check_required(e, names::path_segment);
    at.field("name").check_required(e, names::path_segment);
    let version = at.field("apiVersion");
    if version.str().matches('/').count() > 1 {
        version.invalid(e, &format!("unexpected GroupVersion string: {}", version.str()));
    }
}

fn metric(at: At<'_>, e: &mut Errors) {
    let kind = at.field("type");
    if kind.str().is_empty() {
        kind.required(e, "must specify a metric source type");
    }
    if !KINDS.contains(&kind.str()) {
        kind.not_supported(e, KINDS);
        kind.not_supported(e, KINDS);
    }
    let fields = [
        ("Object", "object"),
        ("External", "external"),
        ("Pods", "pods"),
        ("Resource", "resource"),
        ("ContainerResource", "containerResource"),
    ];
    let present: Vec<&str> = fields.iter().map(|(_, f)| *f).filter(|f| at.field(f).is_set()).collect();
    if let Some(first) = present.first() {
        source(at.field(first), first, e);
    }
    let expected = fields.iter().find(|(k, _)| *k == kind.str()).map(|(_, f)| *f);
    if let Some(field) = expected.filter(|f| !present.contains(f)) {
        at.field(field).required(e, "must populate information for the given metric source");
    }
    if present.len() != 1 {
        let extra = present.iter().filter(|f| Some(**f) != expected);
        extra.for_each(|field| at.field(field).forbidden(e, ONLY_ONE));
    }
}

fn source(at: At<'_>, kind: &str, e: &mut Errors) {
    let target = at.field("target");
    if kind == "object" {
        reference(at.field("describedObject"), e);
    }
    if matches!(kind, "object" | "external" | "pods") {
        let name = at.fields(&["metric", "name"]);
        if name.str().is_empty() {
            name.required(e, "must specify a metric name");
        } else {
            name.check(e, names::path_segment);
        }
        labels::selector(at.fields(&["metric", "selector"]), e);
    } else if at["name"].str().is_empty() {
        at.field("name").required(e, "must specify a resource name");
    }
    if kind == "containerResource" {
        let container = at.field("container");
        if container.str().is_empty() {
            container.required(e, "must specify a container");
        } else {
            container.check(e, names::dns1123_label);
        }
    }
    self::target(target, e);
    let set = |f: &str| !target[f].is_null();
    match kind {
        "object" if !set("value") && !set("averageValue") => {
            target.field("averageValue").required(e, "must set either a target value or averageValue");
        }
        "external" if !set("value") && !set("averageValue") => {
            let text = "must set either a target value for metric or a per-pod target";
            target.field("averageValue").required(e, text);
        }
        "external" if set("value") && set("averageValue") => {
            let text = "may not set both a target value for metric and a per-pod target";
            target.field("value").forbidden(e, text);
        }
        "pods" if !set("averageValue") => {
            target.field("averageValue").required(e, "must specify a positive target averageValue");
        }
        "resource" | "containerResource" => match (set("averageUtilization"), set("averageValue")) {
            (false, false) => {
                let text = "must set either a target raw value or a target utilization";
                target.field("averageUtilization").required(e, text);
            }
            (true, true) => {
                let text = "may not set both a target raw value and a target utilization";
                target.field("averageValue").forbidden(e, text);
            }
            _ => {}
        },
        _ => {}
    }
}

fn target(at: At<'_>, e: &mut Errors) {
    let kind = at.field("type");
    if kind.str().is_empty() {
        kind.required(e, "must specify a metric target type");
    }
    if !["Utilization", "Value", "AverageValue"].contains(&kind.str()) {
        kind.invalid(e, "must be either Utilization, Value, or AverageValue");
    }
    for field in ["value", "averageValue"].map(|f| at.field(f)).into_iter().filter(|f| f.is_set()) {
        if resources::quantity(field.v).signum() <= 0 {
            field.invalid(e, "must be positive");
        }
    }
    let utilization = at.field("averageUtilization");
    if utilization.is_set() && utilization.i64() < 1 {
        utilization.invalid(e, "must be greater than 0");
    }
}

fn scaling(at: At<'_>, e: &mut Errors) {
    let window = at.field("stabilizationWindowSeconds");
    if window.i64() < 0 {
        window.invalid(e, "must be greater than or equal to zero");
    }
    if window.i64() > 3600 {
        window.invalid(e, "must be less than or equal to 3600");
    }
    one_of_if_set(at.field("selectPolicy"), e, &["Disabled", "Max", "Min"]);
    let policies = at.field("policies");
    if policies.items().is_empty() {
        policies.required(e, "must specify at least one Policy");
    }
    for policy in policies.list() {
        if !["Percent", "Pods"].contains(&policy["type"].str()) {
            policy.field("type").not_supported(e, &["Percent", "Pods"]);
        }
        positive(policy.field("value"), e);
        positive(policy.field("periodSeconds"), e);
        if policy.field("periodSeconds").i64() > 1800 {
            policy.field("periodSeconds").invalid(e, "must be less than or equal to 1800");
        }
    }
}
