//! Programs: compiled expressions.

use crate::activation::Activation;
use crate::check::Checked;
use crate::cost::{self, CostRange};
use crate::decl::DeclType;
use crate::env::Env;
use crate::eval;
use crate::plan::{Plan, plan};
use crate::stack;
use crate::types::Type;
use crate::value::{EvalError, Val};
use std::sync::Arc;

/// A compiled expression; evaluate it as often as you like, from as many threads as you like.
#[derive(Debug)]
pub struct Program {
    plan: Plan,
    checked: Checked,
    variables: Vec<(String, Arc<DeclType>)>,
}

/// What an evaluation came to.
#[derive(Debug)]
pub struct Evaluation<'a> {
    /// The value, or why there is none.
    pub result: Result<Val<'a>, EvalError>,
    /// What it cost.
    pub cost: u64,
}

/// Plans that nest deeper run on a stack of their own.
const DEEP: usize = 100;

impl Program {
    pub(crate) fn new(checked: Checked, env: &Env) -> Result<Self, EvalError> {
        let plan = plan(&checked)?;
        let mut used = env.variables().to_vec();
        used.retain(|(name, _)| checked.uses(name));
        Ok(Program { plan, checked, variables: used })
    }

    /// The type of its value.
    pub fn output(&self) -> &Type {
        &self.checked.types[self.checked.tree.root.id]
    }

    /// Whether it reads the variable.
    pub fn uses(&self, variable: &str) -> bool {
        self.checked.uses(variable)
    }

    /// What it may cost at least and at most, from the sizes that the types of variables allow.
    pub fn estimate(&self) -> CostRange {
        self.with_room(|| cost::estimate(&self.checked, &self.variables))
    }

    /// Evaluates. Ends with [`EvalError::OverBudget`] once the cost exceeds `limit`; upstream gives every call
    /// [`crate::PER_CALL_LIMIT`] and adds up what calls cost in a budget of its own.
    pub fn eval<'a>(&self, activation: &Activation<'a>, limit: u64) -> Evaluation<'a> {
        let (result, cost) = self.with_room(|| eval::run(&self.plan, activation, limit));
        Evaluation { result, cost }
    }

    fn with_room<T: Send>(&self, run: impl FnOnce() -> T + Send) -> T {
        if self.plan.depth <= DEEP { run() } else { stack::with_room(run) }
    }
}
