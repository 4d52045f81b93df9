//! What makes a stateful set's pod the one it is: its name, its labels, its claims.

use crate::adopt::controller_reference;
use crate::pod::from_template;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimVolumeSource, Pod, PodTemplateSpec, Volume,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

pub(super) const REVISION: &str = "controller-revision-hash";
const NAME: &str = "statefulset.kubernetes.io/pod-name";
const INDEX: &str = "apps.kubernetes.io/pod-index";

pub(super) fn name_of(set: &StatefulSet) -> &str {
    set.metadata.name.as_deref().unwrap_or_default()
}

/// The pod's number, if it is one of the set's by its name.
pub(super) fn ordinal(set: &StatefulSet, pod: &Pod) -> Option<i32> {
    let rest = pod.metadata.name.as_deref()?.strip_prefix(name_of(set))?.strip_prefix('-')?;
    rest.bytes().all(|b| b.is_ascii_digit()).then(|| rest.parse().ok()).flatten()
}

pub(super) fn revision(pod: &Pod) -> &str {
    pod.metadata.labels.as_ref().and_then(|l| l.get(REVISION)).map(String::as_str).unwrap_or_default()
}

/// The pod of a number, of a template at a revision.
pub(super) fn new_pod(set: &StatefulSet, template: &PodTemplateSpec, revision: &str, number: i32) -> Pod {
    let mut pod = from_template(template, name_of(set), controller_reference(set));
    pod.metadata.generate_name = None;
    pod.metadata.name = Some(format!("{}-{number}", name_of(set)));
    identify(set, &mut pod, number);
    let labels = pod.metadata.labels.get_or_insert_default();
    labels.insert(REVISION.to_owned(), revision.to_owned());
    let spec = pod.spec.get_or_insert_default();
    spec.hostname = pod.metadata.name.clone();
    spec.subdomain = set.spec.as_ref().and_then(|s| s.service_name.clone()).filter(|s| !s.is_empty());
    let claims = claims(set, number);
    let mut volumes: Vec<Volume> = claims.iter().map(|(volume, claim)| volume_of(volume, claim)).collect();
    let others = spec.volumes.iter().flatten().filter(|v| !claims.iter().any(|(name, _)| *name == v.name));
    volumes.extend(others.cloned());
    spec.volumes = (!volumes.is_empty()).then_some(volumes);
    pod
}

/// Gives a pod the labels of its identity; true when it lacked any.
pub(super) fn identify(set: &StatefulSet, pod: &mut Pod, number: i32) -> bool {
    let labels = pod.metadata.labels.get_or_insert_default();
    let before = labels.clone();
    labels.insert(NAME.to_owned(), format!("{}-{number}", name_of(set)));
    labels.insert(INDEX.to_owned(), number.to_string());
    *labels != before
}

fn volume_of(name: &str, claim: &PersistentVolumeClaim) -> Volume {
    let claim_name = claim.metadata.name.clone().unwrap_or_default();
    Volume {
        name: name.to_owned(),
        persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
            claim_name,
            ..PersistentVolumeClaimVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// The claims of a number, by the volume they are mounted as.
pub(super) fn claims(set: &StatefulSet, number: i32) -> Vec<(String, PersistentVolumeClaim)> {
    let Some(spec) = &set.spec else { return Vec::new() };
    let claim = |template: &PersistentVolumeClaim| {
        let volume = template.metadata.name.clone().unwrap_or_default();
        let mut claim = template.clone();
        claim.metadata.name = Some(format!("{volume}-{}-{number}", name_of(set)));
        claim.metadata.namespace = set.metadata.namespace.clone();
        let labels = claim.metadata.labels.get_or_insert_default();
        labels.extend(spec.selector.match_labels.clone().unwrap_or_default());
        claim.status = None;
        (volume, claim)
    };
    spec.volume_claim_templates.iter().flatten().map(claim).collect()
}

/// A claim's owners as the retention policy wants them. `number` is in the set's range or not; the pod is the one
/// the claim belongs to. None: as they are, or another controller's.
pub(super) fn claim_owners(
    set: &StatefulSet,
    pod: &Pod,
    in_range: bool,
    claim: &PersistentVolumeClaim,
) -> Option<Vec<OwnerReference>> {
    let policy = set.spec.as_ref().and_then(|s| s.persistent_volume_claim_retention_policy.as_ref());
    let deletes = |word: Option<&String>| word.is_some_and(|w| w == "Delete");
    let on_deletion = deletes(policy.and_then(|p| p.when_deleted.as_ref()));
    let on_scaling = deletes(policy.and_then(|p| p.when_scaled.as_ref()));
    let before = claim.metadata.owner_references.clone().unwrap_or_default();
    let names = |owner: &OwnerReference| {
        (owner.kind == "StatefulSet" && owner.name == name_of(set))
            || (owner.kind == "Pod" && Some(&owner.name) == pod.metadata.name.as_ref())
    };
    let mut after: Vec<OwnerReference> = before.iter().filter(|o| !names(o)).cloned().collect();
    let taken = after.iter().any(|o| o.controller == Some(true));
    match (on_deletion, on_scaling) {
        _ if taken => {}
        (_, true) if !in_range => after.push(controller_reference(pod)),
        (true, _) => after.push(controller_reference(set)),
        _ => {}
    }
    (after != before).then_some(after)
}

/// Whether a claim still belongs to an earlier pod of the same name, with which it will go.
pub(super) fn is_stale(pod_uid: Option<&String>, pod_name: &str, claim: &PersistentVolumeClaim) -> bool {
    let owners = claim.metadata.owner_references.iter().flatten();
    owners.filter(|o| o.kind == "Pod" && o.name == pod_name).any(|o| Some(&o.uid) != pod_uid)
}
