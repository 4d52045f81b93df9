//! What controllers ask of pods, and how they make and remove them (upstream `pkg/controller/controller_utils.go`).

mod claim;
mod expectations;
mod ranking;

pub(crate) use claim::claim;
pub(crate) use expectations::Expectations;
pub(crate) use ranking::rank_for_deletion;

use crate::Context;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kaji_client::event::EventType;
use kaji_client::informer::Kind;
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams, Preconditions};

/// Neither finished nor being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

/// Succeeded or failed.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// `status.phase`, or empty.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// A condition of the pod.
pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == kind)
}

/// The Ready condition is true.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|c| c.status == "True")
}

/// Since when the pod is ready.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    condition(pod, "Ready").filter(|c| c.status == "True")?.last_transition_time.as_ref().map(|t| t.0)
}

/// Ready for at least so many seconds.
pub(crate) fn is_available(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> bool {
    is_ready(pod)
        && (min_ready_seconds <= 0
            || ready_since(pod)
                .is_some_and(|since| now.duration_since(since).as_secs() >= i64::from(min_ready_seconds)))
}

/// Seconds until the first pod that is ready but not yet available becomes so.
pub(crate) fn next_available(pods: &[&Pod], min_ready_seconds: i32, now: Timestamp) -> Option<std::time::Duration> {
    let wait = |pod: &&&Pod| {
        let passed = now.duration_since(ready_since(pod)?).as_secs();
        u64::try_from(i64::from(min_ready_seconds) - passed).ok().filter(|s| *s > 0)
    };
    pods.iter().filter_map(|pod| wait(&pod)).min().map(std::time::Duration::from_secs)
}

/// The reference that makes `owner` the controller of what it makes.
pub(crate) fn controller_reference<K: Kind>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.meta().name.clone().unwrap_or_default(),
        uid: owner.meta().uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// A pod of a template for an owner; `prefix` becomes `generateName`.
pub(crate) fn from_template<K: Kind>(template: &PodTemplateSpec, owner: &K, prefix: &str) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(prefix.to_owned()),
            namespace: owner.meta().namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![controller_reference(owner)]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// Makes a pod and tells so in events about the owner.
pub(crate) async fn create<K: Kind>(cx: &Context, owner: &K, pod: &Pod) -> Result<Pod, kube::Error> {
    let namespace = owner.meta().namespace.clone().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(cx.client.clone(), &namespace);
    let outcome = api.create(&PostParams::default(), pod).await;
    match &outcome {
        Ok(made) => {
            let name = made.metadata.name.as_deref().unwrap_or_default();
            cx.event(owner, EventType::Normal, "SuccessfulCreate", &format!("Created pod: {name}"));
        }
        Err(error) if !crate::write::is_terminating(error) => {
            cx.event(
                owner,
                EventType::Warning,
                "FailedCreate",
                &format!("Error creating: {}", crate::write::words(error)),
            );
        }
        Err(_) => {}
    }
    outcome
}

/// Removes a pod and tells so in events about the owner.
pub(crate) async fn delete<K: Kind>(cx: &Context, owner: &K, pod: &Pod) -> Result<(), kube::Error> {
    let namespace = pod.metadata.namespace.clone().unwrap_or_default();
    let name = pod.metadata.name.clone().unwrap_or_default();
    let api: Api<Pod> = Api::namespaced(cx.client.clone(), &namespace);
    let preconditions = Preconditions { uid: pod.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(&name, &params).await {
        Ok(_) => {
            cx.event(owner, EventType::Normal, "SuccessfulDelete", &format!("Deleted pod: {name}"));
            Ok(())
        }
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => {
            let text = format!("Error deleting: {}", crate::write::words(&error));
            cx.event(owner, EventType::Warning, "FailedDelete", &text);
            Err(error)
        }
    }
}
