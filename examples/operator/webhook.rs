//! The operator's validating webhook: says no to websites that would show nothing.
//!
//! What a schema can say is in the definition; this is what it cannot: `index.html` may be any of the pages' names.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// Websites are kept in etcd: nothing valid is larger.
const LARGEST: usize = 4 << 20;

/// Answers reviews until it is dropped.
pub(crate) async fn serve(listener: TcpListener, tls: rustls::ServerConfig) {
    let tls = TlsAcceptor::from(Arc::new(tls));
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let tls = tls.clone();
        tokio::spawn(async move {
            // Who breaks off has an answer no use for.
            let Ok(stream) = tls.accept(stream).await else { return };
            let server = auto::Builder::new(TokioExecutor::new());
            let _ = server.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = Limited::new(request.into_body(), LARGEST).collect().await.map(|body| body.to_bytes());
    let review = body.ok().and_then(|body| serde_json::from_slice::<Value>(&body).ok());
    let (code, body) = match review {
        Some(asked) => (StatusCode::OK, review_of(&asked).to_string()),
        None => (StatusCode::BAD_REQUEST, "an AdmissionReview is expected".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = code;
    Ok(response)
}

/// The answer to a review.
pub(crate) fn review_of(asked: &Value) -> Value {
    let request = &asked["request"];
    let mut response = json!({"uid": request["uid"], "allowed": true});
    if let Err(why) = check(&request["object"]) {
        response["allowed"] = false.into();
        response["status"] = json!({"code": 422, "reason": "Invalid", "message": why});
    }
    json!({"apiVersion": asked["apiVersion"], "kind": "AdmissionReview", "response": response})
}

/// What is wrong with a website.
pub(crate) fn check(website: &Value) -> Result<(), String> {
    let pages = website["spec"]["pages"].as_object();
    let Some(pages) = pages.filter(|pages| pages.contains_key("index.html")) else {
        return Err("spec.pages: without index.html, visitors see nothing; add one".to_owned());
    };
    match pages.iter().find(|(_, text)| text.as_str().is_none_or(|text| text.trim().is_empty())) {
        Some((name, _)) => Err(format!("spec.pages[{name}]: the page is empty; write something or leave it out")),
        None => Ok(()),
    }
}
