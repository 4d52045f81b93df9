//! The `kubernetes` service: how pods reach this server.

use super::Maker;
use crate::context::RequestContext;
use crate::server::Api;
use ipnet::IpNet;
use kaji_api::{GroupResource, Status, Value, value};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const NAME: &str = "kubernetes";

/// Makes the service, its endpoints and its slice name this server's address and port.
pub(crate) async fn publish(api: &Api, port: u16) -> Result<(), Status> {
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
    maker.ensure(&GroupResource::of("", "services"), service, &keep_ports).await?;
    if address.is_loopback() {
        tracing::warn!(%address, "the advertised address is for this machine alone: pods will not reach the API");
        return Ok(());
    }
    let endpoints = endpoints(address, port);
    let subsets = merge("subsets", endpoints["subsets"].clone());
    maker.ensure(&GroupResource::of("", "endpoints"), endpoints, &subsets).await?;
    let slice = slice(address, port);
    let wanted = slice.clone();
    let keep_slice = move |old: &Value| {
        let mut object = old.clone();
        object.set("endpoints", wanted["endpoints"].clone());
        object.set("ports", wanted["ports"].clone());
        (object != *old).then_some(object)
    };
    maker.ensure(&GroupResource::of("discovery.k8s.io", "endpointslices"), slice, &keep_slice).await
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

fn endpoints(address: IpAddr, port: i64) -> Value {
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
            "addresses": [{"ip": (address.to_string())}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    })
}

fn slice(address: IpAddr, port: i64) -> Value {
    let family = if address.is_ipv4() { "IPv4" } else { "IPv6" };
    value!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": NAME,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": NAME},
        },
        "addressType": family,
        "endpoints": [{"addresses": [(address.to_string())], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "protocol": "TCP", "port": port}],
    })
}
