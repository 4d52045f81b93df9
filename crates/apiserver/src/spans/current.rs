//! The span that the task at hand works for. It is set while a future is polled, so that futures of one task that run
//! side by side have each their own; outside of a request there is none.

use super::attributes;
use super::context::Context;
use super::facts::Facts;
use super::span::Span;
use super::wire::proto::KeyValue;
use super::wire::proto::span::Kind;
use futures::future::Either;
use http::{HeaderMap, Method};
use std::sync::Arc;
use tokio::task::futures::TaskLocalFuture;

tokio::task_local! {
    static CURRENT: Trace;
}

/// What a task knows of its trace.
#[derive(Clone, Default)]
pub(crate) enum Trace {
    /// There is none.
    #[default]
    None,
    /// It goes on to others, but is not told from here.
    Passing(Arc<Context>),
    /// It is told.
    Recording(Arc<Span>),
}

impl Trace {
    /// A trace that is not told from here.
    pub(crate) fn passing(context: Context) -> Self {
        Trace::Passing(Arc::new(context))
    }

    fn context(&self) -> Option<&Context> {
        match self {
            Trace::None => None,
            Trace::Passing(context) => Some(context),
            Trace::Recording(span) => Some(&span.context),
        }
    }

    /// The span that is told, if one is.
    pub(crate) fn span(&self) -> Option<&Arc<Span>> {
        match self {
            Trace::None | Trace::Passing(_) => None,
            Trace::Recording(span) => Some(span),
        }
    }
}

pub(super) fn recording() -> Option<Arc<Span>> {
    CURRENT.try_with(|trace| trace.span().cloned()).ok().flatten()
}

/// The trace as others would be told of it.
pub(super) fn context() -> Option<Context> {
    CURRENT.try_with(|trace| trace.context().cloned()).ok().flatten()
}

/// Begins a part of the span at work; none where none is told.
pub(crate) fn child(name: &str, attributes: impl FnOnce(&Facts) -> Vec<KeyValue>) -> Option<Arc<Span>> {
    recording().map(|span| span.child(name.to_owned(), Kind::Internal, attributes(&span.facts)))
}

/// The same, a handler of the API that may have a name.
pub(crate) fn handler(name: impl FnOnce() -> Option<&'static str>) -> Option<Arc<Span>> {
    let span = recording()?;
    Some(span.child(name()?.to_owned(), Kind::Internal, attributes::handler(&span.facts)))
}

/// The same, the encoding of an answer.
pub(crate) fn encoding(media: &str) -> Option<Arc<Span>> {
    child("SerializeObject", |facts| attributes::encoding(facts, media))
}

/// The same, a call to another server.
pub(crate) fn client(method: &Method, url: impl FnOnce() -> String) -> Option<Arc<Span>> {
    recording().map(|span| span.child(format!("HTTP {method}"), Kind::Client, attributes::client(method, &url())))
}

/// Does work as part of a span, which ends with it; without one as part of what there is, which costs nothing. (No
/// `async fn`: the work's future would be held twice.)
pub(crate) fn within<F: Future>(span: Option<Arc<Span>>, work: F) -> Either<TaskLocalFuture<Trace, F>, F> {
    match span {
        Some(span) => Either::Left(within_trace(Trace::Recording(span), work)),
        None => Either::Right(work),
    }
}

/// Does work as part of a trace.
pub(crate) fn within_trace<F: Future>(trace: Trace, work: F) -> TaskLocalFuture<Trace, F> {
    CURRENT.scope(trace, work)
}

/// Notes that something happened in the course of the span at work.
pub(crate) fn event(name: &str) {
    event_with(name, Vec::new);
}

/// The same, with more to say.
pub(crate) fn event_with(name: &str, attributes: impl FnOnce() -> Vec<KeyValue>) {
    if let Some(span) = recording() {
        span.event(name, attributes());
    }
}

/// Tells the server that a request goes to of the trace: of the call's own span, or of that at work.
pub(crate) fn inject(headers: &mut HeaderMap, call: Option<&Span>) {
    match call {
        Some(span) => span.context.inject(headers),
        None => drop(CURRENT.try_with(|trace| trace.context().iter().for_each(|c| c.inject(headers)))),
    }
}
