//! Volumes of simulated pods: always there, nowhere.

use crate::pod::Facts;
use crate::volume::{Mounted, Volume, VolumeError, Volumes};
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Container, Pod};
use std::path::PathBuf;

/// No files at all.
pub(super) struct Nowhere;

#[async_trait]
impl Volumes for Nowhere {
    async fn set_up(&self, pod: &Pod, _: &[String], _: &Facts) -> Result<Mounted, VolumeError> {
        let nowhere = || Volume { path: PathBuf::from("/nonexistent"), read_only: false };
        let specs = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        Ok(Mounted { volumes: specs.map(|spec| (spec.name.clone(), nowhere())).collect(), renew_in: None })
    }

    async fn sub_path(&self, _: &Pod, _: &Container, _: usize, volume: &Volume, _: &str) -> Result<PathBuf, String> {
        Ok(volume.path.clone())
    }

    async fn tear_down(&self, _: &str) -> std::io::Result<()> {
        Ok(())
    }

    async fn known(&self) -> Vec<String> {
        Vec::new()
    }

    fn pod_dir(&self, _: &str) -> Option<PathBuf> {
        None
    }
}
