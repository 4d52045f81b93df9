//! What the specs and statuses of workloads share.

use super::{At, forms, nonnegative};
use kaji_api::Value;
use kaji_api::field::Errors;

/// A number or a percentage, not negative.
pub(crate) fn number_or_percent(at: At<'_>, e: &mut Errors) {
    if at.as_str().is_some() { at.check(e, forms::percent) } else { nonnegative(at, e) }
}

/// The number, or the number before `%`; 0 where there is none.
pub(crate) fn number_of(v: &Value) -> i64 {
    v.as_i64().or_else(|| v.str().strip_suffix('%').unwrap_or(v.str()).parse().ok()).unwrap_or_default()
}

/// Not above `100%`.
pub(crate) fn at_most_all(at: At<'_>, e: &mut Errors) {
    if at.str().ends_with('%') && forms::percent(at.str()).is_empty() && number_of(at.v) > 100 {
        at.invalid(e, "must not be greater than 100%");
    }
}

/// Counts in a status are not negative.
pub(crate) fn counts(status: At<'_>, fields: &[&'static str], e: &mut Errors) {
    for field in fields {
        nonnegative(status.field(field), e);
    }
}

/// A count in a status is not above another one.
pub(crate) fn not_above(status: At<'_>, field: &'static str, limit: &str, text: &str, e: &mut Errors) {
    let at = status.field(field);
    if at.i64() > status[limit].as_i64().unwrap_or_default() {
        at.invalid_as(e, at.i64(), text);
    }
}

/// Replica counts in a status agree with one another.
pub(crate) fn replicas(status: At<'_>, fields: &[&'static str], ready: &str, e: &mut Errors) {
    for field in fields {
        not_above(status, field, "replicas", "cannot be greater than status.replicas", e);
    }
    not_above(status, "availableReplicas", "readyReplicas", &format!("cannot be greater than {ready}"), e);
}

/// Collisions are only ever counted up.
pub(crate) fn collisions(status: At<'_>, old: &Value, e: &mut Errors) {
    let (at, was) = (status.field("collisionCount"), &old["collisionCount"]);
    if was.as_i64().is_some_and(|was| at.as_i64().is_none_or(|now| now < was)) {
        at.invalid_as(e, at.i64(), "cannot be decremented");
    }
}
