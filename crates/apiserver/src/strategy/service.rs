//! Services: what depends on their type, and the addresses and ports that are theirs alone.

pub(crate) mod addresses;
mod families;
mod ports;
pub(crate) mod ranges;

use super::{Strategy, keep};
use crate::context::RequestContext;
use crate::server::Api;
use crate::validation::service::{is_external, needs_health_check};
use crate::validation::{At, ip, service};
use futures::future::BoxFuture;
use kaji_api::field::Errors;
use kaji_api::{GroupResource, Status, Value, names, schema, value};
use kaji_store::Expect;
use std::borrow::Cow;

/// Services.
pub struct Services;

impl Strategy for Services {
    fn default(&self, obj: &mut Value) {
        let spec = obj.entry("spec");
        spec.set_default("sessionAffinity", "None");
        match spec["sessionAffinity"].str() {
            "None" => drop(spec.remove("sessionAffinityConfig")),
            "ClientIP" if spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"].is_null() => {
                spec.set("sessionAffinityConfig", value!({"clientIP": {"timeoutSeconds": 10_800}}));
            }
            _ => {}
        }
        spec.set_default("type", "ClusterIP");
        for port in spec.get_mut("ports").map(Value::items_mut).unwrap_or_default() {
            port.set_default("protocol", "TCP");
            if port["targetPort"].is_zero() {
                let number = port["port"].as_i64().unwrap_or_default();
                port.set("targetPort", number);
            }
        }
        let kind = spec["type"].str().to_owned();
        if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
            spec.set_default("internalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" {
            spec.set_default("allocateLoadBalancerNodePorts", true);
        }
        if is_external(obj) && obj["spec"]["externalTrafficPolicy"].str().is_empty() {
            obj.entry("spec").set("externalTrafficPolicy", "Cluster");
        }
        if kind == "LoadBalancer" && !obj["status"]["loadBalancer"]["ingress"].is_zero() {
            let points = obj.entry_at(&["status", "loadBalancer", "ingress"]);
            for point in points.items_mut().iter_mut().filter(|p| !p["ip"].str().is_empty()) {
                point.set_default("ipMode", "VIP");
            }
        }
    }

    fn prepare_create(&self, _: &RequestContext, obj: &mut Value) {
        obj.remove("status");
        if needs_address(obj) && obj["spec"]["clusterIPs"].is_zero() && !obj["spec"]["clusterIP"].str().is_empty() {
            let address = obj["spec"]["clusterIP"].clone();
            obj.entry("spec").set("clusterIPs", vec![address]);
        }
        no_traffic_policy_by_name(obj);
    }

    fn prepare_update(&self, _: &RequestContext, obj: &mut Value, old: &Value) {
        keep(obj, old, "status");
        keep_allocated(obj, old);
        follow_cluster_ip(obj, old);
        drop_with_type(obj, old);
        no_traffic_policy_by_name(obj);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        service::validate(obj, None, e);
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        service::change(obj, old, e);
    }

