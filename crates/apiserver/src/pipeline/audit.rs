//! Auditing on the way of a request: [`track`] opens and closes its trail, [`layer`] asks the policy.

use super::timing::{self, Phase};
use super::trace::SLOW;
use super::{Next, authenticate, headers::RequestId, info, output};
use crate::audit::{Completion, Facts, Hold, Level, Stage, Trail};
use crate::context::{RequestInfo, UserInfo};
use crate::server::Api;
use crate::server::body::{Body, BoxError, Request, RequestBody, Response};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::{BoxStream, StreamExt};
use futures::{FutureExt, Stream};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use kaji_api::{Status, Value, codec, schema};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// Streamed lists are recorded up to this size; larger ones without their body.
const MAX_RECORDED: usize = 16 << 20;

/// The trail of a request; empty when auditing is off.
pub(super) fn of(extensions: &http::Extensions) -> Trail {
    extensions.get::<Trail>().cloned().unwrap_or_default()
}

/// Around everything that may answer: opens the trail, and closes it when the answer is out.
pub(super) fn track<'a>(api: &'a Api, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    let Some(audit) = api.audit() else { return next.run(request) };
    let info = info::of(request.extensions());
    let id = request.extensions().get::<RequestId>().and_then(|id| id.0.to_str().ok()).unwrap_or_default().to_owned();
    let trail = Trail::new(audit.clone(), &id);
    let completion = Completion::new(trail.clone(), info::is_long_running(&info));
    request.extensions_mut().insert(trail.clone());
    request.extensions_mut().insert(Hold::new(completion.clone()));
    Box::pin(async move {
        let (parts, body) = request.into_parts();
        let head = Head { info, uri: parts.uri.clone(), headers: parts.headers.clone(), peer: peer(&parts) };
        let run = AssertUnwindSafe(async { next.run(Request::from_parts(parts, body)).await }).catch_unwind();
        match run.await {
            Ok(response) => answered(&trail, &head, response, completion).await,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().map(String::as_str);
                trail.panicked(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown")).await;
                resume_unwind(panic)
            }
        }
    })
}

/// Behind authentication: what the policy says of this user's request. One that cannot be recorded is refused.
pub(super) fn layer<'a>(api: &'a Api, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    let Some(audit) = api.audit() else { return next.run(request) };
    Box::pin(async move {
        let trail = of(request.extensions());
        let (parts, body) = request.into_parts();
        let info = info::of(&parts.extensions);
        let facts = Facts { info: &info, uri: &parts.uri, headers: &parts.headers, peer: peer(&parts) };
        let wanted = trail.begin(Some(authenticate::of(&parts.extensions)), facts);
        if wanted && !trail.stage(Stage::RequestReceived).await {
            audit.rejected();
            return output::failure(&Status::internal("failed to store audit event"), super::negotiate::Format::JSON);
        }
        next.run(Request::from_parts(parts, body)).await
    })
}

/// What remains of a request once it has been passed on.
struct Head {
    info: Arc<RequestInfo>,
    uri: http::Uri,
    headers: http::HeaderMap,
    peer: IpAddr,
}

fn peer(parts: &Parts) -> IpAddr {
    parts.extensions.get::<SocketAddr>().map_or(Ipv4Addr::LOCALHOST.into(), SocketAddr::ip)
}

async fn answered(trail: &Trail, head: &Head, response: Response, completion: Arc<Completion>) -> Response {
    let code = response.status().as_u16();
    if trail.level().is_none() {
        // Refused before anybody was known: there is this one event (upstream `WithFailedAuthenticationAudit`).
        let facts = Facts { info: &head.info, uri: &head.uri, headers: &head.headers, peer: head.peer };
        if trail.begin(None::<Arc<UserInfo>>, facts) {
            note(trail, head, &response, code);
            trail.stage(Stage::ResponseStarted).await;
        }
        trail.finish_silently();
        return response;
    }
    if !trail.is_on() {
        return response;
    }
    let long_running = info::is_long_running(&head.info);
    note(trail, head, &response, code);
    if long_running {
        trail.stage(Stage::ResponseStarted).await;
    }
    let whole = matches!(response.body(), Body::Full(_)) && response.status() != StatusCode::SWITCHING_PROTOCOLS;
    if !long_running {
        note_latency(trail);
    }
    if whole {
        trail.stage(Stage::ResponseComplete).await;
        return response;
    }
    let records = trail.level() == Some(Level::RequestResponse) && head.info.is_resource && !long_running;
    let recorded = (records && is_json(&response)).then(Vec::new);
    response.map(|body| held(body, completion, trail, recorded))
}

