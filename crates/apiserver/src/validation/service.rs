//! Services.

use super::{At, ip, labels, port, port_number};
use kaji_api::field::Errors;
use kaji_api::{Value, names, value};
use std::net::IpAddr;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["SCTP", "TCP", "UDP"];
const ONCE: &str = "may not change once set";
const ONLY_BALANCED: &str = "may only be used when `type` is 'LoadBalancer'";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// No address: clients find the endpoints themselves.
pub(crate) fn is_headless(service: &Value) -> bool {
    matches!(service["spec"]["clusterIPs"].items(), [one] if one.str() == "None")
}

/// Reachable from outside the cluster.
pub(crate) fn is_external(service: &Value) -> bool {
    let spec = &service["spec"];
    match spec["type"].str() {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => !spec["externalIPs"].items().is_empty(),
        _ => false,
    }
}

/// Load balancers must learn which nodes have endpoints of their own.
pub(crate) fn needs_health_check(service: &Value) -> bool {
    let spec = &service["spec"];
    spec["type"].str() == "LoadBalancer" && spec["externalTrafficPolicy"].str() == "Local"
}

/// A new service, or (`old`) one that is changed.
pub(crate) fn validate(obj: &Value, old: Option<&Value>, e: &mut Errors) {
    let root = At::root(obj);
    let spec = root.field("spec");
    topology_mode(root, e);
    let headless = is_headless(obj);
    if spec["ports"].items().is_empty() && !headless && spec["type"].str() != "ExternalName" {
        spec.field("ports").required(e, "");
    }
    by_type(spec, headless, e);
    ports(spec, e);
    labels::labels(spec.field("selector"), e);
    affinity(spec, e);
    addresses(spec, old, e);
    let known = strings(old.map(|old| &old["spec"]["externalIPs"]));
    for address in spec.field("externalIPs").list() {
        let before = e.0.len();
        ip::address(address, e, &known);
        if e.0.len() == before {
            ip::endpoint(address, e);
        }
    }
    super::one_of(spec.field("type"), e, TYPES);
    node_ports(spec, e);
    source_ranges(root, spec, old, e);
    let allocate = spec.field("allocateLoadBalancerNodePorts");
    let balanced = spec["type"].str() == "LoadBalancer";
    if allocate.is_set() && !balanced {
        allocate.forbidden(e, ONLY_BALANCED);
    }
    if balanced && !allocate.is_set() {
        root.field("allocateLoadBalancerNodePorts").required(e, "");
    }
    class(spec, None, e);
    traffic(obj, spec, e);
}

fn strings(list: Option<&Value>) -> Vec<&str> {
    list.map(|l| l.items().iter().map(Value::str).collect()).unwrap_or_default()
}

fn topology_mode(root: At<'_>, e: &mut Errors) {
    let annotations = root.fields(&["metadata", "annotations"]);
    let mode = annotations.key("service.kubernetes.io/topology-mode");
    let hints = &annotations.v["service.kubernetes.io/topology-aware-hints"];
    if mode.is_set() && !hints.is_null() && mode.v != hints {
        let text = "must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified";
        mode.invalid(e, text);
    }
}

fn by_type(spec: At<'_>, headless: bool, e: &mut Errors) {
    let addresses = spec.field("clusterIPs");
    match spec["type"].str() {
        kind @ ("LoadBalancer" | "NodePort") if headless => {
            addresses.index(0).invalid(e, &format!("may not be set to 'None' for {kind} services"));
        }
        "ExternalName" => {
            if !addresses.items().is_empty() {
                addresses.forbidden(e, "may not be set for ExternalName services");
            }
            for field in ["ipFamilies", "ipFamilyPolicy"].map(|f| spec.field(f)) {
                if !field.is_zero() {
                    field.forbidden(e, "may not be set for ExternalName services");
                }
            }
            let name = spec.field("externalName");
            let host = name.str().strip_suffix('.').unwrap_or(name.str());
            if host.is_empty() {
                name.required(e, "");
            }
            names::dns1123_subdomain(host).iter().filter(|_| !host.is_empty()).for_each(|text| {
                name.invalid_as(e, host, text);
            });
        }
        _ => {}
    }
}

