//! The life of a request, outermost layer first; one layer per file.
//!
//! A layer may rely on what runs before it, never on what runs after. Facts about the request travel in its
//! extensions: `Arc<RequestInfo>`, `Arc<UserInfo>`, `Warnings`.

mod apply;
mod audit;
mod authenticate;
mod authorize;
mod compress;
mod cors;
mod deadline;
pub(crate) mod documents;
mod fairness;
mod frames;
mod headers;
mod health;
mod impersonate;
mod inflight;
mod info;
mod input;
pub(crate) mod metrics;
mod negotiate;
mod output;
mod panics;
mod patch;
#[cfg(any(test, feature = "properties"))]
pub(crate) mod properties;
mod protobuf;
mod resource;
mod route;
mod spans;
mod table;
pub(crate) mod timing;
mod trace;
pub(crate) mod version;

pub(crate) use authorize::forbidden;
pub(crate) use cors::Origins;
pub(crate) use headers::transport_security;
pub(crate) use inflight::Inflight;

use crate::server::Api;
use crate::server::body::{Request, Response};
use crate::spans::{child, within};
use futures::future::BoxFuture;

/// One step of a request's life.
type Layer = for<'a> fn(&'a Api, Request, Next<'a>) -> BoxFuture<'a, Response>;

/// A step, and the span that it makes of itself and all below (upstream `endpoints/filterlatency`).
struct Step {
    layer: Layer,
    span: Option<&'static str>,
}

const fn plain(layer: Layer) -> Step {
    Step { layer, span: None }
}

const fn spanned(span: &'static str, layer: Layer) -> Step {
    Step { layer, span: Some(span) }
}

/// The steps, in order.
const LAYERS: &[Step] = &[
    plain(headers::layer),          // outermost: even an answer to a panic carries them
    plain(spans::finish),           // around everything that makes a body
    plain(panics::layer),           // a broken handler fails one request, not the server
    plain(compress::layer),         // around everything that makes a body
    plain(cors::layer),             // asks nobody; even a refusal must be readable by the page that gets it
    plain(info::layer),             // verb and resource parsed once; all below read them
    plain(trace::layer),            // refused requests are logged and counted, too
    plain(audit::track),            // around all that may refuse; closes the trail with the answer
    plain(deadline::layer),         // long-running requests exempt, hence after info
    plain(spans::authentication),   // a trace of its own
    plain(authenticate::layer),     // who
    plain(spans::server),           // whose word on traces counts is known
    spanned("audit", audit::layer), // before impersonation: the event names both users
    spanned("constrainedimpersonation", impersonate::layer), // who else; asks the authorizers itself
    spanned("priorityandfairness", fairness::layer), // after authn: flows are told apart by user
    spanned("authorization", authorize::layer), // may they
];

/// What is left of the way.
#[derive(Clone, Copy)]
pub(crate) struct Next<'a> {
    api: &'a Api,
    rest: &'static [Step],
}

impl<'a> Next<'a> {
    /// Goes on.
    fn run(self, request: Request) -> BoxFuture<'a, Response> {
        match self.rest.split_first() {
            Some((step, rest)) => {
                let work = (step.layer)(self.api, request, Next { api: self.api, rest });
                match step.span.filter(|_| self.api.tracer().is_some()) {
                    None => work,
                    // Begun when the layer above has begun its own.
                    Some(name) => Box::pin(async move { within(child(name, |_| Vec::new()), work).await }),
                }
            }
            None => Box::pin(route::serve(self.api, request)),
        }
    }
}

/// Answers a request.
pub(crate) async fn serve(api: &Api, request: Request) -> Response {
    Next { api, rest: LAYERS }.run(request).await
}
