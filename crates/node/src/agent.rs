//! One node's agent: what its pods share, and who brings news to them.

pub(crate) mod housekeeping;
pub(crate) mod log_rotation;
pub(crate) mod statuses;

use crate::cgroup::Cgroups;
use crate::config::Config;
use crate::objects::Objects;
use crate::pod::worker::{self, Desired};
use crate::pod::{Facts, uid};
use crate::runtime::{Event, PodView, Runtime};
use crate::volume::Volumes;
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kaji_client::event::Recorder;
use kaji_client::informer::{Change, Informer};
use parking_lot::{Mutex, RwLock};
use statuses::Statuses;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

struct Handle {
    desired: watch::Sender<Desired>,
    wake: Arc<Notify>,
}

/// What is told to an agent at its making.
pub(crate) struct Parts {
    pub(crate) config: Arc<Config>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) volumes: Arc<dyn Volumes>,
    pub(crate) objects: Arc<Objects>,
    pub(crate) recorder: Recorder,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) services: Option<Arc<Informer<Service>>>,
    pub(crate) cgroups: Option<Cgroups>,
    pub(crate) facts: Facts,
    pub(crate) shutdown: CancellationToken,
    pub(crate) simulated: bool,
}

/// One node's agent.
pub(crate) struct Agent {
    pub(crate) config: Arc<Config>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) volumes: Arc<dyn Volumes>,
    pub(crate) objects: Arc<Objects>,
    pub(crate) recorder: Recorder,
    pub(crate) statuses: Arc<Statuses>,
    pub(crate) cgroups: Option<Cgroups>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) pull_turn: Semaphore,
    services: Option<Arc<Informer<Service>>>,
    facts: RwLock<Arc<Facts>>,
    node: RwLock<Option<Arc<Node>>>,
    network_problem: RwLock<Option<String>>,
    pods: Mutex<HashMap<String, Handle>>,
    admitted: Mutex<HashSet<String>>,
    /// Sandboxes and containers to pods.
    ids: Mutex<HashMap<String, String>>,
    workers: TaskTracker,
    simulated: bool,
}

impl Agent {
    pub(crate) fn new(parts: Parts) -> Self {
        Agent {
            config: parts.config,
            runtime: parts.runtime,
            volumes: parts.volumes,
            objects: parts.objects,
            recorder: parts.recorder,
            statuses: parts.statuses,
            cgroups: parts.cgroups,
            shutdown: parts.shutdown,
            pull_turn: Semaphore::new(1),
            services: parts.services,
            facts: RwLock::new(Arc::new(parts.facts)),
            node: RwLock::default(),
            network_problem: RwLock::default(),
            pods: Mutex::default(),
            admitted: Mutex::default(),
            ids: Mutex::default(),
            workers: TaskTracker::new(),
            simulated: parts.simulated,
        }
    }

    /// Nothing real is below: no processes, no network, no files.
    pub(crate) fn is_simulated(&self) -> bool {
        self.simulated
    }

    pub(crate) fn facts(&self) -> Arc<Facts> {
        self.facts.read().clone()
    }

    /// The node as the API has it.
    pub(crate) fn node(&self) -> Option<Arc<Node>> {
        self.node.read().clone()
    }

    /// Takes in the node as the API has it.
    pub(crate) fn set_node(&self, node: Arc<Node>) {
        *self.node.write() = Some(node);
    }

    pub(crate) fn services(&self) -> Vec<Arc<Service>> {
        self.services.as_ref().map(|services| services.list()).unwrap_or_default()
    }

    pub(crate) fn network_problem(&self) -> Option<String> {
        self.network_problem.read().clone()
    }

    /// Takes in whether the network is ready; pods that waited for it go on.
    pub(crate) fn set_network_problem(&self, problem: Option<String>) {
        let changed = std::mem::replace(&mut *self.network_problem.write(), problem.clone()) != problem;
        if changed {
            self.wake_all();
        }
    }

    // Pods

    /// Takes in a change of a pod of this node.
    pub(crate) fn on_change(self: &Arc<Self>, change: &Change<Pod>) {
        if let Some(old) = &change.old
            && change.new.as_ref().is_none_or(|new| uid(new) != uid(old))
        {
            self.mark_gone(uid(old), old);
        }
        if let Some(new) = &change.new {
            self.take(new.clone());
        }
    }

