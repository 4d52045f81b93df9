//! Judging one write by one policy with one parameter.

use super::{Policy, Validation};
use crate::admission::expression::{OUT_OF_BUDGET, Objects, OverBudget, Permissions, Scene, View, conditions};
use kaji_cel::{LONGEST_MESSAGE, RUNTIME_BUDGET, Val};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is judged, and by what.
pub(super) struct Case<'a> {
    pub(super) policy: &'a Policy,
    pub(super) objects: Objects<'a>,
    pub(super) scene: &'a Scene,
    /// As match conditions see it.
    pub(super) outer: &'a Scene,
    pub(super) permissions: &'a Arc<Permissions>,
}

/// Why a write is not fine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Objection {
    pub(super) message: String,
    /// Of the status.
    pub(super) reason: String,
    /// Which validation objects.
    pub(super) index: usize,
    /// Finding out.
    pub(super) took: Duration,
}

/// What a policy makes of a write.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) objections: Vec<Objection>,
    /// Refused whatever the binding's actions are.
    pub(super) refusals: Vec<Objection>,
    /// Could not be decided, and the policy says that this is fine.
    pub(super) ignored: Vec<Objection>,
    /// For the audit log: key and value.
    pub(super) annotations: Vec<(String, String)>,
    /// Whether the policy applies at all could not be decided.
    pub(super) conditions_failed: bool,
}

impl<'a> Case<'a> {
    /// With the authorizer, or without.
    fn view(&self, permissions: Option<&Arc<Permissions>>) -> View<'a> {
        self.scene.view(self.objects, &self.policy.frame.variables, permissions)
    }
}

/// Judges.
pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let policy = case.policy;
    let mut verdict = Verdict::default();
    let outer = case.outer.view(case.objects, &policy.frame.variables, Some(case.permissions));
    match conditions::hold(&policy.frame.conditions, &outer) {
        Ok(true) => {}
        Ok(false) => return verdict,
        Err(message) => {
            verdict.conditions_failed = true;
            verdict.undecided(policy, Objection::of(message));
            return verdict;
        }
    }
    let view = case.view(Some(case.permissions));
    let mut budget = RUNTIME_BUDGET;
    let mut results = Vec::with_capacity(policy.validations.len());
    for validation in &policy.validations {
        let begun = Instant::now();
        match view.run(&validation.rule, &mut budget) {
            Ok(result) => results.push((result, begun.elapsed())),
            Err(OverBudget) => {
                verdict.undecided(policy, Objection::of(OUT_OF_BUDGET.to_owned()));
                return verdict;
            }
        }
    }
    let plain = case.view(None);
    for (index, (validation, (result, took))) in policy.validations.iter().zip(results).enumerate() {
        let objection = |message, reason: &str| Objection { message, reason: reason.to_owned(), index, took };
        match result {
            Err(message) => verdict.undecided(policy, objection(message, "")),
            Ok(Val::Bool(true)) => {}
            Ok(_) => match message(validation, &plain, &mut budget) {
                Ok(message) => verdict.objections.push(objection(message, &validation.reason)),
                Err(OverBudget) => {
                    let message = format!("failed messageExpression: {OUT_OF_BUDGET}");
                    verdict.undecided(policy, objection(message, ""));
                }
            },
        }
    }
    annotations(policy, &case.view(None), &mut verdict);
    verdict
}

impl Objection {
    /// One that no validation has.
    fn of(message: String) -> Self {
        Objection { message, reason: String::new(), index: 0, took: Duration::ZERO }
    }
}

impl Verdict {
    /// What could not be decided, as the policy's failure policy has it.
    fn undecided(&mut self, policy: &Policy, objection: Objection) {
        let kept = if policy.frame.fails_open { &mut self.ignored } else { &mut self.objections };
        kept.push(objection);
    }
}

/// Bytes of an audit annotation's value.
const LONGEST_ANNOTATION: usize = 10 * 1024;

/// What a refused client reads.
fn message(validation: &Validation, plain: &View<'_>, budget: &mut u64) -> Result<String, OverBudget> {
    if let Some(rule) = &validation.message_rule
        && let Ok(Val::String(text)) = plain.run(rule, budget)?
    {
        let text = text.trim();
        if !text.is_empty() && text.len() <= LONGEST_MESSAGE && !text.contains('\n') {
            return Ok(text.to_owned());
        }
    }
    if !validation.message.is_empty() {
        return Ok(validation.message.clone());
    }
    Ok(format!("failed expression: {}", validation.rule.text.trim()))
}

/// Annotations that cannot be worked out refuse the write, unless the policy says otherwise. As upstream, they see no
/// authorizer although it is declared for them.
fn annotations(policy: &Policy, plain: &View<'_>, verdict: &mut Verdict) {
    let mut budget = RUNTIME_BUDGET;
    for (key, value) in &policy.annotations {
        let begun = Instant::now();
        match plain.run(value, &mut budget) {
            Err(OverBudget) => {
                *verdict = Verdict::default();
                return verdict.undecided(policy, Objection::of(OUT_OF_BUDGET.to_owned()));
            }
            Ok(Err(message)) if !policy.frame.fails_open => {
                verdict.refusals.push(Objection { took: begun.elapsed(), ..Objection::of(message) });
            }
            Ok(Ok(Val::String(text))) if !text.trim().is_empty() => {
                verdict.annotations.push((key.clone(), shortened(text.trim())));
            }
            Ok(_) => {}
        }
    }
}

/// What of an annotation is kept.
fn shortened(text: &str) -> String {
    let end = (0..=LONGEST_ANNOTATION.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or_default()].to_owned()
}
