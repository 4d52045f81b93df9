//! From a service to an address (apiserver `util/proxy`).

use super::Place;
use crate::cache::{Cache, Caches};
use kaji_api::{GroupResource, Status, Value};
use std::sync::Arc;

const SERVICE: GroupResource = GroupResource::of("", "service");

/// An address of a service that takes requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// An IP address or a name.
    pub(crate) host: String,
    /// The port behind the service's.
    pub(crate) port: u16,
    /// Namespace and name of the pod behind it, if the slice says so.
    pub(crate) pod: Option<(String, String)>,
}

/// Host and port as they stand in URLs.
pub(crate) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Where a connection to a place goes; services are looked up now.
pub(super) fn address(caches: &Caches, place: &Place) -> Result<(String, u16), Status> {
    match place {
        Place::Address { host, port, .. } => Ok((host.clone(), *port)),
        Place::Service { namespace, name, port } => service(caches, namespace, name, *port),
    }
}

fn service(caches: &Caches, namespace: &str, name: &str, port: u16) -> Result<(String, u16), Status> {
    let cache = built_in(caches, "", "services");
    let found = cache.get(&cache.key(namespace, name)).ok_or_else(|| Status::not_found(&SERVICE, name))?;
    let service = found.decode();
    match service["spec"]["type"].str() {
        "ExternalName" => return Ok((service["spec"]["externalName"].str().to_owned(), port)),
        "ClusterIP" | "LoadBalancer" | "NodePort" | "" => {}
        other => return Err(Status::new(500, "", format!("unsupported service type \"{other}\""))),
    }
    let Some(port_name) = port_name(&service, i64::from(port)) else {
        return Err(Status::unavailable(format!("no service port {port} found for service \"{name}\"")));
    };
    let all = ready(&slices(caches, namespace, name), &service, port_name);
    let missing = || Status::unavailable(format!("no endpoints available for service \"{name}\""));
    let chosen = all.get(any_of(all.len())).ok_or_else(missing)?;
    Ok((chosen.host.clone(), chosen.port))
}

/// Any index below a length.
pub(crate) fn any_of(length: usize) -> usize {
    let bytes = uuid::Uuid::new_v4().into_bytes();
    usize::from(u16::from_le_bytes([bytes[0], bytes[1]])) % length.max(1)
}

/// The name of a service's port.
pub(crate) fn port_name(service: &Value, port: i64) -> Option<&str> {
    service["spec"]["ports"].items().iter().find(|p| p["port"].as_i64() == Some(port)).map(|p| p["name"].str())
}

/// The cache of a resource that every server has.
pub(crate) fn built_in(caches: &Caches, group: &str, plural: &str) -> Arc<Cache> {
    let row = kaji_api::resource::find(group, "v1", plural).expect("the resource is built in");
    caches.get(row.prefix).expect("the resource is stored")
}

/// The endpoint slices of a service.
pub(crate) fn slices(caches: &Caches, namespace: &str, service: &str) -> Vec<Value> {
    let cache = built_in(caches, "discovery.k8s.io", "endpointslices");
    let prefix = cache.scope(namespace);
    let all = cache.snapshot(&prefix, "").entries;
    let ours = all.iter().filter(|e| e.selected(&cache.row).label("kubernetes.io/service-name") == Some(service));
    ours.map(|e| e.decode()).collect()
}

/// The endpoints that are ready and have the port: those of the service's first address family, or else the others.
pub(crate) fn ready(slices: &[Value], service: &Value, port: &str) -> Vec<Endpoint> {
    let first = service["spec"]["ipFamilies"].items().first().map_or("", |f| f.str());
    let (preferred, others): (Vec<_>, Vec<_>) = slices.iter().partition(|s| s["addressType"].str() == first);
    let preferred: Vec<Endpoint> = preferred.into_iter().flat_map(|slice| ready_in(slice, port)).collect();
    if preferred.is_empty() { others.into_iter().flat_map(|slice| ready_in(slice, port)).collect() } else { preferred }
}

fn ready_in(slice: &Value, port: &str) -> Vec<Endpoint> {
    let number = slice["ports"].items().iter().find(|p| p["name"].str() == port).and_then(|p| p["port"].as_i64());
    let Some(number) = number.and_then(|n| u16::try_from(n).ok()) else { return Vec::new() };
    let is_ready = |e: &&Value| e["conditions"]["ready"].as_bool().unwrap_or(true);
    let endpoints = slice["endpoints"].items().iter().filter(is_ready);
    endpoints.filter_map(|endpoint| one(endpoint, number)).collect()
}

fn one(endpoint: &Value, port: u16) -> Option<Endpoint> {
    let target = &endpoint["targetRef"];
    let pod = (target["kind"].str() == "Pod")
        .then(|| (target["namespace"].str().to_owned(), target["name"].str().to_owned()));
    Some(Endpoint { host: endpoint["addresses"].items().first()?.str().to_owned(), port, pod })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    fn slice(family: &str, address: &str, ready: bool) -> Value {
        value!({"addressType": family, "ports": [{"name": "https", "port": 8443}],
            "endpoints": [{"addresses": [(address)], "conditions": {"ready": ready}}]})
    }

    #[test]
    fn ready_endpoints_of_the_first_family_go_first() {
        let service = value!({"spec": {"ipFamilies": ["IPv6"], "ports": [{"name": "https", "port": 443}]}});
        let hosts = |slices: &[Value], port: &str| -> Vec<String> {
            ready(slices, &service, port).into_iter().map(|e| authority(&e.host, e.port)).collect()
        };
        let four = slice("IPv4", "10.0.0.1", true);
        assert_eq!(hosts(&[four.clone(), slice("IPv6", "fd00::1", true)], "https"), ["[fd00::1]:8443"]);
        assert_eq!(hosts(&[four.clone(), slice("IPv6", "fd00::1", false)], "https"), ["10.0.0.1:8443"]);
        assert!(hosts(&[four], "other").is_empty());
        assert_eq!(port_name(&service, 443), Some("https"));
        assert_eq!(port_name(&service, 80), None);
    }
}
