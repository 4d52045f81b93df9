//! Acting on what policies say: refuse, warn, or tell the audit log.

use super::compile::Binding;
use super::evaluate::{Case, Objection, judge};
use super::params;
use super::source::{Bound, Policies};
use crate::admission::Attributes;
use crate::admission::expression::{Objects, Permissions, Scene};
use crate::admission::webhook::choose::Facts;
use crate::admission::webhook::shown::in_version;
use kaji_api::{Status, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The audit annotation of what a binding with the action `Audit` objects to.
const FAILURE: &str = "validation.policy.admission.k8s.io/validation_failure";

/// An objection and who has it.
struct Refusal {
    policy: String,
    binding: Option<String>,
    objection: Objection,
}

/// Judges a write by every policy that it concerns; the first refusal is what the client gets.
pub(super) async fn dispatch(policies: &Policies, a: &Attributes<'_>) -> Result<(), Status> {
    let facts = Facts::default();
    let permissions = Permissions::new(a);
    let mut refusals = Vec::new();
    for bound in policies.iter() {
        one(bound, &facts, &permissions, a, &mut refusals).await;
    }
    match refusals.into_iter().next() {
        Some(refusal) => Err(status(a, &refusal)),
        None => Ok(()),
    }
}

async fn one(
    bound: &Bound,
    facts: &Facts,
    permissions: &Arc<Permissions>,
    a: &Attributes<'_>,
    refusals: &mut Vec<Refusal>,
) {
    let policy = &bound.policy;
    let mut misconfigured = |binding: Option<&str>, why: String| {
        if !policy.fails_open {
            let what = if binding.is_some() { "binding" } else { "policy" };
            let objection =
                Objection { message: format!("failed to configure {what}: {why}"), reason: String::new(), index: 0 };
            refusals.push(Refusal { policy: policy.name.clone(), binding: binding.map(str::to_owned), objection });
        }
    };
    let row = match policy.criteria.matches(facts, a).await {
        Ok(Some(row)) => row,
        Ok(None) => return,
        Err(why) => return misconfigured(None, why),
    };
    let mut judged = Vec::new();
    for binding in &bound.bindings {
        match binding.criteria.matches(facts, a).await {
            Ok(None) => continue,
            Err(why) => {
                misconfigured(Some(&binding.name), why);
                continue;
            }
            Ok(Some(_)) => {}
        }
        match params::collect(policy, binding, a) {
            Ok(params) => judged.push((binding, params)),
            Err(why) => misconfigured(Some(&binding.name), why),
        }
    }
    if judged.is_empty() {
        return;
    }
    let shown = in_version(a, &row, a.object).and_then(|object| Ok((object, in_version(a, &row, a.old)?)));
    let (object, old) = match shown {
        Ok(shown) => shown,
        Err(why) => {
            let why = format!("failed to convert object version: {}", why.message);
            return judged.iter().for_each(|(binding, _)| misconfigured(Some(&binding.name), why.clone()));
        }
    };
    let (scene, outer) = (Scene::new(a, &row), Scene::of_conditions(a, &row));
    let mut annotations: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (binding, params) in judged {
        for params in &params {
            let objects = Objects { object: &object, old: &old, params };
            let case = Case { policy, objects, scene: &scene, outer: &outer, permissions };
            let verdict = permissions.settled(|| judge(&case)).await;
            let refuse =
                |objection| Refusal { policy: policy.name.clone(), binding: Some(binding.name.clone()), objection };
            for objection in verdict.objections {
                if binding.warn {
                    let (policy, binding, why) = (&policy.name, &binding.name, &objection.message);
                    a.cx.warnings.add(format!(
                        "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {why}"
                    ));
                }
                if binding.audit {
                    a.cx.audit.annotate(FAILURE, failure(binding, &objection));
                }
                if binding.deny {
                    refusals.push(refuse(objection));
                }
            }
            refusals.extend(verdict.refusals.into_iter().map(refuse));
            for (key, value) in verdict.annotations {
                let values = annotations.entry(key).or_default();
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
    }
    for (key, values) in annotations {
        a.cx.audit.annotate(&format!("{}/{key}", policy.name), values.join(", "));
    }
}

/// An objection as the audit log has it.
fn failure(binding: &Binding, objection: &Objection) -> String {
    let failure = Value::from_iter([
        ("message", Value::from(objection.message.as_str())),
        ("policy", Value::from(binding.policy.as_str())),
        ("binding", Value::from(binding.name.as_str())),
        ("expressionIndex", Value::from(i64::try_from(objection.index).unwrap_or_default())),
        ("validationActions", binding.actions.clone()),
    ]);
    let mut text = Vec::new();
    kaji_api::codec::write_json(&Value::Array(vec![failure]), &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// The refusal as the client gets it.
fn status(a: &Attributes<'_>, refusal: &Refusal) -> Status {
    let Refusal { policy, binding, objection } = refusal;
    let by = binding.as_ref().map(|b| format!(" with binding '{b}'")).unwrap_or_default();
    let message = format!("ValidatingAdmissionPolicy '{policy}'{by} denied request: {}", objection.message);
    let mut status = a.forbidden(&message);
    let reason = if objection.reason.is_empty() { "Invalid" } else { &objection.reason };
    status.code = match reason {
        "Unauthorized" => 401,
        "Forbidden" => 403,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    };
    status.reason = reason.to_owned().into();
    let cause = kaji_api::value!({"message": message});
    status.details.set("causes", Value::Array(vec![cause]));
    status
}
