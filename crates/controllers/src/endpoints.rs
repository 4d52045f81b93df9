//! Endpoints of the first API, for services that select pods (upstream `pkg/controller/endpoint`).

use crate::Context;
use crate::adopt::selects;
use crate::pod::{is_ready, node};
use crate::service::{self, HEADLESS, has_ip, hostname, ips, is_endpoint, publishes_unready, target_port};
use crate::write::{gone_is_fine, is_terminating, words};
use k8s_openapi::api::core::v1::{
    EndpointAddress, EndpointPort, EndpointSubset, Endpoints, ObjectReference, Pod, Service,
};
use kaji_client::event::EventType;
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use std::collections::BTreeMap;
use std::sync::Arc;

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const OURS: &str = "endpoint-controller";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// More addresses than this are cut off, and an annotation says so.
const CAPACITY: usize = 1000;

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let (services, pods, endpoints) = (cx.informer::<Service>(), cx.informer::<Pod>(), cx.informer::<Endpoints>());
    service::enqueue(&services, &pods, &queue);
    let again = queue.clone();
    // Those that others write without a service are left alone.
    endpoints.on_change(move |change| {
        if change.new.is_none() {
            again.add(change.key.clone());
        }
    });
    services.synced().await;
    pods.synced().await;
    endpoints.synced().await;
    // What was left behind while nobody looked.
    let elects = |e: &Endpoints| e.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(LEADER));
    for left in endpoints.list().iter().filter(|e| !elects(e)) {
        queue.add(ObjectKey::new(
            left.metadata.namespace.clone().unwrap_or_default(),
            left.metadata.name.clone().unwrap_or_default(),
        ));
    }
    let workers = cx.config.workers;
    let work = Arc::new(Work { cx, services, pods, endpoints });
    let reconcile = move |key| {
        let work = work.clone();
        async move { work.reconcile(key).await }
    };
    queue.run("endpoints", workers, reconcile).await;
}

struct Work {
    cx: Context,
    services: Arc<Informer<Service>>,
    pods: Arc<Informer<Pod>>,
    endpoints: Arc<Informer<Endpoints>>,
}

impl Work {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, kube::Error> {
        let api: Api<Endpoints> = Api::namespaced(self.cx.client.clone(), &key.namespace);
        let current = self.endpoints.get(&key);
        let Some(service) = self.services.get(&key) else {
            if current.is_some() {
                gone_is_fine(api.delete(&key.name, &DeleteParams::default()).await)?;
            }
            return Ok(Next::Done);
        };
        let Some(selector) = service::selector(&service) else { return Ok(Next::Done) };
        let pods = self.pods.list_in(&key.namespace).into_iter().filter(|p| selects(&selector, &**p));
        let wanted = wanted(&service, current.as_deref(), pods);
        match current {
            Some(current) if *current == wanted => Ok(Next::Done),
            Some(_) => {
                let outcome = api.replace(&key.name, &PostParams::default(), &wanted).await;
                self.told(&wanted, "FailedToUpdateEndpoint", "update endpoint", &key, outcome)
            }
            None => {
                let outcome = api.create(&PostParams::default(), &wanted).await;
                if outcome.as_ref().is_err_and(is_terminating) {
                    return Ok(Next::Done);
                }
                self.told(&wanted, "FailedToCreateEndpoint", "create endpoint for service", &key, outcome)
            }
        }
    }

    fn told(
        &self,
        about: &Endpoints,
        reason: &str,
        deed: &str,
        key: &ObjectKey,
        outcome: Result<Endpoints, kube::Error>,
    ) -> Result<Next, kube::Error> {
        if let Err(error) = &outcome {
            let message = format!("Failed to {deed} {}/{}: {}", key.namespace, key.name, words(error));
            self.cx.event(about, EventType::Warning, reason, &message);
        }
        outcome.map(|_| Next::Done)
    }
}

/// The endpoints as they should be.
fn wanted(service: &Service, current: Option<&Endpoints>, pods: impl IntoIterator<Item = Arc<Pod>>) -> Endpoints {
    let mut endpoints = current.cloned().unwrap_or_default();
    endpoints.metadata.name = service.metadata.name.clone();
    endpoints.metadata.namespace = service.metadata.namespace.clone();
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if !has_ip(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), OURS.to_owned());
    endpoints.metadata.labels = Some(labels);
    let mut subsets = subsets(service, pods);
    if truncate(&mut subsets) {
        let annotations = endpoints.metadata.annotations.get_or_insert_default();
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else if let Some(annotations) = &mut endpoints.metadata.annotations {
        annotations.remove(OVER_CAPACITY);
    }
    endpoints.metadata.annotations = endpoints.metadata.annotations.filter(|a| !a.is_empty());
    endpoints.subsets = (!subsets.is_empty()).then_some(subsets);
    endpoints
}

type PortKey = (Option<String>, i32, Option<String>, Option<String>);
/// Addresses by IP and target, with whether they are ready.
type Addresses = BTreeMap<(String, Option<String>), (EndpointAddress, bool)>;

