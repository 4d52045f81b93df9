//! What policies do, in upstream's numbers (apiserver `policy/validating/metrics`, `policy/mutating/metrics`).

use crate::admission::expression::OUT_OF_BUDGET;
use crate::pipeline::metrics::{Buckets, head};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Upper bounds of `…_check_duration_seconds`.
const BOUNDS: &[f64] = &[0.000_000_5, 0.001, 0.01, 0.1, 1.0];

/// Of both kinds of policies.
#[derive(Default)]
pub(crate) struct Metrics {
    mutating: Checks,
    validating: Checks,
}

/// Checks by labels as they are printed.
#[derive(Default)]
struct Checks(Mutex<BTreeMap<String, Buckets>>);

/// A policy with its binding.
#[derive(Clone, Copy)]
pub(super) struct Who<'a> {
    pub(super) policy: &'a str,
    pub(super) binding: &'a str,
}

impl Metrics {
    /// A mutation was applied, or failed with an error.
    pub(super) fn mutated(&self, who: Who<'_>, took: Duration, error: Option<&str>) {
        let error = error.map_or("no_error", error_type);
        self.mutating.observe(format!("error_type=\"{error}\",{}", who.labels()), took);
    }

    /// A validation said no or failed; what follows is `allow`, `deny`, `audit` or `warn`.
    pub(super) fn judged(&self, who: Who<'_>, took: Duration, message: &str, action: &str) {
        let error = error_type(message);
        let labels = format!("enforcement_action=\"{action}\",error_type=\"{error}\",{}", who.labels());
        self.validating.observe(labels, took);
    }

    /// The metrics' part of the page.
    pub(crate) fn page(&self, out: &mut String) {
        self.mutating.page(out, "mutating", "mutations");
        self.validating.page(out, "validating", "validations");
    }
}

impl Who<'_> {
    fn labels(self) -> String {
        format!("policy=\"{}\",policy_binding=\"{}\"", self.policy, self.binding)
    }
}

impl Checks {
    fn observe(&self, labels: String, took: Duration) {
        self.0.lock().entry(labels).or_insert_with(|| Buckets::new(BOUNDS)).observe(took.as_secs_f64());
    }

    fn page(&self, out: &mut String, kind: &str, what: &str) {
        let checks = self.0.lock();
        let name = format!("apiserver_{kind}_admission_policy_check_total");
        head(out, &name, "counter", &format!("Evaluations of {what} by policy and binding, and what they came to."));
        for (labels, buckets) in checks.iter() {
            let _ = writeln!(out, "{name}{{{labels}}} {}", buckets.count());
        }
        let name = format!("apiserver_{kind}_admission_policy_check_duration_seconds");
        head(out, &name, "histogram", &format!("Seconds that {what} took, by policy and binding."));
        checks.iter().for_each(|(labels, buckets)| buckets.write(out, &name, labels));
    }
}

/// As upstream tells the kinds of errors apart; whatever else a validation says is `invalid_error`, too.
fn error_type(message: &str) -> &'static str {
    match message {
        m if m.starts_with("compilation") => "compile_error",
        m if m.starts_with(OUT_OF_BUDGET) => "out_of_budget",
        _ => "invalid_error",
    }
}
