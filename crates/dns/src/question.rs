//! What a name below the cluster's domain asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A name below the domain, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The domain itself.
    Apex,
    /// `dns-version`.
    Version,
    /// `ns.dns`: this server.
    Server,
    /// A name that only has names below it.
    Between,
    /// `NAMESPACE.svc` or `NAMESPACE.pod`.
    Namespace(String),
    /// `SERVICE.NAMESPACE.svc`.
    Service(String, String),
    /// `_PORT._PROTOCOL.SERVICE.NAMESPACE.svc`: port, protocol, service, namespace.
    Port(String, String, String, String),
    /// `ENDPOINT.SERVICE.NAMESPACE.svc`: endpoint, service, namespace.
    Endpoint(String, String, String),
    /// `A-B-C-D.NAMESPACE.pod`.
    Pod(IpAddr, String),
    /// Nothing that could exist.
    Nothing,
}

/// Understands the labels of a name, in lower case and without the domain's.
pub(crate) fn parse(labels: &[&str]) -> Asked {
    match labels {
        [] => Asked::Apex,
        ["dns-version"] => Asked::Version,
        ["ns", "dns"] => Asked::Server,
        ["svc" | "pod" | "dns"] => Asked::Between,
        [namespace, "svc" | "pod"] => Asked::Namespace((*namespace).into()),
        [service, namespace, "svc"] => Asked::Service((*service).into(), (*namespace).into()),
        [endpoint, service, namespace, "svc"] => {
            Asked::Endpoint((*endpoint).into(), (*service).into(), (*namespace).into())
        }
        [port, protocol, service, namespace, "svc"] => match (port.strip_prefix('_'), protocol.strip_prefix('_')) {
            (Some(port), Some(protocol)) => {
                Asked::Port(port.into(), protocol.into(), (*service).into(), (*namespace).into())
            }
            _ => Asked::Nothing,
        },
        [pod, namespace, "pod"] => undash(pod).map_or(Asked::Nothing, |ip| Asked::Pod(ip, (*namespace).into())),
        _ => Asked::Nothing,
    }
}

/// The address that is written with dashes for dots or colons.
fn undash(text: &str) -> Option<IpAddr> {
    let v4 = || text.replace('-', ".").parse::<Ipv4Addr>().ok().map(IpAddr::from);
    let v6 = || text.replace('-', ":").parse::<Ipv6Addr>().ok().map(IpAddr::from);
    v4().or_else(v6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_mean_what_the_specification_says() {
        let service = || Asked::Service("web".into(), "ns".into());
        for (name, asked) in [
            ("dns-version", Asked::Version),
            ("svc", Asked::Between),
            ("ns.svc", Asked::Namespace("ns".into())),
            ("web.ns.svc", service()),
            ("web-0.web.ns.svc", Asked::Endpoint("web-0".into(), "web".into(), "ns".into())),
            ("_http._tcp.web.ns.svc", Asked::Port("http".into(), "tcp".into(), "web".into(), "ns".into())),
            ("http.tcp.web.ns.svc", Asked::Nothing),
            ("10-0-0-7.ns.pod", Asked::Pod("10.0.0.7".parse().unwrap(), "ns".into())),
            ("fd00--7.ns.pod", Asked::Pod("fd00::7".parse().unwrap(), "ns".into())),
            ("10-0-0.ns.pod", Asked::Nothing),
            ("web.ns", Asked::Nothing),
            ("a.b.c.d.e.svc", Asked::Nothing),
        ] {
            assert_eq!(parse(&name.split('.').collect::<Vec<_>>()), asked, "{name}");
        }
        assert_eq!(parse(&[]), Asked::Apex);
    }
}