    fn take(self: &Arc<Self>, pod: Arc<Pod>) {
        let id = uid(&pod).to_owned();
        let mut pods = self.pods.lock();
        if let Some(handle) = pods.get(&id) {
            handle.desired.send_modify(|desired| desired.pod = pod);
            return;
        }
        let (desired, watched) = watch::channel(Desired { pod, gone: false });
        let wake = Arc::new(Notify::new());
        self.workers.spawn(worker::run(self.clone(), watched, wake.clone()));
        pods.insert(id, Handle { desired, wake });
    }

    fn mark_gone(&self, id: &str, _last: &Arc<Pod>) {
        if let Some(handle) = self.pods.lock().get(id) {
            handle.desired.send_modify(|desired| desired.gone = true);
        }
    }

    /// Starts a worker that only cleans up after a pod that the API does not know.
    pub(crate) fn clear_away(self: &Arc<Self>, pod: Pod) {
        let id = uid(&pod).to_owned();
        self.take(Arc::new(pod));
        if let Some(handle) = self.pods.lock().get(&id) {
            handle.desired.send_modify(|desired| desired.gone = true);
        }
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.pods.lock().contains_key(id)
    }

    /// The pods as the API has them.
    pub(crate) fn pods(&self) -> Vec<Arc<Pod>> {
        self.pods.lock().values().map(|handle| handle.desired.borrow().pod.clone()).collect()
    }

    /// A pod by name.
    pub(crate) fn pod(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let same = |pod: &Arc<Pod>| {
            pod.metadata.namespace.as_deref() == Some(namespace) && pod.metadata.name.as_deref() == Some(name)
        };
        self.pods().into_iter().filter(same).max_by_key(|pod| pod.metadata.creation_timestamp.clone().map(|t| t.0))
    }

    pub(crate) fn wake(&self, id: &str) {
        if let Some(handle) = self.pods.lock().get(id) {
            handle.wake.notify_one();
        }
    }

    pub(crate) fn wake_all(&self) {
        self.pods.lock().values().for_each(|handle| handle.wake.notify_one());
    }

    /// The pods that hold resources of the node, besides one.
    pub(crate) fn admitted_besides(&self, id: &str) -> Vec<Arc<Pod>> {
        let admitted = self.admitted.lock().clone();
        self.pods().into_iter().filter(|pod| uid(pod) != id && admitted.contains(uid(pod))).collect()
    }

    pub(crate) fn admitted(&self, id: &str) {
        self.admitted.lock().insert(id.to_owned());
    }

    /// The pod holds no resources any more.
    pub(crate) fn retired(&self, id: &str) {
        self.admitted.lock().remove(id);
    }

    /// Nothing of the pod is left.
    pub(crate) fn forget(&self, id: &str) {
        self.pods.lock().remove(id);
        self.admitted.lock().remove(id);
        self.ids.lock().retain(|_, pod| pod != id);
        self.statuses.forget(id);
        self.objects.release(id);
    }

    // Runtime

    /// Takes note of whose a sandbox or container is.
    pub(crate) fn remember(&self, id: &str, pod: &str) {
        self.ids.lock().insert(id.to_owned(), pod.to_owned());
    }

    pub(crate) fn remember_view(&self, pod: &str, view: &PodView) {
        let mut ids = self.ids.lock();
        let seen = view.sandboxes.iter().map(|sandbox| &sandbox.id).chain(view.containers.iter().map(|c| &c.id));
        for id in seen {
            if !ids.contains_key(id) {
                ids.insert(id.clone(), pod.to_owned());
            }
        }
    }

    /// Brings events of the runtime to the pods they concern, until shutdown.
    pub(crate) async fn follow_runtime(self: Arc<Self>) {
        let (sender, mut events) = tokio::sync::mpsc::channel(1024);
        let runtime = self.runtime.clone();
        let source = tokio::spawn(async move { runtime.follow(sender).await });
        let shutdown = self.shutdown.clone();
        let work = async {
            while let Some(event) = events.recv().await {
                match event {
                    Event::Ended(id) => {
                        let pod = self.ids.lock().get(&id).cloned();
                        if let Some(pod) = pod {
                            self.wake(&pod);
                        }
                    }
                    Event::Missed => self.wake_all(),
                }
            }
        };
        tokio::select! {
            () = work => {}
            () = shutdown.cancelled() => {}
        }
        source.abort();
    }

    /// Returns once all workers have noticed the shutdown.
    pub(crate) async fn stopped(&self) {
        self.workers.close();
        self.workers.wait().await;
    }
}
