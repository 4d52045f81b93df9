//! `kaji scheduler`.

use super::{Component, FEATURE_GATES, Flag, Typed, client, switch, text, until_signal};

pub(super) const COMPONENT: Component = Component {
    name: "scheduler",
    about: "Run the scheduler alone",
    flags: FLAGS,
    upstream: include_str!("../../../flags/scheduler.txt"),
    gates: &[],
    run,
};

const FLAGS: &[Flag] = &[
    text("kubeconfig", "", "how to reach the API server; required"),
    switch("leader-elect", "true", "lead only while holding the lease kube-system/kube-scheduler"),
    FEATURE_GATES,
];

fn run(typed: &Typed<'_>) -> anyhow::Result<()> {
    until_signal(async |stop| {
        let client = client(typed).await?;
        let work = {
            let client = client.clone();
            async move || Ok(kaji_scheduler::run(client, kaji_scheduler::Config::default(), stop).await?)
        };
        super::led(typed, client, "kube-scheduler", work).await
    })
}
