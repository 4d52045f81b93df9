//! The life of a request, outermost layer first; one layer per file.
//!
//! A layer may rely on what runs before it, never on what runs after. Facts about the request travel in its
//! extensions: `Arc<RequestInfo>`, `Arc<UserInfo>`, `Warnings`.

mod apply;
mod audit;
mod authenticate;
mod authorize;
mod compress;
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
mod table;
pub(crate) mod timing;
mod trace;
pub(crate) mod version;

pub(crate) use authorize::forbidden;
pub(crate) use inflight::Inflight;

use crate::server::Api;
use crate::server::body::{Request, Response};
use futures::future::BoxFuture;

/// One step of a request's life.
type Layer = for<'a> fn(&'a Api, Request, Next<'a>) -> BoxFuture<'a, Response>;

/// The steps, in order.
const LAYERS: &[Layer] = &[
    headers::layer,      // outermost: even an answer to a panic carries them
    panics::layer,       // a broken handler fails one request, not the server
    compress::layer,     // around everything that makes a body
    info::layer,         // verb and resource parsed once; all below read them
    trace::layer,        // refused requests are logged and counted, too
    audit::track,        // around all that may refuse; closes the trail when the answer is out
    deadline::layer,     // long-running requests exempt, hence after info
    authenticate::layer, // who
    audit::layer,        // before impersonation: the event names both users
    impersonate::layer,  // who else; asks the authorizers itself
    fairness::layer,     // after authn: flows are told apart by user
    authorize::layer,    // may they
];

/// What is left of the way.
#[derive(Clone, Copy)]
pub(crate) struct Next<'a> {
    api: &'a Api,
    rest: &'static [Layer],
}

impl<'a> Next<'a> {
    /// Goes on.
    fn run(self, request: Request) -> BoxFuture<'a, Response> {
        match self.rest.split_first() {
            Some((layer, rest)) => layer(self.api, request, Next { api: self.api, rest }),
            None => Box::pin(route::serve(self.api, request)),
        }
    }
}

/// Answers a request.
pub(crate) async fn serve(api: &Api, request: Request) -> Response {
    Next { api, rest: LAYERS }.run(request).await
}