fn ports(spec: At<'_>, e: &mut Errors) {
    let all = spec.field("ports");
    let mut seen: Vec<&str> = Vec::new();
    for at in all.list() {
        let name = at.field("name");
        if name.str().is_empty() {
            if all.items().len() > 1 {
                name.required(e, "");
            }
        } else {
            name.check(e, names::dns1123_label);
            if seen.contains(&name.str()) {
                name.duplicate(e);
            } else {
                seen.push(name.v.str());
            }
        }
        port_number(at.field("port"), e);
        super::one_of(at.field("protocol"), e, PROTOCOLS);
        port(at.field("targetPort"), e);
        if at.field("appProtocol").is_set() {
            at.field("appProtocol").check(e, names::qualified_name);
        }
    }
}

fn affinity(spec: At<'_>, e: &mut Errors) {
    let (kind, config) = (spec.field("sessionAffinity"), spec.field("sessionAffinityConfig"));
    super::one_of(kind, e, &["ClientIP", "None"]);
    match kind.str() {
        "ClientIP" => {
            let text = "when session affinity type is ClientIP";
            let client = config.field("clientIP");
            let timeout = client.field("timeoutSeconds");
            if let Some(missing) = [config, client, timeout].into_iter().find(|at| !at.is_set()) {
                missing.required(e, text);
            } else if !(1..=86_400).contains(&timeout.i64()) {
                timeout.invalid(e, "must be greater than 0 and less than 86400");
            }
        }
        "None" if config.is_set() => config.forbidden(e, "must not be set when session affinity is None"),
        _ => {}
    }
}

/// Cluster addresses, families and their policy.
pub(crate) fn addresses(spec: At<'_>, old: Option<&Value>, e: &mut Errors) {
    if spec["type"].str() == "ExternalName" {
        return;
    }
    let (one, all, families) = (spec.field("clusterIP"), spec.field("clusterIPs"), spec.field("ipFamilies"));
    match (one.str(), all.items().first()) {
        ("", None) => {}
        ("", Some(_)) => all.invalid(e, "must be empty when `clusterIP` is not specified"),
        (_, None) => all.required(e, ""),
        (ip, Some(first)) if first.str() != ip => all.invalid(e, "first value must match `clusterIP`"),
        _ => {}
    }
    for (i, family) in families.list().enumerate() {
        if !["IPv4", "IPv6"].contains(&family.str()) {
            family.not_supported(e, &["IPv4", "IPv6"]);
        }
        if families.items()[..i].contains(family.v) {
            family.duplicate(e);
        }
    }
    let policies = ["PreferDualStack", "RequireDualStack", "SingleStack"];
    super::one_of_if_set(spec.field("ipFamilyPolicy"), e, &policies);
    if well_formed(all, old, e) {
        fit_families(all, families, e);
    }
}

fn well_formed(all: At<'_>, old: Option<&Value>, e: &mut Errors) -> bool {
    let before = e.0.len();
    let known = strings(old.map(|old| &old["spec"]["clusterIPs"]));
    for (i, address) in all.list().enumerate() {
        if i == 0 && address.str() == "None" {
            if all.items().len() > 1 {
                all.invalid(e, "'None' must be the first and only value");
            }
        } else {
            ip::address(address, e, &known);
        }
    }
    let fine = e.0.len() == before;
    if all.items().len() > 2 {
        all.invalid(e, "may only hold up to 2 values");
    }
    fine
}

fn fit_families(all: At<'_>, families: At<'_>, e: &mut Errors) {
    let texts = || all.v.items().iter().map(Value::str);
    if all.items().len() > 1 && ip::dual_stack(texts()) == Some(false) {
        all.invalid(e, "may specify no more than one IP for each IP family");
    }
    for (i, (address, family)) in all.list().zip(families.items()).enumerate() {
        let Some(ip) = ip::sloppy(address.str()) else { continue };
        if family.str() != family_of(ip) {
            address.invalid(e, &format!("expected an {} value as indicated by `ipFamilies[{i}]`", family.str()));
        }
    }
}

/// `IPv4` or `IPv6`.
pub(crate) fn family_of(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "IPv4" } else { "IPv6" }
}

