//! Slices for endpoints that people write themselves for services without a selector (upstream
//! `pkg/controller/endpointslicemirroring`).

use crate::Context;
use crate::adopt::controller_reference;
use crate::context::enqueue;
use crate::endpoint_slice::plan::{Changes, Group, Shape, plan, port_key};
use crate::endpoint_slice::written::Written;
use crate::endpoint_slice::{Error, MANAGED_BY, SERVICE, carry_out, is_managed_by, owner_of};
use k8s_openapi::api::core::v1::{EndpointAddress, Endpoints, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kaji_client::informer::Informer;
use kaji_client::{Next, ObjectKey, WorkQueue};
use kube::Api;
use kube::api::ObjectMeta;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

const OURS: &str = "endpointslicemirroring-controller.k8s.io";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
const TRIGGER: &str = "endpoints.kubernetes.io/last-change-trigger-time";
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const MAX: usize = 1000;

pub(crate) async fn run(cx: Context) {
    let queue = WorkQueue::new();
    let (services, endpoints) = (cx.informer::<Service>(), cx.informer::<Endpoints>());
    let slices = cx.informer::<EndpointSlice>();
    let written = Written::over(&slices, owner_of);
    enqueue(&services, &queue);
    enqueue(&endpoints, &queue);
    let again = queue.clone();
    slices.on_change(move |change| {
        for slice in [&change.old, &change.new].into_iter().flatten().filter(|s| is_managed_by(s, OURS)) {
            owner_of(slice).into_iter().for_each(|key| again.add(key));
        }
    });
    services.synced().await;
    endpoints.synced().await;
    slices.synced().await;
    let workers = cx.config.workers;
    let work = Arc::new(Work { cx, services, endpoints, slices, written });
    let reconcile = move |key| {
        let work = work.clone();
        async move { work.reconcile(key).await }
    };
    queue.run("endpoint slice mirroring", workers, reconcile).await;
}

struct Work {
    cx: Context,
    services: Arc<Informer<Service>>,
    endpoints: Arc<Informer<Endpoints>>,
    slices: Arc<Informer<EndpointSlice>>,
    written: Arc<Written>,
}

impl Work {
    async fn reconcile(&self, key: ObjectKey) -> Result<Next, Error> {
        let ours = |s: &Arc<EndpointSlice>| is_managed_by(s, OURS) && owner_of(s).as_ref() == Some(&key);
        let slices: Vec<_> = self.slices.list_in(&key.namespace).into_iter().filter(ours).collect();
        if !self.written.are_shown(&key, &slices) {
            return Err(Error::Stale(key.name));
        }
        let selectorless = |s: &Arc<Service>| s.spec.as_ref().is_some_and(|spec| spec.selector.is_none());
        let service = self.services.get(&key).filter(selectorless);
        let endpoints = self.endpoints.get(&key).filter(|e| service.is_some() && is_mirrored(e));
        let changes = match &endpoints {
            Some(endpoints) => decide(endpoints, &slices),
            None => Changes { delete: slices, ..Changes::default() },
        };
        let api = Api::namespaced(self.cx.client.clone(), &key.namespace);
        carry_out(&api, &key, &self.written, changes, true).await?;
        Ok(Next::Done)
    }
}

fn is_mirrored(endpoints: &Endpoints) -> bool {
    let meta = &endpoints.metadata;
    let skipped = meta.labels.as_ref().and_then(|l| l.get(SKIP)).is_some_and(|v| v == "true");
    let elects = meta.annotations.as_ref().is_some_and(|a| a.contains_key(LEADER));
    !skipped && !elects && meta.deletion_timestamp.is_none()
}

fn decide(endpoints: &Endpoints, slices: &[Arc<EndpointSlice>]) -> Changes {
    let mut labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(SERVICE.to_owned(), endpoints.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), OURS.to_owned());
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|name, _| name != TRIGGER && name != LAST_APPLIED);
    let annotations = (!annotations.is_empty()).then_some(annotations);
    let make = |address_type: &'static str, ports: Vec<EndpointPort>| EndpointSlice {
        metadata: ObjectMeta {
            generate_name: endpoints.metadata.name.as_ref().map(|name| format!("{name}-")),
            namespace: endpoints.metadata.namespace.clone(),
            labels: Some(labels.clone()),
            annotations: annotations.clone(),
            owner_references: Some(vec![controller_reference(endpoints)]),
            ..ObjectMeta::default()
        },
        address_type: address_type.to_owned(),
        endpoints: Some(Vec::new()),
        ports: (!ports.is_empty()).then_some(ports),
    };
    plan(groups(endpoints), slices, &Shape { make: &make, labels: &labels, max: MAX })
}

fn groups(endpoints: &Endpoints) -> Vec<Group> {
    let mut groups: BTreeMap<_, Group> = BTreeMap::new();
    for subset in endpoints.subsets.iter().flatten() {
        let port = |p: &k8s_openapi::api::core::v1::EndpointPort| EndpointPort {
            name: Some(p.name.clone().unwrap_or_default()),
            port: Some(p.port),
            protocol: Some(p.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: p.app_protocol.clone(),
        };
        let ports: Vec<EndpointPort> = subset.ports.iter().flatten().map(port).collect();
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let unready = subset.not_ready_addresses.iter().flatten().map(|a| (a, false));
        for (address, ready) in ready.chain(unready) {
            let Ok(ip) = address.ip.parse::<IpAddr>() else { continue };
            let address_type = if ip.is_ipv6() { "IPv6" } else { "IPv4" };
            let new = || Group { address_type, ports: ports.clone(), endpoints: Vec::new() };
            let group = groups.entry((address_type, port_key(&ports))).or_insert_with(new);
            group.endpoints.push(endpoint(address, ip, ready));
        }
    }
    groups.into_values().collect()
}

fn endpoint(address: &EndpointAddress, ip: IpAddr, ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone(),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_become_slices_by_family_and_ports() {
        let endpoints: Endpoints = serde_json::from_value(serde_json::json!({
            "metadata": {"name": "db", "namespace": "n", "uid": "e", "labels": {"x": "y"}},
            "subsets": [{"addresses": [{"ip": "1.1.1.1"}, {"ip": "::1"}], "notReadyAddresses": [{"ip": "1.1.1.2"}], "ports": [{"port": 5432}]}]
        }))
        .unwrap();
        let changes = decide(&endpoints, &[]);
        let found: Vec<_> =
            changes.create.iter().map(|s| (s.address_type.as_str(), s.endpoints.as_ref().unwrap().len())).collect();
        assert_eq!(found, [("IPv4", 2), ("IPv6", 1)]);
        assert_eq!(changes.create[0].metadata.labels.as_ref().unwrap()[MANAGED_BY], OURS);
    }
}
