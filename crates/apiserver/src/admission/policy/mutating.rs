//! Letting mutating policies change a write: one after another, and perhaps once more.

mod mutation;

pub(crate) use mutation::{expression_field, expression_type};

use super::frame::{Compiled, Frame};
use super::metrics::Who;
use super::select::{Concerned, Misconfigured, concerned};
use super::source::Policies;
use crate::admission::Attributes;
use crate::admission::expression::{Objects, Permissions, Scene, conditions};
use crate::admission::webhook::choose::Facts;
use crate::admission::webhook::shown::{in_version, put, type_of};
use kaji_api::{Status, Value, value};
use mutation::{Failure, Mutation};
use std::sync::Arc;
use std::time::Instant;

/// A policy that may change objects.
pub(super) struct Policy {
    frame: Frame,
    mutations: Vec<Mutation>,
    /// Has another turn when others changed the object after it.
    reinvoke: bool,
}

/// What is told to who wrote.
struct Problem {
    message: String,
    /// None: the policy or binding is wrong.
    reason: Option<&'static str>,
}

impl Compiled for Policy {
    fn compile(policy: &Value) -> Self {
        let spec = &policy["spec"];
        let (frame, envs) = Frame::compile(policy);
        let env = envs.patches();
        Policy {
            frame,
            mutations: spec["mutations"].items().iter().filter_map(|m| Mutation::compile(&env, m)).collect(),
            reinvoke: spec["reinvocationPolicy"].str() == "IfNeeded",
        }
    }

    fn frame(&self) -> &Frame {
        &self.frame
    }
}

/// Applies every policy that the write concerns. Which those are is decided before the first of them changes it.
pub(super) async fn dispatch(policies: &Policies<Policy>, a: &mut Attributes<'_>) -> Result<(), Status> {
    let facts = Facts::default();
    let mut problems = Vec::new();
    let mut all = Vec::new();
    for bound in policies.iter() {
        for found in concerned(bound, &facts, a).await {
            match found {
                Ok(found) => all.push(found),
                Err(wrong) => problems.push(wrong.into()),
            }
        }
    }
    if !all.is_empty() {
        let second = a.rounds.is_second();
        a.rounds.policies.begin(second, a.object);
        let done = run(&all, a, &mut problems).await;
        a.rounds.policies.end(a.object);
        done?;
    }
    if problems.is_empty() { Ok(()) } else { Err(refusal(a, &problems)) }
}

async fn run(all: &[Concerned<'_, Policy>], a: &mut Attributes<'_>, problems: &mut Vec<Problem>) -> Result<(), Status> {
    let permissions = Permissions::new(a);
    let mut patched = false;
    for found in all {
        for params in &found.params {
            let invocation = Invocation { found, params, permissions: &permissions };
            patched |= invocation.run(a, problems).await?;
        }
    }
    if patched {
        a.rounds.policies.changed();
        a.rounds.want_another();
    }
    Ok(())
}

/// A policy through one of its bindings with one parameter.
struct Invocation<'f> {
    found: &'f Concerned<'f, Policy>,
    params: &'f Value,
    permissions: &'f Arc<Permissions>,
}

impl Invocation<'_> {
    fn who(&self) -> Who<'_> {
        Who { policy: &self.found.policy.frame.name, binding: &self.found.binding.name }
    }

    /// Whether a mutation was applied.
    async fn run(&self, a: &mut Attributes<'_>, problems: &mut Vec<Problem>) -> Result<bool, Status> {
        let (policy, who) = (self.found.policy, self.who());
        let fails_open = policy.frame.fails_open;
        let tell = |why: &str| {
            let problem = Problem { message: denied(who.policy, Some(who.binding), why), reason: Some("Invalid") };
            (!fails_open).then_some(problem)
        };
        match self.applies(a).await {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(why) => {
                a.api.metrics().webhooks.policy_condition_failed(who.policy, a.operation);
                problems.extend(tell(&why));
                return Ok(false);
            }
        }
        let key = self.key();
        if !a.rounds.policies.has(a.rounds.is_second(), &key) {
            return Ok(false);
        }
        let mut patched = false;
        // Some operations have nothing that could be changed.
        let mutations = if a.object.is_null() { &[][..] } else { &policy.mutations };
        for mutation in mutations {
            let begun = Instant::now();
            let outcome = self.patch(mutation, a).await;
            let metrics = &a.api.metrics().policies;
            match outcome {
                Ok(()) => {
                    metrics.mutated(who, begun.elapsed(), None);
                    patched = true;
                }
                Err(Failure::Policy(why)) => {
                    metrics.mutated(who, begun.elapsed(), Some(&why));
                    problems.extend(tell(&why));
                }
                Err(Failure::Fatal(status)) => {
                    metrics.mutated(who, begun.elapsed(), Some(&status.message));
                    return Err(status);
                }
            }
        }
        if policy.reinvoke {
            a.rounds.policies.call_again(key);
        }
        Ok(patched)
    }

    /// What the match conditions say.
    async fn applies(&self, a: &Attributes<'_>) -> Result<bool, String> {
        let frame = &self.found.policy.frame;
        if frame.conditions.is_empty() {
            return Ok(true);
        }
        let shown = |value| in_version(a, &self.found.row, value).map_err(|status| status.message);
        let (object, old) = (shown(a.object)?, shown(a.old)?);
        let objects = Objects { object: &object, old: &old, params: self.params };
        let scene = Scene::of_conditions(a, &self.found.row);
        let hold = || {
            let view = scene.view(objects, &frame.variables, Some(self.permissions));
            conditions::hold(&frame.conditions, &view)
        };
        self.permissions.settled(hold).await
    }

    /// Applies a mutation; variables are worked out anew, since they may look at what others changed.
    async fn patch(&self, mutation: &Mutation, a: &mut Attributes<'_>) -> Result<(), Failure> {
        let row = &self.found.row;
        let patched = {
            let (object, old) = (in_version(a, row, a.object)?, in_version(a, row, a.old)?);
            let objects = Objects { object: &object, old: &old, params: self.params };
            let (scene, ty) = (Scene::new(a, row), type_of(a, row)?);
            let apply = || {
                let view = scene.view(objects, &self.found.policy.frame.variables, Some(self.permissions));
                mutation.apply(&view, &object, ty)
            };
            self.permissions.settled(apply).await?
        };
        put(a, row, patched)?;
        Ok(())
    }

    /// Unique among all invocations for a write.
    fn key(&self) -> String {
        let Who { policy, binding } = self.who();
        format!("{policy}/{binding}/{}/{}", self.params.namespace(), self.params.name())
    }
}

fn denied(policy: &str, binding: Option<&str>, why: &str) -> String {
    match binding {
        Some(binding) => format!("policy '{policy}' with binding '{binding}' denied request: {why}"),
        None => format!("policy {} denied request: {why}", kaji_api::field::quoted(policy)),
    }
}

impl From<Misconfigured> for Problem {
    fn from(wrong: Misconfigured) -> Self {
        Problem { message: denied(&wrong.policy, wrong.binding.as_deref(), &wrong.message), reason: None }
    }
}

/// The refusal as the client gets it: the first problem, and all of them as causes.
fn refusal(a: &Attributes<'_>, problems: &[Problem]) -> Status {
    let mut status = a.forbidden("admission request denied by policy");
    if let Some(first) = problems.first() {
        status.message.clone_from(&first.message);
        if let Some(reason) = first.reason {
            status.reason = reason.into();
        }
    }
    let causes = problems.iter().map(|problem| value!({"message": (problem.message.as_str())}));
    status.details.set("causes", Value::Array(causes.collect()));
    status
}
