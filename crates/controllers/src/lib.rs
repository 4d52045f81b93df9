//! The controllers, one module each: a pure `plan`, and a `reconcile` that carries it out.
//!
//! [`CONTROLLERS`] is the one list. Each controller acts as its own service account of `kube-system`, as
//! upstream's do with `--use-service-account-credentials`; all share one set of informers.

mod adopt;
mod certificates;
mod cluster_role_aggregation;
mod context;
mod cron_job;
mod daemon_set;
mod deployment;
mod discovery;
mod disruption;
mod disruption_target;
mod endpoint_slice;
mod endpoint_slice_mirroring;
mod endpoints;
mod expectations;
mod garbage;
mod hash;
mod history;
mod int_or_percent;
mod job;
mod namespace;
mod node_affinity;
mod node_ipam;
mod node_lifecycle;
mod pod;
mod pod_gc;
mod pods;
mod replica_set;
mod replication_controller;
mod resource_quota;
mod root_ca;
mod service;
mod service_account;
mod service_cidr;
mod stateful_set;
mod storage_protection;
mod taint;
mod taint_eviction;
mod ttl_after_finished;
mod write;

pub(crate) use context::Context;

use futures::future::BoxFuture;
use ipnet::IpNet;
use kaji_client::{Client, Informers};
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What the controllers are told; upstream's flag that sets each field is named.
#[derive(Clone, Debug)]
pub struct Config {
    /// `--cluster-cidr`: pods' addresses; none: nodes get no ranges.
    pub cluster_cidr: Option<IpNet>,
    /// `--node-cidr-mask-size`.
    pub node_cidr_mask: u8,
    /// `--root-ca-file`, as PEM text: published in every namespace.
    pub root_ca_pem: String,
    /// `--cluster-signing-cert-file` and `--cluster-signing-key-file`, as PEM text; none: nothing is signed.
    pub signing_ca: Option<(String, String)>,
    /// `--concurrent-*-syncs`: workers per controller.
    pub workers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config { cluster_cidr: None, node_cidr_mask: 24, root_ca_pem: String::new(), signing_ca: None, workers: 5 }
    }
}

/// Why the controllers ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A controller is gone.
    #[error("the {name} controller ended: {cause}")]
    Ended {
        /// Which.
        name: &'static str,
        /// Why.
        cause: String,
    },
}

/// One controller.
struct Controller {
    /// Its service account in `kube-system`.
    name: &'static str,
    run: fn(Context) -> BoxFuture<'static, ()>,
}

macro_rules! controllers {
    ($($name:literal => $($run:ident)::+),* $(,)?) => {
        &[$(Controller { name: $name, run: |cx| Box::pin($($run)::+(cx)) }),*]
    };
}

/// All controllers.
const CONTROLLERS: &[Controller] = controllers! {
    "service-account-controller" => service_account::run,
    "root-ca-cert-publisher" => root_ca::run,
    "node-controller" => node_ipam::run,
    "namespace-controller" => namespace::run,
    "generic-garbage-collector" => garbage::run,
    "endpoint-controller" => endpoints::run,
    "endpointslice-controller" => endpoint_slice::run,
    "endpointslicemirroring-controller" => endpoint_slice_mirroring::run,
    "node-controller" => node_lifecycle::run,
    "node-controller" => taint_eviction::run,
    "pod-garbage-collector" => pod_gc::run,
    "replicaset-controller" => replica_set::run,
    "deployment-controller" => deployment::run,
    "daemon-set-controller" => daemon_set::run,
    "statefulset-controller" => stateful_set::run,
    "cronjob-controller" => cron_job::run,
    "job-controller" => job::run,
    "ttl-after-finished-controller" => ttl_after_finished::run,
    "replication-controller" => replication_controller::run,
    "resourcequota-controller" => resource_quota::run,
    "disruption-controller" => disruption::run,
    "clusterrole-aggregation-controller" => cluster_role_aggregation::run,
    "certificate-controller" => certificates::run_approver,
    "certificate-controller" => certificates::run_signer,
    "certificate-controller" => certificates::run_cleaner,
    "service-cidrs-controller" => service_cidr::run,
    "pvc-protection-controller" => storage_protection::run_claims,
    "pv-protection-controller" => storage_protection::run_volumes,
    "volumeattributesclass-protection-controller" => storage_protection::run_classes,
};

/// Runs all controllers until shutdown. `client_for` gives a client for a user name.
///
/// Boxed, so that the part's code is generated in this crate, once, and not again in each that awaits it.
pub fn run<'a>(
    client_for: &'a (dyn Fn(&str) -> Client + Sync),
    config: Config,
    shutdown: CancellationToken,
) -> BoxFuture<'a, Result<(), Error>> {
    Box::pin(run_all(client_for, config, shutdown))
}

async fn run_all(
    client_for: &(dyn Fn(&str) -> Client + Sync),
    config: Config,
    shutdown: CancellationToken,
) -> Result<(), Error> {
    let informers = Informers::new(client_for("system:kube-controller-manager"));
    let config = Arc::new(config);
    let mut running = JoinSet::new();
    for controller in CONTROLLERS {
        let client = client_for(&format!("system:serviceaccount:kube-system:{}", controller.name));
        let cx = Context::new(controller.name, client, informers.clone(), config.clone());
        let run = (controller.run)(cx);
        running.spawn(async move {
            run.await;
            controller.name
        });
    }
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        Some(ended) = running.join_next() => Err(match ended {
            Ok(name) => Error::Ended { name, cause: "it returned".to_owned() },
            Err(panic) => Error::Ended { name: "unnamed", cause: panic.to_string() },
        }),
    }
}
