//! Volumes, claims and their attribute classes that are in use stay until they no longer are (upstream
//! `pkg/controller/volume/{pvcprotection,pvprotection,vacprotection}`).
//!
//! Admission gives each a finalizer; here it is taken away once the object is to go and nothing uses it.

use crate::Context;
use crate::adopt::controller_of;
use crate::context::enqueue;
use crate::pod;
use crate::write::gone_is_fine;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;
use kaji_client::informer::{Informer, Kind};
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{ListParams, PostParams};
use std::sync::Arc;

const CLAIM: &str = "kubernetes.io/pvc-protection";
const VOLUME: &str = "kubernetes.io/pv-protection";
const CLASS: &str = "kubernetes.io/vac-protection";

/// Protects claims that pods use.
pub(crate) async fn run_claims(cx: Context) {
    let queue = WorkQueue::new();
    let (claims, pods) = (cx.informer::<PersistentVolumeClaim>(), cx.informer::<Pod>());
    enqueue(&claims, &queue);
    let again = queue.clone();
    pods.on_change(move |change| {
        // A claim can only become free when a pod goes, or is another's.
        let Some(old) = &change.old else { return };
        if change.new.as_ref().is_none_or(|new| new.metadata.uid != old.metadata.uid) {
            claim_names(old).for_each(|name| again.add(ObjectKey::new(change.key.namespace.clone(), name)));
        }
    });
    claims.synced().await;
    pods.synced().await;
    let workers = cx.config.workers;
    let work = move |key| reconcile_claim(cx.clone(), claims.clone(), pods.clone(), key);
    queue.run("claim protection", workers, work).await;
}

async fn reconcile_claim(
    cx: Context,
    claims: Arc<Informer<PersistentVolumeClaim>>,
    pods: Arc<Informer<Pod>>,
    key: ObjectKey,
) -> Result<Next, kube::Error> {
    let Some(claim) = claims.get(&key) else { return Ok(Next::Done) };
    let Some(finalizers) = finalizers(&*claim, CLAIM) else { return Ok(Next::Done) };
    if is_going(&*claim) {
        if pods.list_in(&key.namespace).iter().any(|pod| uses(pod, &claim)) {
            return Ok(Next::Done);
        }
        // A pod may be bound that the informer doesn't show yet: the server has the last word.
        let api: Api<Pod> = Api::namespaced(cx.client.clone(), &key.namespace);
        if api.list(&ListParams::default()).await?.iter().any(|pod| uses(pod, &claim)) {
            return Ok(Next::Done);
        }
    }
    let mut after = PersistentVolumeClaim::clone(&claim);
    after.metadata.finalizers = Some(finalizers);
    let api: Api<PersistentVolumeClaim> = Api::namespaced(cx.client, &key.namespace);
    gone_is_fine(api.replace(&key.name, &PostParams::default(), &after).await).map(|()| Next::Done)
}

/// Protects volumes that claims are bound to.
pub(crate) async fn run_volumes(cx: Context) {
    let queue = WorkQueue::new();
    let volumes = cx.informer::<PersistentVolume>();
    enqueue(&volumes, &queue);
    volumes.synced().await;
    let work = move |key| reconcile_volume(cx.clone(), volumes.clone(), key);
    queue.run("volume protection", 1, work).await;
}

async fn reconcile_volume(
    cx: Context,
    volumes: Arc<Informer<PersistentVolume>>,
    key: ObjectKey,
) -> Result<Next, kube::Error> {
    let Some(volume) = volumes.get(&key) else { return Ok(Next::Done) };
    let bound = volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Bound");
    let Some(finalizers) = finalizers(&*volume, VOLUME).filter(|_| !(is_going(&*volume) && bound)) else {
        return Ok(Next::Done);
    };
    let mut after = PersistentVolume::clone(&volume);
    after.metadata.finalizers = Some(finalizers);
    let api: Api<PersistentVolume> = Api::all(cx.client);
    gone_is_fine(api.replace(&key.name, &PostParams::default(), &after).await).map(|()| Next::Done)
}

/// Protects attribute classes that volumes and claims name.
pub(crate) async fn run_classes(cx: Context) {
    let queue = WorkQueue::new();
    let classes = cx.informer::<VolumeAttributesClass>();
    let (claims, volumes) = (cx.informer::<PersistentVolumeClaim>(), cx.informer::<PersistentVolume>());
    enqueue(&classes, &queue);
    // A class can only become free when something no longer names it.
    let again = queue.clone();
    claims.on_change(move |change| {
        let names = change.old.iter().flat_map(|claim| classes_of_claim(claim));
        names.for_each(|name| again.add(ObjectKey::new("", name)));
    });
    let again = queue.clone();
    volumes.on_change(move |change| {
        let names = change.old.iter().filter_map(|volume| class_of_volume(volume));
        names.for_each(|name| again.add(ObjectKey::new("", name)));
    });
    classes.synced().await;
    claims.synced().await;
    volumes.synced().await;
    let uses = Arc::new(move |name: &str| {
        claims.list().iter().any(|claim| classes_of_claim(claim).any(|class| class == name))
            || volumes.list().iter().any(|volume| class_of_volume(volume) == Some(name))
    });
    let work = move |key| reconcile_class(cx.clone(), classes.clone(), uses.clone(), key);
    queue.run("attribute class protection", 1, work).await;
}

