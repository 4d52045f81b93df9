//! What a pod may learn of itself: `fieldRef` and `resourceFieldRef`, for environment and volumes.

use super::Facts;
use crate::resources;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use kaji_api::field::quoted;
use kaji_api::quantity::Quantity;
use std::collections::BTreeMap;

/// The value of a field of the pod; `ips` are the pod's addresses.
pub(crate) fn field(pod: &Pod, path: &str, ips: &[String], facts: &Facts) -> Result<String, String> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    Ok(match path {
        "metadata.name" => text(&meta.name),
        "metadata.namespace" => text(&meta.namespace),
        "metadata.uid" => text(&meta.uid),
        "metadata.labels" => map(meta.labels.as_ref()),
        "metadata.annotations" => map(meta.annotations.as_ref()),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()).unwrap_or_default(),
        "status.hostIP" => facts.host_ips.first().cloned().unwrap_or_default(),
        "status.hostIPs" => facts.host_ips.join(","),
        "status.podIP" => ips.first().cloned().unwrap_or_default(),
        "status.podIPs" => ips.join(","),
        _ => {
            let of = |prefix: &str| path.strip_prefix(prefix).and_then(|rest| rest.strip_suffix("']"));
            let (map, key) = match (of("metadata.labels['"), of("metadata.annotations['")) {
                (Some(key), _) => (meta.labels.as_ref(), key),
                (_, Some(key)) => (meta.annotations.as_ref(), key),
                _ => return Err(format!("unsupported fieldPath: {path}")),
            };
            map.and_then(|map| map.get(key)).cloned().unwrap_or_default()
        }
    })
}

/// The value of a container's resource; a missing limit is what the node has to give.
pub(crate) fn resource(
    selector: &ResourceFieldSelector,
    container: &Container,
    facts: &Facts,
) -> Result<String, String> {
    let unsupported = || format!("unsupported container resource : {}", selector.resource);
    let (side, name) = selector.resource.split_once('.').ok_or_else(unsupported)?;
    let known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !known {
        return Err(unsupported());
    }
    let resources = container.resources.as_ref();
    let list = match side {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return Err(unsupported()),
    };
    let set = list.is_some_and(|list| list.contains_key(name));
    let value = if set || side == "requests" {
        resources::amount(list, name)
    } else {
        facts.allocatable.get(name).copied().unwrap_or_default()
    };
    let divisor = selector.divisor.as_ref().map(resources::parse).filter(|divisor| divisor.signum() != 0);
    let divisor = divisor.unwrap_or_else(|| Quantity::from_i64(1));
    let divisor = if name == "cpu" { divisor.milli_value() } else { divisor.value() };
    let divisor = divisor.max(1);
    Ok((value / divisor + i64::from(value % divisor > 0)).to_string())
}

/// `key="value"` lines, sorted by key, quoted as Go does.
fn map(map: Option<&BTreeMap<String, String>>) -> String {
    let lines = map.into_iter().flatten().map(|(key, value)| format!("{key}={}", quoted(value)));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_resources_read_as_upstream_writes_them() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "p", "labels": { "b": "x\"y", "a": "1" }, "annotations": { "k": "v" } },
            "spec": { "nodeName": "n", "containers": [
                { "name": "c", "resources": { "limits": { "cpu": "1500m", "memory": "64Mi" } } },
            ] },
        }))
        .expect("a pod");
        let facts = Facts {
            host_ips: vec!["10.0.0.1".into()],
            allocatable: [("memory".to_owned(), 1 << 30), ("ephemeral-storage".to_owned(), 7)].into(),
            ..Facts::default()
        };
        let get = |path: &str| field(&pod, path, &["10.1.0.5".into()], &facts);
        assert_eq!(get("metadata.labels"), Ok("a=\"1\"\nb=\"x\\\"y\"".to_owned()));
        assert_eq!(get("metadata.annotations['k']"), Ok("v".to_owned()));
        assert_eq!(get("status.podIP"), Ok("10.1.0.5".to_owned()));
        assert!(get("spec.restartPolicy").is_err());
        let container = &pod.spec.as_ref().expect("spec").containers[0];
        let amount = |name: &str, divisor: &str| {
            let divisor = (!divisor.is_empty())
                .then(|| k8s_openapi::apimachinery::pkg::api::resource::Quantity(divisor.to_owned()));
            resource(
                &ResourceFieldSelector { resource: name.to_owned(), divisor, container_name: None },
                container,
                &facts,
            )
        };
        assert_eq!(amount("limits.cpu", ""), Ok("2".to_owned()));
        assert_eq!(amount("limits.cpu", "1m"), Ok("1500".to_owned()));
        assert_eq!(amount("limits.memory", "1Mi"), Ok("64".to_owned()));
        assert_eq!(amount("limits.ephemeral-storage", ""), Ok("7".to_owned()));
        assert_eq!(amount("requests.memory", ""), Ok("0".to_owned()));
        assert!(amount("limits.gpu", "").is_err());
    }
}
