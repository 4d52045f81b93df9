//! Traces: who spent how long on what in the course of a request, told to an OpenTelemetry collector
//! (`--tracing-config-file`; apiserver `server/options/tracing.go`, component-base `tracing`).
//!
//! [`config`] is the file; [`context`] what a trace hands on from process to process, in headers; [`sampler`] decides
//! which traces are told; a [`Span`] is one piece of work, put into a bounded queue when it is dropped and sent by
//! [`export`]. The span at work is known to the task ([`current`]), as are the [phases](crate::pipeline::timing) that
//! slow requests are logged with, so that nothing is handed down. Names and attributes are upstream's ([`attributes`],
//! [`facts`]).
//!
//! Switched off, a request costs a look for one header: as upstream's, a trace that others began goes on to webhooks.

mod attributes;
mod calls;
mod config;
mod context;
mod current;
mod export;
mod facts;
mod sampler;
mod span;
mod target;
#[cfg(test)]
pub(crate) mod tests;
mod tracer;
#[cfg(not(test))]
mod wire;
#[cfg(test)]
pub(crate) mod wire;

pub(crate) use attributes::{number, text};
pub(crate) use calls::StoreCalls;
pub(crate) use context::Context;
pub(crate) use current::{Trace, child, client, encoding, event, event_with, handler, inject, within, within_trace};
pub(crate) use facts::Facts;
pub(crate) use span::Span;
pub(crate) use tracer::Tracer;
