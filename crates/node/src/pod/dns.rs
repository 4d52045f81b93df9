//! A pod's `resolv.conf`: the node's, the cluster's, or its own, within what resolvers take.

use super::Facts;
use crate::cri::v1;
use k8s_openapi::api::core::v1::Pod;

const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;

/// The resolver configuration of a pod; the text of `resolv.conf` is the node's.
pub(crate) fn of_pod(pod: &Pod, facts: &Facts, resolv_conf: &str) -> v1::DnsConfig {
    let Some(spec) = &pod.spec else { return v1::DnsConfig::default() };
    let host = parse(resolv_conf);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let on_host = spec.host_network == Some(true);
    let mut config = match policy {
        "None" => v1::DnsConfig::default(),
        "ClusterFirst" if !on_host && !facts.cluster_dns.is_empty() => cluster(pod, facts, host),
        "ClusterFirstWithHostNet" if !facts.cluster_dns.is_empty() => cluster(pod, facts, host),
        _ => host,
    };
    if let Some(own) = &spec.dns_config {
        extend(&mut config.servers, own.nameservers.iter().flatten().cloned());
        extend(&mut config.searches, own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            let taken = |known: &String| known.split(':').next() == Some(&name);
            config.options.retain(|known| !taken(known));
            config.options.push(match option.value.as_deref() {
                Some(value) if !value.is_empty() => format!("{name}:{value}"),
                _ => name,
            });
        }
    }
    fit(config)
}

fn cluster(pod: &Pod, facts: &Facts, host: v1::DnsConfig) -> v1::DnsConfig {
    let domain = &facts.cluster_domain;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let mut searches = Vec::new();
    if !domain.is_empty() {
        searches = vec![format!("{namespace}.svc.{domain}"), format!("svc.{domain}"), domain.clone()];
    }
    extend(&mut searches, host.searches);
    v1::DnsConfig { servers: facts.cluster_dns.clone(), searches, options: vec!["ndots:5".to_owned()] }
}

fn extend(list: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

fn fit(mut config: v1::DnsConfig) -> v1::DnsConfig {
    config.servers.truncate(MAX_SERVERS);
    config.searches.truncate(MAX_SEARCHES);
    config.searches.retain(|search| search.len() <= 253);
    while config.searches.join(" ").len() > MAX_SEARCH_CHARS {
        config.searches.pop();
    }
    config
}

fn parse(text: &str) -> v1::DnsConfig {
    let mut config = v1::DnsConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => config.servers.extend(words.next().map(str::to_owned)),
            // The last line of each kind counts.
            Some("search") => config.searches = words.map(|word| word.trim_end_matches('.').to_owned()).collect(),
            Some("options") => config.options = words.map(str::to_owned).collect(),
            _ => {}
        }
    }
    config.searches.retain(|search| !search.is_empty());
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "nameserver 192.0.2.1\nsearch corp.example.\noptions timeout:1\n";

    fn config(spec: serde_json::Value) -> v1::DnsConfig {
        let pod = serde_json::from_value(serde_json::json!({ "metadata": { "namespace": "ns" }, "spec": spec }))
            .expect("pod");
        let facts = Facts {
            cluster_dns: vec!["10.96.0.10".into()],
            cluster_domain: "cluster.local".into(),
            ..Facts::default()
        };
        of_pod(&pod, &facts, HOST)
    }

    #[test]
    fn policies_choose_the_source() {
        let cluster = config(serde_json::json!({ "containers": [] }));
        assert_eq!(cluster.servers, ["10.96.0.10"]);
        assert_eq!(cluster.searches, ["ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"]);
        assert_eq!(cluster.options, ["ndots:5"]);
        let host = config(serde_json::json!({ "containers": [], "hostNetwork": true }));
        assert_eq!(host.servers, ["192.0.2.1"]);
        assert_eq!(host.options, ["timeout:1"]);
        let none = config(serde_json::json!({
            "containers": [], "dnsPolicy": "None",
            "dnsConfig": { "nameservers": ["1.2.3.4"], "options": [{ "name": "ndots", "value": "2" }, { "name": "edns0" }] },
        }));
        assert_eq!(
            (none.servers, none.options),
            (vec!["1.2.3.4".to_owned()], vec!["ndots:2".to_owned(), "edns0".to_owned()])
        );
    }
}
