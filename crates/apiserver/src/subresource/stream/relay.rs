//! Upgrades that are passed on as they are: both sides agree on a protocol, and bytes go both ways.

use super::location::Location;
use super::proxy::{forwarded_headers, refused};
use super::websocket;
use super::{failed, spawn, upgrade_of};
use crate::audit::Hold;
use crate::server::Api;
use crate::server::body::{Body, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{Request, StatusCode, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use kaji_api::Status;
use tokio::io::AsyncWriteExt;

/// Answers a request that must be an upgrade.
pub(super) async fn serve(api: &Api, location: &Location, parts: Parts) -> Result<Response, Status> {
    match websocket::is_upgrade(&parts.headers) {
        true => upgrade(api, location, parts).await,
        false => Err(Status::bad_request("Upgrade request required")),
    }
}

/// Passes an upgrade on; a refusal of the backend's is passed back.
pub(super) async fn upgrade(api: &Api, location: &Location, mut parts: Parts) -> Result<Response, Status> {
    let client = upgrade_of(&mut parts)?;
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    *request.uri_mut() = location.target().parse().expect("targets are escaped");
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = forwarded_headers(&parts, true);
    let answer = location.backend.send(api, request).await;
    let answer = answer.map_err(|error| failed(format!("error dialing backend: {error}")))?;
    join(api, parts.extensions.remove(), client, answer)
}

/// Joins the two sides of an upgrade, if the backend agreed to it.
pub(crate) fn join(
    api: &Api,
    hold: Option<Hold>,
    client: OnUpgrade,
    mut answer: http::Response<Incoming>,
) -> Result<Response, Status> {
    let status = answer.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        if status.as_u16() < 400 {
            return Err(failed(format!("invalid upgrade response: status code {}", status.as_u16())));
        }
        return Ok(refused(answer));
    }
    let backend = hyper::upgrade::on(&mut answer);
    spawn(api, hold, async move {
        let (Ok(client), Ok(backend)) = tokio::join!(client, backend) else { return };
        let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
        if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut backend).await {
            tracing::debug!(%error, "passed-on connection broke");
            // Where one side breaks, copying ends without sending on what it had from it.
            let _ = tokio::join!(client.shutdown(), backend.shutdown());
        }
    });
    Ok(answer.map(|_| Body::empty()))
}
