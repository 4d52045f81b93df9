//! Clients from kubeconfig files.

use crate::Client;
use std::path::Path;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The kubeconfig could not be read or understood.
    #[error("could not use kubeconfig {path}")]
    Kubeconfig {
        /// Its path.
        path: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A client from a kubeconfig's current context, with the given user agent.
pub async fn from_kubeconfig(path: &Path, user_agent: &str) -> Result<Client, ConfigError> {
    let _ = (path, user_agent);
    unimplemented!()
}
