//! Spans of requests: of authentication, and, when it is known who asks, of the request itself, until the last byte of
//! its answer is taken (apiserver `endpoints/filters/traces.go`).

use super::{Next, authenticate, headers::RequestId, info};
use crate::server::Api;
use crate::server::body::{Body, BoxError, Request, Response};
use crate::spans::{Context, Facts, Span, Trace, number, within_trace};
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{self, Poll};
use std::time::SystemTime;

/// When a request arrived.
#[derive(Clone, Copy)]
struct Arrived(SystemTime);

/// The open span of a request, in the extensions of its answer.
#[derive(Clone)]
struct Open {
    span: Arc<Span>,
    /// Bytes read of the request's body.
    read: Arc<AtomicU64>,
}

/// Outermost: the span ends when the answer is out.
pub(super) fn finish<'a>(api: &'a Api, mut request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    if api.tracer().is_none() {
        return next.run(request);
    }
    request.extensions_mut().insert(Arrived(SystemTime::now()));
    Box::pin(async move {
        let mut response = next.run(request).await;
        let Some(open) = response.extensions_mut().remove::<Open>() else { return response };
        open.span.answers(response.status().as_u16());
        response.map(|body| open.until_the_end_of(body))
    })
}

/// Around authentication: a trace of its own, for it is not yet known whether the client's word counts.
pub(super) fn authentication<'a>(api: &'a Api, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    let Some(tracer) = api.tracer() else { return next.run(request) };
    Box::pin(async move {
        let trace = tracer.begin("authentication", SystemTime::now(), || facts(&request));
        within_trace(trace, next.run(request)).await
    })
}

/// Behind authentication: the request's own span.
pub(super) fn server<'a>(api: &'a Api, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    let Some(tracer) = api.tracer() else { return pass(request, next) };
    Box::pin(async move {
        let user = authenticate::of(request.extensions());
        let begun = request.extensions().get::<Arrived>().map_or_else(SystemTime::now, |arrived| arrived.0);
        let trace = tracer.request(&request, &user, begun, || facts(&request));
        let Some(span) = trace.span().cloned() else { return within_trace(trace, next.run(request)).await };
        let open = Open { span, read: Arc::default() };
        let read = open.read.clone();
        let count = move |n| {
            read.fetch_add(n, Ordering::Relaxed);
        };
        let request = request.map(|inner| Counted { inner, count }.boxed_unsync());
        let mut response = within_trace(trace, next.run(request)).await;
        response.extensions_mut().insert(open);
        response
    })
}

/// With tracing off a client's trace goes on to those that are called in its course, as upstream's does.
fn pass(request: Request, next: Next<'_>) -> BoxFuture<'_, Response> {
    match Context::of(request.headers()) {
        None => next.run(request),
        Some(context) => Box::pin(async move { within_trace(Trace::passing(context), next.run(request)).await }),
    }
}

fn facts(request: &Request) -> Facts {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.0.to_str().ok()).unwrap_or_default();
    Facts::of(request, &info::of(request.extensions()), id)
}

impl Open {
    fn until_the_end_of(self, body: Body) -> Body {
        let mut answer = Answer { open: self, sent: 0 };
        match body {
            Body::Full(bytes) => {
                answer.count(bytes.as_ref().map_or(0, Bytes::len) as u64);
                Body::Full(bytes)
            }
            inner => Body::Through(Counted { inner, count: move |n| answer.count(n) }.boxed_unsync()),
        }
    }
}

/// An answer on its way; the span ends with it.
struct Answer {
    open: Open,
    /// Bytes of its body.
    sent: u64,
}

impl Answer {
    fn count(&mut self, bytes: u64) {
        self.sent += bytes;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let read = self.open.read.load(Ordering::Relaxed);
        let sizes = [("http.request.body.size", read), ("http.response.body.size", self.sent)];
        self.open.span.add(sizes.into_iter().filter(|(_, n)| *n > 0).map(|(key, n)| number(key, n)));
    }
}

/// A body whose bytes are told to somebody.
struct Counted<B, C> {
    inner: B,
    count: C,
}

impl<B, C> http_body::Body for Counted<B, C>
where
    B: http_body::Body<Data = Bytes, Error = BoxError> + Unpin,
    C: FnMut(u64) + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            (self.count)(frame.data_ref().map_or(0, Bytes::len) as u64);
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
