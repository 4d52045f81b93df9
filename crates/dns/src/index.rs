//! What DNS knows of the cluster: services, their endpoints, namespaces, and the way back from addresses.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint as SliceEndpoint, EndpointSlice};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Namespace and name of a service.
pub(crate) type ServiceKey = (String, String);

/// A named or unnamed port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) name: String,
    /// Lower case.
    pub(crate) protocol: String,
    pub(crate) number: u16,
}

/// A service as DNS sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Empty for headless services and mere names.
    pub(crate) addresses: Vec<IpAddr>,
    pub(crate) headless: bool,
    pub(crate) external_name: Option<String>,
    pub(crate) ports: Vec<Port>,
    publish_not_ready: bool,
}

/// An endpoint's address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    /// Its host name, or its address with dashes.
    pub(crate) label: String,
    pub(crate) address: IpAddr,
    pub(crate) ports: Vec<Port>,
    ready: bool,
}

/// All that DNS knows; changed object by object.
#[derive(Default)]
pub(crate) struct Index {
    namespaces: HashSet<String>,
    services: HashMap<ServiceKey, Entry>,
    endpoints: HashMap<ServiceKey, BTreeMap<String, Vec<Endpoint>>>,
    by_cluster_ip: HashMap<IpAddr, BTreeSet<ServiceKey>>,
    by_endpoint: HashMap<IpAddr, BTreeSet<(ServiceKey, String)>>,
}

impl Index {
    pub(crate) fn set_namespace(&mut self, name: &str, exists: bool) {
        if exists {
            self.namespaces.insert(name.to_owned());
        } else {
            self.namespaces.remove(name);
        }
    }

    pub(crate) fn set_service(&mut self, namespace: &str, name: &str, service: Option<&Service>) {
        let key = (namespace.to_owned(), name.to_owned());
        for address in self.services.remove(&key).into_iter().flat_map(|entry| entry.addresses) {
            forget(&mut self.by_cluster_ip, &address, &key);
        }
        let Some(entry) = service.and_then(entry) else { return };
        for address in &entry.addresses {
            self.by_cluster_ip.entry(*address).or_default().insert(key.clone());
        }
        self.services.insert(key, entry);
    }

    pub(crate) fn set_slice(&mut self, name: &str, old: Option<&EndpointSlice>, new: Option<&EndpointSlice>) {
        if let Some(service) = old.and_then(service_of) {
            self.remove_slice(&service, name);
        }
        let Some((service, slice)) = new.and_then(|slice| Some((service_of(slice)?, slice))) else { return };
        self.remove_slice(&service, name);
        let all = endpoints(slice);
        for endpoint in &all {
            self.by_endpoint.entry(endpoint.address).or_default().insert((service.clone(), name.to_owned()));
        }
        self.endpoints.entry(service).or_default().insert(name.to_owned(), all);
    }

    fn remove_slice(&mut self, service: &ServiceKey, name: &str) {
        let Some(slices) = self.endpoints.get_mut(service) else { return };
        let old = slices.remove(name).unwrap_or_default();
        if slices.is_empty() {
            self.endpoints.remove(service);
        }
        for endpoint in old {
            forget(&mut self.by_endpoint, &endpoint.address, &(service.clone(), name.to_owned()));
        }
    }

    pub(crate) fn has_namespace(&self, name: &str) -> bool {
        self.namespaces.contains(name)
    }

    /// The service, if it and its namespace exist.
    pub(crate) fn service(&self, key: &ServiceKey) -> Option<&Entry> {
        self.services.get(key).filter(|_| self.has_namespace(&key.0))
    }

    /// The endpoints that the service shows: ready ones, or all where it publishes those too.
    pub(crate) fn endpoints<'a>(&'a self, key: &ServiceKey, entry: &Entry) -> impl Iterator<Item = &'a Endpoint> {
        let all = entry.publish_not_ready;
        let slices = self.endpoints.get(key).into_iter().flat_map(BTreeMap::values);
        slices.flatten().filter(move |endpoint| all || endpoint.ready)
    }

    /// Services with this cluster IP.
    pub(crate) fn services_at(&self, address: &IpAddr) -> impl Iterator<Item = &ServiceKey> {
        self.by_cluster_ip.get(address).into_iter().flatten()
    }

    /// Endpoints of headless services with this address.
    pub(crate) fn endpoints_at(&self, address: &IpAddr) -> BTreeSet<(ServiceKey, String)> {
        let mut found = BTreeSet::new();
        for (key, _) in self.by_endpoint.get(address).into_iter().flatten() {
            if let Some(entry) = self.service(key).filter(|entry| entry.headless) {
                let here = self.endpoints(key, entry).filter(|endpoint| endpoint.address == *address);
                found.extend(here.map(|endpoint| (key.clone(), endpoint.label.clone())));
            }
        }
        found
    }
}

fn forget<T: Ord>(map: &mut HashMap<IpAddr, BTreeSet<T>>, address: &IpAddr, what: &T) {
    if let Some(all) = map.get_mut(address) {
        all.remove(what);
        if all.is_empty() {
            map.remove(address);
        }
    }
}

fn entry(service: &Service) -> Option<Entry> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        let external_name = spec.external_name.clone().filter(|name| !name.is_empty());
        return Some(Entry { external_name, ..Entry::default() });
    }
    let first = spec.cluster_ip.as_deref().unwrap_or_default();
    let listed = spec.cluster_ips.iter().flatten().map(String::as_str);
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in [first].into_iter().chain(listed).filter_map(|text| text.parse().ok()) {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    let ports = spec.ports.iter().flatten();
    let ports = ports.filter_map(|p| port(p.name.as_deref(), p.protocol.as_deref(), p.port));
    Some(Entry {
        headless: first == "None",
        addresses,
        external_name: None,
        ports: ports.collect(),
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
    })
}

fn port(name: Option<&str>, protocol: Option<&str>, number: i32) -> Option<Port> {
    Some(Port {
        name: name.unwrap_or_default().to_ascii_lowercase(),
        protocol: protocol.unwrap_or("TCP").to_ascii_lowercase(),
        number: u16::try_from(number).ok()?,
    })
}

fn service_of(slice: &EndpointSlice) -> Option<ServiceKey> {
    let name = slice.metadata.labels.as_ref()?.get(SERVICE_NAME)?;
    Some((slice.metadata.namespace.clone().unwrap_or_default(), name.clone()))
}

fn endpoints(slice: &EndpointSlice) -> Vec<Endpoint> {
    let ports = slice.ports.iter().flatten();
    let ports: Vec<Port> =
        ports.filter_map(|p| port(p.name.as_deref(), p.protocol.as_deref(), p.port.unwrap_or(0))).collect();
    let one = |endpoint: &SliceEndpoint| {
        let ready = endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
        let addresses = endpoint.addresses.iter().filter_map(|text| text.parse::<IpAddr>().ok());
        let hostname = endpoint.hostname.clone().filter(|name| !name.is_empty());
        let made = addresses.map(|address| Endpoint {
            label: hostname.clone().unwrap_or_else(|| dashed(&address)).to_ascii_lowercase(),
            address,
            ports: ports.clone(),
            ready,
        });
        made.collect::<Vec<_>>()
    };
    slice.endpoints.iter().flatten().flat_map(one).collect()
}

fn dashed(address: &IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}
