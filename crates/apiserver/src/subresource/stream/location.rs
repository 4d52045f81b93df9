//! Whom to ask: the kubelet of a pod's node, a pod, one of a service's endpoints, a node.

use super::backend::{Backend, Trust};
use super::options::{self, ExecOptions, LogOptions, escape};
use super::{Connect, failed};
use crate::remote::resolve;
use kaji_api::{Status, Value};
use std::net::IpAddr;

/// The port of kubelets that do not say theirs.
const KUBELET_PORT: u16 = 10250;
/// The kinds of node addresses, the one to be tried first in front.
const ADDRESS_TYPES: [&str; 5] = ["InternalIP", "ExternalIP", "InternalDNS", "ExternalDNS", "Hostname"];

/// Somebody, and what to ask there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) backend: Backend,
    /// Not escaped.
    pub(super) path: String,
    /// Escaped.
    pub(super) query: String,
}

impl Location {
    /// Path and query as they stand in a request.
    pub(super) fn target(&self) -> String {
        let path = escape(&self.path, b"-_.~$&+,/:;=@", false);
        if self.query.is_empty() { path } else { format!("{path}?{}", self.query) }
    }

    /// All of it, for messages.
    pub(super) fn url(&self) -> String {
        let scheme = if self.backend.https { "https" } else { "http" };
        format!("{scheme}://{}{}", self.backend.authority(), self.target())
    }
}

/// Where a container's log is; none for pods without a node.
pub(super) async fn log(connect: &Connect<'_>, options: &LogOptions) -> Result<Option<Location>, Status> {
    let pod = connect.object("pods", connect.namespace, connect.name).await?;
    let container = container(&pod, &options.container)?;
    let node = pod["spec"]["nodeName"].str();
    if node.is_empty() {
        return Ok(None);
    }
    let mut backend = kubelet(connect, node).await?;
    if options.insecure {
        backend.trust = Trust::KubeletUnverified;
    }
    let path = format!("/containerLogs/{}/{}/{container}", connect.namespace, connect.name);
    Ok(Some(Location { backend, path, query: options.to_query() }))
}

/// Where commands are run in a container (`exec`) or its process is met (`attach`).
pub(super) async fn remote_command(
    connect: &Connect<'_>,
    verb: &str,
    options: &ExecOptions,
) -> Result<Location, Status> {
    let pod = connect.object("pods", connect.namespace, connect.name).await?;
    let container = container(&pod, &options.container)?;
    let backend = kubelet(connect, node_of(connect, &pod)?).await?;
    let path = format!("/{verb}/{}/{}/{container}", connect.namespace, connect.name);
    Ok(Location { backend, path, query: options.to_query() })
}

/// Where ports of a pod are reached.
pub(super) async fn port_forward(connect: &Connect<'_>, ports: &[i64]) -> Result<Location, Status> {
    let pod = connect.object("pods", connect.namespace, connect.name).await?;
    let backend = kubelet(connect, node_of(connect, &pod)?).await?;
    let path = format!("/portForward/{}/{}", connect.namespace, connect.name);
    Ok(Location { backend, path, query: options::ports_query(ports) })
}

fn node_of<'p>(connect: &Connect<'_>, pod: &'p Value) -> Result<&'p str, Status> {
    match pod["spec"]["nodeName"].str() {
        "" => Err(Status::bad_request(format!("pod {} does not have a host assigned", connect.name))),
        node => Ok(node),
    }
}

/// The container asked for, or the only one.
fn container(pod: &Value, asked: &str) -> Result<String, Status> {
    let spec = &pod["spec"];
    let kinds = ["initContainers", "containers", "ephemeralContainers"];
    let names: Vec<&str> = kinds.iter().flat_map(|k| spec[*k].items()).map(|c| c["name"].str()).collect();
    let name = pod.name();
    if !asked.is_empty() {
        let known = names.contains(&asked);
        let unknown = || Status::bad_request(format!("container {asked} is not valid for pod {name}"));
        return if known { Ok(asked.to_owned()) } else { Err(unknown()) };
    }
    match spec["containers"].items() {
        [one] => Ok(one["name"].str().to_owned()),
        [] => Err(Status::bad_request(format!("a container name must be specified for pod {name}"))),
        _ => {
            let names = names.join(" ");
            let text = format!("a container name must be specified for pod {name}, choose one of: [{names}]");
            Err(Status::bad_request(text))
        }
    }
}

