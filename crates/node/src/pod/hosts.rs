//! A pod's hostname and `/etc/hosts`.

use super::Facts;
use k8s_openapi::api::core::v1::{HostAlias, Pod};
use std::path::Path;

/// The first line says whose file it is; programs (and tests) look for it.
const HEADER: &str = "# Kubernetes-managed hosts file.\n";
const HOST_HEADER: &str = "# Kubernetes-managed hosts file (host network).\n";
const MAX_HOSTNAME: usize = 63;

/// Hostname and domain (empty where it has none).
pub(crate) fn names(pod: &Pod, facts: &Facts) -> (String, String) {
    let Some(spec) = &pod.spec else { return Default::default() };
    if let Some(name) = &spec.hostname_override {
        return (short(name), String::new());
    }
    let own = spec.hostname.as_deref().filter(|name| !name.is_empty());
    let hostname = short(own.or(pod.metadata.name.as_deref()).unwrap_or_default());
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let domain = match spec.subdomain.as_deref() {
        Some(subdomain) if !subdomain.is_empty() => format!("{subdomain}.{namespace}.svc.{}", facts.cluster_domain),
        _ => String::new(),
    };
    (hostname, domain)
}

/// The name that the kernel is told.
pub(crate) fn kernel_name(pod: &Pod, facts: &Facts) -> Result<String, String> {
    let (hostname, domain) = names(pod, facts);
    let as_fqdn = pod.spec.as_ref().is_some_and(|spec| spec.set_hostname_as_fqdn == Some(true));
    if !as_fqdn || domain.is_empty() {
        return Ok(hostname);
    }
    let full = format!("{hostname}.{domain}");
    if full.len() > 64 {
        return Err(format!(
            "failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long (64 characters is the \
             max, {} characters requested)",
            full.len()
        ));
    }
    Ok(full)
}

fn short(name: &str) -> String {
    name.chars().take(MAX_HOSTNAME).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

/// Writes the pod's hosts file.
pub(crate) fn write(path: &Path, pod: &Pod, ips: &[String], facts: &Facts) -> std::io::Result<()> {
    let spec = pod.spec.as_ref();
    let aliases = spec.and_then(|spec| spec.host_aliases.as_deref()).unwrap_or_default();
    let text = if spec.is_some_and(|spec| spec.host_network == Some(true)) {
        let host = std::fs::read_to_string("/etc/hosts")?;
        format!("{HOST_HEADER}{host}{}", entries(aliases))
    } else {
        content(pod, ips, aliases, facts)
    };
    std::fs::write(path, text)?;
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o644))
}

fn content(pod: &Pod, ips: &[String], aliases: &[HostAlias], facts: &Facts) -> String {
    let (hostname, domain) = names(pod, facts);
    let mut text = format!(
        "{HEADER}127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
         fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n"
    );
    for ip in ips {
        match domain.as_str() {
            "" => text.push_str(&format!("{ip}\t{hostname}\n")),
            domain => text.push_str(&format!("{ip}\t{hostname}.{domain}\t{hostname}\n")),
        }
    }
    text + &entries(aliases)
}

fn entries(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let line =
        |alias: &HostAlias| format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t"));
    format!("\n# Entries added by HostAliases.\n{}", aliases.iter().map(line).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_the_pod_and_its_aliases() {
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "web-0", "namespace": "ns" },
            "spec": { "subdomain": "web", "containers": [], "hostAliases": [{ "ip": "1.2.3.4", "hostnames": ["a", "b"] }] },
        }))
        .expect("a pod");
        let facts = Facts { cluster_domain: "cluster.local".into(), ..Facts::default() };
        let text = content(
            &pod,
            &["10.1.0.2".into()],
            pod.spec.as_ref().expect("spec").host_aliases.as_ref().expect("aliases"),
            &facts,
        );
        assert!(text.starts_with("# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n"));
        assert!(text.contains("10.1.0.2\tweb-0.web.ns.svc.cluster.local\tweb-0\n"), "{text}");
        assert!(text.ends_with("\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"), "{text}");
    }
}
