//! Follows the definitions: names are given, resources served as long as their definition stands, and what is left of
//! a deleted definition's objects is cleared away.
//!
//! One task does all of it in the order of the changes, so that two definitions never get the same name. A resource
//! is served before its definition says that it is established, and until its definition is gone.

use super::{Definition, Webhook, finalize, names};
use crate::context::RequestContext;
use crate::server::{Api, Changed};
use kaji_api::{GroupResource, ObjectKey, Status, Value, codec};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

pub(super) const DEFINITIONS: GroupResource = GroupResource::of("apiextensions.k8s.io", "customresourcedefinitions");
/// Pause before a definition that could not be looked after is looked at again.
const RETRY: Duration = Duration::from_secs(1);

/// What the task knows.
pub(crate) struct Controller {
    api: Api,
    cx: RequestContext,
    /// By name, in the order in which they were made, as far as names tell.
    definitions: BTreeMap<String, Value>,
    served: HashMap<String, Served>,
    /// Definitions to look at again.
    again: (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>),
    clearing: HashMap<String, tokio::task::AbortHandle>,
}

/// A resource in the table.
struct Served {
    group: &'static str,
    plural: &'static str,
    prefix: &'static str,
    /// What its rows were made of.
    shown: Vec<u8>,
    /// What its cache was filled by.
    stored: Vec<u8>,
}

impl Controller {
    /// Serves what is established already.
    pub(crate) async fn start(api: &Api) -> Self {
        let mut controller = Controller {
            api: api.clone(),
            cx: RequestContext::system(),
            definitions: BTreeMap::new(),
            served: HashMap::new(),
            again: mpsc::unbounded_channel(),
            clearing: HashMap::new(),
        };
        for definition in api.list_cached(&DEFINITIONS, "").into_iter().filter(names::is_established) {
            controller.serve(&definition).await;
        }
        controller
    }

    /// Follows the definitions until the server stops.
    pub(crate) async fn run(mut self) {
        let stopped = self.api.stopped().clone();
        tokio::select! {
            () = stopped.cancelled() => {}
            () = self.follow() => {}
        }
    }

    async fn follow(&mut self) {
        loop {
            let Some((objects, mut changes)) = self.api.subscribe(&DEFINITIONS) else { return };
            self.begin(objects).await;
            loop {
                tokio::select! {
                    changes = changes.next() => match changes {
                        Some(changes) => self.take(changes).await,
                        // The cache started over: so does this.
                        None => break,
                    },
                    Some(name) = self.again.1.recv() => self.look(&name).await,
                }
            }
        }
    }

    async fn begin(&mut self, objects: Vec<Value>) {
        let now: BTreeMap<String, Value> = objects.into_iter().map(|o| (o.name().to_owned(), o)).collect();
        let gone: Vec<String> = self.served.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
        self.definitions = now;
        for name in gone {
            self.withdraw(&name).await;
        }
        for name in self.definitions.keys().cloned().collect::<Vec<_>>() {
            self.look(&name).await;
        }
    }

    async fn take(&mut self, changes: Vec<Changed>) {
        for changed in changes {
            let name = changed.key.name;
            let group = match changed.object {
                Some(object) => {
                    let old = self.definitions.insert(name.clone(), object);
                    self.look(&name).await;
                    let freed = |old: &Value| {
                        old["status"]["acceptedNames"] != self.definitions[&name]["status"]["acceptedNames"]
                    };
                    old.filter(freed).map(|old| old["spec"]["group"].str().to_owned())
                }
                None => {
                    self.withdraw(&name).await;
                    self.definitions.remove(&name).map(|old| old["spec"]["group"].str().to_owned())
                }
            };
            if let Some(group) = group {
                self.look_at_others(&group, &name).await;
            }
        }
    }

