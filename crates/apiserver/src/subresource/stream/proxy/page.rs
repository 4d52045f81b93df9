//! Bodies of pages, unpacked if need be, with their links rewritten.

use super::html::Page;
use super::link::Links;
use crate::server::body::{Body, BoxError};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, MultiGzDecoder};
use futures::{StreamExt, stream};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::io::Write;

/// Bytes that are unpacked at once.
const PIECE: usize = 512;

/// How a page is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Plain,
    Gzip,
}

/// The encoding of a page whose links can be rewritten; none for what is no page, or packed otherwise.
pub(super) fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    let text = |name| headers.get(name).map_or("", |v: &http::HeaderValue| v.to_str().unwrap_or("?"));
    let media = text(CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    match (media, text(CONTENT_ENCODING)) {
        ("text/html", "") => Some(Encoding::Plain),
        ("text/html", "gzip") => Some(Encoding::Gzip),
        _ => None,
    }
}

/// The page with links through the proxy, piece by piece.
pub(super) fn rewritten(body: Incoming, encoding: Encoding, links: Links) -> Body {
    let rewriter = Rewriter::new(encoding, links);
    let pieces = stream::unfold((body, Some(rewriter)), |(mut body, rewriter)| async move {
        let mut rewriter = rewriter?;
        loop {
            let frame = match body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Some((Err(error.into()), (body, None))),
                None => return Some((rewriter.finish().map(Bytes::from), (body, None))),
            };
            let Some(data) = frame.data_ref() else { continue };
            match rewriter.push(data) {
                Ok(done) if done.is_empty() => {}
                Ok(done) => return Some((Ok(done.into()), (body, Some(rewriter)))),
                Err(error) => return Some((Err(error), (body, None))),
            }
        }
    });
    Body::Stream(pieces.boxed(), None)
}

/// A page with what is around it.
pub(super) enum Rewriter {
    Plain(Page),
    Gzip(Box<Packed>),
}

/// A page between its two packings.
pub(super) struct Packed {
    unpack: MultiGzDecoder<Vec<u8>>,
    page: Page,
    pack: GzEncoder<Vec<u8>>,
}

impl Rewriter {
    pub(super) fn new(encoding: Encoding, links: Links) -> Self {
        let page = Page::new(links);
        match encoding {
            Encoding::Plain => Rewriter::Plain(page),
            Encoding::Gzip => Rewriter::Gzip(Box::new(Packed {
                unpack: MultiGzDecoder::new(Vec::new()),
                page,
                pack: GzEncoder::new(Vec::new(), Compression::fast()),
            })),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, BoxError> {
        match self {
            Rewriter::Plain(page) => Ok(page.push(bytes)),
            Rewriter::Gzip(packed) => {
                let Packed { unpack, page, pack } = packed.as_mut();
                // What is packed well is a thousand times as long: never all of it at once.
                for piece in bytes.chunks(PIECE) {
                    unpack.write_all(piece)?;
                    pack.write_all(&page.push(&std::mem::take(unpack.get_mut())))?;
                }
                Ok(std::mem::take(pack.get_mut()))
            }
        }
    }

    pub(super) fn finish(self) -> Result<Vec<u8>, BoxError> {
        match self {
            Rewriter::Plain(page) => Ok(page.finish()),
            Rewriter::Gzip(packed) => {
                let Packed { unpack, mut page, mut pack } = *packed;
                let last = unpack.finish()?;
                pack.write_all(&page.push(&last))?;
                pack.write_all(&page.finish())?;
                Ok(pack.finish()?)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn packed_pages_stay_packed() {
        let links = Links { prefix: "/p".to_owned(), backend: "b".to_owned(), host: "h".to_owned() };
        let mut rewriter = Rewriter::new(Encoding::Gzip, links);
        let mut pack = GzEncoder::new(Vec::new(), Compression::fast());
        pack.write_all(br#"<a href="/x">"#).unwrap();
        let mut out = Vec::new();
        for byte in pack.finish().unwrap() {
            out.extend(rewriter.push(&[byte]).unwrap());
        }
        out.extend(rewriter.finish().unwrap());
        let mut text = String::new();
        flate2::read::GzDecoder::new(out.as_slice()).read_to_string(&mut text).unwrap();
        assert_eq!(text, r#"<a href="/p/x">"#);
    }
}
