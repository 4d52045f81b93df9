//! Bodies of answers.

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use http_body::{Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use std::pin::Pin;
use std::task::{Context, Poll};

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a request, from the network or from this process.
pub type RequestBody = UnsyncBoxBody<Bytes, BoxError>;

/// A request inside the server.
pub type Request = http::Request<RequestBody>;

/// An answer.
pub type Response = http::Response<Body>;

/// The body of an answer.
pub enum Body {
    /// All of it, once.
    Full(Option<Bytes>),
    /// Pieces as they come, with their total length where it is known.
    Stream(BoxStream<'static, Result<Bytes, BoxError>>, Option<u64>),
    /// Somebody else's body, passed through.
    Through(RequestBody),
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Body::Full(None)
    }

    /// A body of pieces that cannot fail.
    pub fn stream(pieces: impl futures::Stream<Item = Bytes> + Send + 'static, length: Option<u64>) -> Self {
        Body::Stream(pieces.map(Ok).boxed(), length)
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        let bytes = bytes.into();
        Body::Full((!bytes.is_empty()).then_some(bytes))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Body::Full(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Body::Stream(stream, _) => stream.poll_next_unpin(cx).map_ok(Frame::data),
            Body::Through(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Full(bytes) => bytes.is_none(),
            Body::Stream(..) => false,
            Body::Through(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Body::Stream(_, Some(length)) => SizeHint::with_exact(*length),
            Body::Stream(_, None) => SizeHint::default(),
            Body::Through(body) => body.size_hint(),
        }
    }
}