    /// Names have come free in a group.
    async fn look_at_others(&mut self, group: &str, except: &str) {
        let waits = |(name, d): &(&String, &Value)| {
            *name != except && d["spec"]["group"].str() == group && d["spec"]["names"] != d["status"]["acceptedNames"]
        };
        for name in self.definitions.iter().filter(waits).map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.look(&name).await;
        }
    }

    /// Does what a definition needs.
    async fn look(&mut self, name: &str) {
        let Some(definition) = self.definitions.get(name).cloned() else { return };
        if let Err(status) = self.look_after(&definition).await
            && !matches!(status.code, 404 | 409)
        {
            tracing::warn!(definition = name, %status, "could not look after a custom resource definition; trying again");
            let (again, name) = (self.again.0.clone(), name.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(RETRY).await;
                // Nobody listens any more when the server stops.
                let _ = again.send(name);
            });
        }
    }

    async fn look_after(&mut self, definition: &Value) -> Result<(), Status> {
        let mut wanted = definition.clone();
        if let Some(status) = names::status(definition, &self.others(definition)) {
            wanted.set("status", status);
        }
        if names::is_established(&wanted) {
            self.serve(&wanted).await;
        }
        if wanted["status"] != definition["status"] {
            let status = wanted["status"].clone();
            let key = ObjectKey::new("", definition.name());
            let resource_version = definition.resource_version().to_owned();
            let change = move |old: &Value| {
                let mut new = old.clone();
                new.set("status", status.clone());
                // Another state would need another answer; it comes by itself.
                new.set_meta("resourceVersion", resource_version.as_str());
                Ok(new)
            };
            let stored = self.api.update_status(&self.cx, &DEFINITIONS, &key, &change).await?;
            self.definitions.insert(stored.name().to_owned(), stored);
        }
        if definition.is_deleting() && finalize::is_due(definition) {
            self.clear(definition);
        }
        Ok(())
    }

    fn others(&self, definition: &Value) -> Vec<Value> {
        let same = |d: &&Value| d.name() != definition.name() && d["spec"]["group"] == definition["spec"]["group"];
        self.definitions.values().filter(same).cloned().collect()
    }

    /// Puts the resource into the table, or its new form in place of the old.
    async fn serve(&mut self, definition: &Value) {
        let name = definition.name().to_owned();
        let (shown, stored) = fingerprints(definition);
        let known = self.served.get(&name);
        if known.is_some_and(|known| known.shown == shown) {
            return;
        }
        let refills = known.is_none_or(|known| known.stored != stored);
        let rows = match Definition::compile(definition) {
            Ok(compiled) => {
                let webhook = Webhook::of(&self.api, &compiled.conversion).map(Arc::new);
                compiled.rows(definition.is_deleting(), webhook.as_ref())
            }
            Err(why) => return tracing::error!(definition = name, why = chain(&why), "cannot serve a custom resource"),
        };
        let Some(row) = rows.iter().find(|row| row.version == row.storage.1) else {
            return tracing::error!(definition = name, "cannot serve a custom resource: no version is the stored one");
        };
        if refills && let Err(error) = self.api.caches().add(row.clone()).await {
            tracing::error!(definition = name, %error, "cannot serve a custom resource: its objects cannot be read");
            return;
        }
        self.api.custom().replace(row.group, row.plural, &rows);
        let served = Served { group: row.group, plural: row.plural, prefix: row.prefix, shown, stored };
        self.served.insert(name, served);
    }

    async fn withdraw(&mut self, name: &str) {
        if let Some(clearing) = self.clearing.remove(name) {
            clearing.abort();
        }
        let Some(served) = self.served.remove(name) else { return };
        self.api.custom().replace(served.group, served.plural, &[]);
        self.api.caches().remove(served.prefix).await;
    }

    /// Begins to clear away the objects of a definition that is being deleted, unless that is under way.
    fn clear(&mut self, definition: &Value) {
        let name = definition.name().to_owned();
        if self.clearing.get(&name).is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (api, again, key) = (self.api.clone(), self.again.0.clone(), name.clone());
        let task = tokio::spawn(async move {
            if let Err(status) = finalize::clear(&api, &key).await {
                tracing::warn!(definition = key, %status, "could not clear away the objects of a definition; trying again");
                tokio::time::sleep(RETRY).await;
                let _ = again.send(key);
            }
        });
        self.clearing.insert(name, task.abort_handle());
    }
}

/// What rows are made of, and the part of it that decides what the cache holds.
fn fingerprints(definition: &Value) -> (Vec<u8>, Vec<u8>) {
    let (mut shown, mut stored) = (Vec::new(), Vec::new());
    codec::write_json(&definition["spec"]["versions"], &mut stored);
    codec::write_json(&definition["spec"]["conversion"], &mut stored);
    stored.extend_from_slice(definition.uid().as_bytes());
    shown.extend_from_slice(&stored);
    codec::write_json(&definition["status"]["acceptedNames"], &mut shown);
    shown.push(u8::from(definition.is_deleting()));
    (shown, stored)
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
