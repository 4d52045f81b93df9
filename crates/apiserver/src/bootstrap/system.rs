//! Namespaces, priority classes, and what tells others about this server.

use super::{Maker, condition, ensure_all};
use futures::future::try_join_all;
use kaji_api::{GroupResource, ObjectKey, Status, Value, value};
use std::path::Path;
use std::sync::Arc;

const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

pub(super) async fn namespaces(maker: &Maker<'_>) -> Result<(), Status> {
    let namespace =
        |name: &&'static str| value!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": (*name)}});
    ensure_all(maker, &GroupResource::of("", "namespaces"), NAMESPACES.iter().map(namespace).collect()).await
}

/// Name, value, description.
const PRIORITY_CLASSES: [(&str, i64, &str); 2] = [
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
];

pub(super) async fn priority_classes(maker: &Maker<'_>) -> Result<(), Status> {
    let class = |(name, priority, description): &(&'static str, i64, &'static str)| {
        value!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": (*name)},
            "value": (*priority),
            "description": (*description),
        })
    };
    let classes = PRIORITY_CLASSES.iter().map(class).collect();
    ensure_all(maker, &GroupResource::of("scheduling.k8s.io", "priorityclasses"), classes).await
}

pub(super) async fn config_maps(maker: &Maker<'_>) -> Result<(), Status> {
    let resource = GroupResource::of("", "configmaps");
    let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
    // Since when uses of never-ending tokens are counted: from the beginning, none are made.
    let tracking = config_map("kube-apiserver-legacy-service-account-token-tracking", value!({"since": today}));
    maker.ensure_exists(&resource, tracking).await?;
    let data = authentication(maker)?;
    let object = config_map("extension-apiserver-authentication", data.clone());
    let merge = |old: &Value| {
        let mut object = old.clone();
        for (key, text) in data.entries() {
            object.entry("data").set(key.to_owned(), text.clone());
        }
        (object != *old).then_some(object)
    };
    maker.ensure(&resource, object, &merge).await
}

fn config_map(name: &'static str, data: Value) -> Value {
    value!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "kube-system"},
        "data": data,
    })
}

/// How this server authenticates, for those that it passes requests on to.
fn authentication(maker: &Maker<'_>) -> Result<Value, Status> {
    let read = |path: &Path| {
        std::fs::read_to_string(path)
            .map_err(|error| Status::internal(format!("could not read {}: {error}", path.display())))
    };
    let config = maker.api.config();
    let mut data = value!({"client-ca-file": (read(&config.client_ca)?)});
    if let Some(trusted) = &config.front_proxy {
        let list = |list: &[String]| serde_json::json!(list).to_string();
        data.set("requestheader-allowed-names", list(&trusted.names));
        data.set("requestheader-client-ca-file", read(&trusted.authority)?);
        data.set("requestheader-extra-headers-prefix", list(&trusted.extra_prefixes));
        data.set("requestheader-group-headers", list(&trusted.groups));
        data.set("requestheader-uid-headers", list(&trusted.uids));
        data.set("requestheader-username-headers", list(&trusted.users));
    }
    Ok(data)
}

/// What registrations made at a start say of who looks after them.
const AT_START: &str = "onstart";

/// Group, version, and what discovery orders them by.
type ApiService = (&'static str, &'static str, i64, i64);

const API_SERVICES: [ApiService; 21] = [
    ("", "v1", 18000, 1),
    ("admissionregistration.k8s.io", "v1", 16700, 15),
    ("apiextensions.k8s.io", "v1", 16700, 15),
    ("apps", "v1", 17800, 15),
    ("authentication.k8s.io", "v1", 17700, 15),
    ("authorization.k8s.io", "v1", 17600, 15),
    ("autoscaling", "v1", 17500, 15),
    ("autoscaling", "v2", 17500, 30),
    ("batch", "v1", 17400, 15),
    ("certificates.k8s.io", "v1", 17300, 15),
    ("coordination.k8s.io", "v1", 16500, 15),
    ("discovery.k8s.io", "v1", 16200, 15),
    ("events.k8s.io", "v1", 17750, 15),
    ("flowcontrol.apiserver.k8s.io", "v1", 16100, 21),
    ("networking.k8s.io", "v1", 17200, 15),
    ("node.k8s.io", "v1", 16300, 15),
    ("policy", "v1", 17100, 15),
    ("rbac.authorization.k8s.io", "v1", 17000, 15),
    ("resource.k8s.io", "v1", 16200, 21),
    ("scheduling.k8s.io", "v1", 16600, 15),
    ("storage.k8s.io", "v1", 16800, 15),
];

/// The groups served here, as the aggregator lists them.
pub(super) async fn api_services(maker: &Maker<'_>) -> Result<(), Status> {
    let resource = GroupResource::of("apiregistration.k8s.io", "apiservices");
    if maker.api.stored(&resource).is_none() {
        return Ok(());
    }
    let served = |row: &&ApiService| maker.api.served().has_version(row.0, row.1);
    let (served, others): (Vec<&ApiService>, Vec<&ApiService>) = API_SERVICES.iter().partition(served);
    try_join_all(served.into_iter().map(|row| api_service(maker, &resource, row))).await?;
    try_join_all(others.into_iter().map(|row| forget(maker, &resource, row))).await.map(drop)
}

/// Takes away what a start with this version made; what others made in its place stays.
async fn forget(maker: &Maker<'_>, resource: &GroupResource, row: &ApiService) -> Result<(), Status> {
    let name = format!("{}.{}", row.1, row.0);
    let is_ours = |object: Arc<Value>| {
        object["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"].str() == AT_START
    };
    if !maker.api.get_cached(resource, "", &name).is_some_and(is_ours) {
        return Ok(());
    }
    match maker.api.delete(maker.cx, resource, &ObjectKey::new("", &name)).await {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(()),
    }
}

async fn api_service(
    maker: &Maker<'_>,
    resource: &GroupResource,
    &(group, version, group_priority, version_priority): &ApiService,
) -> Result<(), Status> {
    let mut spec = Value::object();
    if !group.is_empty() {
        spec.set("group", group);
    }
    spec.set("version", version);
    spec.set("groupPriorityMinimum", group_priority);
    spec.set("versionPriority", version_priority);
    let object = value!({
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {
            "name": (format!("{version}.{group}")),
            "labels": {"kube-aggregator.kubernetes.io/automanaged": (AT_START)},
        },
        "spec": spec,
    });
    let key = object.key();
    maker.ensure_exists(resource, object).await?;
    let message = "Local APIServices are always available".to_owned();
    let status = value!({"conditions": [(condition("Available", "True", "Local", message))]});
    maker.ensure_status(resource, &key, status).await
}
