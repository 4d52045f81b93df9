//! What the audit log is told of webhooks.

use super::hook::Hook;
use super::metrics::Kind;
use crate::admission::Attributes;
use kaji_api::codec::write_json;
use kaji_api::{Object, Value};

/// Where a webhook stands among those of its write.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// 1 where it is called again.
    pub(super) round: usize,
    pub(super) index: usize,
}

impl Place {
    fn key(self, prefix: &str) -> String {
        let Place { round, index } = self;
        format!("{prefix}.admission.k8s.io/round_{round}_index_{index}")
    }
}

/// A mutating webhook was called.
pub(super) fn called(a: &Attributes<'_>, hook: &Hook, place: Place, mutated: bool) {
    if a.cx.audit.is_on() {
        let told = told(hook, [("mutated", Value::Bool(mutated))]);
        a.cx.audit.annotate(&place.key("mutation.webhook"), told);
    }
}

/// A webhook's patch was applied. Like the body that it changes, it is recorded by policies of level `Request` only.
pub(super) fn patched(a: &Attributes<'_>, hook: &Hook, place: Place, operations: &[Value]) {
    a.cx.audit.annotate_request(&place.key("patch.webhook"), || {
        let operations = operations.iter().map(sorted).collect();
        told(hook, [("patch", Value::Array(operations)), ("patchType", Value::from("JSONPatch"))])
    });
}

/// The write goes on without a webhook.
pub(super) fn failed_open(a: &Attributes<'_>, hook: &Hook, kind: Kind, place: Place) {
    let prefix = match kind {
        Kind::Mutating => "failed-open.mutation.webhook",
        Kind::Validating => "failed-open.validating.webhook",
    };
    a.cx.audit.annotate(&place.key(prefix), hook.name.as_str());
}

/// What a webhook itself wants to have noted, under its name.
pub(super) fn returned(a: &Attributes<'_>, hook: &Hook, annotations: &[(String, String)]) {
    for (key, value) in annotations {
        let key = format!("{}/{key}", hook.name);
        let wrong = kaji_api::names::qualified_name(&key);
        if wrong.is_empty() {
            a.cx.audit.annotate(&key, value.as_str());
        } else {
            tracing::warn!(
                webhook = hook.name,
                key,
                why = wrong.join(", "),
                "an audit annotation of a webhook has no valid name"
            );
        }
    }
}

fn told<const N: usize>(hook: &Hook, more: [(&'static str, Value); N]) -> String {
    let mut value = Value::from_iter([
        ("configuration", Value::from(hook.configuration.as_str())),
        ("webhook", Value::from(hook.name.as_str())),
    ]);
    more.into_iter().for_each(|(key, part)| value.set(key, part));
    let mut json = Vec::new();
    write_json(&value, &mut json);
    String::from_utf8(json).unwrap_or_default()
}

/// An operation with its members by name.
fn sorted(operation: &Value) -> Value {
    let Value::Object(members) = operation else { return operation.clone() };
    let mut members = members.0.clone();
    members.sort_by(|a, b| a.0.cmp(&b.0));
    Value::Object(Object(members))
}