    fn validate_status_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        service::status(obj, old, e);
    }

    fn warnings(&self, obj: &Value, _: Option<&Value>) -> Vec<String> {
        warnings(obj)
    }

    fn name_check(&self) -> fn(&str) -> Vec<String> {
        names::dns1123_label
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn selectable<'a>(&self, obj: &'a Value, field: &str) -> Option<Cow<'a, str>> {
        match field {
            "spec.clusterIP" => Some(Cow::Borrowed(obj["spec"]["clusterIP"].str())),
            "spec.type" => Some(Cow::Borrowed(obj["spec"]["type"].str())),
            _ => None,
        }
    }

    fn allocate<'a>(
        &'a self,
        api: &'a Api,
        cx: &'a RequestContext,
        obj: &'a mut Value,
        old: Option<&'a Value>,
    ) -> BoxFuture<'a, Result<(), Status>> {
        Box::pin(async move {
            families::fill(obj, old, &addresses::families(api)).map_err(|e| invalid(obj, &e))?;
            addresses::take(api, cx.dry_run, obj, old).await?;
            let taken = ports::take(api, cx.dry_run, obj, old).await;
            if taken.is_err() && !cx.dry_run {
                addresses::give_back(api, obj, old).await;
            }
            schema::kind("", "v1", "Service").expect("built in").normalize(obj);
            taken
        })
    }

    fn guards<'a>(
        &'a self,
        api: &'a Api,
        obj: &'a Value,
        old: Option<&'a Value>,
    ) -> BoxFuture<'a, Result<Vec<Expect>, Status>> {
        Box::pin(async move {
            let (addresses, ports) =
                futures::try_join!(addresses::guards(api, obj, old), ports::guards(api, obj, old))?;
            Ok([addresses, ports].concat())
        })
    }

    fn release<'a>(&'a self, api: &'a Api, obj: &'a Value, new: Option<&'a Value>) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            addresses::give_back(api, obj, new).await;
            ports::give_back(api, obj, new).await;
            // Endpoints go with their service; one that was never stored has none.
            if new.is_none() && !obj.resource_version().is_empty() {
                let endpoints = GroupResource::of("", "endpoints");
                let gone = api.delete(&RequestContext::system(), &endpoints, &obj.key()).await;
                if let Err(status) = gone.or_else(|s| if s.code == 404 { Ok(()) } else { Err(s) }) {
                    tracing::warn!(service = %obj.key(), %status, "could not delete a deleted service's endpoints");
                }
            }
        })
    }
}

fn invalid(obj: &Value, errors: &Errors) -> Status {
    Status::invalid("", "Service", obj.name(), errors)
}

/// Somebody else has taken what was allocated: the server was too slow.
fn lost(obj: &Value, what: &str) -> Status {
    let resource = GroupResource::of("", "services");
    Status::conflict(&resource, obj.name(), &format!("{what} was lost to another request; please try again"))
}

fn needs_address(obj: &Value) -> bool {
    obj["spec"]["type"].str() != "ExternalName"
}

fn needs_node_port(obj: &Value) -> bool {
    let spec = &obj["spec"];
    match spec["type"].str() {
        "NodePort" => true,
        "LoadBalancer" => spec["allocateLoadBalancerNodePorts"].as_bool().unwrap_or(true),
        _ => false,
    }
}

/// The policy means nothing where there is no address.
fn no_traffic_policy_by_name(obj: &mut Value) {
    if !needs_address(obj) {
        obj.entry("spec").remove("internalTrafficPolicy");
    }
}

/// What was allocated stays where the update says nothing about it.
fn keep_allocated(obj: &mut Value, old: &Value) {
    if needs_address(old) && needs_address(obj) {
        for field in ["clusterIP", "clusterIPs"] {
            if obj["spec"][field].is_zero() {
                keep(obj.entry("spec"), &old["spec"], field);
            }
        }
    }
    if needs_node_port(old) && needs_node_port(obj) {
        keep_node_ports(obj, old);
    }
    if needs_health_check(old) && needs_health_check(obj) && obj["spec"]["healthCheckNodePort"].is_zero() {
        keep(obj.entry("spec"), &old["spec"], "healthCheckNodePort");
    }
}

/// Ports keep their node ports by name, unless another port of the service takes them over.
fn keep_node_ports(obj: &mut Value, old: &Value) {
    let used: Vec<Value> = obj["spec"]["ports"].items().iter().map(|p| p["nodePort"].clone()).collect();
    for port in obj.entry("spec").get_mut("ports").map(Value::items_mut).unwrap_or_default() {
        if !port["nodePort"].is_zero() {
            continue;
        }
        let was = old["spec"]["ports"].items().iter().rfind(|o| o["name"].str() == port["name"].str());
        if let Some(number) = was.map(|o| &o["nodePort"]).filter(|n| !n.is_zero() && !used.contains(n)) {
            port.set("nodePort", number.clone());
        }
    }
}

