//! One piece of work, from when it is begun until it is dropped.

use super::attributes::{number, text};
use super::context::Context;
use super::facts::Facts;
use super::tracer::Tracer;
use super::wire::proto::span::Kind;
use super::wire::proto::span_status::Code;
use super::wire::proto::{Event, KeyValue, Link, Span as Record, SpanStatus};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::SystemTime;

/// Bits of flags: it is known where the parent is; it is elsewhere.
const KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;

/// A span that is told when it is dropped.
pub(crate) struct Span {
    tracer: Tracer,
    pub(super) context: Context,
    pub(super) facts: Arc<Facts>,
    record: Mutex<Record>,
}

/// Whose part a span is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parent {
    pub(super) span: Option<[u8; 8]>,
    /// In another process.
    pub(super) remote: bool,
}

impl Span {
    pub(super) fn begin(
        tracer: Tracer,
        context: Context,
        parent: Parent,
        facts: Arc<Facts>,
        name: String,
        kind: Kind,
        begun: SystemTime,
    ) -> Arc<Self> {
        let record = Record {
            trace_id: context.trace.to_vec(),
            span_id: context.span.to_vec(),
            trace_state: context.state.clone(),
            parent_span_id: parent.span.map(|id| id.to_vec()).unwrap_or_default(),
            name,
            kind: kind.into(),
            start_time_unix_nano: nanos(begun),
            flags: flags(&context, parent.remote),
            status: Some(SpanStatus::default()),
            ..Record::default()
        };
        Arc::new(Span { tracer, context, facts, record: Mutex::new(record) })
    }

    /// A part of this one.
    pub(super) fn child(&self, name: String, kind: Kind, attributes: Vec<KeyValue>) -> Arc<Self> {
        let parent = Parent { span: Some(self.context.span), remote: false };
        let (tracer, context, facts) = (self.tracer.clone(), self.context.next(), self.facts.clone());
        let child = Span::begin(tracer, context, parent, facts, name, kind, SystemTime::now());
        child.add(attributes);
        child
    }

    /// Says more of it.
    pub(crate) fn add(&self, attributes: impl IntoIterator<Item = KeyValue>) {
        self.record.lock().attributes.extend(attributes);
    }

    /// Something happened in its course.
    pub(crate) fn event(&self, name: &str, attributes: Vec<KeyValue>) {
        let time_unix_nano = nanos(SystemTime::now());
        self.record.lock().events.push(Event { time_unix_nano, name: name.to_owned(), attributes });
    }

    /// Refers to a trace that it is no part of.
    pub(super) fn link(&self, other: &Context) {
        let (trace_id, span_id) = (other.trace.to_vec(), other.span.to_vec());
        let link = Link { trace_id, span_id, trace_state: other.state.clone(), flags: flags(other, true) };
        self.record.lock().links.push(link);
    }

    /// The answer's code, of a request to this server.
    pub(crate) fn answers(&self, code: u16) {
        self.add([number("http.response.status_code", code)]);
        if code >= 500 {
            self.fail(String::new());
        }
    }

    /// The answer's code, of a call to another server.
    pub(crate) fn answered(&self, code: u16) {
        self.add([number("http.response.status_code", code)]);
        if code >= 400 {
            self.add([text("error.type", code.to_string())]);
            self.fail(String::new());
        }
    }

    /// A call to another server came to nothing.
    pub(crate) fn broke(&self, why: String) {
        self.add([text("error.type", "_OTHER")]);
        self.fail(why);
    }

    pub(super) fn fail(&self, message: String) {
        self.record.lock().status = Some(SpanStatus { message, code: Code::Error.into() });
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let mut record = std::mem::take(self.record.get_mut());
        record.end_time_unix_nano = nanos(SystemTime::now()).max(record.start_time_unix_nano);
        self.tracer.tell(record);
    }
}

fn nanos(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn flags(context: &Context, remote: bool) -> u32 {
    u32::from(context.sampled) | KNOWN | if remote { REMOTE } else { 0 }
}
