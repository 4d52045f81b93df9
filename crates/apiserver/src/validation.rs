//! Validation shared by strategies: what upstream keeps in `pkg/apis/*/validation`.
//!
//! Checks walk the object through [`At`], a value together with its place, so that every error names its
//! field without any path being built for objects that are fine.

mod at;
pub(crate) mod claim;
pub(crate) mod container;
pub(crate) mod cron;
pub(crate) mod diff;
pub(crate) mod env;
pub(crate) mod forms;
pub(crate) mod ip;
pub(crate) mod job;
pub(crate) mod job_status;
pub(crate) mod labels;
pub(crate) mod metadata;
pub(crate) mod names;
pub(crate) mod pod;
pub(crate) mod pod_status;
pub(crate) mod pod_update;
pub(crate) mod probe;
pub(crate) mod qos;
pub(crate) mod resources;
pub(crate) mod scheduling;
pub(crate) mod security;
pub(crate) mod service;
pub(crate) mod template;
pub(crate) mod volume;
pub(crate) mod warn;
pub(crate) mod webhook;
pub(crate) mod windows;
pub(crate) mod workload;

pub(crate) use at::At;

use kaji_api::field::Errors;

/// The text for what may not change.
pub(crate) const IMMUTABLE: &str = "field is immutable";

/// `must be between lo and hi, inclusive`.
pub(crate) fn range_text(lo: i64, hi: i64) -> String {
    format!("must be between {lo} and {hi}, inclusive")
}

/// An absent number is zero; it may not be negative.
pub(crate) fn nonnegative(at: At<'_>, e: &mut Errors) {
    if at.i64() < 0 {
        at.invalid_as(e, at.i64(), "must be greater than or equal to 0");
    }
}

/// An absent number is zero; it must be above.
pub(crate) fn positive(at: At<'_>, e: &mut Errors) {
    if at.i64() <= 0 {
        at.invalid_as(e, at.i64(), "must be greater than zero");
    }
}

/// A port number from 1 to 65535.
pub(crate) fn port_number(at: At<'_>, e: &mut Errors) {
    if !(1..=65535).contains(&at.i64()) {
        at.invalid_as(e, at.i64(), &range_text(1, 65535));
    }
}

/// A port by number or by name; absent is number 0.
pub(crate) fn port(at: At<'_>, e: &mut Errors) {
    if at.as_str().is_some() { at.check(e, forms::port_name) } else { port_number(at, e) }
}

/// `Forbidden`/`Invalid … field is immutable` where the new value differs.
pub(crate) fn immutable(new: At<'_>, old: At<'_>, e: &mut Errors) {
    if new.v != old.v {
        new.invalid(e, IMMUTABLE);
    }
}

/// One of a closed set; an empty string is "required".
pub(crate) fn one_of(at: At<'_>, e: &mut Errors, supported: &[&str]) {
    match at.str() {
        "" => at.required(e, ""),
        s if supported.contains(&s) => {}
        _ => at.not_supported(e, supported),
    }
}

/// One of a closed set, where set at all.
pub(crate) fn one_of_if_set(at: At<'_>, e: &mut Errors, supported: &[&str]) {
    if at.is_set() && !supported.contains(&at.str()) {
        at.not_supported(e, supported);
    }
}