/// The phases that a slow request's event has the time of, by upstream's names (apiserver
/// `endpoints/request/webhook_duration.go`).
const LATENCIES: [(Phase, &str); 8] = [
    (Phase::Authentication, "authentication"),
    (Phase::Impersonation, "impersonation"),
    (Phase::Authorization, "authorization"),
    (Phase::Queue, "apf-queue-wait"),
    (Phase::MutatingWebhooks, "mutating-webhook"),
    (Phase::ValidatingWebhooks, "validating-webhook"),
    (Phase::Store, "etcd"),
    (Phase::Encode, "serialize-response-object"),
];

/// Says where the time of a slow request went.
fn note_latency(trail: &Trail) {
    let took = trail.age();
    let Some(spent) = timing::so_far().filter(|_| took > SLOW) else { return };
    let note = |name: &str, time: Duration| {
        let nanos = i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
        trail.annotate(&format!("apiserver.latency.k8s.io/{name}"), codec::show_duration(nanos));
    };
    for (phase, name) in LATENCIES {
        let time = spent.on(phase);
        if !time.is_zero() {
            note(name, time);
        }
    }
    note("total", took);
}

/// Keeps of the answer what the level asks for.
fn note(trail: &Trail, head: &Head, response: &Response, code: u16) {
    let Body::Full(Some(bytes)) = response.body() else { return trail.answered(code, None) };
    let records = trail.level() == Some(Level::RequestResponse) && head.info.is_resource;
    let may_be_status = code >= 400 || head.info.verb.starts_with("delete");
    let object = if records || may_be_status { decode(response, bytes) } else { None };
    let status = object.as_ref().filter(|o| o.kind() == "Status" && o.api_version() == "v1");
    trail.answered(code, status);
    if let Some(object) = object.filter(|_| records) {
        trail.response_object(object);
    }
}

fn media(response: &Response) -> &str {
    let content_type = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    content_type.split(';').next().unwrap_or_default()
}

fn is_json(response: &Response) -> bool {
    media(response) == "application/json"
}

fn decode(response: &Response, bytes: &Bytes) -> Option<Value> {
    match media(response) {
        "application/json" => codec::parse_json(bytes).ok(),
        "application/yaml" => codec::parse_yaml(bytes).ok(),
        "application/vnd.kubernetes.protobuf" => {
            let envelope = codec::open_protobuf(bytes).ok()?;
            let (group, version) = envelope.api_version.split_once('/').unwrap_or(("", &envelope.api_version));
            let ty = schema::kind(group, version, &envelope.kind);
            let ty = ty.or_else(|| schema::kind("meta.k8s.io", version, &envelope.kind))?;
            codec::decode_protobuf(ty, bytes).ok()
        }
        _ => None,
    }
}

/// The same body; the trail is closed when it ends or is given up.
fn held(body: Body, completion: Arc<Completion>, trail: &Trail, recorded: Option<Vec<u8>>) -> Body {
    match body {
        Body::Stream(pieces, length) => {
            let held = Held { pieces, recorded, trail: trail.clone(), completion: Some(completion) };
            Body::Stream(held.boxed(), length)
        }
        Body::Through(inner) => Body::Through(HeldBody { inner, completion: Some(completion) }.boxed_unsync()),
        full @ Body::Full(_) => full,
    }
}

struct Held {
    pieces: BoxStream<'static, Result<Bytes, BoxError>>,
    recorded: Option<Vec<u8>>,
    trail: Trail,
    completion: Option<Arc<Completion>>,
}

impl Stream for Held {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.pieces.poll_next_unpin(cx);
        match &polled {
            Poll::Ready(Some(Ok(piece))) => {
                let fits = |whole: &Vec<u8>| whole.len() + piece.len() <= MAX_RECORDED;
                self.recorded = self.recorded.take().filter(fits);
                if let Some(whole) = &mut self.recorded {
                    whole.extend_from_slice(piece);
                }
            }
            Poll::Ready(None) => {
                if let Some(object) = self.recorded.take().and_then(|whole| codec::parse_json(&whole).ok()) {
                    self.trail.response_object(object);
                }
                self.completion = None;
            }
            Poll::Ready(Some(Err(_))) | Poll::Pending => {}
        }
        polled
    }
}

struct HeldBody {
    inner: RequestBody,
    completion: Option<Arc<Completion>>,
}

impl http_body::Body for HeldBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) {
            self.completion = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
