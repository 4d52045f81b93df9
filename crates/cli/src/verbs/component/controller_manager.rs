//! `kaji controller-manager`.

use super::{Component, FEATURE_GATES, Flag, Typed, client, read, switch, text, until_signal};

pub(super) const COMPONENT: Component = Component {
    name: "controller-manager",
    about: "Run the controllers alone",
    flags: FLAGS,
    upstream: include_str!("../../../flags/controller-manager.txt"),
    gates: &[],
    run,
};

const FLAGS: &[Flag] = &[
    text("kubeconfig", "", "how to reach the API server; required"),
    switch("leader-elect", "true", "work only while holding the lease kube-system/kube-controller-manager"),
    text("cluster-cidr", "", "addresses of pods, from which nodes get their ranges; none: nodes get no ranges"),
    text("node-cidr-mask-size", "24", "size of a node's range"),
    text("root-ca-file", "", "authority that is published in every namespace"),
    text("cluster-signing-cert-file", "", "authority that signs certificate requests; none: nothing is signed"),
    text("cluster-signing-key-file", "", "its key"),
    FEATURE_GATES,
];

fn config(typed: &Typed<'_>) -> anyhow::Result<kaji_controllers::Config> {
    let signing = (typed.path("cluster-signing-cert-file"), typed.path("cluster-signing-key-file"));
    let signing_ca = match signing {
        (Some(cert), Some(key)) => Some((read(&cert)?, read(&key)?)),
        (None, None) => None,
        _ => anyhow::bail!("--cluster-signing-cert-file and --cluster-signing-key-file go together"),
    };
    Ok(kaji_controllers::Config {
        cluster_cidr: typed.parsed("cluster-cidr")?,
        node_cidr_mask: typed.parsed("node-cidr-mask-size")?.unwrap_or(24),
        root_ca_pem: typed.path("root-ca-file").map(|p| read(&p)).transpose()?.unwrap_or_default(),
        signing_ca,
        ..kaji_controllers::Config::default()
    })
}

fn run(typed: &Typed<'_>) -> anyhow::Result<()> {
    let config = config(typed)?;
    until_signal(async |stop| {
        let client = client(typed).await?;
        let work = {
            let client = client.clone();
            // Alone, all controllers act as the kubeconfig's user.
            async move || Ok(kaji_controllers::run(&|_: &str| client.clone(), config, stop).await?)
        };
        super::led(typed, client, "kube-controller-manager", work).await
    })
}
