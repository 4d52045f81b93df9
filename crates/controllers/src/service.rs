//! What the endpoint controllers read off services and pods.

use crate::adopt::selects;
use crate::context::key_of;
use crate::pod::{is_finished, is_ready, node};
use k8s_openapi::api::core::v1::{Container, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kaji_client::informer::Informer;
use kaji_client::{ObjectKey, WorkQueue};
use kube::core::Selector;
use std::net::IpAddr;
use std::sync::Arc;

pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";

/// The pods a service stands for; none: it selects none, others see to its endpoints.
pub(crate) fn selector(service: &Service) -> Option<Selector> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    // An empty selector, as opposed to none, selects everything.
    spec.selector.clone().map(Selector::from_iter)
}

/// Whether the service has an address of its own.
pub(crate) fn has_ip(service: &Service) -> bool {
    let ip = service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()).unwrap_or_default();
    !ip.is_empty() && ip != "None"
}

pub(crate) fn publishes_unready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|s| s.publish_not_ready_addresses) == Some(true)
}

pub(crate) fn ports(service: &Service) -> &[ServicePort] {
    service.spec.as_ref().and_then(|s| s.ports.as_deref()).unwrap_or_default()
}

/// The pod's addresses.
pub(crate) fn ips(pod: &Pod) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let all = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let mut ips: Vec<IpAddr> = all.filter_map(|ip| ip.parse().ok()).collect();
    if ips.is_empty() {
        ips.extend(status.pod_ip.as_deref().and_then(|ip| ip.parse::<IpAddr>().ok()));
    }
    ips
}

/// Whether a pod is an endpoint at all, ready or not.
pub(crate) fn is_endpoint(pod: &Pod, even_terminating: bool) -> bool {
    !is_finished(pod) && !ips(pod).is_empty() && (even_terminating || pod.metadata.deletion_timestamp.is_none())
}

/// The host name under which a pod is known below a headless service.
pub(crate) fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let below = spec.subdomain.is_some() && spec.subdomain == service.metadata.name;
    spec.hostname.clone().filter(|name| below && !name.is_empty())
}

/// The number of a service's port on a pod.
pub(crate) fn target_port(pod: &Pod, port: &ServicePort) -> Option<i32> {
    match port.target_port.as_ref() {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) => {
            let spec = pod.spec.as_ref()?;
            let sidecar = |c: &&Container| c.restart_policy.as_deref() == Some("Always");
            let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
            let mut ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let found =
                ports.find(|p| p.name.as_ref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol);
            found.map(|p| p.container_port)
        }
    }
}

/// Puts services into a queue when they change, or a pod they select does in a way that matters to endpoints.
pub(crate) fn enqueue(services: &Arc<Informer<Service>>, pods: &Arc<Informer<Pod>>, queue: &Arc<WorkQueue<ObjectKey>>) {
    crate::context::enqueue(services, queue);
    let (services, queue) = (services.clone(), queue.clone());
    pods.on_change(move |change| {
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        if let (Some(old), Some(new)) = (old, new)
            && same_endpoint(old, new)
        {
            return;
        }
        for service in services.list_in(&change.key.namespace) {
            let Some(selector) = selector(&service) else { continue };
            if [old, new].into_iter().flatten().any(|pod| selects(&selector, pod)) {
                queue.add(key_of(&*service));
            }
        }
    });
}

/// Whether a change of a pod leaves its endpoints as they are.
fn same_endpoint(a: &Pod, b: &Pod) -> bool {
    let names = |p: &Pod| p.spec.as_ref().map(|s| (s.hostname.clone(), s.subdomain.clone()));
    is_ready(a) == is_ready(b)
        && is_finished(a) == is_finished(b)
        && ips(a) == ips(b)
        && node(a) == node(b)
        && a.metadata.deletion_timestamp.is_some() == b.metadata.deletion_timestamp.is_some()
        && a.metadata.labels == b.metadata.labels
        && names(a) == names(b)
}
