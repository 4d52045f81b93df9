//! `/healthz`, `/livez` and `/metrics`, under upstream's names.

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::HeaderValue;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// A change waiting longer than this for the kernel means trouble (twice upstream's sync period).
const TIMEOUT: Duration = Duration::from_secs(60);
const MAX_CONNECTIONS: usize = 64;
const BUCKETS: [f64; 15] =
    [0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384];

/// How the proxy is doing.
#[derive(Default)]
pub struct Health {
    state: Mutex<State>,
}

struct State {
    waiting_since: Option<Instant>,
    eligible: bool,
    last_queued: f64,
    last_synced: f64,
    failures: u64,
    full: Histogram,
    partial: Histogram,
}

impl Default for State {
    fn default() -> Self {
        Self {
            waiting_since: None,
            eligible: true,
            last_queued: 0.0,
            last_synced: 0.0,
            failures: 0,
            full: Histogram::default(),
            partial: Histogram::default(),
        }
    }
}

#[derive(Clone, Copy, Default)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

impl Health {
    /// A change wants to be written.
    pub fn queued(&self) {
        let mut state = self.state.lock();
        state.waiting_since.get_or_insert_with(Instant::now);
        state.last_queued = unix_now();
    }

    /// All changes are written.
    pub fn synced(&self, full: bool, took: Duration) {
        let mut state = self.state.lock();
        state.waiting_since = None;
        state.last_synced = unix_now();
        let histogram = if full { &mut state.full } else { &mut state.partial };
        histogram.observe(took.as_secs_f64());
    }

    /// Writing did not work.
    pub fn failed(&self) {
        self.state.lock().failures += 1;
    }

    /// Whether load balancers should send traffic to this node: not while it is being removed.
    pub fn set_eligible(&self, eligible: bool) {
        self.state.lock().eligible = eligible;
    }

    /// Whether changes reach the kernel in time.
    pub fn is_live(&self) -> bool {
        self.state.lock().is_live()
    }

    fn answer(&self, path: &str) -> Page {
        let state = self.state.lock();
        let live = state.is_live();
        let status = |ok| if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        match path {
            "/healthz" => (status(live && state.eligible), "application/json", state.summary()),
            "/livez" => (status(live), "application/json", state.summary()),
            "/metrics" => (StatusCode::OK, "text/plain; version=0.0.4", state.metrics()),
            _ => (StatusCode::NOT_FOUND, "text/plain", "404 page not found\n".into()),
        }
    }
}

impl State {
    fn is_live(&self) -> bool {
        self.waiting_since.is_none_or(|since| since.elapsed() < TIMEOUT)
    }

    fn summary(&self) -> String {
        let (updated, now, eligible) = (self.last_synced, unix_now(), self.eligible);
        format!(r#"{{"lastUpdated": "{updated:.3}", "currentTime": "{now:.3}", "nodeEligible": {eligible}}}"#)
    }

    fn metrics(&self) -> String {
        let mut text = String::new();
        let mut all = self.full;
        all.add(&self.partial);
        for (name, help, histogram) in [
            ("sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds", all),
            ("sync_full_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds for full resyncs", self.full),
            (
                "sync_partial_proxy_rules_duration_seconds",
                "SyncProxyRules latency in seconds for partial resyncs",
                self.partial,
            ),
        ] {
            histogram.write(&mut text, name, help);
        }
        for (name, kind, help, value) in [
            (
                "sync_proxy_rules_last_timestamp_seconds",
                "gauge",
                "The last time proxy rules were successfully synced",
                self.last_synced,
            ),
            (
                "sync_proxy_rules_last_queued_timestamp_seconds",
                "gauge",
                "The last time a sync of proxy rules was queued",
                self.last_queued,
            ),
            (
                "sync_proxy_rules_nftables_sync_failures_total",
                "counter",
                "Cumulative proxy nftables sync failures",
                self.failures as f64,
            ),
        ] {
            let _ = write!(
                text,
                "# HELP kubeproxy_{name} {help}\n# TYPE kubeproxy_{name} {kind}\nkubeproxy_{name} {value}\n"
            );
        }
        text
    }
}

impl Histogram {
    fn observe(&mut self, seconds: f64) {
        for (count, _) in self.counts.iter_mut().zip(BUCKETS).filter(|(_, bound)| seconds <= *bound) {
            *count += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }

    fn add(&mut self, other: &Self) {
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, theirs)| *mine += theirs);
        self.count += other.count;
        self.sum += other.sum;
    }

    fn write(&self, text: &mut String, name: &str, help: &str) {
        let _ = write!(text, "# HELP kubeproxy_{name} {help}\n# TYPE kubeproxy_{name} histogram\n");
        for (count, bound) in self.counts.iter().zip(BUCKETS) {
            let _ = writeln!(text, "kubeproxy_{name}_bucket{{le=\"{bound}\"}} {count}");
        }
        let (count, sum) = (self.count, self.sum);
        let _ = writeln!(text, "kubeproxy_{name}_bucket{{le=\"+Inf\"}} {count}");
        let _ = write!(text, "kubeproxy_{name}_sum {sum}\nkubeproxy_{name}_count {count}\n");
    }
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Status, content type and text for a path.
pub type Page = (StatusCode, &'static str, String);

/// Answers about the proxy's health on a listener until shutdown.
pub async fn serve(listener: TcpListener, health: Arc<Health>, shutdown: CancellationToken) {
    serve_pages(listener, move |path| health.answer(path), shutdown).await;
}

/// Answers GET requests by their path until shutdown.
pub async fn serve_pages<F>(listener: TcpListener, page: F, shutdown: CancellationToken)
where
    F: Fn(&str) -> Page + Send + Sync + 'static,
{
    let page = Arc::new(page);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let connection = tokio::select! {
            () = shutdown.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (Ok((stream, _)), Ok(place)) = (connection, places.clone().try_acquire_owned()) else { continue };
        let (page, until) = (page.clone(), shutdown.clone());
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let response = respond(page(request.uri().path()));
                async move { Ok::<_, Infallible>(response) }
            });
            let served = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service);
            // A client that hangs up is no news.
            let _ = until.run_until_cancelled(served).await;
            drop(place);
        });
    }
}

fn respond((status, kind, text): Page) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert("Content-Type", HeaderValue::from_static(kind));
    response
}
