//! Controller revisions: what a workload's template was.

use super::Strategy;
use crate::validation::{At, immutable, nonnegative};
use kaji_api::Value;
use kaji_api::field::Errors;

/// Controller revisions.
pub struct ControllerRevisions;

impl Strategy for ControllerRevisions {
    fn validate(&self, obj: &Value, e: &mut Errors) {
        let at = At::root(obj);
        nonnegative(at.field("revision"), e);
        match &obj["data"] {
            Value::Null => at.field("data").required(e, "data is mandatory"),
            Value::Object(_) => {}
            _ => at.field("data").required(e, "data must be a valid JSON object"),
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        nonnegative(At::root(obj).field("revision"), e);
        immutable(At::root(obj).field("data"), At::root(old).field("data"), e);
    }
}
