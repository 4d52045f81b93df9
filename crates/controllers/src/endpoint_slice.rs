//! Endpoint slices for the pods that services select (upstream `pkg/controller/endpointslice`).

pub(crate) mod plan;
pub(crate) mod written;

use crate::Context;
use crate::adopt::{controller_reference, selects};
use crate::pod::{is_ready, node};
use crate::service::{self, HEADLESS, has_ip, hostname, ips, is_endpoint, publishes_unready, target_port};
use crate::write::{gone_is_fine, is_terminating, words};
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod, Service};
use k8s_openapi::api::discovery::v1::{
    Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
};
use kaji_client::event::EventType;
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use plan::{Changes, Group, Shape, plan, port_key};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use written::Written;

pub(crate) const SERVICE: &str = "kubernetes.io/service-name";
pub(crate) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OURS: &str = "endpointslice-controller.k8s.io";
const ZONE: &str = "topology.kubernetes.io/zone";
/// `--max-endpoints-per-slice`.
const MAX: usize = 100;

/// Why a service's slices are not right yet.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("request failed")]
    Request(#[from] kube::Error),
    #[error("the slices of {0} that were written are not seen yet")]
    Stale(String),
    #[error("the nodes of some pods of {0} are not known yet")]
    UnknownNode(String),
}

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let (services, pods) = (cx.informer::<Service>(), cx.informer::<Pod>());
    let (nodes, slices) = (cx.informer::<Node>(), cx.informer::<EndpointSlice>());
    let written = Written::over(&slices, owner_of);
    service::enqueue(&services, &pods, &queue);
    let again = queue.clone();
    slices.on_change(move |change| {
        for slice in [&change.old, &change.new].into_iter().flatten().filter(|s| is_managed_by(s, OURS)) {
            owner_of(slice).into_iter().for_each(|key| again.add(key));
        }
    });
    services.synced().await;
    pods.synced().await;
    nodes.synced().await;
    slices.synced().await;
    let workers = cx.config.workers;
    let work = Arc::new(Work { cx, services, pods, nodes, slices, written });
    let reconcile = move |key| {
        let work = work.clone();
        async move { work.reconcile(key).await }
    };
    queue.run("endpoint slice", workers, reconcile).await;
}

/// The service a slice is labelled with.
pub(crate) fn owner_of(slice: &EndpointSlice) -> Option<ObjectKey> {
    let service = slice.metadata.labels.as_ref()?.get(SERVICE)?;
    Some(ObjectKey::new(slice.metadata.namespace.clone().unwrap_or_default(), service.clone()))
}

pub(crate) fn is_managed_by(slice: &EndpointSlice, manager: &str) -> bool {
    slice.metadata.labels.as_ref().and_then(|l| l.get(MANAGED_BY)).is_some_and(|m| m == manager)
}

struct Work {
    cx: Context,
    services: Arc<Informer<Service>>,
    pods: Arc<Informer<Pod>>,
    nodes: Arc<Informer<Node>>,
    slices: Arc<Informer<EndpointSlice>>,
    written: Arc<Written>,
}

impl Work {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let Some(service) = self.services.get(&key) else { return Ok(Next::Done) };
        let Some(selector) = service::selector(&service) else { return Ok(Next::Done) };
        let ours = |s: &Arc<EndpointSlice>| is_managed_by(s, OURS) && owner_of(s).as_ref() == Some(&key);
        let slices: Vec<_> = self.slices.list_in(&key.namespace).into_iter().filter(ours).collect();
        if !self.written.are_shown(&key, &slices) {
            return Err(Error::Stale(key.name));
        }
        let pods: Vec<_> = self.pods.list_in(&key.namespace).into_iter().filter(|p| selects(&selector, &**p)).collect();
        let zone = |name: &str| {
            let node = self.nodes.get(&ObjectKey::new("", name))?;
            Some(node.metadata.labels.as_ref().and_then(|l| l.get(ZONE)).cloned())
        };
        let (changes, complete) = decide(&service, &pods, &slices, zone);
        let slices = Api::namespaced(self.cx.client.clone(), &key.namespace);
        if let Err(error) = carry_out(&slices, &key, &self.written, changes, is_alive(&service)).await {
            let message =
                format!("Error updating Endpoint Slices for Service {}/{}: {}", key.namespace, key.name, words(&error));
            self.cx.event(&*service, EventType::Warning, "FailedToUpdateEndpointSlices", &message);
            return Err(error.into());
        }
        if complete { Ok(Next::Done) } else { Err(Error::UnknownNode(key.name)) }
    }
}

fn is_alive(service: &Service) -> bool {
    service.metadata.deletion_timestamp.is_none()
}

