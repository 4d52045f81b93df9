//! The scheduler: queue, snapshot, filter and score plugins, binding (upstream `pkg/scheduler`).
//!
//! One loop takes the most important pod that waits, looks at a snapshot of the nodes, and decides with pure
//! functions ([`decide`]); binding happens beside it. Pods that fit nowhere wait until something changes that
//! the plugins that refused them care about.

mod bind;
mod cycle;
mod decide;
mod evict;
mod groups;
mod nodes;
mod owners;
mod plugins;
mod preempt;
mod queue;
mod requests;

use bind::Binder;
use cycle::Cycle;
use decide::{Fit, NoFit, decide};
use evict::Evictor;
use futures::future::BoxFuture;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kaji_client::event::Recorder;
use kaji_client::informer::Change;
use kaji_client::{Client, Informers, ObjectKey};
use nodes::Nodes;
use owners::Owners;
use plugins::spread::preferred::Preferred;
use preempt::Room;
use queue::{Queue, Waiting, Wake};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What the scheduler is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name that pods ask for in `spec.schedulerName`.
    pub scheduler_name: String,
    /// Bindings under way at once.
    pub concurrent_bindings: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config { scheduler_name: "default-scheduler".to_owned(), concurrent_bindings: 64 }
    }
}

/// Why the scheduler ended.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The loop is gone.
    #[error("the scheduling loop ended")]
    Ended,
}

/// Schedules until shutdown.
///
/// Boxed, so that the part's code is generated in this crate, once, and not again in each that awaits it.
pub fn run(client: Client, config: Config, shutdown: CancellationToken) -> BoxFuture<'static, Result<(), Error>> {
    Box::pin(async move {
        let scheduler = Arc::new(Scheduler::new(client, config));
        scheduler.follow();
        scheduler.synced().await;
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            () = scheduler.flush() => Err(Error::Ended),
            () = scheduler.clone().schedule() => Err(Error::Ended),
        }
    })
}

struct Scheduler {
    config: Config,
    informers: Informers,
    owners: Owners,
    nodes: Arc<Nodes>,
    queue: Arc<Queue>,
    binder: Arc<Binder>,
    evictor: Arc<Evictor>,
}

impl Scheduler {
    fn new(client: Client, config: Config) -> Self {
        let nodes = Arc::new(Nodes::default());
        let queue = Arc::new(Queue::default());
        let recorder = Recorder::new(client.clone(), &config.scheduler_name, "");
        let evictor =
            Evictor::new(client.clone(), recorder.clone(), nodes.clone(), queue.clone(), &config.scheduler_name);
        let binder = Binder::new(client.clone(), recorder, nodes.clone(), queue.clone(), config.concurrent_bindings);
        let informers = Informers::new(client);
        let owners = Owners::follow(informers.clone());
        Scheduler { config, informers, owners, nodes, queue, binder: Arc::new(binder), evictor: Arc::new(evictor) }
    }

    /// Lets every change reach the snapshot, and wake the pods that wait for such a change.
    fn follow(self: &Arc<Self>) {
        let (nodes, queue, name) = (self.nodes.clone(), self.queue.clone(), self.config.scheduler_name.clone());
        self.informers.of::<Pod>().on_change(move |change| pod_changed(&nodes, &queue, &name, change));
        let (nodes, queue) = (self.nodes.clone(), self.queue.clone());
        self.informers.of::<Node>().on_change(move |change| {
            nodes.set_node(&change.key.name, change.new.clone());
            queue.wake(if change.old.is_none() { Wake::NodeAdded } else { Wake::NodeChanged });
        });
        let queue = self.queue.clone();
        self.informers.of::<PersistentVolumeClaim>().on_change(move |_| queue.wake(Wake::Volume));
        let queue = self.queue.clone();
        self.informers.of::<PersistentVolume>().on_change(move |_| queue.wake(Wake::Volume));
        self.informers.of::<Namespace>();
        self.informers.of::<PodDisruptionBudget>();
    }

    async fn synced(&self) {
        self.informers.of::<Pod>().synced().await;
        self.informers.of::<Node>().synced().await;
        self.informers.of::<PersistentVolumeClaim>().synced().await;
        self.informers.of::<PersistentVolume>().synced().await;
        self.informers.of::<Namespace>().synced().await;
        self.informers.of::<PodDisruptionBudget>().synced().await;
        self.owners.synced().await;
    }

    /// Pods that waited for five minutes are tried again, whatever happened.
    async fn flush(&self) {
        self.queue.flush().await;
    }

