//! How often files of the configuration were taken anew, or refused.

use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Counts by what was reloaded and whether it went well.
#[derive(Debug, Default)]
pub(crate) struct Reloads(Mutex<BTreeMap<(&'static str, bool), (u64, i64)>>);

impl Reloads {
    /// A changed file was taken, or not.
    pub(crate) fn record(&self, what: &'static str, well: bool) {
        let mut counts = self.0.lock();
        let (count, at) = counts.entry((what, well)).or_default();
        *count += 1;
        *at = jiff::Timestamp::now().as_second();
    }

    /// Its part of `/metrics`; nothing before the first reload.
    pub(crate) fn page(&self, out: &mut String) {
        let counts = self.0.lock();
        if counts.is_empty() {
            return;
        }
        let word = |well: bool| if well { "success" } else { "failure" };
        let (total, last) = ("kaji_config_reloads_total", "kaji_config_last_reload_timestamp_seconds");
        let _ = writeln!(out, "# HELP {total} Changed configuration files taken, or refused.\n# TYPE {total} counter");
        for ((what, well), (count, _)) in counts.iter() {
            let _ = writeln!(out, "{total}{{config=\"{what}\",status=\"{}\"}} {count}", word(*well));
        }
        let _ = writeln!(out, "# HELP {last} When that last was.\n# TYPE {last} gauge");
        for ((what, well), (_, at)) in counts.iter() {
            let _ = writeln!(out, "{last}{{config=\"{what}\",status=\"{}\"}} {at}", word(*well));
        }
    }
}
