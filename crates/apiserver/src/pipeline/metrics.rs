//! `/metrics`: a small registry of our own, with upstream's names.

mod buckets;
mod observed;
mod requests;

pub(crate) use buckets::{Buckets, write_histogram};
pub(crate) use observed::Events;

use crate::context::RequestInfo;
use crate::server::Api;
use crate::server::body::Body;
use kaji_api::ResourceDef;
use observed::Observed;
use parking_lot::Mutex;
use requests::Requests;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Counts of requests.
pub(crate) struct Metrics {
    started: Instant,
    requests: Requests,
    pub(crate) observed: Observed,
    reading: AtomicI64,
    writing: AtomicI64,
    watching: Mutex<BTreeMap<&'static str, (&'static str, i64)>>,
    /// Of admission webhooks.
    pub(crate) webhooks: crate::admission::webhook::Metrics,
    /// Of admission policies.
    pub(crate) policies: crate::admission::policy::Metrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Metrics {
            started: Instant::now(),
            requests: Requests::default(),
            observed: Observed::default(),
            reading: AtomicI64::new(0),
            writing: AtomicI64::new(0),
            watching: Mutex::default(),
            webhooks: crate::admission::webhook::Metrics::default(),
            policies: crate::admission::policy::Metrics::default(),
        }
    }
}

/// Counts a request as running until dropped.
pub(crate) struct Running<'a>(Option<&'a AtomicI64>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(gauge) = self.0 {
            gauge.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Counts a watch until dropped.
pub(crate) struct WatchGuard {
    api: Api,
    prefix: &'static str,
}

impl WatchGuard {
    /// A watch of a resource begins.
    pub(crate) fn new(api: &Api, row: &ResourceDef) -> Self {
        api.metrics().watching.lock().entry(row.prefix).or_insert((row.plural, 0)).1 += 1;
        WatchGuard { api: api.clone(), prefix: row.prefix }
    }
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        if let Some((_, count)) = self.api.metrics().watching.lock().get_mut(self.prefix) {
            *count -= 1;
        }
    }
}

impl Metrics {
    /// A request begins.
    pub(crate) fn begin(&self, info: &RequestInfo) -> Running<'_> {
        let gauge = match info.verb.as_str() {
            _ if super::info::is_long_running(info) => None,
            "get" | "list" => Some(&self.reading),
            _ => Some(&self.writing),
        };
        if let Some(gauge) = gauge {
            gauge.fetch_add(1, Ordering::Relaxed);
        }
        Running(gauge)
    }

    /// A request was answered.
    pub(crate) fn record(&self, info: &RequestInfo, code: u16, took: Duration, queued: Duration, body: &Body) {
        self.requests.record(info, code, took, queued, body);
    }

    /// The whole page.
    pub(crate) fn page(&self, api: &Api) -> String {
        let mut out = String::with_capacity(64 << 10);
        self.requests.page(&mut out);
        self.inflight_page(&mut out);
        self.webhooks.page(&mut out);
        self.policies.page(&mut out);
        api.aggregation().metrics.page(&mut out);
        storage_page(api, &mut out);
        self.observed.page(&mut out);
        if let Some(fairness) = api.fairness() {
            crate::fairness::metrics(fairness, &mut out);
        }
        api.caches().sealer().page(|| api.caches().usage(), &mut out);
        api.reloads().page(&mut out);
        if let Some(audit) = api.audit() {
            audit.page(&mut out);
        }
        if let Some(tracer) = api.tracer() {
            tracer.page(&mut out);
        }
        gates_page(api, &mut out);
        process_page(self.started, &mut out);
        out
    }

    fn inflight_page(&self, out: &mut String) {
        head(out, "apiserver_current_inflight_requests", "gauge", "Requests at work, by kind.");
        for (kind, gauge) in [("readOnly", &self.reading), ("mutating", &self.writing)] {
            let now = gauge.load(Ordering::Relaxed);
            let _ = writeln!(out, "apiserver_current_inflight_requests{{request_kind=\"{kind}\"}} {now}");
        }
        head(out, "apiserver_longrunning_requests", "gauge", "Watches running, by resource.");
        for (resource, count) in self.watching.lock().values() {
            let _ = writeln!(out, "apiserver_longrunning_requests{{resource=\"{resource}\",verb=\"WATCH\"}} {count}");
        }
    }
}

