//! See [`crate::properties`].

use super::link::Links;
use super::page::{Encoding, Rewriter};

/// A page of a backend: the same comes out wherever it is cut, and what is said to be packed may be anything.
pub fn pages(data: &[u8]) {
    let links = || Links { prefix: "/p".to_owned(), backend: "b:80".to_owned(), host: "h".to_owned() };
    let through = |encoding, size: usize| {
        let mut rewriter = Rewriter::new(encoding, links());
        let mut out = Vec::new();
        for piece in data.chunks(size.max(1)) {
            out.extend(rewriter.push(piece).ok()?);
        }
        out.extend(rewriter.finish().ok()?);
        Some(out)
    };
    let whole = through(Encoding::Plain, data.len());
    for size in [1, 7, data.len() / 2] {
        assert_eq!(through(Encoding::Plain, size), whole, "in pieces of {size}");
    }
    let _ = through(Encoding::Gzip, 64);
}