/// Writes changes and remembers them.
pub(crate) async fn carry_out(
    api: &Api<EndpointSlice>,
    owner: &ObjectKey,
    written: &Written,
    changes: Changes,
    may_create: bool,
) -> Result<(), kube::Error> {
    for slice in changes.create.iter().filter(|_| may_create) {
        match api.create(&PostParams::default(), slice).await {
            Ok(made) => written.wrote(owner, &made),
            Err(error) if is_terminating(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    for slice in &changes.update {
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        let changed = api.replace(name, &PostParams::default(), slice).await?;
        written.wrote(owner, &changed);
    }
    for slice in &changes.delete {
        let name = slice.metadata.name.as_deref().unwrap_or_default();
        gone_is_fine(api.delete(name, &DeleteParams::default()).await)?;
        written.deleted(owner, slice);
    }
    Ok(())
}

/// The changes of a service's slices, and whether all pods' nodes were known. `zone` gives a node's zone if the
/// node is known.
fn decide(
    service: &Service,
    pods: &[Arc<Pod>],
    slices: &[Arc<EndpointSlice>],
    zone: impl Fn(&str) -> Option<Option<String>>,
) -> (Changes, bool) {
    let labels = labels(service);
    let make = |address_type: &'static str, ports| new_slice(service, &labels, address_type, ports);
    let shape = Shape { make: &make, labels: &labels, max: MAX };
    let types = address_types(service);
    let mut all = Changes::default();
    let mut complete = true;
    all.delete.extend(slices.iter().filter(|s| !types.contains(&s.address_type.as_str())).cloned());
    for address_type in types {
        let existing: Vec<_> = slices.iter().filter(|s| s.address_type == address_type).cloned().collect();
        let (mut groups, known) = group(service, pods, address_type, &zone);
        complete &= known;
        groups.retain(|g| !g.endpoints.is_empty());
        if groups.is_empty() {
            // A service without endpoints has one slice that says so.
            groups.push(Group { address_type, ports: Vec::new(), endpoints: Vec::new() });
        }
        let mut changes = plan(groups, &existing, &shape);
        let total = existing.len() + changes.create.len() - changes.delete.len();
        if total == 0 {
            changes.create.push(make(address_type, Vec::new()));
        }
        all.create.extend(changes.create);
        all.update.extend(changes.update);
        all.delete.extend(changes.delete);
    }
    (all, complete)
}

/// Endpoints by the ports their pods serve on.
fn group(
    service: &Service,
    pods: &[Arc<Pod>],
    address_type: &'static str,
    zone: &impl Fn(&str) -> Option<Option<String>>,
) -> (Vec<Group>, bool) {
    let mut groups = BTreeMap::new();
    let mut complete = true;
    for pod in pods.iter().filter(|p| is_endpoint(p, true)) {
        let zone = zone(node(pod));
        if zone.is_none() && !publishes_unready(service) {
            complete = false;
            continue;
        }
        let endpoint = endpoint(service, pod, address_type, zone.flatten());
        if !endpoint.addresses.is_empty() {
            let ports = endpoint_ports(service, pod);
            let new = || Group { address_type, ports: ports.clone(), endpoints: Vec::new() };
            groups.entry(port_key(&ports)).or_insert_with(new).endpoints.push(endpoint);
        }
    }
    (groups.into_values().collect(), complete)
}

fn endpoint(service: &Service, pod: &Pod, address_type: &str, zone: Option<String>) -> Endpoint {
    let serving = is_ready(pod);
    let terminating = pod.metadata.deletion_timestamp.is_some();
    let ready = publishes_unready(service) || (serving && !terminating);
    let fits = |ip: &IpAddr| ip.is_ipv6() == (address_type == "IPv6");
    let node_name = Some(node(pod).to_owned()).filter(|n| !n.is_empty());
    let zone = zone.filter(|z| !z.is_empty());
    Endpoint {
        addresses: ips(pod).into_iter().filter(fits).map(|ip| ip.to_string()).collect(),
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hints: if ready { hints(service, node_name.as_ref(), zone.as_ref()) } else { None },
        hostname: hostname(pod, service),
        node_name,
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
        zone,
        ..Endpoint::default()
    }
}

/// For whom an endpoint is near, as the service's traffic distribution asks.
fn hints(service: &Service, node: Option<&String>, zone: Option<&String>) -> Option<EndpointHints> {
    let wish = service.spec.as_ref()?.traffic_distribution.as_deref()?;
    if !matches!(wish, "PreferClose" | "PreferSameZone" | "PreferSameNode") {
        return None;
    }
    let node = node.filter(|_| wish == "PreferSameNode");
    let hints = EndpointHints {
        for_zones: zone.map(|name| vec![ForZone { name: name.clone() }]),
        for_nodes: node.map(|name| vec![ForNode { name: name.clone() }]),
    };
    (hints != EndpointHints::default()).then_some(hints)
}

fn endpoint_ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let port = |port: &k8s_openapi::api::core::v1::ServicePort| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(target_port(pod, port)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    };
    service::ports(service).iter().filter_map(port).collect()
}

/// The families a service has addresses of.
fn address_types(service: &Service) -> Vec<&'static str> {
    let spec = service.spec.as_ref();
    let families = spec.and_then(|s| s.ip_families.clone()).unwrap_or_default();
    let of = |family: &str| if family == "IPv6" { "IPv6" } else { "IPv4" };
    if !families.is_empty() {
        return families.iter().map(|f| of(f)).collect();
    }
    match spec.and_then(|s| s.cluster_ip.as_deref()).unwrap_or_default() {
        "" | "None" => vec!["IPv4", "IPv6"],
        ip => vec![if ip.contains(':') { "IPv6" } else { "IPv4" }],
    }
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if !has_ip(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), OURS.to_owned());
    labels
}

