//! A container's environment: services, `envFrom`, `env`, in the order in which later ones win.

use super::Facts;
use super::expand::expand;
use super::fields;
use crate::objects::{ObjectError, Objects};
use k8s_openapi::api::core::v1::{Container, EnvVar, Pod, Service};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the environment is made from.
pub(crate) struct Sources<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) ips: &'a [String],
    pub(crate) facts: &'a Facts,
    pub(crate) objects: &'a Objects,
    pub(crate) services: &'a [Arc<Service>],
}

/// The names and values, in order; an error is upstream's message.
pub(crate) async fn environment(sources: &Sources<'_>, container: &Container) -> Result<Vec<(String, String)>, String> {
    let mut from = env_from(sources, container).await?;
    let services = service_variables(sources);
    let mut own: Vec<(String, String)> = Vec::new();
    for variable in container.env.iter().flatten() {
        let literal = variable.value.as_deref().unwrap_or_default();
        let value = if !literal.is_empty() {
            // `from` holds earlier variables too; services come last.
            let lookup = |name: &str| from.get(name).or_else(|| services.get(name)).map(String::as_str);
            Some(expand(literal, lookup))
        } else {
            referred(sources, container, variable).await?
        };
        let Some(value) = value else { continue };
        from.insert(variable.name.clone(), value.clone());
        own.push((variable.name.clone(), value));
    }
    let mut result: Vec<(String, String)> = Vec::new();
    for (name, value) in own {
        match result.iter_mut().find(|(known, _)| *known == name) {
            Some(entry) => entry.1 = value,
            None => result.push((name, value)),
        }
    }
    let mut rest = services;
    rest.extend(from);
    for (name, value) in rest {
        if !result.iter().any(|(known, _)| *known == name) {
            result.push((name, value));
        }
    }
    Ok(result)
}

async fn env_from(sources: &Sources<'_>, container: &Container) -> Result<BTreeMap<String, String>, String> {
    let mut values = BTreeMap::new();
    let namespace = namespace(sources.pod);
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.as_deref().unwrap_or_default();
        if let Some(reference) = &source.config_map_ref {
            let optional = reference.optional == Some(true);
            if let Some(map) = present(sources.objects.config_map(namespace, &reference.name).await, optional)? {
                values.extend(map.data.iter().flatten().map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
            }
        } else if let Some(reference) = &source.secret_ref {
            let optional = reference.optional == Some(true);
            if let Some(secret) = present(sources.objects.secret(namespace, &reference.name).await, optional)? {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                values.extend(
                    secret.data.iter().flatten().map(|(key, value)| (format!("{prefix}{key}"), text(&value.0))),
                );
            }
        }
    }
    Ok(values)
}

/// The value that a variable refers to; none where it may be absent and is.
async fn referred(sources: &Sources<'_>, container: &Container, variable: &EnvVar) -> Result<Option<String>, String> {
    let Some(source) = &variable.value_from else { return Ok(Some(String::new())) };
    let namespace = namespace(sources.pod);
    if let Some(field) = &source.field_ref {
        return fields::field(sources.pod, &field.field_path, sources.ips, sources.facts).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        let of = container_named(sources.pod, selector.container_name.as_deref()).unwrap_or(container);
        return fields::resource(selector, of, sources.facts).map(Some);
    }
    if let Some(reference) = &source.config_map_key_ref {
        let (name, key) = (&reference.name, &reference.key);
        let optional = reference.optional == Some(true);
        let map = present(sources.objects.config_map(namespace, name).await, optional)?;
        let Some(map) = map else { return Ok(None) };
        let value = map.data.as_ref().and_then(|data| data.get(key)).cloned();
        return found(value, optional, || format!("couldn't find key {key} in ConfigMap {namespace}/{name}"));
    }
    if let Some(reference) = &source.secret_key_ref {
        let (name, key) = (&reference.name, &reference.key);
        let optional = reference.optional == Some(true);
        let secret = present(sources.objects.secret(namespace, name).await, optional)?;
        let Some(secret) = secret else { return Ok(None) };
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        let value = value.map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        return found(value, optional, || format!("couldn't find key {key} in Secret {namespace}/{name}"));
    }
    Ok(Some(String::new()))
}

