//! The in-process transport: requests of this process's components, without TLS, TCP or HTTP framing.

use super::Api;
use super::body::{Body, BoxError, Response};
use crate::authn::LocalIdentity;
use crate::context::UserInfo;
use crate::pipeline;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::HeaderValue;
use http::header::USER_AGENT;
use http_body_util::BodyExt;
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A service that answers as the server does to one identity.
#[derive(Clone)]
pub struct Local {
    api: Api,
    user: LocalIdentity,
    /// What the caller is known as among the managers of fields.
    agent: HeaderValue,
}

impl Api {
    /// A service for a caller in this process.
    pub fn local(&self, user: UserInfo) -> Local {
        let agent = HeaderValue::from_str(&agent(&user.name)).unwrap_or(HeaderValue::from_static("unknown"));
        Local { api: self.clone(), user: LocalIdentity(Arc::new(user)), agent }
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
        if !request.headers().contains_key(USER_AGENT) {
            request.headers_mut().insert(USER_AGENT, self.agent.clone());
        }
        Box::pin(async move { Ok(pipeline::serve(&api, request).await) })
    }
}

/// The program that upstream runs under an identity.
fn agent(user: &str) -> String {
    let component = match user {
        "system:apiserver" => "kube-apiserver",
        "system:kaji-simulated-nodes" => "kubelet",
        user if user.starts_with("system:node:") => "kubelet",
        user if user.starts_with("system:serviceaccount:kube-system:") && user.ends_with("-controller") => {
            "kube-controller-manager"
        }
        user => user.rsplit(':').next().unwrap_or_default(),
    };
    format!("{component}/v1.36")
}
