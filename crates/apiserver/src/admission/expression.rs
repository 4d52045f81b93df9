//! Expressions about a write, of policies and of webhooks (apiserver `admission/plugin/cel`).
//!
//! [`env`] declares what they may name, [`scene`] binds it to a write, [`variables`] works out those of a policy, and
//! [`permissions`] asks for what the user may do. [`conditions`] says whether a policy or webhook wants to see the write
//! at all. What a group of expressions may cost together is a budget that [`View::run`] takes from.

pub(super) mod conditions;
pub(crate) mod env;
mod permissions;
mod scene;
mod variables;

pub(super) use permissions::Permissions;
pub(super) use scene::{Objects, Scene, View};

use kaji_cel::{Env, Program, Type};

/// An expression as written, and what it compiles to.
pub(crate) struct Expression {
    pub(super) text: String,
    pub(crate) program: Result<Program, String>,
}

/// A variable of a policy: its name, and what it stands for.
pub(crate) type Variable = (String, Expression);

/// All evaluations together cost too much.
#[derive(Debug)]
pub(super) struct OverBudget;

/// What is said then.
pub(super) const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

impl Expression {
    /// Compiles what must come to one of these types; to any, where none is given.
    pub(crate) fn new(env: &Env, text: &str, types: &[Type]) -> Self {
        Expression { text: text.to_owned(), program: compile(env, text, types) }
    }
}

/// Compiles an expression that must come to one of these types; the error is upstream's.
pub(crate) fn compile(env: &Env, text: &str, types: &[Type]) -> Result<Program, String> {
    let program = env.compile(text).map_err(|error| error.to_string())?;
    let got = program.output();
    if types.is_empty() || types.contains(got) {
        return Ok(program);
    }
    let names: Vec<String> = types.iter().map(written).collect();
    match &names[..] {
        [only] => Err(format!("must evaluate to {only} but got {}", written(got))),
        names => Err(format!("must evaluate to one of [{}] but got {}", names.join(" "), written(got))),
    }
}

/// A type as these messages have it.
fn written(ty: &Type) -> String {
    match ty {
        Type::Null => "null_type".to_owned(),
        other => other.to_string(),
    }
}

/// Errors as one text, each of them once (apimachinery `util/errors`).
pub(super) fn aggregate(mut errors: Vec<String>) -> String {
    let mut seen: Vec<String> = Vec::with_capacity(errors.len());
    errors.retain(|error| {
        let is_new = !seen.contains(error);
        if is_new {
            seen.push(error.clone());
        }
        is_new
    });
    match &errors[..] {
        [only] => only.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}
