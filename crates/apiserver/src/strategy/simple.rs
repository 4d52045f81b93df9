//! Resources that are plain but for a rule or two.

use super::Strategy;
use kaji_api::Value;

/// How a resource differs from the plain one.
pub struct Simple {
    /// Counts its generation.
    pub generation: bool,
    /// May be replaced without naming the revision.
    pub unconditional: bool,
    /// Defaults that depend on other fields.
    pub default: fn(&mut Value),
}

impl Strategy for Simple {
    fn default(&self, obj: &mut Value) {
        (self.default)(obj);
    }

    fn unconditional_update(&self) -> bool {
        self.unconditional
    }

    fn has_generation(&self) -> bool {
        self.generation
    }
}

/// Webhooks: whom they are asked about, how long one waits, and what their silence means.
pub(super) fn webhooks(obj: &mut Value) {
    let mutating = obj.kind() == "MutatingWebhookConfiguration";
    for hook in obj.get_mut("webhooks").map(Value::items_mut).unwrap_or_default() {
        hook.set_default("failurePolicy", "Fail");
        hook.set_default("matchPolicy", "Equivalent");
        hook.set_default("namespaceSelector", Value::object());
        hook.set_default("objectSelector", Value::object());
        hook.set_default("timeoutSeconds", 10);
        if mutating {
            hook.set_default("reinvocationPolicy", "Never");
        }
        if !hook["clientConfig"]["service"].is_null() {
            hook.entry_at(&["clientConfig", "service"]).set_default("port", 443);
        }
        for rule in hook.get_mut("rules").map(Value::items_mut).unwrap_or_default() {
            rule.set_default("scope", "*");
        }
    }
}

/// Admission policies.
pub(super) fn policy(obj: &mut Value) {
    obj.entry("spec").set_default("failurePolicy", "Fail");
    constraints(obj.entry("spec").get_mut("matchConstraints"));
}

/// Bindings of admission policies.
pub(super) fn policy_binding(obj: &mut Value) {
    constraints(obj.entry("spec").get_mut("matchResources"));
}

fn constraints(of: Option<&mut Value>) {
    let Some(of) = of.filter(|of| !of.is_null()) else { return };
    of.set_default("matchPolicy", "Equivalent");
    of.set_default("namespaceSelector", Value::object());
    of.set_default("objectSelector", Value::object());
    for list in ["resourceRules", "excludeResourceRules"] {
        for rule in of.get_mut(list).map(Value::items_mut).unwrap_or_default() {
            rule.set_default("scope", "*");
        }
    }
}

/// Flow schemas.
pub(super) fn flow_schema(obj: &mut Value) {
    if obj["spec"]["matchingPrecedence"].is_zero() {
        obj.entry("spec").set("matchingPrecedence", 1000);
    }
}

/// Priority levels.
pub(super) fn priority_level(obj: &mut Value) {
    let spec = obj.entry("spec");
    if let Some(exempt) = spec.get_mut("exempt").filter(|e| !e.is_null()) {
        exempt.set_default("nominalConcurrencyShares", 0);
        exempt.set_default("lendablePercent", 0);
    }
    if let Some(limited) = spec.get_mut("limited").filter(|l| !l.is_null()) {
        limited.set_default("nominalConcurrencyShares", 30);
        limited.set_default("lendablePercent", 0);
        if !limited["limitResponse"]["queuing"].is_null() {
            let queuing = limited.entry_at(&["limitResponse", "queuing"]);
            for (field, number) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
                if queuing[field].is_zero() {
                    queuing.set(field, number);
                }
            }
        }
    }
}
