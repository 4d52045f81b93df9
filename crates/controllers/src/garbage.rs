//! The garbage collector: what nobody owns any more goes, in the foreground, in the background, or is orphaned
//! (upstream `pkg/controller/garbagecollector`).
//!
//! One metadata informer per resource that can be listed, watched and deleted feeds the [`graph`]; before
//! anything is deleted the server itself is asked about the object and its owners. Resources are discovered anew
//! when definitions of custom resources or aggregated APIs change.

mod graph;

use crate::Context;
use crate::discovery;
use crate::write::gone_is_fine;
use graph::{FOREGROUND, Graph, Identity, Node, ORPHAN, OwnerState, Todo, Verdict, judge, waits_for_dependents};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kaji_client::informer::Informer;
use kaji_client::{Next, WorkQueue};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use parking_lot::{Mutex, RwLock};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

type Meta = PartialObjectMeta<DynamicObject>;

const WORKERS: usize = 20;
/// A definition's resource is served a moment after the definition changed.
const SETTLE: Duration = Duration::from_secs(1);
/// Discovery that failed is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Why an object could not be judged.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("request failed")]
    Request(#[from] kube::Error),
    #[error("no resource serves {kind} of {api_version}")]
    Unknown { api_version: String, kind: String },
}

pub(crate) async fn run(cx: Context) {
    let collector = Arc::new(Collector {
        cx,
        graph: Mutex::default(),
        resources: RwLock::default(),
        monitors: Mutex::default(),
        delete: WorkQueue::new(),
        orphan: WorkQueue::new(),
        rediscover: Notify::new(),
    });
    while let Err(error) = collector.discover().await {
        tracing::debug!(%error, "could not discover what to collect; trying again");
        tokio::time::sleep(SETTLE).await;
    }
    collector.synced().await;
    let (deleter, orphaner) = (collector.clone(), collector.clone());
    let delete = collector.delete.clone().run("garbage collector", WORKERS, move |uid| {
        let collector = deleter.clone();
        async move { collector.attempt_to_delete(&uid).await }
    });
    let orphan = collector.orphan.clone().run("orphaning", WORKERS, move |uid| {
        let collector = orphaner.clone();
        async move { collector.attempt_to_orphan(&uid).await }
    });
    tokio::join!(delete, orphan, collector.follow_definitions());
}

/// A resource by which objects of a kind are reached.
#[derive(Clone)]
struct Served {
    resource: ApiResource,
    namespaced: bool,
}

struct Collector {
    cx: Context,
    graph: Mutex<Graph>,
    /// By API version and kind.
    resources: RwLock<HashMap<(String, String), Served>>,
    /// By group and plural.
    monitors: Mutex<HashMap<(String, String), (ApiResource, Arc<Informer<Meta>>)>>,
    delete: Arc<WorkQueue<String>>,
    orphan: Arc<WorkQueue<String>>,
    rediscover: Notify,
}

// === following

impl Collector {
    /// Learns what is served and follows all of it that can be collected.
    async fn discover(self: &Arc<Self>) -> Result<(), kube::Error> {
        let found = discovery::resources(&self.cx.client).await?;
        let mut monitored = HashMap::new();
        {
            let mut resources = self.resources.write();
            resources.clear();
            for one in &found {
                let key = (one.resource.api_version.clone(), one.resource.kind.clone());
                resources.insert(key, Served { resource: one.resource.clone(), namespaced: one.namespaced });
            }
        }
        for one in found.into_iter().filter(|f| ["delete", "list", "watch"].iter().all(|v| f.can(v))) {
            // Events have no owners, and there are many.
            if one.resource.plural != "events" {
                monitored.insert((one.resource.group.clone(), one.resource.plural.clone()), one.resource);
            }
        }
        self.follow(monitored);
        Ok(())
    }

    fn follow(self: &Arc<Self>, wanted: HashMap<(String, String), ApiResource>) {
        let mut started = Vec::new();
        {
            let mut monitors = self.monitors.lock();
            monitors.retain(|key, (resource, _)| {
                let keep = wanted.get(key) == Some(resource);
                if !keep {
                    self.cx.informers.forget_metadata(resource);
                }
                keep
            });
            for (key, resource) in wanted {
                if let std::collections::hash_map::Entry::Vacant(free) = monitors.entry(key) {
                    let informer = self.cx.informers.metadata(&resource);
                    free.insert((resource.clone(), informer.clone()));
                    started.push((resource, informer));
                }
            }
        }
        for (resource, informer) in started {
            self.monitor(resource, &informer);
        }
    }