/// The kubelet of a node, by the node's status.
async fn kubelet(connect: &Connect<'_>, node: &str) -> Result<Backend, Status> {
    let node = connect.object("nodes", "", node).await?;
    let addresses = node["status"]["addresses"].items();
    let of_type = |kind: &str| addresses.iter().find(|a| a["type"].str() == kind);
    let wanted = &connect.api.config().kubelets.address_types;
    let found = wanted.iter().find_map(|kind| of_type(kind));
    let usual = || ADDRESS_TYPES.iter().filter(|_| wanted.is_empty()).find_map(|kind| of_type(kind));
    let Some(address) = found.or_else(usual) else {
        let known: Vec<String> =
            addresses.iter().map(|a| format!("{{{} {}}}", a["type"].str(), a["address"].str())).collect();
        let known = known.join(" ");
        return Err(failed(format!("no preferred addresses found; known addresses: [{known}]")));
    };
    let port = node.at(&["status", "daemonEndpoints", "kubeletEndpoint", "Port"]).as_i64().unwrap_or(0);
    let port = u16::try_from(port).ok().filter(|p| *p > 0).unwrap_or(KUBELET_PORT);
    Ok(Backend { https: true, host: address["address"].str().to_owned(), port, trust: Trust::Kubelet })
}

/// What the path of a proxy request names.
pub(super) async fn proxied(connect: &Connect<'_>, path: &str) -> Result<Location, Status> {
    let plural = connect.target.resource.plural;
    let singular = plural.trim_end_matches('s');
    let Some((scheme, name, port)) = scheme_name_port(connect.name) else {
        let quoted = kaji_api::field::quoted(connect.name);
        return Err(Status::bad_request(format!("invalid {singular} request {quoted}")));
    };
    let backend = match plural {
        "pods" => pod(connect, scheme, name, port).await?,
        "services" => service(connect, scheme, name, port).await?,
        _ => node(connect, scheme, name, port).await?,
    };
    Ok(Location { backend, path: clean(path), query: String::new() })
}

/// `name`, `name:port` or `scheme:name:port`.
fn scheme_name_port(id: &str) -> Option<(&str, &str, &str)> {
    let parts: Vec<&str> = id.split(':').collect();
    let (scheme, name, port) = match parts.as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return None,
    };
    (!name.is_empty() && matches!(scheme, "" | "http" | "https")).then_some((scheme, name, port))
}

/// A path without `.`, `..` and doubled slashes; a slash at the end stays.
fn clean(path: &str) -> String {
    if path.is_empty() {
        return String::new();
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let slash = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("/{}{slash}", parts.join("/"))
}

async fn pod(connect: &Connect<'_>, scheme: &str, name: &str, port: &str) -> Result<Backend, Status> {
    let pod = connect.object("pods", connect.namespace, name).await?;
    let address = match pod["status"]["podIP"].str() {
        "" => pod["status"]["podIPs"].items().first().map_or("", |ip| ip["ip"].str()),
        address => address,
    };
    ensure_allowed(address)?;
    let first = || {
        let mut ports = pod["spec"]["containers"].items().iter().flat_map(|c| c["ports"].items().first());
        ports.next().and_then(|p| p["containerPort"].as_i64()).map(|n| n.to_string())
    };
    let port = if port.is_empty() { first().unwrap_or_default() } else { port.to_owned() };
    anything(scheme, address, &port)
}

/// A backend whose certificate, if it has one, is not looked at: upstream does not either.
fn anything(scheme: &str, host: &str, port: &str) -> Result<Backend, Status> {
    let https = scheme == "https";
    let port = match port {
        "" if https => 443,
        "" => 80,
        text => text.parse().map_err(|_| {
            Status::unavailable(format!("error trying to reach service: dial tcp: lookup tcp/{text}: unknown port"))
        })?,
    };
    Ok(Backend { https, host: host.to_owned(), port, trust: Trust::Anything })
}

/// Refuses what is not meant to be reached through the server: itself, its links, groups.
fn ensure_allowed(address: &str) -> Result<(), Status> {
    match address.parse() {
        Ok(ip) if is_global_unicast(ip) => Ok(()),
        _ => Err(Status::bad_request("address not allowed")),
    }
}

fn is_global_unicast(ip: IpAddr) -> bool {
    let common = !ip.is_unspecified() && !ip.is_loopback() && !ip.is_multicast();
    common
        && match ip {
            IpAddr::V4(ip) => !ip.is_broadcast() && !ip.is_link_local(),
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(ip) => is_global_unicast(ip.into()),
                None => !ip.is_unicast_link_local(),
            },
        }
}

