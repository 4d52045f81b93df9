//! OTLP over gRPC, to one collector and in the open, as upstream does it.

use super::target::Target;
use crate::remote::unix;
use kaji_api::rpc;
use proto::trace_service_client::TraceServiceClient;
use proto::{ExportTraceServiceRequest, Resource, ResourceSpans, Scope, ScopeSpans, Span};
use std::time::Duration;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

/// Generated from `proto/otlp.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
pub(crate) mod proto {
    tonic::include_proto!("opentelemetry.proto.collector.trace.v1");
}

/// What a call may take, connecting included (Go's exporter: the same).
const CALL: Duration = Duration::from_secs(10);

/// A connection, made when first used and again after a loss.
pub(super) struct Client {
    service: TraceServiceClient<Channel>,
    resource: Resource,
}

/// A batch was not taken.
#[derive(Debug)]
pub(super) struct Refused {
    /// Whether it may be later.
    pub(super) passes: bool,
    /// Why not.
    pub(super) why: String,
}

impl Client {
    /// Spans are told as parts of `resource`: who tells them.
    pub(super) fn new(target: &Target, resource: Resource) -> Self {
        let channel = match target.clone() {
            Target::Tcp(address) => {
                let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("checked when it was read");
                endpoint.connect_timeout(CALL).connect_lazy()
            }
            Target::Path(path) => {
                let connect = move |_: http::Uri| {
                    let path = path.clone();
                    async move { unix::connect(&path).await }
                };
                Endpoint::from_static("http://localhost").connect_with_connector_lazy(tower::service_fn(connect))
            }
            Target::Abstract(name) => {
                let connect = move |_: http::Uri| {
                    let name = name.clone();
                    async move { unix::connect_abstract(&name).await }
                };
                Endpoint::from_static("http://localhost").connect_with_connector_lazy(tower::service_fn(connect))
            }
        };
        Client { service: TraceServiceClient::new(channel), resource }
    }

    /// Sends spans; gives how many of them the collector had no use for, and why.
    pub(super) async fn export(&self, spans: Vec<Span>) -> Result<(u64, String), Refused> {
        let scope = Scope { name: "kaji-apiserver".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
        let scope_spans = vec![ScopeSpans { scope: Some(scope), spans }];
        let resource_spans = vec![ResourceSpans { resource: Some(self.resource.clone()), scope_spans }];
        let mut service = self.service.clone();
        match tokio::time::timeout(CALL, service.export(ExportTraceServiceRequest { resource_spans })).await {
            Ok(Ok(answer)) => {
                let partial = answer.into_inner().partial_success.unwrap_or_default();
                Ok((u64::try_from(partial.rejected_spans).unwrap_or(0), partial.error_message))
            }
            Ok(Err(status)) => Err(Refused { passes: passes(status.code()), why: told(&status) }),
            Err(_) => Err(Refused { passes: true, why: format!("no answer in {} s", CALL.as_secs()) }),
        }
    }
}

/// Whether the same call may succeed later (Go `otlptracegrpc` `retryableGRPCStatus`).
fn passes(code: Code) -> bool {
    use Code::{Aborted, Cancelled, DataLoss, DeadlineExceeded, OutOfRange, ResourceExhausted, Unavailable};
    matches!(code, Cancelled | DeadlineExceeded | ResourceExhausted | Aborted | OutOfRange | Unavailable | DataLoss)
}

/// The status, and what is behind it: tonic says of a refused connection no more than that there is none.
fn told(status: &tonic::Status) -> String {
    let mut text = rpc::failure(status.code() as i32, status.message());
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.ends_with(&why) {
            text = format!("{text}: {why}");
        }
        cause = error.source();
    }
    text
}