    async fn schedule(self: Arc<Self>) {
        let mut start = 0;
        loop {
            let waiting = self.queue.take().await;
            // The queue may be behind: what is bound or gone needs no decision.
            let Some(pod) = self.informers.of::<Pod>().get(&waiting.key).filter(|p| is_unassigned(p)) else { continue };
            if pod.metadata.uid.as_deref() != Some(&waiting.uid) || self.nodes.is_assumed(&waiting.uid) {
                continue;
            }
            match self.decide(&pod, &mut start) {
                Ok(Fit { node }) => {
                    let Some(permit) = self.binder.permit().await else { return };
                    self.nodes.assume(&pod, &node);
                    let binder = self.binder.clone();
                    tokio::spawn(async move { binder.bind(pod, node, waiting, permit).await });
                }
                Err((refusal, room)) => self.refused(pod, waiting, refusal, room),
            }
        }
    }

    /// Waits for the room that is being made, or for something to change.
    fn refused(&self, pod: Arc<Pod>, waiting: Waiting, mut refusal: NoFit, room: Room) {
        let nomination = match room {
            Room::Made(plan) => {
                let node = plan.node.clone();
                self.nodes.nominate(&pod, &node);
                self.evictor.evict(pod.clone(), plan);
                Some(node)
            }
            Room::Awaited(why) => {
                refusal.message.push_str(&format!(" preemption: {why}"));
                None
            }
            Room::None(why) => {
                self.nodes.nominate(&pod, "");
                refusal.message.push_str(&format!(" preemption: {why}"));
                Some(String::new())
            }
            Room::Nowhere => None,
        };
        self.binder.refused(pod, refusal, nomination, waiting);
    }

    fn decide(&self, pod: &Pod, start: &mut usize) -> Result<Fit, (NoFit, Room)> {
        let nodes = self.nodes.snapshot_for(pod);
        let volumes = plugins::volumes::Volumes {
            claims: self.informers.of::<PersistentVolumeClaim>(),
            volumes: self.informers.of::<PersistentVolume>(),
        };
        let namespaces = self.informers.of::<Namespace>();
        let labels = move |name: &str| {
            let namespace = namespaces.get(&ObjectKey::new("", name))?;
            Some(namespace.metadata.labels.clone().unwrap_or_default())
        };
        let spec = nodes::spec_of(pod);
        let demands = volumes.demands(pod, spec);
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let belonging = || self.owners.selector_of(pod);
        let preferred = Preferred::new(pod, spec, belonging, |selector| self.nodes.counts(namespace, selector));
        let mut cycle = Cycle::new(pod, &nodes, &labels, demands).preferring(preferred);
        decide(&cycle, start).map_err(|refusal| {
            let budgets = || self.informers.of::<PodDisruptionBudget>().list();
            let room = preempt::make_room(&mut cycle, &refusal.crowded, budgets);
            (refusal, room)
        })
    }
}

/// Not bound, not finished, not going away.
fn is_unassigned(pod: &Pod) -> bool {
    nodes::node_of(pod).is_empty() && !nodes::is_finished(pod) && pod.metadata.deletion_timestamp.is_none()
}

fn pod_changed(nodes: &Nodes, queue: &Queue, scheduler: &str, change: &Change<Pod>) {
    let uid = |p: &Pod| p.metadata.uid.clone().unwrap_or_default();
    match &change.new {
        Some(pod) if !nodes::node_of(pod).is_empty() => {
            let was_waiting = change.old.as_ref().is_none_or(|old| nodes::node_of(old).is_empty());
            nodes.set_pod(pod);
            if nodes::is_finished(pod) {
                queue.wake(Wake::PodRemoved);
            } else if was_waiting {
                queue.remove(&uid(pod));
                queue.wake(Wake::PodAdded);
            } else if change.old.as_ref().is_some_and(|old| old.metadata.labels != pod.metadata.labels) {
                queue.wake(Wake::PodAdded);
            }
        }
        Some(pod) if is_unassigned(pod) => {
            let spec = nodes::spec_of(pod);
            let ours = spec.scheduler_name.as_deref().unwrap_or("default-scheduler") == scheduler;
            let gated = spec.scheduling_gates.as_ref().is_some_and(|g| !g.is_empty());
            // Our own status writes come back too; they are no reason to try again.
            let news = change
                .old
                .as_ref()
                .is_none_or(|old| old.spec != pod.spec || old.metadata.labels != pod.metadata.labels);
            let nomination = nodes::nomination_of(pod);
            if change.old.as_ref().map_or("", |old| nodes::nomination_of(old)) != nomination {
                nodes.nominate(pod, nomination);
            }
            if ours && !gated && news {
                queue.add(change.key.clone(), &uid(pod), spec.priority.unwrap_or_default(), Timestamp::now());
            }
        }
        Some(pod) => {
            queue.remove(&uid(pod));
            nodes.remove_pod(&uid(pod));
        }
        None => {
            let Some(old) = &change.old else { return };
            queue.remove(&uid(old));
            nodes.remove_pod(&uid(old));
            if !nodes::node_of(old).is_empty() || !nodes::nomination_of(old).is_empty() {
                queue.wake(Wake::PodRemoved);
            }
        }
    }
}