async fn node(connect: &Connect<'_>, scheme: &str, name: &str, port: &str) -> Result<Backend, Status> {
    let kubelet = kubelet(connect, name).await?;
    if kubelet.host.parse::<IpAddr>().is_ok() {
        ensure_allowed(&kubelet.host)?;
    } else {
        let found = tokio::net::lookup_host((kubelet.host.as_str(), kubelet.port)).await;
        for address in found.map_err(|error| Status::bad_request(format!("lookup {}: {error}", kubelet.host)))? {
            ensure_allowed(&address.ip().to_string())?;
        }
    }
    match port {
        "" => Ok(kubelet),
        port if port == kubelet.port.to_string() => Ok(kubelet),
        port => anything(scheme, &kubelet.host, port),
    }
}

/// A ready endpoint of a service; only pods of its namespace are reached.
async fn service(connect: &Connect<'_>, scheme: &str, name: &str, port: &str) -> Result<Backend, Status> {
    let service = connect.object("services", connect.namespace, name).await?;
    let port_name = match port.parse::<i64>() {
        Err(_) => port,
        Ok(number) => {
            let missing = || Status::unavailable(format!("no service port {number} found for service \"{name}\""));
            resolve::port_name(&service, number).ok_or_else(missing)?
        }
    };
    let slices = resolve::slices(connect.api.caches(), connect.namespace, name);
    let candidates = resolve::ready(&slices, &service, port_name);
    let start = resolve::any_of(candidates.len());
    for endpoint in candidates.iter().cycle().skip(start).take(candidates.len()) {
        let Some((namespace, pod)) = &endpoint.pod else { continue };
        if namespace == connect.namespace && is_pod_at(connect, pod, &endpoint.host).await {
            return anything(scheme, &endpoint.host, &endpoint.port.to_string());
        }
    }
    Err(Status::unavailable(format!("no endpoints available for service \"{}\"", connect.name)))
}

async fn is_pod_at(connect: &Connect<'_>, pod: &str, address: &str) -> bool {
    let Ok(pod) = connect.object("pods", connect.namespace, pod).await else { return false };
    pod["status"]["podIPs"].items().iter().any(|ip| ip["ip"].str() == address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kaji_api::value;

    #[test]
    fn containers_are_named_or_alone() {
        let pod = value!({
            "metadata": {"name": "web"},
            "spec": {"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}]}
        });
        assert_eq!(container(&pod, "i").unwrap(), "i");
        let text = container(&pod, "").unwrap_err().message;
        assert_eq!(text, "a container name must be specified for pod web, choose one of: [i a b]");
        assert_eq!(container(&pod, "x").unwrap_err().message, "container x is not valid for pod web");
        let one = value!({"spec": {"containers": [{"name": "a"}]}});
        assert_eq!(container(&one, "").unwrap(), "a");
    }

    #[test]
    fn names_carry_scheme_and_port() {
        assert_eq!(scheme_name_port("web"), Some(("", "web", "")));
        assert_eq!(scheme_name_port("web:http"), Some(("", "web", "http")));
        assert_eq!(scheme_name_port("https:web:443"), Some(("https", "web", "443")));
        for bad in ["", ":80", "ftp:web:1", "a:b:c:d"] {
            assert_eq!(scheme_name_port(bad), None, "{bad}");
        }
    }

    #[test]
    fn only_global_addresses_are_reached() {
        for good in ["10.1.2.3", "192.168.1.1", "8.8.8.8", "fd00::1"] {
            assert!(ensure_allowed(good).is_ok(), "{good}");
        }
        for bad in ["127.0.0.1", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "fe80::1", "::ffff:127.0.0.1", ""] {
            assert!(ensure_allowed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_cleaned_and_escaped() {
        for (path, expected) in [("", ""), ("/", "/"), ("/a//b/", "/a/b/"), ("/../a/./b", "/a/b"), ("/a b?", "/a b?")] {
            assert_eq!(clean(path), expected);
        }
        let backend = Backend { https: true, host: "fd00::1".to_owned(), port: 1, trust: Trust::Anything };
        let location = Location { backend, path: "/a b?ä".to_owned(), query: "x=1".to_owned() };
        assert_eq!(location.url(), "https://[fd00::1]:1/a%20b%3F%C3%A4?x=1");
    }
}