    fn monitor(self: &Arc<Self>, resource: ApiResource, informer: &Informer<Meta>) {
        let collector = Arc::downgrade(self);
        let defines = matches!(resource.plural.as_str(), "customresourcedefinitions" | "apiservices");
        informer.on_change(move |change| {
            let Some(collector) = collector.upgrade() else { return };
            let todo = match (&change.new, &change.old) {
                (Some(object), _) => {
                    collector.graph.lock().observe(identity(&resource, &object.metadata), &object.metadata)
                }
                (None, Some(object)) => {
                    collector.graph.lock().remove(object.metadata.uid.as_deref().unwrap_or_default())
                }
                (None, None) => Todo::default(),
            };
            collector.queue(todo);
            if defines {
                collector.rediscover.notify_one();
            }
        });
    }

    fn queue(&self, todo: Todo) {
        todo.delete.into_iter().for_each(|uid| self.delete.add(uid));
        todo.orphan.into_iter().for_each(|uid| self.orphan.add(uid));
    }

    /// Waits until every object is known, else owners would be looked for that are only late.
    async fn synced(&self) {
        let informers: Vec<_> = self.monitors.lock().values().map(|(_, informer)| informer.clone()).collect();
        let all = futures::future::join_all(informers.iter().map(|i| i.synced()));
        if tokio::time::timeout(RETRY, all).await.is_err() {
            tracing::debug!("some resources could not be listed; collecting without them");
        }
    }