fn node_ports(spec: At<'_>, e: &mut Errors) {
    let all = spec.field("ports");
    for port in all.list() {
        if spec["type"].str() == "ClusterIP" && port.field("nodePort").i64() != 0 {
            port.field("nodePort").forbidden(e, "may not be used when `type` is 'ClusterIP'");
        }
    }
    let same = |a: &Value, b: &Value, field: &str| a["protocol"] == b["protocol"] && a[field] == b[field];
    for (i, port) in all.list().enumerate().filter(|(_, p)| p.field("nodePort").i64() != 0) {
        if all.items()[..i].iter().any(|other| same(other, port.v, "nodePort")) {
            port.field("nodePort").duplicate(e);
        }
    }
    for (i, port) in all.list().enumerate() {
        if all.items()[..i].iter().any(|other| same(other, port.v, "port")) {
            // As upstream prints its internal form: every field, most of them empty.
            port.duplicate_as(
                e,
                value!({
                    "Name": "", "Protocol": (port.v["protocol"].clone()), "AppProtocol": null,
                    "Port": (port.v["port"].clone()), "TargetPort": 0, "NodePort": 0,
                }),
            );
        }
    }
}

fn source_ranges(root: At<'_>, spec: At<'_>, old: Option<&Value>, e: &mut Errors) {
    let balanced = spec["type"].str() == "LoadBalancer";
    let ranges = &spec.v["loadBalancerSourceRanges"];
    if !ranges.items().is_empty() {
        let at = spec.field("LoadBalancerSourceRanges").with(ranges);
        if !balanced {
            at.forbidden(e, ONLY_BALANCED);
        }
        let known = strings(old.map(|old| &old["spec"]["loadBalancerSourceRanges"]));
        let known: Vec<&str> = known.into_iter().map(str::trim).collect();
        at.list().for_each(|range| ip::cidr(range, e, &known));
        return;
    }
    let at = root.fields(&["metadata", "annotations"]).key(SOURCE_RANGES);
    if !at.is_set() {
        return;
    }
    if !balanced {
        at.forbidden(e, ONLY_BALANCED);
    }
    if old.is_none_or(|old| old.annotation(SOURCE_RANGES) != Some(at.str())) && !at.str().trim().is_empty() {
        for range in at.str().trim().split(',') {
            let range = Value::from(range.trim());
            ip::cidr(at.with(&range), e, &[]);
        }
    }
}

fn class(spec: At<'_>, old: Option<&Value>, e: &mut Errors) {
    let at = spec.field("loadBalancerClass");
    let balanced = |kind: &Value| kind.str() == "LoadBalancer";
    if let Some(old) = old
        && balanced(&old["spec"]["type"])
        && balanced(&spec["type"])
        && *at.v != old["spec"]["loadBalancerClass"]
    {
        at.invalid_as(e, at.v.clone(), ONCE);
    }
    if !at.is_set() {
        return;
    }
    if balanced(&spec["type"]) { at.check(e, names::qualified_name) } else { at.forbidden(e, ONLY_BALANCED) }
}

fn traffic(obj: &Value, spec: At<'_>, e: &mut Errors) {
    let external = spec.field("externalTrafficPolicy");
    if is_external(obj) {
        super::one_of(external, e, &["Cluster", "Local"]);
    } else if !external.str().is_empty() {
        external.invalid(e, "may only be set for externally-accessible services");
    }
    let health = spec.field("healthCheckNodePort");
    if needs_health_check(obj) {
        // Left open, it is allocated when the service is stored.
        if health.i64() != 0 {
            port_number(health, e);
        }
    } else if health.i64() != 0 {
        let text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        health.invalid(e, text);
    }
    let internal = spec.field("internalTrafficPolicy");
    if !internal.is_set() && ["NodePort", "LoadBalancer", "ClusterIP"].contains(&spec["type"].str()) {
        internal.required(e, "");
    }
    super::one_of_if_set(internal, e, &["Cluster", "Local"]);
    let distribution = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    super::one_of_if_set(spec.field("trafficDistribution"), e, &distribution);
}

