//! Who is not there, in upstream's numbers.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Gauges and counters of remote registrations.
#[derive(Default)]
pub(crate) struct Metrics {
    unavailable: Mutex<BTreeMap<String, bool>>,
    falls: Mutex<BTreeMap<(String, String), u64>>,
}

impl Metrics {
    /// Whether a registration is available now.
    pub(super) fn set(&self, name: &str, available: bool) {
        self.unavailable.lock().insert(name.to_owned(), !available);
    }

    /// A registration is there no more.
    pub(super) fn fell(&self, name: &str, reason: &str) {
        *self.falls.lock().entry((name.to_owned(), reason.to_owned())).or_default() += 1;
    }

    /// A registration is gone.
    pub(super) fn forget(&self, name: &str) {
        self.unavailable.lock().remove(name);
    }

    /// The metrics' part of the page.
    pub(crate) fn page(&self, out: &mut String) {
        let name = "aggregator_unavailable_apiservice";
        let _ = writeln!(out, "# HELP {name} Remote API services that do not answer.\n# TYPE {name} gauge");
        for (service, unavailable) in self.unavailable.lock().iter() {
            let _ = writeln!(out, "{name}{{name=\"{service}\"}} {}", u8::from(*unavailable));
        }
        let name = "aggregator_unavailable_apiservice_total";
        let _ = writeln!(out, "# HELP {name} Times that API services became unavailable, by reason.");
        let _ = writeln!(out, "# TYPE {name} counter");
        for ((service, reason), count) in self.falls.lock().iter() {
            let _ = writeln!(out, "{name}{{name=\"{service}\",reason=\"{reason}\"}} {count}");
        }
    }
}
