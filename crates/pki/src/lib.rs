//! Keys and certificates: make, issue, request, read.
//!
//! Everything is ECDSA P-256 unless it comes from outside. Requests keep every part of a subject, so a
//! user's groups survive (a subject may hold any number of organizations).

mod issue;
mod key;
mod name;
#[cfg(feature = "properties")]
pub mod properties;
mod request;

pub use issue::{Authority, Certificate, Usage};
pub use key::Key;
pub use name::Subject;
pub use request::{Request, decode_request, encode_request};

/// Why a key or certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The PEM text or DER inside is malformed.
    #[error("malformed {what}: {cause}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// The parser's words.
        cause: der::Error,
    },
    /// The key is of a kind or form that is not supported.
    #[error("unusable private key: {0}")]
    Key(String),
    /// The signature on a request does not match its key.
    #[error("the request's signature does not match its public key")]
    BadSignature,
    /// The random generator or signer failed.
    #[error("the crypto library failed to {0}")]
    Crypto(&'static str),
}

pub(crate) fn malformed(what: &'static str) -> impl Fn(der::Error) -> PkiError {
    move |cause| PkiError::Malformed { what, cause }
}
