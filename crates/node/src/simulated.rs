//! Simulated nodes: all pod logic, nothing below it.
//!
//! Containers start at once and run until stopped, or for as long as the pod's annotation
//! `kaji.dev/simulated-run` says (`2s`, `500ms`), then exit with 0; init containers exit at once, those of a job's pod
//! after a second. Pods get addresses of their node's pod CIDR; probes and hooks succeed.

mod runtime;
mod volumes;

use crate::agent::{Agent, Parts, statuses::Statuses};
use crate::config::Config;
use crate::node::{Keeper, machine::Machine};
use crate::objects::Objects;
use crate::{Error, boot};
use k8s_openapi::api::core::v1::{Node, Pod};
use kaji_client::event::Recorder;
use kaji_client::{Client, Informers};
use runtime::Simulated;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use volumes::Nowhere;

/// How long a simulated container runs.
pub(crate) const RUN: &str = "kaji.dev/simulated-run";
/// The same where the pod is a job's and does not say: jobs are there to end.
pub(crate) const OF_JOBS: &str = "1s";

struct One {
    agent: Arc<Agent>,
    runtime: Arc<Simulated>,
}

pub(crate) async fn run(
    client_for: &(dyn Fn(&str) -> Client + Sync),
    names: Vec<String>,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let informers = Informers::new(client_for(""));
    let mut tasks = tokio::task::JoinSet::new();
    let mut nodes: HashMap<String, One> = HashMap::new();
    for (index, name) in names.into_iter().enumerate() {
        let one = node(client_for(&name), &name, index, &shutdown, &mut tasks);
        nodes.insert(name, one);
    }
    let nodes = Arc::new(nodes);
    let told = nodes.clone();
    let node_informer = informers.of::<Node>();
    node_informer.on_change(move |change| {
        if let (Some(one), Some(node)) = (told.get(&change.key.name), &change.new) {
            one.agent.set_node(node.clone());
            let cidr = boot::pod_cidrs(node).into_iter().next();
            let problem = cidr.is_none().then(|| "the node has no pod CIDR yet".to_owned());
            if let Some(cidr) = cidr {
                one.runtime.set_cidr(&cidr);
            }
            one.agent.set_network_problem(problem);
        }
    });
    let told = nodes.clone();
    let pods = informers.of::<Pod>();
    pods.on_change(move |change| {
        let of = |pod: &Option<Arc<Pod>>| pod.as_ref()?.spec.as_ref()?.node_name.clone();
        let names = [of(&change.old), of(&change.new)];
        let mut last = None;
        for name in names.into_iter().flatten() {
            if last.as_ref() != Some(&name)
                && let Some(one) = told.get(&name)
            {
                one.agent.on_change(change);
            }
            last = Some(name);
        }
    });
    shutdown.cancelled().await;
    for one in nodes.values() {
        one.agent.stopped().await;
    }
    tasks.shutdown().await;
    Ok(())
}

fn node(
    client: Client,
    name: &str,
    index: usize,
    shutdown: &CancellationToken,
    tasks: &mut tokio::task::JoinSet<()>,
) -> One {
    let mut config = Config::new(name, "/nonexistent");
    config.resolv_conf = "/nonexistent".into();
    config.node_status_update_frequency = config.node_status_report_frequency;
    let machine = Machine::simulated();
    // Addresses for benchmarking networks: they are nobody's.
    let addresses = vec![format!("198.{}.{}.{}", 18 + index / 65_536 % 2, index / 256 % 256, index % 256)];
    let runtime = Arc::new(Simulated::new());
    let config = Arc::new(config);
    let agent = Arc::new(Agent::new(Parts {
        facts: boot::facts(&config, &machine, &addresses),
        config: config.clone(),
        runtime: runtime.clone(),
        volumes: Arc::new(Nowhere),
        objects: Arc::new(Objects::new(client.clone(), |_| ())),
        recorder: Recorder::new(client.clone(), "kubelet", name),
        statuses: Statuses::new(client.clone()),
        services: None,
        cgroups: None,
        shutdown: shutdown.clone(),
        simulated: true,
    }));
    agent.set_network_problem(Some("the node has no pod CIDR yet".to_owned()));
    let keeper = Keeper { client, config, machine, addresses, port: 0, agent: agent.clone() };
    tasks.spawn(keeper.run());
    tasks.spawn(agent.statuses.clone().run(2));
    tasks.spawn(agent.clone().follow_runtime());
    One { agent, runtime }
}
