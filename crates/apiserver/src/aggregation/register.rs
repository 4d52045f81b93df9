//! Registrations of the custom groups that this server answers itself (kube-aggregator
//! `controllers/autoregister`, kube-apiserver `crdregistration`).

use super::API_SERVICES;
use crate::context::RequestContext;
use crate::server::Api;
use kaji_api::{ObjectKey, Status, Value, value};

/// The label of registrations that the server looks after by itself.
const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";
/// Where custom groups stand: behind those built in.
const PRIORITIES: (i64, i64) = (1000, 100);

/// Registers a version of a custom group. A registration that somebody else made stays as it is.
pub(crate) async fn publish(api: &Api, group: &str, version: &str) -> Result<(), Status> {
    let spec = value!({"group": group, "version": version, "groupPriorityMinimum": (PRIORITIES.0),
        "versionPriority": (PRIORITIES.1)});
    let name = format!("{version}.{group}");
    let cx = RequestContext::system();
    match api.get_cached(&API_SERVICES, "", &name) {
        Some(known) if !is_managed(&known) || known["spec"] == spec => Ok(()),
        Some(_) => {
            let change = |object: &Value| {
                let mut object = object.clone();
                if is_managed(&object) {
                    object.set("spec", spec.clone());
                }
                Ok(object)
            };
            api.update(&cx, &API_SERVICES, &ObjectKey::new("", &name), &change).await.map(drop)
        }
        None => {
            let object = value!({
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": name, "labels": {"kube-aggregator.kubernetes.io/automanaged": "true"}},
                "spec": spec,
            });
            match api.create(&cx, &API_SERVICES, object).await {
                // Another server was faster.
                Err(status) if status.reason == "AlreadyExists" => Ok(()),
                other => other.map(drop),
            }
        }
    }
}

/// Takes back what [`publish`] made.
pub(crate) async fn withdraw(api: &Api, group: &str, version: &str) -> Result<(), Status> {
    let name = format!("{version}.{group}");
    if !api.get_cached(&API_SERVICES, "", &name).is_some_and(|known| is_managed(&known)) {
        return Ok(());
    }
    match api.delete(&RequestContext::system(), &API_SERVICES, &ObjectKey::new("", &name)).await {
        Err(status) if status.code == 404 => Ok(()),
        other => other,
    }
}

fn is_managed(object: &Value) -> bool {
    object["metadata"]["labels"][MANAGED].str() == "true"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::Server;
    use serde_json::json;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn custom_groups_are_registered_unless_somebody_did() {
        let s = Server::start().await;
        let path = "/apis/apiregistration.k8s.io/v1/apiservices/v1.a.example.org";
        publish(&s.api, "a.example.org", "v1").await.unwrap();
        let made = s.get(path).await.ok();
        assert_eq!(made["spec"]["groupPriorityMinimum"], 1000);
        assert_eq!(made["status"]["conditions"][0]["reason"], "Local");
        publish(&s.api, "a.example.org", "v1").await.unwrap();
        withdraw(&s.api, "a.example.org", "v1").await.unwrap();
        s.get(path).await.fails(404);
        let own = json!({"metadata": {"name": "v1.a.example.org"}, "spec": {"group": "a.example.org", "version": "v1",
            "groupPriorityMinimum": 5, "versionPriority": 6}});
        s.post("/apis/apiregistration.k8s.io/v1/apiservices", &own).await.ok();
        s.api.fresh().await.unwrap();
        publish(&s.api, "a.example.org", "v1").await.unwrap();
        withdraw(&s.api, "a.example.org", "v1").await.unwrap();
        assert_eq!(s.get(path).await.ok()["spec"]["groupPriorityMinimum"], 5);
    }
}