/// A client that knows only `clusterIP` means the list too.
fn follow_cluster_ip(obj: &mut Value, old: &Value) {
    let (one, was) = (obj["spec"]["clusterIP"].clone(), &old["spec"]["clusterIP"]);
    if one.str() == was.str() || obj["spec"]["clusterIPs"] != old["spec"]["clusterIPs"] {
        return;
    }
    if one.str().is_empty() {
        obj.entry("spec").remove("clusterIPs");
    } else {
        obj.entry("spec").set("clusterIPs", vec![one]);
    }
}

/// Fields that only the old type has are dropped, unless the update changes them (then they are refused).
fn drop_with_type(obj: &mut Value, old: &Value) {
    let was = &old["spec"];
    let same = |obj: &Value, fields: &[&str]| fields.iter().all(|f| obj["spec"][*f] == was[*f]);
    if needs_address(old) && !needs_address(obj) {
        for fields in [&["clusterIP", "clusterIPs"][..], &["ipFamilies"], &["ipFamilyPolicy"]] {
            if same(obj, fields) {
                fields.iter().for_each(|f| drop(obj.entry("spec").remove(f)));
            }
        }
    }
    let has_ports = |s: &Value| matches!(s["spec"]["type"].str(), "NodePort" | "LoadBalancer");
    if has_ports(old) && !has_ports(obj) {
        let known: Vec<&Value> = was["ports"].items().iter().map(|p| &p["nodePort"]).collect();
        let ports = obj["spec"]["ports"].items();
        if ports.iter().all(|p| p["nodePort"].is_zero() || known.contains(&&p["nodePort"])) {
            for port in obj.entry("spec").get_mut("ports").map(Value::items_mut).unwrap_or_default() {
                port.remove("nodePort");
            }
        }
    }
    let balanced = |s: &Value| s["spec"]["type"].str() == "LoadBalancer";
    let left = [
        (needs_health_check(old) && !needs_health_check(obj), "healthCheckNodePort"),
        (balanced(old) && !balanced(obj), "allocateLoadBalancerNodePorts"),
        (balanced(old) && !balanced(obj), "loadBalancerClass"),
        (is_external(old) && !is_external(obj), "externalTrafficPolicy"),
    ];
    for (gone, field) in left {
        if gone && same(obj, &[field]) {
            obj.entry("spec").remove(field);
        }
    }
    if !balanced(obj) && !obj["status"].is_null() {
        obj.entry("status").set("loadBalancer", Value::object());
    }
}

fn warnings(obj: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let spec = At::root(obj).field("spec");
    if obj.annotation("service.kubernetes.io/topology-aware-hints").is_some() {
        out.push("annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead".to_owned());
    }
    let (kind, address) = (spec["type"].str(), spec["clusterIP"].str());
    if !address.is_empty() && address != "None" {
        spec.field("clusterIPs").list().for_each(|a| ip::warn(a, &mut out));
    }
    let external = !spec["externalIPs"].items().is_empty();
    let headless = kind == "ClusterIP" && address == "None";
    let ignored = [
        (!spec["loadBalancerIP"].str().is_empty(), "spec.loadBalancerIP is ignored for headless services"),
        (external, "spec.externalIPs is ignored for headless services"),
        (spec["sessionAffinity"].str() != "None", "spec.SessionAffinity is ignored for headless services"),
    ];
    out.extend(ignored.iter().filter(|(set, _)| headless && *set).map(|(_, text)| (*text).to_owned()));
    spec.field("externalIPs").list().for_each(|a| ip::warn(a, &mut out));
    if external && !headless && kind != "ExternalName" {
        out.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".to_owned());
    }
    if !spec["loadBalancerIP"].str().is_empty() {
        ip::warn(spec.field("loadBalancerIP"), &mut out);
    }
    if kind == "ExternalName" && external {
        out.push("spec.externalIPs is ignored when spec.type is \"ExternalName\"".to_owned());
    }
    if kind != "ExternalName" && !spec["externalName"].str().is_empty() {
        out.push("spec.externalName is ignored when spec.type is not \"ExternalName\"".to_owned());
    }
    if spec["trafficDistribution"].str() == "PreferClose" {
        out.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".to_owned());
    }
    out
}
