//! `kaji kubelet`.

use super::{Component, FEATURE_GATES, Flag, Typed, client, list, read, switch, text, until_signal};
use std::path::PathBuf;

pub(super) const COMPONENT: Component = Component {
    name: "kubelet",
    about: "Run the node agent alone",
    flags: FLAGS,
    upstream: include_str!("../../../flags/kubelet.txt"),
    gates: &[],
    run,
};

const FLAGS: &[Flag] = &[
    text("kubeconfig", "", "how to reach the API server; required"),
    text("root-dir", "/var/lib/kaji/node", "where the node keeps its things"),
    text("hostname-override", "", "the node's name [default: the machine's name]"),
    list("node-ip", "", "the node's addresses"),
    text("address", "0.0.0.0", "where the kubelet API listens"),
    text("port", "10250", "the kubelet API's port; 0 picks a free one"),
    text("container-runtime-endpoint", "", "a running CRI runtime [default: a containerd of our own]"),
    text("pod-infra-container-image", "", "sandbox image [default: made from this binary]"),
    text("tls-cert-file", "", "serving certificate [default: self-signed]"),
    text("tls-private-key-file", "", "its key"),
    text("client-ca-file", "", "authority of client certificates"),
    switch("anonymous-auth", "false", "let anybody ask (authorization decides)"),
    list("cluster-dns", "", "addresses of the cluster DNS"),
    text("cluster-domain", "cluster.local", "the cluster's domain"),
    text("resolv-conf", "/etc/resolv.conf", "the host's resolver configuration"),
    text("pod-cidr", "", "addresses of this node's pods, where the API gives none"),
    text("max-pods", "110", "pods that may run here"),
    text("cgroup-root", "/", "control group below which pods live"),
    switch("register-node", "true", "make the node object"),
    FEATURE_GATES,
];

fn config(typed: &Typed<'_>) -> anyhow::Result<kaji_node::Config> {
    let pem = |flag: &str| typed.path(flag).map(|p| read(&p)).transpose();
    let name = typed.text("hostname-override").map_or_else(kaji_cluster::up::host_name, str::to_owned);
    let mut config = kaji_node::Config::new(&name, PathBuf::from(typed.required("root-dir")?));
    config.node_ips = typed.parsed_list("node-ip")?;
    config.container_runtime_endpoint = typed.text("container-runtime-endpoint").map(str::to_owned);
    config.pod_infra_container_image = typed.text("pod-infra-container-image").map(str::to_owned);
    config.sandbox_binary = std::env::current_exe().ok();
    config.address = typed.parsed("address")?.unwrap_or(config.address);
    config.port = typed.parsed("port")?.unwrap_or(config.port);
    config.tls_cert_pem = pem("tls-cert-file")?;
    config.tls_key_pem = pem("tls-private-key-file")?;
    config.client_ca_pem = pem("client-ca-file")?;
    config.anonymous_auth = typed.on("anonymous-auth");
    config.cluster_dns = typed.parsed_list("cluster-dns")?;
    config.cluster_domain = typed.required("cluster-domain")?.to_owned();
    config.resolv_conf = PathBuf::from(typed.required("resolv-conf")?);
    config.pod_cidr = typed.text("pod-cidr").map(str::to_owned);
    config.max_pods = typed.parsed("max-pods")?.unwrap_or(config.max_pods);
    config.cgroup_root = typed.required("cgroup-root")?.to_owned();
    config.register_node = typed.on("register-node");
    Ok(config)
}

fn run(typed: &Typed<'_>) -> anyhow::Result<()> {
    let config = config(typed)?;
    until_signal(async |stop| Ok(kaji_node::run(client(typed).await?, config, stop).await?))
}
