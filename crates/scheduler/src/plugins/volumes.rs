//! VolumeBinding, as far as claims are bound by others: a claim must exist and be bound, and its volume says
//! which nodes will do.

use super::No;
use super::affinity::selector_matches;
use crate::cycle::Cycle;
use crate::nodes::NodeInfo;
use k8s_openapi::api::core::v1::{NodeSelector, PersistentVolume, PersistentVolumeClaim, Pod, PodSpec};
use kaji_client::ObjectKey;
use kaji_client::informer::Informer;
use std::sync::Arc;

/// The claims and volumes there are.
pub(crate) struct Volumes {
    pub(crate) claims: Arc<Informer<PersistentVolumeClaim>>,
    pub(crate) volumes: Arc<Informer<PersistentVolume>>,
}

impl Volumes {
    /// What the pod's volumes demand of a node; the error says why no node will do.
    pub(crate) fn demands(&self, pod: &Pod, spec: &PodSpec) -> Result<Vec<NodeSelector>, String> {
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let mut demands = Vec::new();
        for volume in spec.volumes.iter().flatten() {
            let name = match (&volume.persistent_volume_claim, &volume.ephemeral) {
                (Some(source), _) => source.claim_name.clone(),
                (None, Some(_)) => format!("{}-{}", pod.metadata.name.as_deref().unwrap_or_default(), volume.name),
                (None, None) => continue,
            };
            demands.extend(self.demand(&ObjectKey::new(namespace, name))?);
        }
        Ok(demands)
    }

    fn demand(&self, key: &ObjectKey) -> Result<Option<NodeSelector>, String> {
        let Some(claim) = self.claims.get(key) else {
            return Err(format!("persistentvolumeclaim \"{}\" not found", key.name));
        };
        if claim.metadata.deletion_timestamp.is_some() {
            return Err(format!("persistentvolumeclaim \"{}\" is being deleted", key.name));
        }
        let bound = claim.spec.as_ref().and_then(|s| s.volume_name.as_deref()).unwrap_or_default();
        if bound.is_empty() {
            return Err("pod has unbound immediate PersistentVolumeClaims".to_owned());
        }
        let volume = self.volumes.get(&ObjectKey::new("", bound));
        let Some(volume) = volume else {
            return Err("node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)".to_owned());
        };
        let affinity = volume.spec.as_ref().and_then(|s| s.node_affinity.as_ref());
        Ok(affinity.and_then(|a| a.required.clone()))
    }
}

pub(super) fn filter(cycle: &Cycle<'_>, node: &NodeInfo) -> Result<(), No> {
    let demands = cycle.volumes.as_deref().unwrap_or_default();
    if demands.iter().all(|demand| selector_matches(demand, node)) {
        Ok(())
    } else {
        Err(No::node("node(s) didn't match PersistentVolume's node affinity"))
    }
}
