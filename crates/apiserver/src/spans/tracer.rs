//! The server's end of tracing: where traces begin and where finished spans go.

use super::attributes::{self, text};
use super::config::Config;
use super::context::Context;
use super::current::Trace;
use super::export::{DELAY, Exporter};
use super::facts::Facts;
use super::sampler::Sampler;
use super::span::{Parent, Span};
use super::wire::proto::span::Kind;
use super::wire::proto::{Resource, Span as Record};
use crate::context::UserInfo;
use crate::server::StartError;
use aws_lc_rs::digest;
use http::Request;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// Whose word on what is told is taken.
const TRUSTED: [&str; 2] = ["system:masters", "system:monitoring"];

/// Tracing, switched on; cheap to clone.
#[derive(Clone)]
pub(crate) struct Tracer(Arc<Parts>);

struct Parts {
    sampler: Sampler,
    exporter: Exporter,
}

impl Tracer {
    /// By a configuration file; none: tracing is off.
    pub(crate) fn start(file: Option<&Path>) -> Result<Option<Self>, StartError> {
        let Some(config) = file.map(Config::load).transpose()? else { return Ok(None) };
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let attributes = vec![text("service.instance.id", instance(&host)), text("service.name", "apiserver")];
        let exporter = Exporter::start(&config.target, Resource { attributes }, DELAY);
        tracing::info!(collector = %config.target, per_million = config.per_million, "traces are told");
        Ok(Some(Tracer(Arc::new(Parts { sampler: Sampler::new(config.per_million), exporter }))))
    }

    /// A trace of its own, of what precedes that a client is known.
    pub(crate) fn begin(&self, name: &str, begun: SystemTime, facts: impl FnOnce() -> Facts) -> Trace {
        let context = Context::root(|trace| self.0.sampler.takes(trace));
        if !context.sampled {
            return Trace::passing(context);
        }
        let (parent, facts) = (Parent::default(), Arc::new(facts()));
        Trace::Recording(Span::begin(self.clone(), context, parent, facts, name.to_owned(), Kind::Internal, begun))
    }

    /// The span of a request by a known user, in the trace that it belongs to.
    pub(crate) fn request<B>(
        &self,
        request: &Request<B>,
        user: &UserInfo,
        begun: SystemTime,
        facts: impl FnOnce() -> Facts,
    ) -> Trace {
        let trusted = TRUSTED.iter().any(|group| user.in_group(group));
        let authentication = super::current::context();
        let origin = self.0.sampler.origin(Context::of(request.headers()), authentication.as_ref(), trusted);
        if !origin.context.sampled {
            return Trace::passing(origin.context);
        }
        let facts = Arc::new(facts());
        let attributes = attributes::server(request, &facts);
        let parent = Parent { span: origin.parent, remote: origin.remote };
        let name = attributes::name(request.method(), &facts.info);
        let span = Span::begin(self.clone(), origin.context, parent, facts, name, Kind::Server, begun);
        span.add(attributes);
        origin.link.iter().for_each(|link| span.link(link));
        Trace::Recording(span)
    }

    pub(super) fn tell(&self, span: Record) {
        self.0.exporter.push(span);
    }

    /// Sends what is there; what comes later is lost.
    pub(crate) async fn close(&self) {
        self.0.exporter.close().await;
    }

    /// The metrics' part of the page.
    pub(crate) fn page(&self, out: &mut String) {
        self.0.exporter.page(out);
    }
}

/// The name of the API server on a host (apiserver `server/config.go`, `APIServerID`).
fn instance(host: &str) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut data = Vec::new();
    for part in [host, "kube-apiserver"] {
        data.extend(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        data.extend(part.bytes());
    }
    let hash = digest::digest(&digest::SHA256, &data);
    let (mut name, mut bits, mut held) = ("apiserver-".to_owned(), 0u32, 0);
    for byte in &hash.as_ref()[..16] {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            name.push(char::from(DIGITS[(bits >> held & 31) as usize]));
        }
    }
    name.push(char::from(DIGITS[(bits << (5 - held) & 31) as usize]));
    name
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_host_has_the_name_that_upstream_gives_it() {
        assert_eq!(super::instance("vm"), "apiserver-wlv32tlttr4jl3gtroqexyxapa");
    }
}
