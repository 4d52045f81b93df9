//! Who is it? In-process callers say so; others are asked; others are anonymous where that is allowed.

use super::timing::{Phase, timed};
use super::{Next, info, negotiate::Format, output};
use crate::authn::LocalIdentity;
use crate::config::Anonymous;
use crate::context::UserInfo;
use crate::server::Api;
use crate::server::body::{Request, RequestBody, Response};
use futures::future::BoxFuture;
use kaji_api::Status;
use std::sync::Arc;

pub(super) fn layer<'a>(api: &'a Api, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    Box::pin(async move {
        let (mut parts, body): (_, RequestBody) = request.into_parts();
        match timed(Phase::Authentication, user(api, &parts)).await {
            Ok(user) => {
                // Never seen by handlers, logs or backends that a request is passed on to.
                parts.headers.remove(http::header::AUTHORIZATION);
                parts.extensions.insert(user);
                next.run(Request::from_parts(parts, body)).await
            }
            Err(status) => {
                tracing::debug!(path = parts.uri.path(), why = status.message, "request not authenticated");
                output::failure(&Status::unauthorized("Unauthorized"), Format::JSON)
            }
        }
    })
}

/// The user that this layer, or impersonation, left.
pub(super) fn of(extensions: &http::Extensions) -> Arc<UserInfo> {
    extensions.get::<Arc<UserInfo>>().cloned().unwrap_or_default()
}

async fn user(api: &Api, parts: &http::request::Parts) -> Result<Arc<UserInfo>, Status> {
    if let Some(local) = parts.extensions.get::<LocalIdentity>() {
        return Ok(local.0.clone());
    }
    for authenticator in api.authenticators() {
        if let Some(mut user) = authenticator.authenticate(parts).await? {
            if !user.in_group("system:authenticated") && !user.in_group("system:unauthenticated") {
                user.groups.push("system:authenticated".to_owned());
            }
            return Ok(Arc::new(user));
        }
    }
    let allowed = match api.config().serving.anonymous {
        Anonymous::Everywhere => true,
        Anonymous::Health => super::health::is_health(&info::of(&parts.extensions).path),
        Anonymous::Nowhere => false,
    };
    match allowed {
        true => Ok(Arc::new(anonymous())),
        false => Err(Status::unauthorized("no credentials")),
    }
}

fn anonymous() -> UserInfo {
    UserInfo {
        name: "system:anonymous".to_owned(),
        groups: vec!["system:unauthenticated".to_owned()],
        ..UserInfo::default()
    }
}
