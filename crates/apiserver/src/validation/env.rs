//! Environment variables and the references they take their values from.

use super::{At, forms, resources};
use kaji_api::field::Errors;
use kaji_api::names;

const FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

/// Fields that the downward API can convert at all.
const CONVERTIBLE: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
    "spec.host",
];

const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

const SIZES: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];

type Check = fn(At<'_>, &mut Errors);

/// A container's `env`.
pub(crate) fn variables(at: At<'_>, e: &mut Errors) {
    for variable in at.list() {
        variable.field("name").check_required(e, forms::env_name);
        value_from(variable, e);
    }
}

fn value_from(variable: At<'_>, e: &mut Errors) {
    let at = variable.field("valueFrom");
    if !at.is_set() {
        return;
    }
    let sources: [(&str, Check); 5] = [
        ("fieldRef", |at, e| field_ref(at, FIELDS, e)),
        ("resourceFieldRef", |at, e| resource_ref(at, false, e)),
        ("configMapKeyRef", key_ref),
        ("secretKeyRef", key_ref),
        ("fileKeyRef", file_ref),
    ];
    let mut count = 0;
    for (name, check) in sources {
        if at.field(name).is_set() {
            count += 1;
            check(at.field(name), e);
        }
    }
    let text = match count {
        0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        _ if !variable["value"].str().is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    at.invalid_as(e, "", text);
}

/// A container's `envFrom`; upstream names the list, not the item, where sources are wrong in number.
pub(crate) fn from(at: At<'_>, e: &mut Errors) {
    for item in at.list() {
        item.field("prefix").check_if_set(e, forms::env_name);
        let mut count = 0;
        for source in ["configMapRef", "secretRef"] {
            let source = item.field(source);
            if source.is_set() {
                count += 1;
                source.field("name").check_required(e, names::dns1123_subdomain);
            }
        }
        match count {
            0 => at.invalid_as(e, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => at.invalid_as(e, "", "may not have more than one field specified at a time"),
        }
    }
}

/// A field of the pod itself.
pub(crate) fn field_ref(at: At<'_>, known: &[&str], e: &mut Errors) {
    let (version, path) = (at.field("apiVersion"), at.field("fieldPath"));
    if version.str().is_empty() {
        return version.required(e, "");
    }
    if path.str().is_empty() {
        return path.required(e, "");
    }
    if version.str() != "v1" {
        let text = format!("error converting fieldPath: unsupported pod version: {}", version.str());
        return path.invalid(e, &text);
    }
    if let Some((base, key)) = subscripted(path.str()) {
        return match base {
            "metadata.annotations" => check_key(at, &key.to_lowercase(), e),
            "metadata.labels" => check_key(at, key, e),
            _ => {
                let text =
                    format!("error converting fieldPath: field label does not support subscript: {}", path.str());
                path.invalid(e, &text);
            }
        };
    }
    if !FIELDS.contains(&path.str()) && !CONVERTIBLE.contains(&path.str()) {
        return path.invalid(e, &format!("error converting fieldPath: field label not supported: {}", path.str()));
    }
    let internal = if path.str() == "spec.host" { "spec.nodeName" } else { path.str() };
    if !known.contains(&internal) {
        e.not_supported(&path.path(), internal, known);
    }
}

fn subscripted(path: &str) -> Option<(&str, &str)> {
    let (base, key) = path.strip_suffix("']")?.split_once("['")?;
    (!base.is_empty()).then_some((base, key))
}

fn check_key(at: At<'_>, key: &str, e: &mut Errors) {
    for text in names::qualified_name(key) {
        at.invalid_as(e, key, &text);
    }
}

/// An amount of a container.
pub(crate) fn resource_ref(at: At<'_>, in_volume: bool, e: &mut Errors) {
    let resource = at.field("resource");
    let name = resource.str();
    let huge = name.starts_with("limits.hugepages-") || name.starts_with("requests.hugepages-");
    if in_volume && at["containerName"].str().is_empty() {
        at.field("containerName").required(e, "");
    } else if name.is_empty() {
        resource.required(e, "");
    } else if !RESOURCES.contains(&name) && !huge {
        resource.not_supported(e, RESOURCES);
    }
    let divisor = resources::quantity(&at["divisor"]);
    if divisor.signum() == 0 {
        return;
    }
    let (fine, kind) = match name {
        "limits.cpu" | "requests.cpu" => (matches!(divisor.to_string().as_str(), "1m" | "1"), "cpu"),
        "limits.memory" | "requests.memory" => (SIZES.contains(&divisor.to_string().as_str()), "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => {
            (SIZES.contains(&divisor.to_string().as_str()), "local ephemeral storage")
        }
        _ if huge => (SIZES.contains(&divisor.to_string().as_str()), "hugepages"),
        _ => return,
    };
    if !fine {
        let values = if kind == "cpu" { "1m and 1".to_owned() } else { SIZES.join(", ") };
        let text = format!("only divisor's values {values} are supported with the {kind} resource");
        at.field("divisor").invalid_as(e, name, &text);
    }
}

fn key_ref(at: At<'_>, e: &mut Errors) {
    at.field("name").check(e, names::dns1123_subdomain);
    at.field("key").check_required(e, forms::config_key);
}

fn file_ref(at: At<'_>, e: &mut Errors) {
    at.field("key").check_required(e, forms::env_name);
    at.field("volumeName").check_required(e, names::dns1123_label);
    let path = at.field("path");
    if path.str().is_empty() { path.required(e, "") } else { super::volume::no_backsteps(path, e) }
}
