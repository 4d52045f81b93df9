//! The service proxy: what kube-proxy does in its nftables mode.
//!
//! [`run`] watches Services, EndpointSlices, its Node and the pods of its node, and keeps one nftables table per
//! address family as these want it. Each batch of changes is one transaction that holds only what changed; the
//! kernel takes it whole or not at all, so no packet sees a half-written table. If a transaction is refused, the next
//! one replaces the table in one go.
//!
//! The table stays when the proxy stops, so that restarts and upgrades are not felt; [`cleanup`] removes it.
//! Replacing the table at the start forgets which client had affinity to which endpoint; open connections are kept
//! by connection tracking.
//!
//! Needed in the cluster: list and watch of services, endpointslices (discovery.k8s.io) and nodes, as the role
//! `system:node-proxier` has it, and list and watch of pods (by `spec.nodeName`) for host ports.
//!
//! Needed on the node: root (CAP_NET_ADMIN), nf_tables with fib, numgen, masquerade and reject; connection tracking.
//! Processes of the host need some route towards the service network, usually the default route, before their packets
//! get to be rewritten. Another firewall's table whose `forward` chain drops by policy drops pod traffic too, whatever our table says:
//! in nftables every table has to agree to a packet.

pub mod checks;
mod config;
pub mod conntrack;
pub mod endpoints;
pub mod health;
pub mod kernel;
pub mod plan;
pub mod rules;
pub mod service;
pub mod sysctl;
mod watched;

pub use config::Config;

use crate::netlink::{self, Socket};
use crate::nftables::{Family, Step};
use checks::Checks;
use futures::future::BoxFuture;
use health::Health;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kaji_client::{Client, Informers, ObjectKey};
use kernel::{Batch, Fronts, Kernel};
use rules::{Owner, Ruleset};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use watched::{Seen, Watched};

/// First retry after a refused transaction; doubles up to [`MAX_RETRY`].
const MIN_RETRY: Duration = Duration::from_millis(500);
/// Upstream's sync period.
const MAX_RETRY: Duration = Duration::from_secs(30);
const ZONE: &str = "topology.kubernetes.io/zone";

/// Why the proxy does not start or could not clean up. What fails later is logged and tried again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A kernel setting is wrong and cannot be changed.
    #[error(transparent)]
    Sysctl(#[from] sysctl::Error),
    /// No way to netfilter.
    #[error("could not reach netfilter for the service proxy; it needs root (CAP_NET_ADMIN) and nf_tables")]
    Netfilter(#[source] netlink::Error),
    /// The health or metrics address is taken.
    #[error("could not listen on {address} for the service proxy's health and metrics")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The tables could not be removed.
    #[error("could not remove the nftables tables {table}")]
    Cleanup {
        /// Their name.
        table: String,
        /// Why.
        #[source]
        cause: netlink::Error,
    },
}

/// Proxies until shutdown.
///
/// Boxed, so that the part's code is generated in this crate, once, and not again in each that awaits it.
pub fn run(client: Client, config: Config, shutdown: CancellationToken) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move { run_with(&Informers::new(client), config, shutdown).await })
}

/// Proxies until shutdown, sharing the informers of others in the process.
pub async fn run_with(informers: &Informers, config: Config, shutdown: CancellationToken) -> Result<(), Error> {
    let families = config.families();
    let abilities = sysctl::prepare(config.bridge.as_deref(), families.contains(&Family::V6))?;
    let kernel = Kernel::start(&config.table).map_err(Error::Netfilter)?;
    let health = Arc::new(Health::default());
    for address in [config.healthz_bind_address, config.metrics_bind_address].into_iter().flatten() {
        let listener = TcpListener::bind(address).await.map_err(|cause| Error::Listen { address, cause })?;
        tokio::spawn(health::serve(listener, health.clone(), shutdown.clone()));
    }
    let seen = Arc::new(Seen::default());
    let watched = Watched::start(informers, &config, &seen, &health);
    tracing::info!(table = config.table, bridged = abilities.bridge_filter, "service proxy waits for its first lists");
    tokio::select! {
        () = watched.synced() => {}
        () = shutdown.cancelled() => return Ok(()),
    }
    let node = config.node(abilities);
    let mut proxy = Proxy::new(kernel, watched, seen, health, node, &families, config.pod_network);
    proxy.follow(config.min_sync_period, &shutdown).await;
    Ok(())
}

