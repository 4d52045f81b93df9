//! `variables`: each is worked out when an expression asks for it, and once.

use super::Variable;
use kaji_cel::{Activation, EvalError, Fields, Map, PER_CALL_LIMIT, Val};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// The variables of a policy for one write.
pub(super) struct Variables<'a> {
    all: &'a [Variable],
    base: Activation<'a>,
    values: Vec<OnceLock<Result<Val<'a>, EvalError>>>,
    /// What working them out has cost since somebody last asked.
    cost: AtomicU64,
    this: Weak<Variables<'a>>,
}

impl<'a> Variables<'a> {
    /// Variables that see what the activation binds, and each other.
    pub(super) fn new(all: &'a [Variable], base: Activation<'a>) -> Arc<Self> {
        Arc::new_cyclic(|this| Variables {
            all,
            base,
            values: all.iter().map(|_| OnceLock::new()).collect(),
            cost: AtomicU64::new(0),
            this: this.clone(),
        })
    }

    /// Costs since the last call.
    pub(super) fn take_cost(&self) -> u64 {
        self.cost.swap(0, Ordering::Relaxed)
    }

    fn work_out(&self, at: usize) -> Result<Val<'a>, EvalError> {
        let (name, expression) = &self.all[at];
        let program = match &expression.program {
            Ok(program) => program,
            Err(why) => {
                return Err(EvalError::Failed(format!("composited variable {name:?} fails to compile: {why}")));
            }
        };
        let mut activation = self.base.clone();
        if let Some(this) = self.this.upgrade() {
            activation.bind("variables", Val::Map(Map::Lazy(this)));
        }
        let done = program.eval(&activation, PER_CALL_LIMIT);
        self.cost.fetch_add(done.cost, Ordering::Relaxed);
        done.result.map_err(|why| EvalError::Failed(format!("composited variable {name:?} fails to evaluate: {why}")))
    }
}

impl<'a> Fields<'a> for Variables<'a> {
    fn get(&self, name: &str) -> Option<Result<Val<'a>, EvalError>> {
        let at = self.all.iter().position(|(n, _)| n == name)?;
        Some(self.values[at].get_or_init(|| self.work_out(at)).clone())
    }

    fn names(&self) -> Vec<String> {
        self.all.iter().map(|(name, _)| name.clone()).collect()
    }
}
