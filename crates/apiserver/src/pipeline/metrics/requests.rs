//! Requests answered: how many, how fast, how large.

use super::{Buckets, head};
use crate::context::RequestInfo;
use crate::server::body::Body;
use http_body::Body as _;
use kaji_api::ResourceDef;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of `apiserver_request_duration_seconds`.
const DURATIONS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0, 90.0, 120.0,
];
const SLI: &[f64] =
    &[0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0];
const SIZES: &[f64] = &[1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// The metrics of requests.
#[derive(Default)]
pub(super) struct Requests(Mutex<HashMap<Labels, Arc<Series>>>);

/// What requests are told apart by; nothing of clients' invention is among it, so there are few.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Labels {
    group: &'static str,
    resource: &'static str,
    scope: &'static str,
    subresource: &'static str,
    verb: &'static str,
    version: &'static str,
}

/// Dry runs are counted apart where upstream does.
struct Series {
    /// By code.
    answers: [Codes; 2],
    durations: [Buckets; 2],
    sli: Buckets,
    sizes: Buckets,
}

/// The usual code without a lock; few series know more than two.
#[derive(Default)]
struct Codes {
    ok: AtomicU64,
    others: Mutex<BTreeMap<u16, u64>>,
}

impl Requests {
    /// One was answered.
    pub(super) fn record(&self, info: &RequestInfo, code: u16, took: Duration, queued: Duration, body: &Body) {
        let new = || Arc::new(Series::default());
        let series = self.0.lock().entry(Labels::of(info)).or_insert_with(new).clone();
        let dry = usize::from(info.query.contains("dryRun=All"));
        series.answers[dry].count(code);
        if info.verb == "watch" {
            return;
        }
        series.durations[dry].observe(took.as_secs_f64());
        // What dashboards watch: time that the server can do something about, and sizes of what was read.
        series.sli.observe(took.saturating_sub(queued).as_secs_f64());
        if let (true, Some(bytes)) = (matches!(info.verb.as_str(), "get" | "list"), body.size_hint().exact()) {
            series.sizes.observe(u32::try_from(bytes).unwrap_or(u32::MAX).into());
        }
    }

    /// Their part of the page.
    pub(super) fn page(&self, out: &mut String) {
        let mut all: Vec<(Labels, Arc<Series>)> = self.0.lock().iter().map(|(l, s)| (*l, s.clone())).collect();
        all.sort_unstable_by_key(|(labels, _)| *labels);
        let dry_runs = || all.iter().flat_map(|(labels, series)| ["", "All"].map(|dry| (labels, dry, series)));
        let at = |dry: &str| usize::from(!dry.is_empty());
        head(out, "apiserver_request_total", "counter", "Requests by verb, resource and code.");
        for (labels, dry, series) in dry_runs() {
            for (code, count) in series.answers[at(dry)].all() {
                let _ = writeln!(out, "apiserver_request_total{{code=\"{code}\",{labels},dry_run=\"{dry}\"}} {count}");
            }
        }
        let write = |out: &mut String, name: &str, labels: &str, buckets: &Buckets| {
            if buckets.count() > 0 {
                buckets.write(out, name, labels);
            }
        };
        let name = "apiserver_request_duration_seconds";
        head(out, name, "histogram", "Seconds until the answer began, by verb and resource.");
        for (labels, dry, series) in dry_runs() {
            write(out, name, &format!("{labels},dry_run=\"{dry}\""), &series.durations[at(dry)]);
        }
        let name = "apiserver_request_sli_duration_seconds";
        head(out, name, "histogram", "The same, without the time waited for a seat.");
        all.iter().for_each(|(labels, series)| write(out, name, &labels.to_string(), &series.sli));
        let name = "apiserver_response_sizes";
        head(out, name, "histogram", "Bytes of answers to reading requests, before compression.");
        all.iter().for_each(|(labels, series)| write(out, name, &labels.to_string(), &series.sizes));
    }
}

impl Default for Series {
    fn default() -> Self {
        Series {
            answers: Default::default(),
            durations: [Buckets::new(DURATIONS), Buckets::new(DURATIONS)],
            sli: Buckets::new(SLI),
            sizes: Buckets::new(SIZES),
        }
    }
}

impl Codes {
    fn count(&self, code: u16) {
        match code {
            200 => drop(self.ok.fetch_add(1, Ordering::Relaxed)),
            other => *self.others.lock().entry(other).or_default() += 1,
        }
    }

    fn all(&self) -> BTreeMap<u16, u64> {
        let mut all = self.others.lock().clone();
        let ok = self.ok.load(Ordering::Relaxed);
        if ok > 0 {
            all.insert(200, ok);
        }
        all
    }
}

impl Labels {
    fn of(info: &RequestInfo) -> Self {
        let verb = match info.verb.as_str() {
            "create" => "POST",
            "update" => "PUT",
            "patch" => "PATCH",
            "delete" => "DELETE",
            "deletecollection" => "DELETECOLLECTION",
            "get" => "GET",
            "list" => "LIST",
            "watch" => "WATCH",
            "proxy" => "CONNECT",
            _ => "other",
        };
        let scope = match (info.is_resource, info.name.is_empty(), info.namespace.is_empty()) {
            (false, ..) => "",
            (true, false, _) => "resource",
            (true, true, false) => "namespace",
            (true, true, true) => "cluster",
        };
        let of = |def: &ResourceDef| {
            let subresource = def.subresource(&info.subresource).map_or("", |sub| sub.name);
            Labels { group: def.group, resource: def.plural, scope, subresource, verb, version: def.version }
        };
        info.built_in.map_or(Labels { group: "", resource: "", scope, subresource: "", verb, version: "" }, of)
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Labels { group, resource, scope, subresource, verb, version } = self;
        write!(
            f,
            "component=\"apiserver\",group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",\
             subresource=\"{subresource}\",verb=\"{verb}\",version=\"{version}\""
        )
    }
}
