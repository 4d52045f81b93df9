//! Match conditions: expressions that all must hold for a policy or webhook to be asked (apiserver
//! `webhook/matchconditions`).

use super::{Expression, OUT_OF_BUDGET, OverBudget, View, aggregate};
use kaji_api::Value;
use kaji_cel::{Env, MATCH_CONDITIONS_BUDGET, Type, Val};

/// Compiles `matchConditions`.
pub(in crate::admission) fn compile(env: &Env, list: &Value) -> Vec<Expression> {
    let one = |condition: &Value| Expression::new(env, condition["expression"].str(), &[Type::Bool]);
    list.items().iter().map(one).collect()
}

/// Whether all hold. One that does not hold decides, whatever went wrong with others; the error is what did.
pub(in crate::admission) fn hold(conditions: &[Expression], view: &View<'_>) -> Result<bool, String> {
    let mut budget = MATCH_CONDITIONS_BUDGET;
    let mut errors = Vec::new();
    for condition in conditions {
        match view.run(condition, &mut budget) {
            Err(OverBudget) => return Err(OUT_OF_BUDGET.to_owned()),
            Ok(Ok(Val::Bool(false))) => return Ok(false),
            Ok(Ok(_)) => {}
            Ok(Err(error)) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(true) } else { Err(aggregate(errors)) }
}
