//! What webhooks do, in upstream's numbers (apiserver `admission/metrics`).

use crate::admission::Operation;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// Upper bounds of `apiserver_admission_webhook_admission_duration_seconds`.
const BOUNDS: [f64; 8] = [0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10.0, 25.0];
/// Webhooks answer with codes of their invention; those above count as one.
const MAX_CODE: u16 = 600;

/// The two kinds of webhooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Mutating,
    Validating,
}

impl Kind {
    /// The label `type`.
    fn label(self) -> &'static str {
        match self {
            Kind::Mutating => "admit",
            Kind::Validating => "validating",
        }
    }
}

#[derive(Default)]
struct Durations {
    buckets: [u64; BOUNDS.len()],
    sum: f64,
    count: u64,
}

/// Counts, by labels as they are printed.
#[derive(Default)]
pub(crate) struct Metrics {
    durations: Mutex<BTreeMap<String, Durations>>,
    requests: Mutex<BTreeMap<String, u64>>,
    rejections: Mutex<BTreeMap<String, u64>>,
    fail_open: Mutex<BTreeMap<String, u64>>,
    excluded: Mutex<BTreeMap<String, u64>>,
    condition_errors: Mutex<BTreeMap<String, u64>>,
}

impl Metrics {
    /// A call is over.
    pub(super) fn observe(&self, name: &str, kind: Kind, operation: &str, took: Duration, rejected: bool, code: u16) {
        let (kind, code) = (kind.label(), code.min(MAX_CODE));
        let labels = format!("name=\"{name}\",operation=\"{operation}\",rejected=\"{rejected}\",type=\"{kind}\"");
        let seconds = took.as_secs_f64();
        let mut durations = self.durations.lock();
        let series = durations.entry(labels).or_default();
        if let Some(at) = BOUNDS.iter().position(|bound| seconds <= *bound) {
            series.buckets[at] += 1;
        }
        series.sum += seconds;
        series.count += 1;
        drop(durations);
        count(
            &self.requests,
            format!(
                "code=\"{code}\",name=\"{name}\",operation=\"{operation}\",rejected=\"{rejected}\",type=\"{kind}\""
            ),
        );
    }

    /// A write is refused because of a webhook.
    pub(super) fn reject(&self, name: &str, kind: Kind, operation: &str, error: &str, code: u16) {
        let (kind, code) = (kind.label(), code.min(MAX_CODE));
        let labels = format!(
            "error_type=\"{error}\",name=\"{name}\",operation=\"{operation}\",rejection_code=\"{code}\",type=\"{kind}\""
        );
        count(&self.rejections, labels);
    }

    /// A write goes on without a webhook.
    pub(super) fn fail_open(&self, name: &str, kind: Kind) {
        count(&self.fail_open, format!("name=\"{name}\",type=\"{}\"", kind.label()));
    }

    /// A match condition says that a webhook is not concerned.
    pub(super) fn exclude(&self, name: &str, kind: Kind, operation: &str) {
        count(&self.excluded, condition_labels(name, kind, operation));
    }

    /// A match condition could not be evaluated.
    pub(super) fn condition_failed(&self, name: &str, kind: Kind, operation: &str) {
        count(&self.condition_errors, condition_labels(name, kind, operation));
    }

    /// A match condition of a policy could not be evaluated.
    pub(in crate::admission) fn policy_condition_failed(&self, name: &str, operation: Operation) {
        let operation = super::operation(operation);
        let labels = format!("kind=\"policy\",name=\"{name}\",operation=\"{operation}\",type=\"validate\"");
        count(&self.condition_errors, labels);
    }

    /// The metrics' part of the page.
    pub(crate) fn page(&self, out: &mut String) {
        let name = "apiserver_admission_webhook_admission_duration_seconds";
        head(out, name, "histogram", "Seconds that webhooks took, by name, operation and type.");
        for (labels, series) in self.durations.lock().iter() {
            let mut total = 0;
            for (bound, count) in BOUNDS.iter().zip(series.buckets) {
                total += count;
                let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {total}");
            }
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", series.count);
            let _ = writeln!(out, "{name}_sum{{{labels}}} {}\n{name}_count{{{labels}}} {}", series.sum, series.count);
        }
        for (name, help, counts) in [
            ("apiserver_admission_webhook_request_total", "Calls of webhooks.", &self.requests),
            ("apiserver_admission_webhook_rejection_count", "Writes refused because of a webhook.", &self.rejections),
            ("apiserver_admission_webhook_fail_open_count", "Writes that went on without a webhook.", &self.fail_open),
            (
                "apiserver_admission_match_condition_exclusions_total",
                "Calls that match conditions spared.",
                &self.excluded,
            ),
            (
                "apiserver_admission_match_condition_evaluation_errors_total",
                "Match conditions that could not be evaluated.",
                &self.condition_errors,
            ),
        ] {
            head(out, name, "counter", help);
            for (labels, count) in counts.lock().iter() {
                let _ = writeln!(out, "{name}{{{labels}}} {count}");
            }
        }
    }
}

fn condition_labels(name: &str, kind: Kind, operation: &str) -> String {
    format!("kind=\"webhook\",name=\"{name}\",operation=\"{operation}\",type=\"{}\"", kind.label())
}

fn count(counts: &Mutex<BTreeMap<String, u64>>, labels: String) {
    *counts.lock().entry(labels).or_default() += 1;
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}
