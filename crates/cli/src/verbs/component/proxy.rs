//! `kaji proxy`.

use super::{Component, FEATURE_GATES, Flag, Typed, client, list, switch, text, until_signal};

pub(super) const COMPONENT: Component = Component {
    name: "proxy",
    about: "Run the service proxy (nftables) alone",
    flags: FLAGS,
    upstream: include_str!("../../../flags/proxy.txt"),
    gates: &[],
    run,
};

const FLAGS: &[Flag] = &[
    text("kubeconfig", "", "how to reach the API server; required"),
    text("hostname-override", "", "the node's name [default: the machine's name]"),
    text("cluster-cidr", "", "addresses of pods"),
    switch("masquerade-all", "false", "hide the sender of all traffic to services"),
    list("nodeport-addresses", "", "ranges of local addresses that answer on node ports [default: all]"),
    text("healthz-bind-address", "0.0.0.0:10256", "where to answer health checks"),
    FEATURE_GATES,
];

fn run(typed: &Typed<'_>) -> anyhow::Result<()> {
    let node = typed.text("hostname-override").map_or_else(kaji_cluster::up::host_name, str::to_owned);
    let mut config = kaji_network::proxy::Config::new("kaji-proxy", &node);
    config.cluster_cidrs = typed.parsed("cluster-cidr")?.into_iter().collect();
    config.masquerade_all = typed.on("masquerade-all");
    config.healthz_bind_address = typed.parsed("healthz-bind-address")?;
    config.node_port_addresses = typed.parsed_list("nodeport-addresses")?;
    until_signal(async |stop| Ok(kaji_network::proxy::run(client(typed).await?, config, stop).await?))
}
