//! ServiceAccount: every pod runs as an account that exists, and finds its token where programs look for it.

use super::{Attributes, Plugin};
use crate::server::Api;
use futures::future::BoxFuture;
use kaji_api::{GroupResource, Status, Value, value};
use std::sync::Arc;
use std::time::Duration;

const ACCOUNTS: GroupResource = GroupResource::of("", "serviceaccounts");
const MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const MIRROR: &str = "kubernetes.io/config.mirror";
/// Upstream's odd lifetime tells these tokens from those asked for (`pkg/serviceaccount`, warn-after).
const TOKEN_SECONDS: i64 = 3607;
const CONTAINERS: [&str; 2] = ["initContainers", "containers"];
/// How long the `default` account, which a controller makes, is waited for.
const PATIENCE: Duration = Duration::from_secs(1);

pub(super) struct ServiceAccount;

impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn mutate<'a>(&'a self, a: &'a mut Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(mutate(a))
    }

    fn validate<'a>(&'a self, a: &'a Attributes<'_>) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(
            async move { if a.creates_pod() && a.object.annotation(MIRROR).is_some() { mirror(a) } else { Ok(()) } },
        )
    }
}

/// What a mirror pod (of a node's static pod) may not do.
fn mirror(a: &Attributes<'_>) -> Result<(), Status> {
    let spec = &a.object["spec"];
    if !spec["serviceAccountName"].str().is_empty() {
        return Err(a.forbidden("a mirror pod may not reference service accounts"));
    }
    let volumes = spec["volumes"].items();
    if volumes.iter().any(|v| v.get("secret").is_some()) {
        return Err(a.forbidden("a mirror pod may not reference secrets"));
    }
    let projects = |v: &Value| v["projected"]["sources"].items().iter().any(|s| s.get("serviceAccountToken").is_some());
    if volumes.iter().any(projects) {
        return Err(a.forbidden("a mirror pod may not use ServiceAccountToken volume projections"));
    }
    Ok(())
}

async fn mutate(a: &mut Attributes<'_>) -> Result<(), Status> {
    if !a.creates_pod() || a.object.annotation(MIRROR).is_some() {
        return Ok(());
    }
    let spec = a.object.entry("spec");
    if spec["serviceAccountName"].str().is_empty() {
        spec.set("serviceAccountName", "default");
    }
    let name = spec["serviceAccountName"].str().to_owned();
    // The deprecated twin follows, as upstream's conversion has it.
    spec.set("serviceAccount", name.as_str());
    let Some(account) = find(a.api, a.namespace, &name).await? else {
        let why =
            format!("error looking up service account {}/{name}: serviceaccount \"{name}\" not found", a.namespace);
        return Err(a.forbidden(&why));
    };
    let wants = |v: &Value| v["automountServiceAccountToken"].as_bool();
    if wants(&a.object["spec"]).or_else(|| wants(&account)).unwrap_or(true) {
        mount(a.object.entry("spec"));
    }
    if a.object["spec"]["imagePullSecrets"].items().is_empty() && !account["imagePullSecrets"].items().is_empty() {
        let secrets = account["imagePullSecrets"].clone();
        a.object.entry("spec").set("imagePullSecrets", secrets);
    }
    Ok(())
}

/// The account; a `default` that its controller is about to make is waited for.
async fn find(api: &Api, namespace: &str, name: &str) -> Result<Option<Arc<Value>>, Status> {
    if let Some(account) = api.get_cached(&ACCOUNTS, namespace, name) {
        return Ok(Some(account));
    }
    api.fresh().await?;
    let Some((known, mut changes)) = api.subscribe(&ACCOUNTS) else { return Ok(None) };
    if let Some(account) = known.into_iter().find(|o| o.namespace() == namespace && o.name() == name) {
        return Ok(Some(Arc::new(account)));
    }
    if name != "default" {
        return Ok(None);
    }
    let appears = async {
        while let Some(batch) = changes.next().await {
            let ours = batch.into_iter().filter(|c| c.key.namespace == namespace && c.key.name == name);
            if let Some(account) = ours.filter_map(|c| c.object).next_back() {
                return Some(account);
            }
        }
        None
    };
    Ok(tokio::time::timeout(PATIENCE, appears).await.ok().flatten().map(Arc::new))
}

/// Mounts a projected token where no container has something mounted already.
fn mount(spec: &mut Value) {
    let existing =
        spec["volumes"].items().iter().map(|v| v["name"].str().to_owned()).find(|n| n.starts_with("kube-api-access-"));
    let volume = existing.clone().unwrap_or_else(|| crate::registry::generate_name("kube-api-access-"));
    let mut needed = false;
    for field in CONTAINERS {
        let Some(containers) = spec.get_mut(field) else { continue };
        for container in containers.items_mut() {
            if container["volumeMounts"].items().iter().any(|m| m["mountPath"].str() == MOUNT) {
                continue;
            }
            needed = true;
            let own = value!({"name": (volume.as_str()), "readOnly": true, "mountPath": (MOUNT)});
            container.entry("volumeMounts").push(own);
        }
    }
    if needed && existing.is_none() {
        spec.entry("volumes").push(token_volume(&volume));
    }
}

fn token_volume(name: &str) -> Value {
    value!({
        "name": (name),
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": (TOKEN_SECONDS), "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{"path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}
            ],
            "defaultMode": 0o644
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_mounted_where_nothing_else_is() {
        let mut spec = value!({"containers": [
            {"name": "a"},
            {"name": "b", "volumeMounts": [{"name": "own", "mountPath": (MOUNT)}]}
        ]});
        mount(&mut spec);
        let name = spec["volumes"].items()[0]["name"].str().to_owned();
        assert_eq!(spec["containers"].items()[0]["volumeMounts"].items()[0]["name"].str(), name);
        assert_eq!(spec["containers"].items()[1]["volumeMounts"].items().len(), 1);
        let before = spec.clone();
        mount(&mut spec);
        assert_eq!(spec, before);
    }
}
