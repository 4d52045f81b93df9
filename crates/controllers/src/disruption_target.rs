//! Ending pods from outside: the condition that tells why, then the deletion.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kaji_client::Client;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};

use crate::write::gone_is_fine;

/// Why a pod has to end.
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: &'static str,
}

/// Notes the cause in the pod's `DisruptionTarget` condition, fails the pod where asked to, and deletes it.
pub(crate) async fn end(
    client: &Client,
    pod: &Pod,
    cause: Option<Cause>,
    fail: bool,
    how: &DeleteParams,
) -> Result<(), kube::Error> {
    let meta = &pod.metadata;
    let api: Api<Pod> = Api::namespaced(client.clone(), meta.namespace.as_deref().unwrap_or_default());
    let name = meta.name.as_deref().unwrap_or_default();
    let mut status = serde_json::Map::new();
    if fail && !crate::pod::is_finished(pod) {
        status.insert("phase".to_owned(), "Failed".into());
        status.insert("observedGeneration".to_owned(), serde_json::json!(meta.generation));
    }
    if let Some(cause) = cause.filter(|c| !is_noted(pod, c)) {
        let condition = serde_json::json!([{"type": "DisruptionTarget", "status": "True", "reason": cause.reason,
            "message": cause.message, "lastTransitionTime": Time(Timestamp::now()), "observedGeneration": meta.generation}]);
        status.insert("conditions".to_owned(), condition);
    }
    if !status.is_empty() {
        let change = serde_json::json!({"metadata": {"uid": meta.uid}, "status": status});
        gone_is_fine(api.patch_status(name, &PatchParams::default(), &Patch::Strategic(change)).await)?;
    }
    gone_is_fine(api.delete(name, how).await)
}

fn is_noted(pod: &Pod, cause: &Cause) -> bool {
    let condition = crate::pod::condition(pod, "DisruptionTarget");
    condition.is_some_and(|c| c.status == "True" && c.reason.as_deref() == Some(cause.reason))
}