async fn reconcile_class(
    cx: Context,
    classes: Arc<Informer<VolumeAttributesClass>>,
    is_used: Arc<impl Fn(&str) -> bool>,
    key: ObjectKey,
) -> Result<Next, kube::Error> {
    let Some(class) = classes.get(&key) else { return Ok(Next::Done) };
    let Some(finalizers) = finalizers(&*class, CLASS) else { return Ok(Next::Done) };
    if is_going(&*class) && is_used(&key.name) {
        return Ok(Next::Done);
    }
    let mut after = VolumeAttributesClass::clone(&class);
    after.metadata.finalizers = Some(finalizers);
    let api: Api<VolumeAttributesClass> = Api::all(cx.client);
    gone_is_fine(api.replace(&key.name, &PostParams::default(), &after).await).map(|()| Next::Done)
}

/// The classes a claim names: the one it asks for, the one it has, and the one it is on its way to.
fn classes_of_claim(claim: &PersistentVolumeClaim) -> impl Iterator<Item = &str> {
    let status = claim.status.as_ref();
    let wanted = claim.spec.as_ref().and_then(|s| s.volume_attributes_class_name.as_deref());
    let current = status.and_then(|s| s.current_volume_attributes_class_name.as_deref());
    let target = status.and_then(|s| s.modify_volume_status.as_ref());
    let target = target.and_then(|m| m.target_volume_attributes_class_name.as_deref());
    [wanted, current, target].into_iter().flatten().filter(|name| !name.is_empty())
}

fn class_of_volume(volume: &PersistentVolume) -> Option<&str> {
    volume.spec.as_ref()?.volume_attributes_class_name.as_deref().filter(|name| !name.is_empty())
}

fn is_going<K: Kind>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// The finalizers an object should have: with ours while it stays, without once it is to go; none: they are so.
fn finalizers<K: Kind>(object: &K, ours: &str) -> Option<Vec<String>> {
    let mut all = object.meta().finalizers.clone().unwrap_or_default();
    let there = all.iter().any(|f| f == ours);
    match (is_going(object), there) {
        (true, true) => all.retain(|f| f != ours),
        (false, false) => all.push(ours.to_owned()),
        _ => return None,
    }
    Some(all)
}

/// The claims a pod names, those made for its ephemeral volumes among them.
fn claim_names(pod: &Pod) -> impl Iterator<Item = String> + '_ {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    volumes.filter_map(move |volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => Some(source.claim_name.clone()),
        (None, Some(_)) => Some(format!("{name}-{}", volume.name)),
        _ => None,
    })
}

/// Whether a pod on a node uses the claim. One without a node will not start once the claim is to go.
fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    if pod::node(pod).is_empty() {
        return false;
    }
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    let owned = || controller_of(claim).is_some_and(|o| Some(&o.uid) == pod.metadata.uid.as_ref());
    let pod_name = pod.metadata.name.as_deref().unwrap_or_default();
    let mut volumes = pod.spec.iter().flat_map(|s| s.volumes.iter().flatten());
    volumes.any(|volume| match (&volume.persistent_volume_claim, &volume.ephemeral) {
        (Some(source), _) => source.claim_name == name,
        (None, Some(_)) => format!("{pod_name}-{}", volume.name) == name && owned(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claim(going: bool, finalizers: &[&str]) -> PersistentVolumeClaim {
        let at = going.then_some("2026-01-01T00:00:00Z");
        serde_json::from_value(json!({"metadata": {"name": "data", "deletionTimestamp": at, "finalizers": finalizers}}))
            .unwrap()
    }

    #[test]
    fn the_finalizer_is_there_until_the_object_goes() {
        let rows: &[(bool, &[&str], Option<&[&str]>)] = &[
            (false, &[], Some(&[CLAIM])),
            (false, &[CLAIM], None),
            (true, &[CLAIM, "other"], Some(&["other"])),
            (true, &["other"], None),
        ];
        for (going, before, wanted) in rows {
            let wanted = wanted.map(|all| all.iter().map(|f| (*f).to_owned()).collect::<Vec<_>>());
            assert_eq!(finalizers(&claim(*going, before), CLAIM), wanted, "{going} {before:?}");
        }
    }

    #[test]
    fn a_claim_names_every_class_it_has_to_do_with() {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({"metadata": {"name": "c"},
            "spec": {"volumeAttributesClassName": "gold"}, "status": {"currentVolumeAttributesClassName": "silver",
                "modifyVolumeStatus": {"status": "InProgress", "targetVolumeAttributesClassName": "gold"}}}))
        .unwrap();
        assert_eq!(classes_of_claim(&claim).collect::<Vec<_>>(), ["gold", "silver", "gold"]);
    }

    #[test]
    fn only_pods_on_nodes_use_claims() {
        let pod = |node: &str, volume: serde_json::Value| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "p", "uid": "u"},
                "spec": {"containers": [], "nodeName": node, "volumes": [volume]}}))
            .unwrap()
        };
        let named = |name: &str| json!({"name": "v", "persistentVolumeClaim": {"claimName": name}});
        let data = claim(true, &[]);
        assert!(uses(&pod("n1", named("data")), &data));
        assert!(!uses(&pod("", named("data")), &data));
        assert!(!uses(&pod("n1", named("other")), &data));
        let mut own = data.clone();
        own.metadata.name = Some("p-v".to_owned());
        let ephemeral = pod("n1", json!({"name": "v", "ephemeral": {}}));
        assert!(!uses(&ephemeral, &own));
        own.metadata.owner_references = Some(vec![crate::adopt::controller_reference(&ephemeral)]);
        assert!(uses(&ephemeral, &own));
    }
}
