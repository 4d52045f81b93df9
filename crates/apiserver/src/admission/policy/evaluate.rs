//! Judging one write by one policy with one parameter.

use super::compile::{Expression, Policy, Validation};
use super::variables::Variables;
use crate::admission::Attributes;
use crate::authz::{Decision as Answer, Question};
use crate::context::UserInfo;
use futures::FutureExt;
use kaji_api::Value;
use kaji_cel::{
    Activation, AuthorizationRequest, Authorizer, Decision, EvalError, LONGEST_MESSAGE, MATCH_CONDITIONS_BUDGET, Map,
    PER_CALL_LIMIT, RUNTIME_BUDGET, Val,
};
use parking_lot::Mutex;
use std::sync::Arc;

/// What is judged.
pub(super) struct Case<'a> {
    pub(super) policy: &'a Policy,
    pub(super) object: &'a Value,
    pub(super) old: &'a Value,
    pub(super) request: &'a Value,
    pub(super) namespace: &'a Value,
    pub(super) params: &'a Value,
}

/// Why a write is not fine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Objection {
    pub(super) message: String,
    /// Of the status.
    pub(super) reason: String,
    /// Which validation objects.
    pub(super) index: usize,
}

/// What a policy makes of a write.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) objections: Vec<Objection>,
    /// Refused whatever the binding's actions are.
    pub(super) refusals: Vec<Objection>,
    /// For the audit log: key and value.
    pub(super) annotations: Vec<(String, String)>,
}

/// Permissions, asked for once; what cannot be answered at once is noted.
pub(super) struct Asked {
    api: crate::server::Api,
    user: UserInfo,
    answers: Mutex<Vec<(AuthorizationRequest, Decision)>>,
    open: Mutex<Vec<AuthorizationRequest>>,
}

impl Asked {
    pub(super) fn new(a: &Attributes<'_>) -> Arc<Self> {
        Arc::new(Asked {
            api: a.api.clone(),
            user: (*a.cx.user).clone(),
            answers: Mutex::default(),
            open: Mutex::default(),
        })
    }

    fn question(&self, request: &AuthorizationRequest) -> Question {
        let user = match &request.service_account {
            None => self.user.clone(),
            Some((namespace, name)) => UserInfo {
                name: format!("system:serviceaccount:{namespace}:{name}"),
                groups: vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated".to_owned(),
                ],
                ..UserInfo::default()
            },
        };
        Question {
            user,
            verb: request.verb.clone(),
            is_resource: request.path.is_none(),
            group: request.group.clone(),
            version: "*".to_owned(),
            resource: request.resource.clone(),
            subresource: request.subresource.clone(),
            namespace: request.namespace.clone(),
            name: request.name.clone(),
            path: request.path.clone().unwrap_or_default(),
            field_selector: request.field_selector.clone(),
            label_selector: request.label_selector.clone(),
        }
    }

    fn keep(&self, request: &AuthorizationRequest, answer: Answer) -> Decision {
        let decision = match answer {
            Answer::Allow(reason) => Decision { allowed: true, reason, error: None },
            Answer::Deny(reason) | Answer::NoOpinion(reason) => Decision { allowed: false, reason, error: None },
        };
        self.answers.lock().push((request.clone(), decision.clone()));
        decision
    }

    /// Finds the answers that were missing; false if none were.
    pub(super) async fn settle(&self) -> bool {
        let open = std::mem::take(&mut *self.open.lock());
        for request in &open {
            let answer = self.api.authorize(&self.question(request)).await;
            self.keep(request, answer);
        }
        !open.is_empty()
    }
}

impl Authorizer for Asked {
    fn authorize(&self, request: &AuthorizationRequest) -> Decision {
        if let Some((_, decision)) = self.answers.lock().iter().find(|(r, _)| r == request) {
            return decision.clone();
        }
        // Rules are looked up without waiting. What must be waited for is asked after this round, and the round repeated.
        match self.api.authorize(&self.question(request)).now_or_never() {
            Some(answer) => self.keep(request, answer),
            None => {
                self.open.lock().push(request.clone());
                Decision::default()
            }
        }
    }
}

