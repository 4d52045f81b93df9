//! The in-process transport: requests of this process's components, without TLS, TCP or HTTP framing.

use super::Api;
use super::body::{Body, BoxError, Response};
use crate::authn::LocalIdentity;
use crate::context::UserInfo;
use crate::pipeline;
use bytes::Bytes;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A service that answers as the server does to one identity.
#[derive(Clone)]
pub struct Local {
    api: Api,
    user: LocalIdentity,
}

impl Api {
    /// A service for a caller in this process.
    pub fn local(&self, user: UserInfo) -> Local {
        Local { api: self.clone(), user: LocalIdentity(Arc::new(user)) }
    }
}

impl<B> tower::Service<http::Request<B>> for Local
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let api = self.api.clone();
        let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
        request.extensions_mut().insert(self.user.clone());
        Box::pin(async move { Ok(pipeline::serve(&api, request).await) })
    }
}
