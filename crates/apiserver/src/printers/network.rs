//! Cells of services, their endpoints, ingresses, policies and addresses.

use super::row::{NONE, Row, UNSET, cells, default_name, filled, first_three, int, join, labels, or, selector, set_or};
use kaji_api::Value;
use std::collections::BTreeSet;

pub(super) fn service(row: &Row<'_>) -> Vec<Value> {
    let spec = row.spec();
    cells![
        row.name(),
        spec["type"].str(),
        spec["clusterIPs"].items().first().map_or(NONE, Value::str),
        external_ip(row),
        filled(spec["ports"].items().iter().map(port).collect::<Vec<_>>().join(",")),
        row.age(),
        labels(&spec["selector"]),
    ]
}

fn port(port: &Value) -> String {
    let (number, protocol) = (int(&port["port"]), port["protocol"].str());
    match int(&port["nodePort"]) {
        0 => format!("{number}/{protocol}"),
        node_port => format!("{number}:{node_port}/{protocol}"),
    }
}

fn external_ip(row: &Row<'_>) -> String {
    let external = join(&row.spec()["externalIPs"], ",");
    match row.spec()["type"].str() {
        "ClusterIP" | "NodePort" => filled(external),
        "LoadBalancer" => match (ingress_points(row), external) {
            (points, external) if points.is_empty() && external.is_empty() => "<pending>".to_owned(),
            (points, external) if points.is_empty() || external.is_empty() => points + &external,
            (points, external) => format!("{points},{external}"),
        },
        "ExternalName" => row.spec()["externalName"].str().to_owned(),
        _ => super::row::UNKNOWN.to_owned(),
    }
}

/// Addresses of the load balancer, sorted.
fn ingress_points(row: &Row<'_>) -> String {
    let points = row.status()["loadBalancer"]["ingress"].items().iter();
    let points = points.map(|i| or(&i["ip"], i["hostname"].str())).filter(|p| !p.is_empty());
    points.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(",")
}

pub(super) fn endpoints(row: &Row<'_>) -> Vec<Value> {
    let subsets = row.object["subsets"].items();
    let shown = match subsets {
        [] => NONE.to_owned(),
        _ => first_three(subsets.iter().flat_map(pairs)),
    };
    cells![row.name(), shown, row.age()]
}

/// Every address with every port; the address alone where there are no ports.
fn pairs(subset: &Value) -> Vec<String> {
    let addresses = || subset["addresses"].items().iter().map(|a| a["ip"].str());
    match subset["ports"].items() {
        [] => addresses().map(str::to_owned).collect(),
        ports => ports.iter().flat_map(|p| addresses().map(|a| host_port(a, int(&p["port"])))).collect(),
    }
}

fn host_port(host: &str, port: i64) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

pub(super) fn endpoint_slice(row: &Row<'_>) -> Vec<Value> {
    let ports = row.object["ports"].items().iter().map(slice_port);
    let endpoints = row.object["endpoints"].items().iter();
    let addresses = endpoints.flat_map(|e| e["addresses"].items()).map(|a| a.str().to_owned());
    let (ports, addresses) = (or_unset(first_three(ports)), or_unset(first_three(addresses)));
    cells![row.name(), row.object["addressType"].str(), ports, addresses, row.age()]
}

fn slice_port(port: &Value) -> String {
    match (port["port"].as_i64(), port["name"].as_str()) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) => name.to_owned(),
        (None, None) => "*".to_owned(),
    }
}

pub(super) fn or_unset(text: String) -> String {
    if text.is_empty() { UNSET.to_owned() } else { text }
}

pub(super) fn ingress(row: &Row<'_>) -> Vec<Value> {
    let spec = row.spec();
    let ports = if spec["tls"].items().is_empty() { "80" } else { "80, 443" };
    let hosts = hosts(spec["rules"].items());
    cells![row.name(), set_or(&spec["ingressClassName"], NONE), hosts, ingress_points(row), ports, row.age()]
}

/// The first three hosts. Like upstream, rules without host don't count towards them, but do towards "more".
fn hosts(rules: &[Value]) -> String {
    let mut shown = Vec::new();
    let mut more = false;
    for host in rules.iter().map(|r| r["host"].str()) {
        more |= shown.len() == 3;
        if !more && !host.is_empty() {
            shown.push(host);
        }
    }
    match shown.len() {
        0 => "*".to_owned(),
        _ if more => format!("{} + {} more...", shown.join(","), rules.len() - shown.len()),
        _ => shown.join(","),
    }
}

pub(super) fn ingress_class(row: &Row<'_>) -> Vec<Value> {
    let name = default_name(row, &["ingressclass.kubernetes.io/is-default-class"]);
    let parameters = &row.spec()["parameters"];
    let group = parameters["apiGroup"].as_str().map(|g| format!(".{g}")).unwrap_or_default();
    let shown = match parameters.is_null() {
        true => NONE.to_owned(),
        false => format!("{}{group}/{}", parameters["kind"].str(), parameters["name"].str()),
    };
    cells![name, row.spec()["controller"].str(), shown, row.age()]
}

pub(super) fn network_policy(row: &Row<'_>) -> Vec<Value> {
    let pods = match &row.spec()["podSelector"] {
        Value::Null => NONE.to_owned(),
        pods => selector(pods),
    };
    cells![row.name(), pods, row.age()]
}

pub(super) fn service_cidr(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), join(&row.spec()["cidrs"], ","), row.age()]
}

/// The age has no column; upstream sends it all the same.
pub(super) fn ip_address(row: &Row<'_>) -> Vec<Value> {
    cells![row.name(), parent(&row.spec()["parentRef"]), row.age()]
}

fn parent(reference: &Value) -> String {
    if reference.is_null() {
        return NONE.to_owned();
    }
    let mut text = group_resource(reference).to_lowercase();
    for part in ["namespace", "name"] {
        match reference[part].str() {
            "" if part == "namespace" => {}
            value => text = format!("{text}/{value}"),
        }
    }
    text
}

/// `deployments.apps`, `services`.
pub(super) fn group_resource(reference: &Value) -> String {
    match reference["group"].str() {
        "" => reference["resource"].str().to_owned(),
        group => format!("{}.{group}", reference["resource"].str()),
    }
}
