//! Streams: the request goes on to the runtime's streaming server as it came, and both sides are joined.

use super::{Answer, full, text};
use http::{Request, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

/// How long the streaming server may take to agree.
const PATIENCE: Duration = Duration::from_secs(30);

/// Forwards an upgrade to `url`; other answers of the runtime are passed on.
pub(super) async fn forward(url: &str, mut request: Request<Incoming>) -> Answer {
    let Ok(uri) = url.parse::<Uri>() else { return text(500, format!("unusable streaming address {url}")) };
    let Some(authority) = uri.authority().cloned() else { return text(500, "no streaming address") };
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut onward = Request::builder().method(request.method().clone()).uri(path);
    for (name, value) in request.headers() {
        // Credentials are for us alone.
        if name != http::header::HOST && name != http::header::AUTHORIZATION {
            onward = onward.header(name, value);
        }
    }
    let onward = onward.header(http::header::HOST, authority.as_str()).body(String::new());
    let Ok(onward) = onward else { return text(400, "malformed request") };
    let Ok(stream) = TcpStream::connect(authority.as_str()).await else {
        return text(502, "the runtime's streaming server does not answer");
    };
    let _ = stream.set_nodelay(true);
    let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await else {
        return text(502, "the runtime's streaming server does not speak HTTP");
    };
    tokio::spawn(connection.with_upgrades());
    let mut answer = match tokio::time::timeout(PATIENCE, sender.send_request(onward)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return text(502, error.to_string()),
        Err(_) => return text(504, "the runtime's streaming server took too long"),
    };
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (parts, body) = answer.into_parts();
        return http::Response::from_parts(parts, body.map_err(Into::into).boxed());
    }
    let (ours, theirs) = (hyper::upgrade::on(&mut request), hyper::upgrade::on(&mut answer));
    tokio::spawn(async move {
        let (Ok(ours), Ok(theirs)) = (ours.await, theirs.await) else { return };
        let (mut ours, mut theirs) = (TokioIo::new(ours), TokioIo::new(theirs));
        if let Err(error) = copy_bidirectional(&mut ours, &mut theirs).await {
            tracing::debug!(%error, "stream ended");
        }
    });
    let (parts, _) = answer.into_parts();
    http::Response::from_parts(parts, full(""))
}