/// What a change of a service may not do.
pub(crate) fn change(obj: &Value, old: &Value, e: &mut Errors) {
    let spec = At::root(obj).field("spec");
    let external_name = |s: &Value| s["spec"]["type"].str() == "ExternalName";
    if !external_name(obj) && !external_name(old) {
        changed_addresses(spec, obj, old, e);
        changed_families(spec, obj, old, e);
    }
    class(spec, Some(old), e);
    let health = spec.field("healthCheckNodePort");
    if needs_health_check(obj) && needs_health_check(old) && *health.v != old["spec"]["healthCheckNodePort"] {
        health.forbidden(e, super::IMMUTABLE);
    }
    validate(obj, Some(old), e);
}

fn single_stack(spec: At<'_>, what: &str, e: &mut Errors) {
    let policy = spec.field("ipFamilyPolicy");
    if policy.str() != "SingleStack" {
        let text = format!("must be set to 'SingleStack' when releasing the secondary {what}");
        policy.invalid_as(e, policy.v.clone(), &text);
    }
}

fn changed_addresses(spec: At<'_>, obj: &Value, old: &Value, e: &mut Errors) {
    if is_headless(obj) && is_headless(old) {
        return;
    }
    let (at, was) = (spec.field("clusterIPs"), old["spec"]["clusterIPs"].items());
    let now = at.v.items();
    let first_changed = now.first().zip(was.first()).is_some_and(|(a, b)| a != b);
    if now.len() == was.len() {
        for (i, _) in now.iter().zip(was).enumerate().filter(|(_, (a, b))| a != b) {
            at.index(i).invalid_as(e, at.v.clone(), ONCE);
        }
        return;
    }
    if was.len() > now.len() && now.is_empty() {
        at.index(0).invalid_as(e, Value::Null, "primary clusterIP can not be unset");
    }
    if first_changed {
        at.index(0).invalid_as(e, at.v.clone(), ONCE);
    }
    if was.len() > now.len() && now.len() == 1 {
        single_stack(spec, "clusterIP", e);
    }
}

fn changed_families(spec: At<'_>, obj: &Value, old: &Value, e: &mut Errors) {
    if is_headless(obj) || is_headless(old) {
        return;
    }
    let (at, was) = (spec.field("ipFamilies"), old["spec"]["ipFamilies"].items());
    let (now, addresses) = (at.v.items(), &spec.v["clusterIPs"]);
    let first = at.index(0);
    if now.len() == was.len() {
        let changed = now.iter().zip(was).filter(|(a, b)| a != b);
        changed.for_each(|_| first.invalid_as(e, at.v.clone(), ONCE));
        return;
    }
    if was.len() > now.len() && addresses.items().is_empty() {
        first.invalid_as(e, at.v.clone(), "primary ipFamily can not be unset");
    }
    if now.first().zip(was.first()).is_some_and(|(a, b)| a != b) {
        first.invalid_as(e, addresses.clone(), ONCE);
    }
    if was.len() > now.len() && now.len() == 1 {
        single_stack(spec, "ipFamily", e);
    }
}

/// A change of status: who balances, and where.
pub(crate) fn status(obj: &Value, old: &Value, e: &mut Errors) {
    let at = At::root(obj).fields(&["status", "loadBalancer", "ingress"]);
    if obj["spec"]["type"].str() != "LoadBalancer" && !at.items().is_empty() {
        return at.forbidden(e, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    let was = old["status"]["loadBalancer"]["ingress"].items();
    let known: Vec<&str> = was.iter().map(|i| i["ip"].str()).filter(|ip| !ip.is_empty()).collect();
    for point in at.list() {
        let (address, mode, host) = (point.field("ip"), point.field("ipMode"), point.field("hostname"));
        let some = !address.str().is_empty();
        if some {
            ip::address(address, e, &known);
        }
        match (mode.is_set(), some) {
            (false, true) => mode.required(e, "must be specified when `ip` is set"),
            (true, false) => mode.forbidden(e, "may not be specified when `ip` is not set"),
            _ => super::one_of_if_set(mode, e, &["Proxy", "VIP"]),
        }
        host_name(host, e);
    }
}

/// A name by DNS, and no address.
pub(crate) fn host_name(at: At<'_>, e: &mut Errors) {
    at.check_if_set(e, names::dns1123_subdomain);
    if ip::sloppy(at.str()).is_some() {
        at.invalid(e, "must be a DNS name, not an IP address");
    }
}
