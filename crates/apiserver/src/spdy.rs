//! SPDY/3.1 as kubelets and container runtimes speak it: many byte streams over one connection.
//!
//! Only what their implementation does is here. It has no flow control (windows are neither sent nor obeyed), so
//! a slow reader of one stream holds up the connection; readers of all streams have to keep reading. Streams are
//! told apart by their headers.

mod connection;
mod dictionary;
mod frame;
mod headers;
#[cfg(any(test, feature = "properties"))]
pub(crate) mod properties;

#[cfg(test)]
mod tests;

pub(crate) use connection::{Connection, Reader, Writer};
#[cfg(test)]
pub(crate) use connection::{Incoming, OpenError};

/// The `Upgrade` header's word for it.
pub(crate) const PROTOCOL: &str = "SPDY/3.1";
