//! Clients from kubeconfig files.

use crate::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
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

/// A client from a kubeconfig's current context.
pub async fn from_kubeconfig(path: &Path) -> Result<Client, ConfigError> {
    let config =
        read(path).await.map_err(|cause| ConfigError::Kubeconfig { path: path.display().to_string(), cause })?;
    Client::try_from(config)
        .map_err(|e| ConfigError::Kubeconfig { path: path.display().to_string(), cause: Box::new(e) })
}

async fn read(path: &Path) -> Result<kube::Config, Box<dyn std::error::Error + Send + Sync>> {
    let kubeconfig = Kubeconfig::read_from(path)?;
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    // Watches are quiet for minutes; kube's default would cut them.
    config.read_timeout = None;
    Ok(config)
}
