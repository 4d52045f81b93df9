//! Measurements of the parts behind the pipeline: admission, store, watches.

use super::{Buckets, head};
use crate::admission::Operation;
use crate::row::Row;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const ADMISSION: &[f64] = &[0.005, 0.025, 0.1, 0.5, 1.0, 2.5];
const STORE: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
];
const EVENT: &[f64] = &[1024.0, 2048.0, 4096.0, 8192.0, 16_384.0, 32_768.0, 65_536.0, 131_072.0];

/// `admit` or `validate`, operation, refused.
type Step = (&'static str, &'static str, bool);

/// The measurements.
#[derive(Default)]
pub(crate) struct Observed {
    admission: Mutex<BTreeMap<Step, Arc<Buckets>>>,
    /// By operation and prefix.
    store: Mutex<BTreeMap<(&'static str, &'static str), (Row, Arc<Buckets>)>>,
    watches: Mutex<BTreeMap<&'static str, (Row, Arc<Events>)>>,
}

/// Events sent to the watches of a resource.
pub(crate) struct Events {
    count: AtomicU64,
    sizes: Buckets,
}

impl Events {
    /// One was sent.
    pub(crate) fn sent(&self, bytes: usize) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.sizes.observe(u32::try_from(bytes).unwrap_or(u32::MAX).into());
    }
}

impl Observed {
    /// All plugins of a step have decided.
    pub(crate) fn admitted(&self, mutating: bool, operation: Operation, took: Duration, ok: bool) {
        let step = (if mutating { "admit" } else { "validate" }, word(operation), !ok);
        let new = || Arc::new(Buckets::new(ADMISSION));
        let buckets = self.admission.lock().entry(step).or_insert_with(new).clone();
        buckets.observe(took.as_secs_f64());
    }

    /// The store answered.
    pub(crate) fn stored(&self, operation: &'static str, row: &Row, took: Duration) {
        let new = || (row.clone(), Arc::new(Buckets::new(STORE)));
        let buckets = self.store.lock().entry((operation, row.prefix)).or_insert_with(new).1.clone();
        buckets.observe(took.as_secs_f64());
    }

    /// Where a watch counts what it sends.
    pub(crate) fn events(&self, row: &Row) -> Arc<Events> {
        let new = || (row.clone(), Arc::new(Events { count: AtomicU64::new(0), sizes: Buckets::new(EVENT) }));
        self.watches.lock().entry(row.prefix).or_insert_with(new).1.clone()
    }

    /// Their part of the page.
    pub(super) fn page(&self, out: &mut String) {
        self.admission_page(out);
        self.store_page(out);
        self.events_page(out);
    }

    fn admission_page(&self, out: &mut String) {
        let name = "apiserver_admission_step_admission_duration_seconds";
        head(out, name, "histogram", "Time of all admission plugins of a step.");
        for ((kind, operation, refused), buckets) in self.admission.lock().iter() {
            let labels = format!("operation=\"{operation}\",rejected=\"{refused}\",type=\"{kind}\"");
            buckets.write(out, name, &labels);
        }
    }

    fn store_page(&self, out: &mut String) {
        let name = "etcd_request_duration_seconds";
        head(out, name, "histogram", "Seconds until the store had done a write.");
        for ((operation, _), (row, buckets)) in self.store.lock().iter() {
            let (group, resource) = (row.group, row.plural);
            let labels = format!("group=\"{group}\",operation=\"{operation}\",resource=\"{resource}\"");
            buckets.write(out, name, &labels);
        }
    }

    fn events_page(&self, out: &mut String) {
        let watches = self.watches.lock();
        let labels =
            |row: &Row| format!("group=\"{}\",resource=\"{}\",version=\"{}\"", row.group, row.plural, row.version);
        head(out, "apiserver_watch_events_total", "counter", "Events sent to watches.");
        for (row, events) in watches.values() {
            let count = events.count.load(Ordering::Relaxed);
            let _ = writeln!(out, "apiserver_watch_events_total{{{}}} {count}", labels(row));
        }
        let name = "apiserver_watch_events_sizes";
        head(out, name, "histogram", "Bytes of these events.");
        watches.values().for_each(|(row, events)| events.sizes.write(out, name, &labels(row)));
    }
}

fn word(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}