/// Removes the tables of this name; it is no error if there are none.
pub fn cleanup(table: &str) -> Result<(), Error> {
    let mut socket = Socket::open().map_err(Error::Netfilter)?;
    // Adding first makes the removal succeed in any case.
    let steps = || vec![Step::AddTable, Step::DeleteTable];
    kernel::commit(table, &mut socket, &vec![(Family::V4, steps()), (Family::V6, steps())])
        .map_err(|cause| Error::Cleanup { table: table.to_owned(), cause })
}

struct Proxy {
    kernel: Kernel,
    watched: Watched,
    seen: Arc<Seen>,
    health: Arc<Health>,
    checks: Checks,
    node: plan::Node,
    tables: Vec<(Family, Ruleset)>,
    /// UDP fronts by owner, to know what connection tracking must forget.
    udp: BTreeMap<(Family, Owner), Fronts>,
    udp_changed: bool,
    pod_network: bool,
}

impl Proxy {
    fn new(
        kernel: Kernel,
        watched: Watched,
        seen: Arc<Seen>,
        health: Arc<Health>,
        node: plan::Node,
        families: &[Family],
        pod_network: bool,
    ) -> Self {
        let tables = families.iter().map(|family| (*family, Ruleset::default())).collect();
        let (udp, udp_changed) = (BTreeMap::new(), false);
        let checks = Checks::default();
        Self { kernel, watched, seen, health, checks, node, tables, udp, udp_changed, pod_network }
    }

