//! Why a server was not reached, in Go's words.

use kaji_api::Status;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// A call failed.
    #[error("{method} \"{url}\": {cause}")]
    Call {
        /// As Go writes it: `Post`.
        method: &'static str,
        /// What was called.
        url: String,
        /// Why not.
        cause: Box<RemoteError>,
    },
    /// The service leads nowhere.
    #[error("{}", .0.message)]
    Resolve(Status),
    /// The address is not reached.
    #[error("dial tcp {address}: {why}")]
    Dial {
        /// Host and port.
        address: String,
        /// Why not.
        why: String,
    },
    /// The certificate does not convince, or the handshake fails.
    #[error("{0}")]
    Tls(String),
    /// A file of the configuration cannot be used.
    #[error("{path} is unusable: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No URL.
    #[error("{0:?} is no valid URL")]
    Target(String),
    /// It took too long.
    #[error("context deadline exceeded")]
    Deadline,
    /// The answer is longer than anybody needs.
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// The connection broke before the answer was complete.
    #[error("{0}")]
    Broken(String),
}

impl RemoteError {
    /// A connection that did not come about.
    pub(super) fn dial(address: String, error: &io::Error) -> Self {
        let why = match error.kind() {
            ErrorKind::ConnectionRefused => "connect: connection refused".to_owned(),
            ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
            ErrorKind::HostUnreachable => "connect: no route to host".to_owned(),
            ErrorKind::NetworkUnreachable => "connect: network is unreachable".to_owned(),
            ErrorKind::TimedOut => "i/o timeout".to_owned(),
            // What name resolution reports has no number of the system's.
            _ if error.raw_os_error().is_none() => {
                let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
                format!("lookup {host}: no such host")
            }
            _ => error.to_string(),
        };
        RemoteError::Dial { address, why }
    }

    /// A handshake that failed.
    pub(super) fn handshake(name: &str, error: &io::Error) -> Self {
        let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        RemoteError::Tls(match inner {
            Some(error) => super::tls::text(name, error),
            None if error.kind() == ErrorKind::UnexpectedEof => "EOF".to_owned(),
            None if error.kind() == ErrorKind::ConnectionReset => "read: connection reset by peer".to_owned(),
            None => format!("tls: {error}"),
        })
    }
}

impl From<hyper_util::client::legacy::Error> for RemoteError {
    fn from(error: hyper_util::client::legacy::Error) -> Self {
        let mut cause: &(dyn Error + 'static) = &error;
        while let Some(source) = cause.source() {
            if let Some(found) = source.downcast_ref::<RemoteError>() {
                return found.clone();
            }
            if source.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
                return RemoteError::Broken("EOF".to_owned());
            }
            cause = source;
        }
        RemoteError::Broken(cause.to_string())
    }
}