fn present<T>(answer: Result<Arc<T>, ObjectError>, optional: bool) -> Result<Option<Arc<T>>, String> {
    match answer {
        Ok(object) => Ok(Some(object)),
        Err(ObjectError::NotFound(_)) if optional => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

fn found(value: Option<String>, optional: bool, message: impl Fn() -> String) -> Result<Option<String>, String> {
    match value {
        None if !optional => Err(message()),
        value => Ok(value),
    }
}

fn container_named<'a>(pod: &'a Pod, name: Option<&str>) -> Option<&'a Container> {
    let name = name.filter(|name| !name.is_empty())?;
    crate::resources::containers(pod.spec.as_ref()?).find(|container| container.name == name)
}

fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// The variables of the pod's services, and of the API's own.
fn service_variables(sources: &Sources<'_>) -> BTreeMap<String, String> {
    let own = namespace(sources.pod);
    let links = sources.pod.spec.as_ref().is_none_or(|spec| spec.enable_service_links != Some(false));
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in sources.services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        match service.metadata.namespace.as_deref() {
            Some(namespace) if namespace == own && links => drop(chosen.insert(name, service)),
            Some("default") if name == "kubernetes" => drop(chosen.entry(name).or_insert(service)),
            _ => {}
        }
    }
    chosen.into_iter().flat_map(|(name, service)| variables_of(name, service)).collect()
}

fn variables_of(name: &str, service: &Service) -> Vec<(String, String)> {
    let upper = |text: &str| text.replace('-', "_").to_uppercase();
    let Some(spec) = &service.spec else { return Vec::new() };
    let ip = spec.cluster_ip.as_deref().unwrap_or_default();
    let ports = spec.ports.as_deref().unwrap_or_default();
    let Some(first) = ports.first().filter(|_| !ip.is_empty() && ip != "None") else { return Vec::new() };
    let prefix = upper(name);
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let mut variables = vec![
        (format!("{prefix}_SERVICE_HOST"), ip.to_owned()),
        (format!("{prefix}_SERVICE_PORT"), first.port.to_string()),
    ];
    for (at, port) in ports.iter().enumerate() {
        if let Some(name) = port.name.as_deref().filter(|name| !name.is_empty()) {
            variables.push((format!("{prefix}_SERVICE_PORT_{}", upper(name)), port.port.to_string()));
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let url = format!("{}://{host}:{}", protocol.to_lowercase(), port.port);
        if at == 0 {
            variables.push((format!("{prefix}_PORT"), url.clone()));
        }
        let link = format!("{prefix}_PORT_{}_{}", port.port, protocol.to_uppercase());
        variables.push((format!("{link}_PROTO"), protocol.to_lowercase()));
        variables.push((format!("{link}_PORT"), port.port.to_string()));
        variables.push((format!("{link}_ADDR"), ip.to_owned()));
        variables.push((link, url));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_becomes_the_variables_of_old_links() {
        let service: Service = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "redis-primary" },
            "spec": { "clusterIP": "10.0.0.11", "ports": [{ "name": "db", "port": 6379 }] },
        }))
        .expect("a service");
        let variables: BTreeMap<String, String> = variables_of("redis-primary", &service).into_iter().collect();
        for (name, value) in [
            ("REDIS_PRIMARY_SERVICE_HOST", "10.0.0.11"),
            ("REDIS_PRIMARY_SERVICE_PORT", "6379"),
            ("REDIS_PRIMARY_SERVICE_PORT_DB", "6379"),
            ("REDIS_PRIMARY_PORT", "tcp://10.0.0.11:6379"),
            ("REDIS_PRIMARY_PORT_6379_TCP", "tcp://10.0.0.11:6379"),
            ("REDIS_PRIMARY_PORT_6379_TCP_PROTO", "tcp"),
            ("REDIS_PRIMARY_PORT_6379_TCP_PORT", "6379"),
            ("REDIS_PRIMARY_PORT_6379_TCP_ADDR", "10.0.0.11"),
        ] {
            assert_eq!(variables.get(name).map(String::as_str), Some(value), "{name}");
        }
    }
}