    async fn follow(&mut self, min_sync_period: Duration, shutdown: &CancellationToken) {
        self.seen.mark(Owner::Base);
        let mut retry = MIN_RETRY;
        let mut failed = false;
        loop {
            // A table in doubt is not worth more than one attempt per retry period, whatever changes meanwhile.
            let wake = if failed { Some(Instant::now() + retry) } else { self.next_sweep() };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.seen.changed.notified(), if !failed => {}
                () = until(wake) => {}
            }
            // What comes in while we wait is written in the same transaction.
            tokio::time::sleep(min_sync_period).await;
            failed = !self.sync().await;
            retry = if failed { (retry * 2).min(MAX_RETRY) } else { MIN_RETRY };
        }
    }

    fn next_sweep(&self) -> Option<Instant> {
        self.tables.iter().filter_map(|(_, table)| table.next_sweep()).min()
    }

    async fn sync(&mut self) -> bool {
        let started = Instant::now();
        let dirty = self.take_dirty();
        dirty.iter().for_each(|owner| self.replan(owner));
        let full = self.tables.iter().any(|(_, table)| !table.is_in_kernel());
        let (changed, swept) = (self.commit(false).await, self.commit(true).await);
        if changed && swept {
            self.health.synced(full, started.elapsed());
            self.check(&dirty).await;
            tracing::debug!(objects = dirty.len(), full, took = ?started.elapsed(), "proxy rules written");
            self.forget_udp().await;
        }
        changed && swept
    }

    /// Changed objects; all of them when this node's place has changed.
    fn take_dirty(&mut self) -> BTreeSet<Owner> {
        let mut dirty = self.seen.take_dirty();
        if !dirty.contains(&Owner::Base) {
            return dirty;
        }
        let node = self.watched.node.list().into_iter().next();
        self.health.set_eligible(node.as_ref().is_none_or(|node| is_eligible(node)));
        let labels = node.as_ref().and_then(|n| n.metadata.labels.as_ref());
        let zone = labels.and_then(|labels| labels.get(ZONE)).cloned().unwrap_or_default();
        if zone != self.node.place.zone {
            self.node.place.zone = zone;
            dirty.extend(self.watched.services.list().iter().map(|s| {
                let meta = &s.metadata;
                Owner::Service(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
            }));
        }
        dirty
    }

    /// Health checks of services whose external traffic stays on the node.
    async fn check(&mut self, dirty: &BTreeSet<Owner>) {
        for owner in dirty {
            let Owner::Service(namespace, name) = owner else { continue };
            let key = ObjectKey { namespace: namespace.clone(), name: name.clone() };
            let kept = self.seen.slices_of(namespace, name);
            let slices: Vec<&EndpointSlice> = kept.iter().map(|s| &**s).collect();
            let service = self.watched.services.get(&key);
            let wanted = service.and_then(|s| plan::health_check(&s, &slices, &self.node.place));
            self.checks.set(&key, wanted, &self.health).await;
        }
    }

    fn replan(&mut self, owner: &Owner) {
        for (family, table) in &mut self.tables {
            let family = *family;
            let (fragment, udp) = match owner {
                Owner::Base => (plan::base(&self.node, family), Fronts::new()),
                Owner::Service(namespace, name) => {
                    let key = ObjectKey { namespace: namespace.clone(), name: name.clone() };
                    let kept = self.seen.slices_of(namespace, name);
                    let slices: Vec<&EndpointSlice> = kept.iter().map(|s| &**s).collect();
                    let service = self.watched.services.get(&key);
                    service.map_or_else(Default::default, |service| {
                        let udp = plan::udp_fronts(&service, &slices, &self.node, family);
                        (plan::service(&service, &slices, &self.node, family), udp)
                    })
                }
                Owner::Pod(namespace, name) => {
                    let key = ObjectKey { namespace: namespace.clone(), name: name.clone() };
                    let pod = self.watched.pods.as_ref().filter(|_| self.pod_network).and_then(|pods| pods.get(&key));
                    pod.map_or_else(Default::default, |pod| {
                        (plan::host_ports(&pod, family), plan::udp_host_ports(&pod, family))
                    })
                }
            };
            table.replace(owner, fragment);
            let slot = (family, owner.clone());
            if self.udp.get(&slot).cloned().unwrap_or_default() != udp {
                self.udp_changed = true;
                if udp.is_empty() { drop(self.udp.remove(&slot)) } else { drop(self.udp.insert(slot, udp)) }
            }
        }
    }

    /// Writes what changed, or deletes chains long out of use.
    async fn commit(&mut self, sweep: bool) -> bool {
        let now = Instant::now();
        let steps = |table: &Ruleset| if sweep { table.sweep(now) } else { table.steps() };
        let batch: Batch = self.tables.iter().map(|(family, table)| (*family, steps(table))).collect();
        match self.kernel.commit(batch).await {
            Ok(()) => {
                let done = |table: &mut Ruleset| if sweep { table.swept(now) } else { table.committed(now) };
                self.tables.iter_mut().for_each(|(_, table)| done(table));
                true
            }
            Err(cause) => {
                tracing::error!(%cause, "could not write proxy rules; the next attempt replaces the whole table");
                self.health.failed();
                self.tables.iter_mut().for_each(|(_, table)| table.doubt());
                false
            }
        }
    }

    async fn forget_udp(&mut self) {
        if !std::mem::take(&mut self.udp_changed) {
            return;
        }
        let of = |wanted: Family| {
            let mine = self.udp.iter().filter(move |((family, _), _)| *family == wanted);
            (wanted, mine.flat_map(|(_, fronts)| fronts.clone()).collect())
        };
        let fronts = self.tables.iter().map(|(family, _)| of(*family)).collect();
        match self.kernel.forget_udp(fronts).await {
            Ok(0) => {}
            Ok(flows) => tracing::info!(flows, "forgot UDP flows to endpoints that are gone"),
            Err(cause) => tracing::warn!(%cause, "could not clear stale UDP flows; clients may wait for a time-out"),
        }
    }
}

fn is_eligible(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
    let leaving = taints.into_iter().flatten().any(|taint| taint.key == "ToBeDeletedByClusterAutoscaler");
    !leaving && node.metadata.deletion_timestamp.is_none()
}

async fn until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant.into()).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
