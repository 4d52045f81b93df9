//! gzip for large answers, if asked for (upstream compresses above 128 KiB).

use super::Next;
use crate::config::gates;
use crate::server::Api;
use crate::server::body::{Body, BoxError, Request, Response};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, StreamExt};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, VARY};
use http_body::Body as _;
use std::io::Write;

const THRESHOLD: u64 = 128 << 10;
/// What is compressed at once of a body that is there as a whole; then others have their turn.
const TURN: usize = 256 << 10;

pub(super) fn layer<'a>(api: &'a Api, request: Request, next: Next<'a>) -> BoxFuture<'a, Response> {
    let asked = request.headers().get(ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).is_some_and(takes_gzip);
    if !asked {
        return next.run(request);
    }
    Box::pin(async move {
        let response = next.run(request).await;
        let large = response.body().size_hint().exact().is_some_and(|n| n > THRESHOLD);
        let packed = response.headers().contains_key(CONTENT_ENCODING);
        let compresses = || api.config().gates.is_on(gates::RESPONSE_COMPRESSION);
        if large && !packed && compresses() { Box::pin(gzip(response)).await } else { response }
    })
}

fn takes_gzip(accept: &str) -> bool {
    accept.split(',').any(|clause| {
        let mut parts = clause.split(';').map(str::trim);
        parts.next() == Some("gzip") && !parts.any(|p| matches!(p, "q=0" | "q=0.0"))
    })
}

async fn gzip(response: Response) -> Response {
    let (mut head, body) = response.into_parts();
    head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    head.headers.remove(CONTENT_LENGTH);
    let body = match body {
        Body::Full(bytes) => whole(&bytes.unwrap_or_default()).await,
        Body::Stream(pieces, _) => compressed(pieces),
        through @ Body::Through(_) => through,
    };
    Response::from_parts(head, body)
}

/// Compresses at once what is in memory already: the result is smaller, and smaller than an encoder that would wait
/// for a slow reader.
async fn whole(bytes: &[u8]) -> Body {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for piece in bytes.chunks(TURN) {
        encoder.write_all(piece).expect("memory takes all");
        tokio::task::yield_now().await;
    }
    encoder.finish().expect("memory takes all").into()
}

/// Compresses piece by piece, so that a large list is never held whole.
fn compressed(pieces: BoxStream<'static, Result<Bytes, BoxError>>) -> Body {
    let encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let out = stream::unfold((pieces, Some(encoder)), |(mut pieces, mut encoder)| async move {
        loop {
            let mut gz = encoder.take()?;
            match pieces.next().await {
                Some(Ok(piece)) => {
                    if let Err(error) = gz.write_all(&piece) {
                        return Some((Err(error.into()), (pieces, None)));
                    }
                    let ready = std::mem::take(gz.get_mut());
                    encoder = Some(gz);
                    if !ready.is_empty() {
                        return Some((Ok(Bytes::from(ready)), (pieces, encoder)));
                    }
                }
                Some(Err(error)) => return Some((Err(error), (pieces, None))),
                None => return Some((gz.finish().map(Bytes::from).map_err(Into::into), (pieces, None))),
            }
        }
    });
    Body::Stream(out.boxed(), None)
}
