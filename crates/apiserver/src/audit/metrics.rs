//! Counters of auditing, by upstream's names.

use super::event::{Event, Level};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Parts that may lose events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// The queue before a backend.
    Buffered,
    /// The file.
    Log,
    /// The limit on size.
    Truncate,
    /// The receiver.
    Webhook,
}

impl Part {
    const ALL: [Part; 4] = [Part::Buffered, Part::Log, Part::Truncate, Part::Webhook];

    fn name(self) -> &'static str {
        match self {
            Part::Buffered => "buffered",
            Part::Log => "log",
            Part::Truncate => "truncate",
            Part::Webhook => "webhook",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Metrics {
    events: AtomicU64,
    levels: [AtomicU64; Level::ALL.len()],
    errors: [AtomicU64; Part::ALL.len()],
    rejected: AtomicU64,
}

impl Metrics {
    /// An event was made.
    pub(super) fn event(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    /// A request was looked up in the policy.
    pub(super) fn level(&self, level: Level) {
        self.levels[level as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A request was refused since its event could not be kept.
    pub(super) fn rejected(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
    }

    /// Events were lost: counted, and told in the server's own log so that something of them remains.
    pub(super) fn lost(&self, part: Part, why: &str, events: &[Arc<Event>]) {
        self.errors[part as usize].fetch_add(events.len() as u64, Ordering::Relaxed);
        let told: Vec<String> = events.iter().take(10).map(|e| e.to_legacy()).collect();
        let (plugin, count) = (part.name(), events.len());
        tracing::error!(plugin, count, why, events = told.join("\n"), "audit events were not recorded");
    }

    /// Their part of `/metrics`.
    pub(super) fn page(&self, out: &mut String) {
        let mut counter = |name: &str, help: &str, series: &mut dyn Iterator<Item = (String, &AtomicU64)>| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for (labels, count) in series {
                let _ = writeln!(out, "{name}{labels} {}", count.load(Ordering::Relaxed));
            }
        };
        let (plain, one) = (|c| std::iter::once((String::new(), c)), "apiserver_audit");
        counter(
            &format!("{one}_event_total"),
            "Audit events made and given to the backends.",
            &mut plain(&self.events),
        );
        let errors = Part::ALL.into_iter().zip(&self.errors);
        let mut errors = errors.map(|(part, count)| (format!("{{plugin=\"{}\"}}", part.name()), count));
        counter(&format!("{one}_error_total"), "Audit events that were not recorded, by who lost them.", &mut errors);
        let levels = Level::ALL.into_iter().zip(&self.levels);
        let mut levels = levels.map(|(level, count)| (format!("{{level=\"{}\"}}", level.name()), count));
        counter(&format!("{one}_level_total"), "Requests by the level that the policy gives them.", &mut levels);
        let help = "Requests refused since their audit event could not be stored.";
        counter(&format!("{one}_requests_rejected_total"), help, &mut plain(&self.rejected));
    }
}
