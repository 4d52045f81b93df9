//! Images of a running cluster's node.

use crate::data_dir::DataDir;
use crate::instance::Instance;
use std::path::{Path, PathBuf};

/// Images could not be imported or listed.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
    /// No runtime to talk to.
    #[error("no container runtime runs for the cluster in {dir}; start it first: kaji up --detach")]
    NotRunning {
        /// The data directory.
        dir: PathBuf,
    },
    /// The archive or the runtime.
    #[error("could not use {what}")]
    Failed {
        /// The archive, or the runtime's endpoint.
        what: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The socket of the cluster's own containerd.
fn endpoint(dir: &DataDir) -> Result<String, ImagesError> {
    let not_running = || ImagesError::NotRunning { dir: dir.path().to_owned() };
    let text = std::fs::read_to_string(dir.instance_file()).map_err(|_| not_running())?;
    let instance: Instance = serde_json::from_str(&text).map_err(|_| not_running())?;
    let socket = instance.runtime_dir().join("containerd.sock");
    if socket.exists() { Ok(format!("unix://{}", socket.display())) } else { Err(not_running()) }
}

/// Imports an archive; gives the names of its images.
pub async fn import(dir: &DataDir, archive: &Path) -> Result<Vec<String>, ImagesError> {
    let endpoint = endpoint(dir)?;
    kaji_node::image::import(&endpoint, archive)
        .await
        .map_err(|e| ImagesError::Failed { what: archive.display().to_string(), cause: Box::new(e) })
}

/// Names and sizes in bytes of the node's images.
pub async fn list(dir: &DataDir) -> Result<Vec<(String, u64)>, ImagesError> {
    let endpoint = endpoint(dir)?;
    let images = kaji_node::image::list(&endpoint)
        .await
        .map_err(|e| ImagesError::Failed { what: endpoint.clone(), cause: Box::new(e) })?;
    Ok(images.into_iter().flat_map(|image| image.tags.into_iter().map(move |tag| (tag, image.size))).collect())
}
