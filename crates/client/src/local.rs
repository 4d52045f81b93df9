//! The in-process transport: kube's client on a tower service instead of a socket.
//!
//! The API server hands out a service per identity (`kaji_apiserver::Api::local`); requests and
//! answers are `http` types with kube's body, so nothing is framed or encrypted on the way.

use crate::Client;
use http::{Request, Response};
use kube::client::Body;
use tower::Service;

/// A client whose requests go to `service`.
pub fn client<S, B>(service: S) -> Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + Sync + Clone + 'static,
    S::Future: Send + 'static,
    S::Error: Into<tower::BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<tower::BoxError>,
{
    Client::new(service, "default")
}
