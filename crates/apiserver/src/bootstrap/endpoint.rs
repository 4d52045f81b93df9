//! The `kubernetes` service: how pods reach this server.

mod servers;

use super::Maker;
use crate::context::RequestContext;
use crate::server::Api;
use ipnet::IpNet;
use kaji_api::{GroupResource, Status, Value, value};
use servers::Servers;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const NAME: &str = "kubernetes";

/// How often the service is tried while another server makes it, and how long between.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Makes the service, its endpoints and its slice name this server's address and port; where several share a store,
/// those of all, from now on.
pub(crate) async fn publish(api: &Api, port: u16) -> Result<(), Status> {
    let own = api.config().advertise_address;
    if !api.caches().store().is_shared() || own.is_loopback() {
        return publish_all(api, &[own], port).await;
    }
    let mut servers = Servers::default();
    let all = servers.renew(api, own).await?;
    publish_all(api, &all, port).await?;
    tokio::spawn(keep_published(api.clone(), servers, port));
    Ok(())
}

/// Keeps this server among the addresses, and takes dead ones out, until the server stops.
async fn keep_published(api: Api, mut servers: Servers, port: u16) {
    let own = api.config().advertise_address;
    loop {
        tokio::select! {
            () = api.stopping().cancelled() => break,
            () = tokio::time::sleep(servers::RENEW) => {}
        }
        let renewed = match servers.renew(&api, own).await {
            Ok(all) => publish_all(&api, &all, port).await,
            Err(status) => Err(status),
        };
        if let Err(status) = renewed {
            tracing::warn!(%status, "could not publish the addresses of the API servers; trying again");
        }
    }
    let left = match servers.leave(&api, own).await {
        Ok(others) if others.is_empty() => Ok(()),
        Ok(others) => publish_all(&api, &others, port).await,
        Err(status) => Err(status),
    };
    if let Err(status) = left {
        tracing::warn!(%status, "could not take this server's address back");
    }
}

async fn publish_all(api: &Api, addresses: &[IpAddr], port: u16) -> Result<(), Status> {
    let cx = RequestContext::system();
    let maker = Maker { api, cx: &cx };
    let (address, port) = (api.config().advertise_address, i64::from(port));
    let merge = |field: &'static str, wanted: Value| {
        move |old: &Value| {
            let mut object = old.clone();
            object.set(field, wanted.clone());
            (object != *old).then_some(object)
        }
    };
    let service = service(&api.config().service_range, port);
    let ports = service["spec"]["ports"].clone();
    let keep_ports = move |old: &Value| {
        let mut object = old.clone();
        object.entry("spec").set("ports", ports.clone());
        (object["spec"]["ports"] != old["spec"]["ports"]).then_some(object)
    };
    ensure_service(&maker, service, &keep_ports).await?;
    if address.is_loopback() {
        tracing::warn!(%address, "the advertised address is for this machine alone: pods will not reach the API");
        return Ok(());
    }
    let endpoints = endpoints(addresses, port);
    let subsets = merge("subsets", endpoints["subsets"].clone());
    maker.ensure(&GroupResource::of("", "endpoints"), endpoints, &subsets).await?;
    let slice = slice(addresses, port);
    let wanted = slice.clone();
    let keep_slice = move |old: &Value| {
        let mut object = old.clone();
        object.set("endpoints", wanted["endpoints"].clone());
        object.set("ports", wanted["ports"].clone());
        (object != *old).then_some(object)
    };
    maker.ensure(&GroupResource::of("discovery.k8s.io", "endpointslices"), slice, &keep_slice).await
}

/// Two servers that start at once both want the service: the slower one finds its address taken until it is there.
async fn ensure_service(
    maker: &Maker<'_>,
    service: Value,
    keep_ports: &(dyn Fn(&Value) -> Option<Value> + Send + Sync),
) -> Result<(), Status> {
    let services = GroupResource::of("", "services");
    for _ in 1..ATTEMPTS {
        match maker.ensure(&services, service.clone(), keep_ports).await {
            Err(status) if status.code == 422 && maker.api.caches().store().is_shared() => {
                tokio::time::sleep(PAUSE).await;
                maker.api.fresh().await?;
            }
            other => return other,
        }
    }
    maker.ensure(&services, service, keep_ports).await
}

/// The first address of the range.
fn first_address(range: &IpNet) -> IpAddr {
    match range.network() {
        IpAddr::V4(network) => Ipv4Addr::from_bits(network.to_bits() + 1).into(),
        IpAddr::V6(network) => Ipv6Addr::from_bits(network.to_bits() + 1).into(),
    }
}

fn service(range: &IpNet, port: i64) -> Value {
    let address = first_address(range).to_string();
    value!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": NAME,
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": "kubernetes"},
        },
        "spec": {
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
            "clusterIP": (address.clone()),
            "clusterIPs": [address],
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "ipFamilyPolicy": "SingleStack",
        },
    })
}

fn endpoints(addresses: &[IpAddr], port: i64) -> Value {
    let addresses: Vec<Value> = addresses.iter().map(|a| value!({"ip": (a.to_string())})).collect();
    value!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": NAME,
            "namespace": "default",
            // The slice is made here, too.
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{
            "addresses": addresses,
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    })
}

fn slice(addresses: &[IpAddr], port: i64) -> Value {
    let family = if addresses.iter().all(IpAddr::is_ipv4) { "IPv4" } else { "IPv6" };
    let ready = |a: &IpAddr| value!({"addresses": [(a.to_string())], "conditions": {"ready": true}});
    let endpoints: Vec<Value> = addresses.iter().map(ready).collect();
    value!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": NAME,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": NAME},
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": [{"name": "https", "protocol": "TCP", "port": port}],
    })
}