    async fn follow_definitions(self: &Arc<Self>) {
        loop {
            self.rediscover.notified().await;
            tokio::time::sleep(SETTLE).await;
            while let Err(error) = self.discover().await {
                tracing::debug!(%error, "could not discover what to collect; trying again");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

fn identity(resource: &ApiResource, meta: &ObjectMeta) -> Identity {
    Identity {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

// === judging

impl Collector {
    async fn attempt_to_delete(&self, uid: &str) -> Result<Next, Error> {
        let Some(node) = self.graph.lock().get(uid).cloned() else { return Ok(Next::Done) };
        if node.being_deleted && !node.deleting_dependents {
            return Ok(Next::Done);
        }
        let Some(latest) = self.fetch(&node.identity, uid).await? else {
            let todo = self.graph.lock().remove(uid);
            self.queue(todo);
            return Ok(Next::Done);
        };
        if node.is_virtual {
            // It exists: its informer will show it, or it is of a resource that isn't followed.
            return Ok(Next::Done);
        }
        if node.deleting_dependents {
            return self.end_foreground(uid, &node, &latest).await;
        }
        let mut owners = Vec::new();
        for owner in latest.owner_references.iter().flatten() {
            owners.push((owner.uid.clone(), self.state_of(owner, &node.identity.namespace).await?));
        }
        match judge(&owners, !node.dependents.is_empty()) {
            Verdict::Keep => {}
            Verdict::Unreference(gone) => self.unreference(&node.identity, &latest, &gone).await?,
            Verdict::Foreground => {
                self.break_circle(uid, &node).await?;
                self.remove(&node.identity, &latest, DeleteParams::foreground()).await?;
            }
            Verdict::Delete => {
                let has = |name| latest.finalizers.iter().flatten().any(|f| f == name);
                let how = match () {
                    () if has(ORPHAN) => DeleteParams::orphan(),
                    () if has(FOREGROUND) => DeleteParams::foreground(),
                    () => DeleteParams::background(),
                };
                self.remove(&node.identity, &latest, how).await?;
            }
        }
        Ok(Next::Done)
    }

    /// Lets an owner go once nobody blocks it, else sees to those who do.
    async fn end_foreground(&self, uid: &str, node: &Node, latest: &ObjectMeta) -> Result<Next, Error> {
        let blocking = self.graph.lock().blocking(uid);
        if blocking.is_empty() {
            self.drop_finalizer(&node.identity, latest, FOREGROUND).await?;
            return Ok(Next::Done);
        }
        for dependent in blocking {
            let waits = self.graph.lock().get(&dependent).is_some_and(|d| d.deleting_dependents);
            if !waits {
                self.delete.add(dependent);
            }
        }
        Ok(Next::Done)
    }

    /// A dependent that itself waits would wait for ever if this object waited for it.
    async fn break_circle(&self, uid: &str, node: &Node) -> Result<(), Error> {
        let waits = |d: &String| self.graph.lock().get(d).is_some_and(|n| n.deleting_dependents);
        if !node.dependents.iter().any(waits) {
            return Ok(());
        }
        let Some(latest) = self.fetch(&node.identity, uid).await? else { return Ok(()) };
        let mut owners = latest.owner_references.clone().unwrap_or_default();
        owners.iter_mut().for_each(|o| o.block_owner_deletion = Some(false));
        self.patch(&node.identity, &latest, serde_json::json!({"ownerReferences": owners})).await
    }

    async fn state_of(&self, owner: &OwnerReference, namespace: &str) -> Result<OwnerState, Error> {
        let identity = Identity {
            api_version: owner.api_version.clone(),
            kind: owner.kind.clone(),
            namespace: namespace.to_owned(),
            name: owner.name.clone(),
        };
        Ok(match self.fetch(&identity, &owner.uid).await? {
            None => OwnerState::Absent,
            Some(meta) if waits_for_dependents(&meta) => OwnerState::Waiting,
            Some(_) => OwnerState::Solid,
        })
    }

    async fn attempt_to_orphan(&self, uid: &str) -> Result<Next, Error> {
        let Some(owner) = self.graph.lock().get(uid).cloned() else { return Ok(Next::Done) };
        for dependent in &owner.dependents {
            let Some(node) = self.graph.lock().get(dependent).cloned() else { continue };
            if let Some(latest) = self.fetch(&node.identity, dependent).await? {
                self.unreference(&node.identity, &latest, &[uid.to_owned()]).await?;
            }
        }
        if let Some(latest) = self.fetch(&owner.identity, uid).await? {
            self.drop_finalizer(&owner.identity, &latest, ORPHAN).await?;
        }
        Ok(Next::Done)
    }
}

// === requests

impl Collector {
    fn api(&self, identity: &Identity) -> Result<Api<DynamicObject>, Error> {
        let key = (identity.api_version.clone(), identity.kind.clone());
        let served = self.resources.read().get(&key).cloned();
        let served = served
            .or_else(|| self.served_otherwise(identity))
            .ok_or_else(|| Error::Unknown { api_version: key.0.clone(), kind: key.1.clone() })?;
        Ok(match served.namespaced {
            true => Api::namespaced_with(self.cx.client.clone(), &identity.namespace, &served.resource),
            false => Api::all_with(self.cx.client.clone(), &served.resource),
        })
    }

    /// References may name a version that isn't the preferred one.
    fn served_otherwise(&self, identity: &Identity) -> Option<Served> {
        let group = identity.api_version.rsplit_once('/').map_or("", |(group, _)| group);
        let resources = self.resources.read();
        let found = resources.values().find(|s| s.resource.group == group && s.resource.kind == identity.kind);
        found.cloned()
    }

    /// The object's metadata as the server has it; none: it is gone, or another of that name.
    async fn fetch(&self, identity: &Identity, uid: &str) -> Result<Option<ObjectMeta>, Error> {
        let api = self.api(identity)?;
        let found = api.get_metadata_opt(&identity.name).await?;
        Ok(found.map(|o| o.metadata).filter(|m| m.uid.as_deref() == Some(uid)))
    }

    async fn remove(&self, identity: &Identity, latest: &ObjectMeta, how: DeleteParams) -> Result<(), Error> {
        let preconditions =
            Preconditions { uid: latest.uid.clone(), resource_version: latest.resource_version.clone() };
        gone_is_fine(self.api(identity)?.delete(&identity.name, &how.preconditions(preconditions)).await)?;
        Ok(())
    }

    async fn unreference(&self, identity: &Identity, latest: &ObjectMeta, gone: &[String]) -> Result<(), Error> {
        let mut left = latest.owner_references.clone().unwrap_or_default();
        let before = left.len();
        left.retain(|owner| !gone.contains(&owner.uid));
        if left.len() == before {
            return Ok(());
        }
        self.patch(identity, latest, serde_json::json!({"ownerReferences": left})).await
    }

    async fn drop_finalizer(&self, identity: &Identity, latest: &ObjectMeta, name: &str) -> Result<(), Error> {
        let mut left = latest.finalizers.clone().unwrap_or_default();
        left.retain(|finalizer| finalizer != name);
        self.patch(identity, latest, serde_json::json!({"finalizers": left})).await
    }

    /// Changes metadata, provided nobody else did meanwhile.
    async fn patch(
        &self,
        identity: &Identity,
        latest: &ObjectMeta,
        mut change: serde_json::Value,
    ) -> Result<(), Error> {
        change["uid"] = serde_json::json!(latest.uid);
        change["resourceVersion"] = serde_json::json!(latest.resource_version);
        let patch = Patch::Merge(serde_json::json!({"metadata": change}));
        let api = self.api(identity)?;
        gone_is_fine(api.patch_metadata(&identity.name, &PatchParams::default(), &patch).await)?;
        Ok(())
    }
}
