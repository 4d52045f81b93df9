//! Leases and candidates for them.

use super::Strategy;
use crate::validation::{At, forms, immutable};
use kaji_api::field::Errors;
use kaji_api::{Value, names};

/// Leases.
pub struct Leases;

/// Candidates for leases.
pub struct LeaseCandidates;

impl Strategy for Leases {
    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        let duration = spec.field("leaseDurationSeconds");
        if duration.is_set() && duration.i64() <= 0 {
            duration.invalid(e, "must be greater than 0");
        }
        crate::validation::nonnegative(spec.field("leaseTransitions"), e);
        if spec.field("strategy").is_set() {
            strategy(spec.field("strategy"), e);
        }
        if !spec["preferredHolder"].str().is_empty() && spec["strategy"].str().is_empty() {
            spec.field("preferredHolder").forbidden(e, "may only be specified if `strategy` is defined");
        }
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}

fn strategy(at: At<'_>, e: &mut Errors) {
    let at = at.field("strategy").with(at.v);
    if at.str().contains('/') {
        at.check(e, names::qualified_name);
    } else if at.str() != "OldestEmulationVersion" {
        at.not_supported(e, &["OldestEmulationVersion"]);
    }
}

impl Strategy for LeaseCandidates {
    fn validate(&self, obj: &Value, e: &mut Errors) {
        let spec = At::root(obj).field("spec");
        spec.field("leaseName").need(e);
        for field in ["emulationVersion", "binaryVersion"] {
            let at = spec.field(field);
            if !at.str().is_empty() && !is_version(at.str()) {
                at.invalid(e, "must be a valid semantic version");
            }
        }
        spec.field("binaryVersion").need(e);
        let kind = spec.field("strategy");
        if kind.str().is_empty() {
            return kind.required(e, "");
        }
        if kind.str() == "OldestEmulationVersion" && spec["emulationVersion"].str().is_empty() {
            let text = "must be specified when `strategy` is 'OldestEmulationVersion'";
            spec.field("emulationVersion").required(e, text);
        }
        strategy(kind, e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        self.validate(obj, e);
        let path = ["spec", "leaseName"];
        immutable(At::root(obj).fields(&path), At::root(old).fields(&path), e);
    }

    fn name_check(&self) -> fn(&str) -> Vec<String> {
        forms::config_key
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}

fn is_version(s: &str) -> bool {
    let core = s.split(['-', '+']).next().unwrap_or_default();
    let number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) && (n == "0" || !n.starts_with('0'));
    core.split('.').count() == 3 && core.split('.').all(number)
}
