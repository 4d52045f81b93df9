//! Volumes: made, filled, kept up to date, removed, under `pods/<uid>/volumes/` as upstream lays them out.

mod atomic;
mod disk;
mod host_path;
mod ownership;
mod payload;
mod subpath;
mod tokens;

pub(crate) use disk::Disk;
pub(crate) use tokens::Tokens;

use crate::pod::Facts;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Container, Pod};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a pod's volumes are not there.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// One could not be set up; upstream's words.
    #[error("MountVolume.SetUp failed for volume {volume:?} : {why}")]
    SetUp { volume: String, why: String },
    /// The kind is not supported here.
    #[error("Unable to attach or mount volumes: volume {volume:?} is of kind {kind}, which this node does not support")]
    Unsupported { volume: String, kind: &'static str },
}

/// A volume that is there.
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    pub(crate) path: PathBuf,
    pub(crate) read_only: bool,
}

/// A pod's volumes by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mounted {
    pub(crate) volumes: HashMap<String, Volume>,
    /// When something in them must be renewed.
    pub(crate) renew_in: Option<Duration>,
}

/// What makes volumes.
#[async_trait]
pub(crate) trait Volumes: Send + Sync + 'static {
    /// Makes and fills all volumes of a pod, or brings them up to date.
    async fn set_up(&self, pod: &Pod, ips: &[String], facts: &Facts) -> Result<Mounted, VolumeError>;
    /// The host path of a part of a volume, for one mount of a container.
    async fn sub_path(
        &self,
        pod: &Pod,
        container: &Container,
        index: usize,
        volume: &Volume,
        path: &str,
    ) -> Result<PathBuf, String>;
    /// Removes all volumes and directories of a pod.
    async fn tear_down(&self, uid: &str) -> std::io::Result<()>;
    /// Pods that have directories.
    async fn known(&self) -> Vec<String>;
    /// A pod's directory, made if need be; none where there are no files.
    fn pod_dir(&self, uid: &str) -> Option<PathBuf>;
}

/// Whether a relative path stays below where it starts.
fn has_no_backsteps(path: &Path) -> bool {
    path.components().all(|part| matches!(part, std::path::Component::Normal(_) | std::path::Component::CurDir))
}
