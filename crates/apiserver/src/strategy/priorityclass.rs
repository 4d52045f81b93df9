//! Priority classes.

use super::Strategy;
use crate::validation::{At, immutable, one_of};
use kaji_api::Value;
use kaji_api::field::Errors;

/// Priority classes.
pub struct PriorityClasses;

/// The classes of the system and their values.
const SYSTEM: &[(&str, i64)] = &[("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];
const HIGHEST: i64 = 1_000_000_000;

impl Strategy for PriorityClasses {
    fn validate(&self, obj: &Value, e: &mut Errors) {
        let (name, value) = (At::root(obj).fields(&["metadata", "name"]), At::root(obj).field("value"));
        if name.str().starts_with("system-") {
            if let Err(why) = known(name.str(), value.i64(), obj["globalDefault"].bool()) {
                let text = format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: {why}"
                );
                name.forbidden(e, &text);
            }
        } else if value.i64() > HIGHEST {
            value.forbidden(e, &format!("maximum allowed value of a user defined priority is {HIGHEST}"));
        }
        if At::root(obj).field("preemptionPolicy").is_set() {
            one_of(At::root(obj).field("preemptionPolicy"), e, &["PreemptLowerPriority", "Never"]);
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        let at = At::root(obj);
        if at.field("value").i64() != At::root(old).field("value").i64() {
            at.field("value").forbidden(e, "may not be changed in an update.");
        }
        immutable(at.field("preemptionPolicy"), At::root(old).field("preemptionPolicy"), e);
    }

    fn has_generation(&self) -> bool {
        true
    }

    fn counts_as_change(&self, _: &Value, _: &Value) -> bool {
        false
    }
}

fn known(name: &str, value: i64, default: bool) -> Result<(), String> {
    let Some((_, expected)) = SYSTEM.iter().find(|(n, _)| *n == name) else {
        return Err(format!("{name} is not a known system priority class"));
    };
    if value != *expected {
        return Err(format!("value of {name} PriorityClass must be {expected}"));
    }
    if default {
        return Err(format!("globalDefault of {name} PriorityClass must be false"));
    }
    Ok(())
}
