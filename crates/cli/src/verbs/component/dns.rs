//! `kaji dns`.

use super::{Component, Flag, Typed, client, list, text, until_signal};
use kaji_dns::Upstreams;

pub(super) const COMPONENT: Component =
    Component { name: "dns", about: "Run the cluster DNS alone", flags: FLAGS, upstream: "", gates: &[], run };

const FLAGS: &[Flag] = &[
    text("kubeconfig", "", "how to reach the API server; required"),
    list("listen", "0.0.0.0:53", "addresses and ports to answer on, UDP and TCP"),
    text("cluster-domain", "cluster.local", "the cluster's domain"),
    text("resolv-conf", "/etc/resolv.conf", "names the servers that know other names"),
];

fn run(typed: &Typed<'_>) -> anyhow::Result<()> {
    let mut config = kaji_dns::Config::new(typed.required("cluster-domain")?, typed.parsed_list("listen")?);
    if let Some(path) = typed.path("resolv-conf") {
        config.upstreams = Upstreams::ResolvConf(path);
    }
    until_signal(async |stop| Ok(kaji_dns::run(client(typed).await?, config, stop).await?))
}
