//! The composition root: parts in boot order, and the listener.

use crate::config::Config;
use std::sync::Arc;

/// The running API server's parts; cheap to clone.
#[derive(Clone)]
pub struct Api(pub(crate) Arc<Parts>);

/// The parts.
pub(crate) struct Parts {
    #[expect(dead_code, reason = "skeleton")]
    pub(crate) config: Config,
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file of the configuration could not be read.
    #[error("could not read {what} {path}")]
    ReadFile {
        /// What the file is for.
        what: &'static str,
        /// Its path.
        path: std::path::PathBuf,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// A file of the configuration holds something else.
    #[error("{what} {path} is unusable: {why}")]
    BadFile {
        /// What the file is for.
        what: &'static str,
        /// Its path.
        path: std::path::PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The address to listen on is taken or not ours.
    #[error("could not listen on {address}")]
    Listen {
        /// The address.
        address: std::net::SocketAddr,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// The store could not be read.
    #[error("could not load the API's objects from the store")]
    Load(#[source] kaji_store::StoreError),
    /// What every cluster needs could not be written.
    #[error("could not write the first objects")]
    Bootstrap(#[source] kaji_api::Status),
}