/// The lines before those of a metric.
pub(crate) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn storage_page(api: &Api, out: &mut String) {
    head(out, "apiserver_storage_objects", "gauge", "Stored objects by resource.");
    let mut counts: Vec<(String, usize)> =
        api.caches().all().iter().map(|c| (c.row.group_resource().to_string(), c.len())).collect();
    counts.sort();
    for (resource, count) in counts {
        let _ = writeln!(out, "apiserver_storage_objects{{resource=\"{resource}\"}} {count}");
    }
    resource_page(api, out);
    head(out, "apiserver_watch_cache_resource_version", "gauge", "The revision that the watch caches have reached.");
    let _ = writeln!(out, "apiserver_watch_cache_resource_version {}", *api.caches().applied().borrow());
}

/// The newer names of the same, and bytes.
fn resource_page(api: &Api, out: &mut String) {
    let mut sizes: Vec<(String, (usize, usize))> = api
        .caches()
        .all()
        .iter()
        .map(|c| (format!("group=\"{}\",resource=\"{}\"", c.row.group, c.row.plural), c.size()))
        .collect();
    sizes.sort();
    head(out, "apiserver_resource_objects", "gauge", "Stored objects by resource.");
    for (labels, (objects, _)) in &sizes {
        let _ = writeln!(out, "apiserver_resource_objects{{{labels}}} {objects}");
    }
    head(out, "apiserver_resource_size_estimate_bytes", "gauge", "Bytes of these objects.");
    for (labels, (_, bytes)) in &sizes {
        let _ = writeln!(out, "apiserver_resource_size_estimate_bytes{{{labels}}} {bytes}");
    }
}

/// The state of every feature gate, as upstream shows it.
fn gates_page(api: &Api, out: &mut String) {
    let name = "kubernetes_feature_enabled";
    head(out, name, "gauge", "Feature gates: 1 where they are on.");
    for (gate, on) in api.config().gates.states() {
        let stage = gate.stage.label();
        let _ = writeln!(out, "{name}{{name=\"{}\",stage=\"{stage}\"}} {}", gate.name, u8::from(on));
    }
}

fn process_page(started: Instant, out: &mut String) {
    let now = jiff::Timestamp::now().as_millisecond();
    let since = now - i64::try_from(started.elapsed().as_millis()).unwrap_or(0);
    head(out, "process_start_time_seconds", "gauge", "When the process started, in seconds since 1970.");
    let _ = writeln!(out, "process_start_time_seconds {}.{:03}", since / 1000, since % 1000);
    let Some(stat) = std::fs::read_to_string("/proc/self/stat").ok() else { return };
    // Behind the name, which may hold anything: state is field 3 of proc(5).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let number = |field: usize| fields.get(field - 3).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    head(out, "process_cpu_seconds_total", "counter", "CPU time, user and system.");
    let ticks = number(14) + number(15);
    let _ = writeln!(out, "process_cpu_seconds_total {}.{:02}", ticks / 100, ticks % 100);
    head(out, "process_resident_memory_bytes", "gauge", "Memory held.");
    let _ = writeln!(out, "process_resident_memory_bytes {}", number(24) * 4096);
    head(out, "process_virtual_memory_bytes", "gauge", "Address space.");
    let _ = writeln!(out, "process_virtual_memory_bytes {}", number(23));
    head(out, "process_open_fds", "gauge", "Open files.");
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let _ = writeln!(out, "process_open_fds {open}");
}