/// Addresses grouped so that each group serves the same ports.
fn subsets(service: &Service, pods: impl IntoIterator<Item = Arc<Pod>>) -> Vec<EndpointSubset> {
    let mut by_port: BTreeMap<Option<PortKey>, Addresses> = BTreeMap::new();
    let unready = publishes_unready(service);
    for pod in pods.into_iter().filter(|p| is_endpoint(p, unready)) {
        let Some(address) = address(service, &pod) else { continue };
        let key = (address.ip.clone(), pod.metadata.uid.clone());
        let state = (address, unready || is_ready(&pod));
        let ports = service::ports(service);
        if ports.is_empty() && !has_ip(service) {
            by_port.entry(None).or_default().insert(key.clone(), state.clone());
        }
        for port in ports {
            let Some(number) = target_port(&pod, port) else { continue };
            let protocol = port.protocol.clone().or_else(|| Some("TCP".to_owned()));
            let port = (port.name.clone(), number, protocol, port.app_protocol.clone());
            by_port.entry(Some(port)).or_default().insert(key.clone(), state.clone());
        }
    }
    let mut groups: Vec<(Addresses, Vec<EndpointPort>)> = Vec::new();
    for (port, addresses) in by_port {
        let port = port.map(|(name, port, protocol, app_protocol)| EndpointPort { name, port, protocol, app_protocol });
        match groups.iter_mut().find(|(known, _)| *known == addresses) {
            Some((_, ports)) => ports.extend(port),
            None => groups.push((addresses, port.into_iter().collect())),
        }
    }
    groups.into_iter().map(|(addresses, ports)| subset(addresses, ports)).collect()
}

fn subset(addresses: Addresses, ports: Vec<EndpointPort>) -> EndpointSubset {
    let (ready, unready): (Vec<_>, Vec<_>) = addresses.into_values().partition(|(_, ready)| *ready);
    let list = |states: Vec<(EndpointAddress, bool)>| {
        let addresses: Vec<_> = states.into_iter().map(|(address, _)| address).collect();
        (!addresses.is_empty()).then_some(addresses)
    };
    EndpointSubset {
        addresses: list(ready),
        not_ready_addresses: list(unready),
        ports: (!ports.is_empty()).then_some(ports),
    }
}

/// The pod's address in the service's first family.
fn address(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    let spec = service.spec.as_ref()?;
    let family = spec.ip_families.as_ref().and_then(|f| f.first()).map(String::as_str);
    let ip = ips(pod).into_iter().find(|ip| family.is_none_or(|f| ip.is_ipv6() == (f == "IPv6")))?;
    Some(EndpointAddress {
        ip: ip.to_string(),
        hostname: hostname(pod, service),
        node_name: Some(node(pod).to_owned()).filter(|n| !n.is_empty()),
        target_ref: Some(ObjectReference {
            kind: Some("Pod".to_owned()),
            namespace: pod.metadata.namespace.clone(),
            name: pod.metadata.name.clone(),
            uid: pod.metadata.uid.clone(),
            ..ObjectReference::default()
        }),
    })
}

/// Cuts addresses beyond the capacity off, those that aren't ready first; true when that was needed.
fn truncate(subsets: &mut [EndpointSubset]) -> bool {
    let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map(Vec::len).unwrap_or_default();
    let ready: usize = subsets.iter().map(|s| count(&s.addresses)).sum();
    let unready: usize = subsets.iter().map(|s| count(&s.not_ready_addresses)).sum();
    if ready + unready <= CAPACITY {
        return false;
    }
    let (mut budget, total) = if ready > CAPACITY { (CAPACITY, ready) } else { (CAPACITY - ready, unready) };
    let room = budget;
    for subset in subsets {
        let list = if ready > CAPACITY { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        let share = (count(list) * room).div_ceil(total).min(budget);
        if let Some(addresses) = list {
            addresses.truncate(share);
            budget -= addresses.len();
        }
        if ready > CAPACITY {
            subset.not_ready_addresses = None;
        }
        subset.not_ready_addresses = subset.not_ready_addresses.take().filter(|l| !l.is_empty());
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, ip: &str, ready: bool) -> Arc<Pod> {
        let ready = if ready { "True" } else { "False" };
        Arc::new(
            serde_json::from_value(serde_json::json!({"metadata": {"name": name, "uid": name},
                "spec": {"containers": [], "nodeName": "n1"},
                "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": ready}]}}))
            .unwrap(),
        )
    }

    #[test]
    fn addresses_with_the_same_ports_share_a_subset() {
        let service: Service =
            serde_json::from_value(serde_json::json!({"metadata": {"name": "web"}, "spec": {"clusterIP": "10.0.0.1",
            "ports": [{"name": "a", "port": 80, "targetPort": 8080}, {"name": "b", "port": 81, "targetPort": 8081}]}}))
            .unwrap();
        let made = wanted(&service, None, [pod("x", "1.1.1.1", true), pod("y", "1.1.1.2", false)]);
        let subsets = made.subsets.clone().unwrap();
        assert_eq!(subsets.len(), 1);
        assert_eq!(subsets[0].addresses.as_ref().unwrap()[0].ip, "1.1.1.1");
        assert_eq!(subsets[0].not_ready_addresses.as_ref().unwrap()[0].ip, "1.1.1.2");
        assert_eq!(subsets[0].ports.as_ref().unwrap().len(), 2);
        assert_eq!(wanted(&service, Some(&made), [pod("x", "1.1.1.1", true), pod("y", "1.1.1.2", false)]), made);
    }

    #[test]
    fn too_many_are_cut_off() {
        let address = |_| EndpointAddress::default();
        let mut subsets =
            vec![EndpointSubset { addresses: Some((0..1500).map(address).collect()), ..EndpointSubset::default() }];
        assert!(truncate(&mut subsets));
        assert_eq!(subsets[0].addresses.as_ref().unwrap().len(), CAPACITY);
    }
}
