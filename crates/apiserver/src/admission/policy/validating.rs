//! Acting on what validating policies say: refuse, warn, or tell the audit log.

mod judge;
mod type_check;

pub(super) use type_check::warnings;

use super::frame::{Binding, Compiled, Frame};
use super::metrics::Who;
use super::select::{Concerned, Misconfigured, concerned};
use super::source::{Bound, Policies};
use crate::admission::Attributes;
use crate::admission::expression::{Expression, Objects, Permissions, Scene};
use crate::admission::webhook::choose::Facts;
use crate::admission::webhook::shown::in_version;
use judge::{Case, Objection, Verdict, judge};
use kaji_api::{Status, Value};
use kaji_cel::Type;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The audit annotation of what a binding with the action `Audit` objects to.
const FAILURE: &str = "validation.policy.admission.k8s.io/validation_failure";

/// A policy that may refuse.
pub(super) struct Policy {
    frame: Frame,
    validations: Vec<Validation>,
    /// Key and value.
    annotations: Vec<(String, Expression)>,
}

/// One rule of a policy.
struct Validation {
    rule: Expression,
    message: String,
    message_rule: Option<Expression>,
    reason: String,
}

/// An objection and who has it.
struct Refusal {
    policy: String,
    binding: Option<String>,
    message: String,
    reason: String,
}

impl Compiled for Policy {
    fn compile(policy: &Value) -> Self {
        let spec = &policy["spec"];
        let (frame, envs) = Frame::compile(policy);
        let validation = |v: &Value| Validation {
            rule: Expression::new(&envs.full, v["expression"].str(), &[Type::Bool]),
            message: v["message"].str().trim().to_owned(),
            message_rule: match v["messageExpression"].str() {
                "" => None,
                text => Some(Expression::new(&envs.message, text, &[Type::String])),
            },
            reason: v["reason"].str().to_owned(),
        };
        let annotation = |v: &Value| {
            let value = Expression::new(&envs.full, v["valueExpression"].str(), &[Type::String, Type::Null]);
            (v["key"].str().to_owned(), value)
        };
        Policy {
            frame,
            validations: spec["validations"].items().iter().map(validation).collect(),
            annotations: spec["auditAnnotations"].items().iter().map(annotation).collect(),
        }
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// Judges a write by every policy that it concerns; the first refusal is what the client gets.
pub(super) async fn dispatch(policies: &Policies<Policy>, a: &Attributes<'_>) -> Result<(), Status> {
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
    bound: &Bound<Policy>,
    facts: &Facts,
    permissions: &Arc<Permissions>,
    a: &Attributes<'_>,
    refusals: &mut Vec<Refusal>,
) {
    let mut annotations: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for found in concerned(bound, facts, a).await {
        let found = match found {
            Ok(found) => found,
            Err(wrong) => {
                refusals.push(wrong.into());
                continue;
            }
        };
        let verdicts = match verdicts(&found, permissions, a).await {
            Ok(verdicts) => verdicts,
            Err(why) => {
                let why = format!("failed to convert object version: {}", why.message);
                let frame = &found.policy.frame;
                let wrong = Misconfigured::new(&frame.name, Some(&found.binding.name), &why);
                refusals.extend((!frame.fails_open).then(|| wrong.into()));
                continue;
            }
        };
        for verdict in verdicts {
            enforce(&found, &verdict, a, refusals);
            for (key, value) in verdict.annotations {
                let values = annotations.entry(key).or_default();
                if !values.contains(&value) {
                    values.push(value);
                }
            }
        }
    }
    for (key, values) in annotations {
        a.cx.audit.annotate(&format!("{}/{key}", bound.policy.frame.name), values.join(", "));
    }
}

/// What the policy makes of the write with each of its parameters.
async fn verdicts(
    found: &Concerned<'_, Policy>,
    permissions: &Arc<Permissions>,
    a: &Attributes<'_>,
) -> Result<Vec<Verdict>, Status> {
    let (policy, row) = (found.policy, &found.row);
    let (object, old) = (in_version(a, row, a.object)?, in_version(a, row, a.old)?);
    let (scene, outer) = (Scene::new(a, row), Scene::of_conditions(a, row));
    let mut verdicts = Vec::with_capacity(found.params.len());
    for params in &found.params {
        let objects = Objects { object: &object, old: &old, params };
        let case = Case { policy, objects, scene: &scene, outer: &outer, permissions };
        verdicts.push(permissions.settled(|| judge(&case)).await);
    }
    Ok(verdicts)
}

/// Does what the binding says with what the policy says.
fn enforce(found: &Concerned<'_, Policy>, verdict: &Verdict, a: &Attributes<'_>, refusals: &mut Vec<Refusal>) {
    let (binding, metrics) = (found.binding, &a.api.metrics().policies);
    let who = Who { policy: &found.policy.frame.name, binding: &binding.name };
    let count = |o: &Objection, action| metrics.judged(who, o.took, &o.message, action);
    let refusal = |o: &Objection| Refusal {
        policy: who.policy.to_owned(),
        binding: Some(who.binding.to_owned()),
        message: o.message.clone(),
        reason: o.reason.clone(),
    };
    if verdict.conditions_failed {
        a.api.metrics().webhooks.policy_condition_failed(who.policy, a.operation);
    }
    for objection in &verdict.objections {
        let why = &objection.message;
        if binding.does("Warn") {
            let Who { policy, binding } = who;
            a.cx.warnings.add(format!(
                "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {why}"
            ));
            count(objection, "warn");
        }
        if binding.does("Audit") {
            a.cx.audit.annotate(FAILURE, failure(binding, objection));
            count(objection, "audit");
        }
        if binding.does("Deny") {
            refusals.push(refusal(objection));
            count(objection, "deny");
        }
    }
    verdict.ignored.iter().for_each(|ignored| count(ignored, "allow"));
    for objection in &verdict.refusals {
        refusals.push(refusal(objection));
        count(objection, "deny");
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

impl From<Misconfigured> for Refusal {
    fn from(wrong: Misconfigured) -> Self {
        Refusal { policy: wrong.policy, binding: wrong.binding, message: wrong.message, reason: String::new() }
    }
}

/// The refusal as the client gets it.
fn status(a: &Attributes<'_>, refusal: &Refusal) -> Status {
    let Refusal { policy, binding, message, reason } = refusal;
    let by = binding.as_ref().map(|b| format!(" with binding '{b}'")).unwrap_or_default();
    let message = format!("ValidatingAdmissionPolicy '{policy}'{by} denied request: {message}");
    let mut status = a.forbidden(&message);
    let reason = if reason.is_empty() { "Invalid" } else { reason };
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
