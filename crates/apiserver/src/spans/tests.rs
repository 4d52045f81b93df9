//! A collector in this process, and what reaches it.

use super::export::{DELAY, Exporter};
use super::target::Target;
use super::wire::proto::any_value::Value;
use super::wire::proto::trace_service_server::{TraceService, TraceServiceServer};
use super::wire::proto::{
    ExportTraceServiceRequest, ExportTraceServiceResponse, KeyValue, PartialSuccess, Resource, Span,
};
use crate::tests::refusing;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use parking_lot::Mutex;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::{Request, Response, Status};

/// Nothing a test waits for takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Attributes as text, in order.
pub(crate) fn shown(attributes: &[KeyValue]) -> String {
    let mut out = String::new();
    for KeyValue { key, value } in attributes {
        let value = match value.as_ref().and_then(|v| v.value.as_ref()) {
            Some(Value::StringValue(text)) => text.clone(),
            Some(Value::IntValue(n)) => n.to_string(),
            Some(Value::BoolValue(b)) => b.to_string(),
            None => "?".to_owned(),
        };
        let _ = write!(out, "{}{key}={value}", if out.is_empty() { "" } else { " " });
    }
    out
}

/// The value of a span's attribute, as text.
pub(crate) fn attribute(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|a| a.key == key)?;
    Some(shown(std::slice::from_ref(found))[key.len() + 1..].to_owned())
}

/// A running collector; ends when dropped.
pub(crate) struct Collector {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    _running: JoinSet<()>,
}

#[derive(Default)]
struct State {
    seen: Mutex<Seen>,
    came: tokio::sync::Notify,
}

#[derive(Default)]
struct Seen {
    resource: Option<Resource>,
    spans: Vec<Span>,
    /// What it says next; then it is well again.
    troubles: Vec<Status>,
    rejects: i64,
}

#[tonic::async_trait]
impl TraceService for State {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let mut seen = self.seen.lock();
        if let Some(trouble) = seen.troubles.pop() {
            return Err(trouble);
        }
        for told in request.into_inner().resource_spans {
            seen.resource = told.resource;
            seen.spans.extend(told.scope_spans.into_iter().flat_map(|scope| scope.spans));
        }
        let partial = PartialSuccess { rejected_spans: seen.rejects, error_message: "too odd".to_owned() };
        self.came.notify_waiters();
        Ok(Response::new(ExportTraceServiceResponse { partial_success: Some(partial) }))
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let state = Arc::<State>::default();
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = TowerToHyperService::new(TraceServiceServer::from_arc(state.clone()));
        let mut running = JoinSet::new();
        running.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                connections.spawn(async move {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Collector { address, state, _running: running }
    }

    /// A configuration file that names it.
    pub(crate) fn config(&self, per_million: i32) -> String {
        format!(
            "apiVersion: apiserver.config.k8s.io/v1\nkind: TracingConfiguration\nendpoint: {}\n\
             samplingRatePerMillion: {per_million}\n",
            self.address
        )
    }

    /// What came until now.
    pub(crate) fn spans(&self) -> Vec<Span> {
        self.state.seen.lock().spans.clone()
    }

    pub(crate) fn resource(&self) -> String {
        shown(&self.state.seen.lock().resource.as_ref().expect("something came").attributes)
    }

    /// Waits until a number of spans has come.
    async fn until(&self, count: usize) {
        let wait = async {
            loop {
                let came = self.state.came.notified();
                if self.spans().len() >= count {
                    return;
                }
                came.await;
            }
        };
        let came = tokio::time::timeout(PATIENCE, wait).await;
        assert!(came.is_ok(), "{} of {count} spans came", self.spans().len());
    }
}

fn span(name: impl ToString) -> Span {
    Span { name: name.to_string(), ..Span::default() }
}

/// With a delay that a test would notice.
fn exporter(address: SocketAddr) -> Exporter {
    exporter_after(address, DELAY)
}

fn exporter_after(address: SocketAddr, delay: Duration) -> Exporter {
    Exporter::start(&Target::Tcp(address.to_string()), Resource::default(), delay)
}

fn page(exporter: &Exporter) -> String {
    let mut page = String::new();
    exporter.page(&mut page);
    page.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("; ")
}

fn counted(exported: u64, queue: u64, collector: u64) -> String {
    let dropped = "kaji_traces_dropped_spans_total";
    format!(
        "kaji_traces_exported_spans_total {exported}; {dropped}{{reason=\"queue\"}} {queue}; \
         {dropped}{{reason=\"collector\"}} {collector}"
    )
}

#[tokio::test]
async fn a_full_batch_goes_at_once_and_the_rest_at_the_end() {
    let collector = Collector::start().await;
    let exporter = exporter(collector.address);
    (0..600).for_each(|n| exporter.push(span(n)));
    collector.until(512).await;
    exporter.close().await;
    let names: Vec<String> = collector.spans().into_iter().map(|s| s.name).collect();
    assert_eq!(names, (0..600).map(|n| n.to_string()).collect::<Vec<_>>());
    // Nobody takes what comes later, and nobody waits.
    exporter.push(span("late"));
    assert_eq!(page(&exporter), counted(600, 1, 0));
}

#[tokio::test]
async fn a_full_queue_drops_what_comes() {
    let (_kept, nobody) = refusing();
    let exporter = exporter(nobody);
    // One thread: the exporter takes nothing meanwhile.
    (0..3000).for_each(|n| exporter.push(span(n)));
    assert_eq!(page(&exporter), counted(0, 3000 - 2048, 0));
    // The end is not waited for longer than it may take, and all are accounted for.
    exporter.close().await;
    assert_eq!(page(&exporter), counted(0, 3000 - 2048, 2048));
}

#[tokio::test]
async fn a_batch_is_tried_again_only_where_it_may_help() {
    let collector = Collector::start().await;
    for (trouble, exported, refused) in [(Status::unavailable("soon"), 1, 0), (Status::invalid_argument("never"), 0, 1)]
    {
        collector.state.seen.lock().troubles = vec![trouble];
        let exporter = exporter(collector.address);
        exporter.push(span("x"));
        exporter.close().await;
        assert_eq!(page(&exporter), counted(exported, 0, refused));
    }
    collector.state.seen.lock().rejects = 1;
    let exporter = exporter(collector.address);
    (0..3).for_each(|n| exporter.push(span(n)));
    exporter.close().await;
    assert_eq!(page(&exporter), counted(2, 0, 1));
}

#[tokio::test]
async fn a_few_spans_wait_a_little_for_others() {
    let collector = Collector::start().await;
    let exporter = exporter_after(collector.address, Duration::from_millis(20));
    exporter.push(span("x"));
    collector.until(1).await;
    assert_eq!(collector.spans()[0].name, "x");
}