/// Judges.
pub(super) fn judge(case: &Case<'_>, asked: &Arc<Asked>, resource: AuthorizationRequest) -> Verdict {
    let policy = case.policy;
    let mut verdict = Verdict::default();
    let base = activation(case);
    let mut full = base.clone();
    full.bind("authorizer", Val::authorizer(asked.clone()));
    full.bind("authorizer.requestResource", Val::request_resource(asked.clone(), resource));
    let variables = Variables::new(policy, full.clone());
    full.bind("variables", Val::Map(Map::Lazy(variables.clone())));
    match conditions(policy, &full, &variables) {
        Ok(true) => {}
        Ok(false) => return verdict,
        Err(message) => {
            verdict.error(policy, message);
            return verdict;
        }
    }
    let mut budget = RUNTIME_BUDGET;
    let mut results = Vec::with_capacity(policy.validations.len());
    for validation in &policy.validations {
        match run(&validation.rule, &full, &variables, &mut budget) {
            Ok(result) => results.push(result),
            Err(OverBudget) => {
                verdict.error(policy, OUT_OF_BUDGET.to_owned());
                return verdict;
            }
        }
    }
    let mut plain = base;
    plain.bind("variables", Val::Map(Map::Lazy(variables.clone())));
    for (index, (validation, result)) in policy.validations.iter().zip(results).enumerate() {
        match result {
            Err(message) => verdict.error_at(policy, message, index),
            Ok(Val::Bool(true)) => {}
            Ok(_) => match message(validation, &plain, &variables, &mut budget) {
                Ok(message) => {
                    verdict.objections.push(Objection { message, reason: validation.reason.clone(), index });
                }
                Err(OverBudget) => {
                    verdict.error_at(policy, format!("failed messageExpression: {OUT_OF_BUDGET}"), index);
                }
            },
        }
    }
    annotations(policy, &plain, &variables, &mut verdict);
    verdict
}

impl Verdict {
    /// What could not be decided, as the policy's failure policy has it.
    fn error(&mut self, policy: &Policy, message: String) {
        self.error_at(policy, message, 0);
    }

    fn error_at(&mut self, policy: &Policy, message: String, index: usize) {
        if !policy.fails_open {
            self.objections.push(Objection { message, reason: String::new(), index });
        }
    }
}

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// Bytes of an audit annotation's value.
const LONGEST_ANNOTATION: usize = 10 * 1024;

/// All evaluations together cost too much.
struct OverBudget;

fn activation<'a>(case: &Case<'a>) -> Activation<'a> {
    Activation::new()
        .with("object", Val::of(case.object))
        .with("oldObject", Val::of(case.old))
        .with("request", Val::of(case.request))
        .with("namespaceObject", Val::of(case.namespace))
        .with("params", Val::of(case.params))
}

/// Evaluates an expression within what is left of the budget.
fn run<'a>(
    expression: &Expression,
    activation: &Activation<'a>,
    variables: &Variables<'a>,
    budget: &mut u64,
) -> Result<Result<Val<'a>, String>, OverBudget> {
    let program = match &expression.program {
        Ok(program) => program,
        Err(why) => return Ok(Err(format!("compilation error: {why}"))),
    };
    let done = program.eval(activation, PER_CALL_LIMIT);
    let cost = variables.take_cost().saturating_add(done.cost);
    *budget = budget.checked_sub(cost).ok_or(OverBudget)?;
    let failed = |why: EvalError| format!("expression '{}' resulted in error: {why}", expression.text);
    Ok(done.result.map_err(failed))
}

/// Whether the policy applies at all.
fn conditions<'a>(policy: &Policy, full: &Activation<'a>, variables: &Variables<'a>) -> Result<bool, String> {
    let mut budget = MATCH_CONDITIONS_BUDGET;
    let mut errors = Vec::new();
    for condition in &policy.conditions {
        match run(condition, full, variables, &mut budget) {
            Err(OverBudget) => return Err(OUT_OF_BUDGET.to_owned()),
            Ok(Ok(Val::Bool(false))) => return Ok(false),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => errors.push(error),
        }
    }
    match &errors[..] {
        [] => Ok(true),
        [only] => Err(only.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

/// What a refused client reads.
fn message<'a>(
    validation: &Validation,
    plain: &Activation<'a>,
    variables: &Variables<'a>,
    budget: &mut u64,
) -> Result<String, OverBudget> {
    if let Some(rule) = &validation.message_rule
        && let Ok(Val::String(text)) = run(rule, plain, variables, budget)?
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
fn annotations<'a>(policy: &Policy, plain: &Activation<'a>, variables: &Variables<'a>, verdict: &mut Verdict) {
    let mut budget = RUNTIME_BUDGET;
    for (key, value) in &policy.annotations {
        match run(value, plain, variables, &mut budget) {
            Err(OverBudget) => {
                *verdict = Verdict::default();
                return verdict.error(policy, OUT_OF_BUDGET.to_owned());
            }
            Ok(Err(message)) if !policy.fails_open => {
                verdict.refusals.push(Objection { message, reason: String::new(), index: 0 });
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