fn new_slice(
    service: &Service,
    labels: &BTreeMap<String, String>,
    address_type: &str,
    ports: Vec<EndpointPort>,
) -> EndpointSlice {
    EndpointSlice {
        metadata: ObjectMeta {
            generate_name: service.metadata.name.as_ref().map(|name| format!("{name}-")),
            namespace: service.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            owner_references: Some(vec![controller_reference(service)]),
            ..ObjectMeta::default()
        },
        address_type: address_type.to_owned(),
        endpoints: Some(Vec::new()),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(more: &serde_json::Value) -> Service {
        let mut json = serde_json::json!({"metadata": {"name": "web", "namespace": "n", "uid": "s"}, "spec": {
            "clusterIP": "10.0.0.1", "ipFamilies": ["IPv4"], "selector": {"a": "b"}, "ports": [{"port": 80, "targetPort": "http"}]}});
        for (name, value) in more.as_object().unwrap() {
            json["spec"][name] = value.clone();
        }
        serde_json::from_value(json).unwrap()
    }

    fn pod(name: &str, ip: &str, ready: bool, deleting: bool) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        Arc::new(
            serde_json::from_value(serde_json::json!({
                "metadata": {"name": name, "namespace": "n", "uid": name, "deletionTimestamp": deleting.then_some("2026-01-01T00:00:00Z")},
                "spec": {"nodeName": "n1", "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
                "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": [{"type": "Ready", "status": ready}]}
            }))
            .unwrap(),
        )
    }

    fn known(_: &str) -> Option<Option<String>> {
        Some(Some("z1".to_owned()))
    }

    #[test]
    fn pods_become_endpoints_with_their_conditions() {
        let pods =
            [pod("a", "1.1.1.1", true, false), pod("b", "1.1.1.2", false, false), pod("c", "1.1.1.3", true, true)];
        let (changes, complete) = decide(&service(&serde_json::json!({})), &pods, &[], known);
        assert!(complete);
        let slice = &changes.create[0];
        assert_eq!(slice.ports.as_ref().unwrap()[0].port, Some(8080));
        let conditions: Vec<_> = slice
            .endpoints
            .iter()
            .flatten()
            .map(|e| {
                e.conditions.as_ref().map(|c| (c.ready.unwrap(), c.serving.unwrap(), c.terminating.unwrap())).unwrap()
            })
            .collect();
        assert_eq!(conditions, [(true, true, false), (false, false, false), (false, true, true)]);
        assert_eq!(slice.endpoints.as_ref().unwrap()[0].zone.as_deref(), Some("z1"));
    }

    #[test]
    fn a_service_without_pods_has_one_empty_slice() {
        let service = service(&serde_json::json!({"clusterIP": "None"}));
        let (changes, _) = decide(&service, &[], &[], known);
        let mut slice = changes.create[0].clone();
        assert!(
            slice.endpoints.as_ref().unwrap().is_empty()
                && slice.metadata.labels.as_ref().unwrap().contains_key(HEADLESS)
        );
        slice.metadata.name = Some("web-x".to_owned());
        let (again, _) = decide(&service, &[], &[Arc::new(slice)], known);
        assert!(again.create.is_empty() && again.update.is_empty() && again.delete.is_empty());
    }

    #[test]
    fn pods_of_unknown_nodes_wait() {
        let (changes, complete) =
            decide(&service(&serde_json::json!({})), &[pod("a", "1.1.1.1", true, false)], &[], |_| None);
        assert!(!complete && changes.create[0].endpoints.as_ref().unwrap().is_empty());
    }

    #[test]
    fn traffic_distribution_gives_hints() {
        let service = service(&serde_json::json!({"trafficDistribution": "PreferSameNode"}));
        let (changes, _) = decide(&service, &[pod("a", "1.1.1.1", true, false)], &[], known);
        let hints = changes.create[0].endpoints.as_ref().unwrap()[0].hints.clone().unwrap();
        assert_eq!(
            (hints.for_zones.unwrap()[0].name.as_str(), hints.for_nodes.unwrap()[0].name.as_str()),
            ("z1", "n1")
        );
    }
}
