//! `pods/log`: what a container wrote, from its node's kubelet, as it comes.

use super::location::Location;
use super::options::LogOptions;
use super::proxy::through;
use super::websocket::{self, Encoding};
use super::{Connect, empty, failed, location, spawn, upgrade_of};
use crate::server::body::Response;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::request::Parts;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use kaji_api::Status;
use kaji_api::value::Value;

/// So much of a kubelet's refusal is passed on.
const MAX_REFUSAL: usize = 50_000;

/// GET.
pub(super) async fn serve(connect: Connect<'_>, mut parts: Parts) -> Result<Response, Status> {
    let options = LogOptions::parse(connect.query)?;
    options.validate(connect.name)?;
    let Some(location) = location::log(&connect, &options).await? else { return Ok(empty(204)) };
    let answer = fetch(&connect, &location).await?;
    if websocket::is_asked_for(&parts.headers) {
        let (response, encoding) = websocket::accept_reader(&parts.headers)?;
        let upgrade = upgrade_of(&mut parts)?;
        spawn(connect.api, parts.extensions.remove(), async move {
            if let Ok(socket) = websocket::open(upgrade).await {
                copy(answer, socket, encoding).await;
            }
        });
        return Ok(response);
    }
    let mut response = Response::new(through(answer));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

async fn fetch(connect: &Connect<'_>, location: &Location) -> Result<Incoming, Status> {
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let request = http::Request::get(location.target())
        .header(HOST, location.backend.authority())
        .body(body)
        .expect("targets are escaped");
    let answer = location.backend.send(connect.api, request).await;
    let answer = answer.map_err(|error| failed(format!("Get \"{}\": {error}", location.url())))?;
    let (parts, body) = answer.into_parts();
    match parts.status.as_u16() {
        200..=206 => Ok(body),
        300..=399 if parts.headers.contains_key(http::header::LOCATION) => {
            Err(failed(format!("Get \"{}\": redirects forbidden", location.url())))
        }
        code => Err(refused(connect, code, body).await),
    }
}

/// The kubelet's refusal as upstream words it (`GenericHttpResponseChecker`).
async fn refused(connect: &Connect<'_>, code: u16, body: Incoming) -> Status {
    let text = match Limited::new(body, MAX_REFUSAL).collect().await {
        Ok(all) => String::from_utf8_lossy(&all.to_bytes()).into_owned(),
        Err(error) => return Status::internal(error),
    };
    let (reason, text) = match code {
        500 => return Status::internal(text),
        400 => return Status::bad_request(text),
        401 => ("Unauthorized", "the server has asked for the client to provide credentials".to_owned()),
        403 => ("Forbidden", text),
        404 => ("NotFound", "the server could not find the requested resource".to_owned()),
        429 => (
            "TooManyRequests",
            "the server has received too many requests and has asked us to try again later".to_owned(),
        ),
        503 => ("ServiceUnavailable", "the server is currently unable to handle the request".to_owned()),
        504 => (
            "Timeout",
            "the server was unable to return a response in the time allotted, but may still be processing the request"
                .to_owned(),
        ),
        code if code >= 500 => {
            let text = kaji_api::field::quoted(&text);
            ("InternalError", format!("an error on the server ({text}) has prevented the request from succeeding"))
        }
        code => ("", format!("the server responded with the status code {code} but did not return more information")),
    };
    let mut status = Status::new(code, reason, format!("{text} ( pods/log {})", connect.name));
    status.details = Value::from_iter([("name", connect.name), ("kind", "pods/log")].map(|(k, v)| (k, Value::from(v))));
    status
}

/// Copies a log into a WebSocket; an empty message says that it begins.
async fn copy(mut log: Incoming, socket: websocket::Socket, encoding: Encoding) {
    let (mut sink, mut source) = socket.split();
    let sending = async {
        sink.send(encoding.encode(&[])).await.ok()?;
        while let Some(Ok(frame)) = log.frame().await {
            if let Some(data) = frame.data_ref() {
                sink.send(encoding.encode(data)).await.ok()?;
            }
        }
        sink.send(websocket::goodbye()).await.ok()?;
        sink.close().await.ok()
    };
    let ignoring = async { while let Some(Ok(_)) = source.next().await {} };
    tokio::pin!(sending);
    tokio::select! {
        _ = &mut sending => {}
        () = ignoring => {}
    }
}
