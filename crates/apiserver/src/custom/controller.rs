//! Follows the definitions: names are given, resources served as long as their definition stands, and what is left of
//! a deleted definition's objects is cleared away.
//!
//! One task does all of it in the order of the changes, so that two definitions never get the same name. A resource
//! is served before its definition says that it is established, and until its definition is gone.

use super::names::Claim;
use super::source::Source;
use super::{Definition, Webhook, finalize, status};
use crate::backoff::Backoff;
use crate::cache::{Cache, Change, ChangeKind, Entry};
use crate::context::RequestContext;
use crate::registry::Mode;
use crate::remote::resolve::built_in;
use crate::server::Api;
use kaji_api::{GroupResource, ObjectKey, Status, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::mpsc;

pub(super) const DEFINITIONS: GroupResource = GroupResource::of("apiextensions.k8s.io", "customresourcedefinitions");

/// What the task knows.
pub(crate) struct Controller {
    api: Api,
    cx: RequestContext,
    definitions: Arc<Cache>,
    /// By name, in the order in which they were made, as far as names tell.
    claims: BTreeMap<String, Claim>,
    served: HashMap<String, Served>,
    /// Definitions to look at again.
    again: (mpsc::UnboundedSender<String>, mpsc::UnboundedReceiver<String>),
    clearing: HashMap<String, tokio::task::AbortHandle>,
    backoff: Backoff<(Work, String)>,
}

/// What can fail, and is tried again.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Work {
    /// All that a definition needs.
    Look,
    /// Clearing away its objects.
    Clear,
}

/// A resource in the table.
struct Served {
    group: &'static str,
    plural: &'static str,
    prefix: &'static str,
    source: Arc<Source>,
    /// Of what its rows were made of.
    mark: String,
    /// Of what decides what its cache holds.
    stored: String,
}

impl Controller {
    /// Serves what is established already.
    pub(crate) async fn start(api: &Api) -> Self {
        let mut controller = Controller {
            api: api.clone(),
            cx: RequestContext::system(),
            definitions: built_in(api.caches(), &DEFINITIONS.group, &DEFINITIONS.resource),
            claims: BTreeMap::new(),
            served: HashMap::new(),
            again: mpsc::unbounded_channel(),
            clearing: HashMap::new(),
            backoff: Backoff::default(),
        };
        let root = controller.definitions.root.clone();
        for entry in controller.definitions.snapshot(&root, &root).entries {
            let definition = entry.decode();
            if status::is_established(&definition) {
                controller.serve(&definition, &entry).await;
            }
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
        let definitions = self.definitions.clone();
        loop {
            let (snapshot, mut cursor) = definitions.snapshot_and_follow(&definitions.root);
            self.begin(&snapshot.entries).await;
            loop {
                tokio::select! {
                    changes = cursor.next() => match changes {
                        Ok(changes) => self.take(&changes).await,
                        // The cache started over: so does this.
                        Err(_) => break,
                    },
                    Some(name) = self.again.1.recv() => self.look(&name).await,
                }
            }
        }
    }

    async fn begin(&mut self, entries: &[Arc<Entry>]) {
        let names: BTreeSet<String> = entries.iter().map(|entry| self.name(entry)).collect();
        self.claims.retain(|name, _| names.contains(name));
        // All claims are known before the first name is given.
        for entry in entries {
            self.note(&entry.decode());
        }
        let gone: Vec<String> = self.served.keys().filter(|name| !names.contains(*name)).cloned().collect();
        for name in gone {
            self.withdraw(&name).await;
        }
        for name in names {
            self.look(&name).await;
        }
    }

    /// Notes what a definition claims, unless something newer is known of it: what was written a moment ago may not
    /// have come back yet. Says whether it is the newest.
    fn note(&mut self, definition: &Value) -> bool {
        let claim = Claim::of(definition);
        if self.claims.get(definition.name()).is_some_and(|known| known.revision > claim.revision) {
            return false;
        }
        self.claims.insert(definition.name().to_owned(), claim);
        true
    }

    fn name(&self, entry: &Entry) -> String {
        entry.names(&self.definitions.row).1.to_owned()
    }

    async fn take(&mut self, changes: &[Arc<Change>]) {
        for change in changes {
            let name = self.name(&change.entry);
            let before = self.claims.get(&name).cloned();
            match change.kind {
                ChangeKind::Put => self.look(&name).await,
                ChangeKind::Delete => {
                    self.claims.remove(&name);
                    self.withdraw(&name).await;
                }
            }
            let now = self.claims.get(&name);
            if let Some(before) = before.filter(|before| now.is_none_or(|now| before.has_freed(now))) {
                self.look_at_others(&before.group, &name).await;
            }
        }
    }

    /// Names have come free in a group.
    async fn look_at_others(&mut self, group: &str, except: &str) {
        let waits = |(name, claim): &(&String, &Claim)| *name != except && claim.group == group && claim.waits();
        for name in self.claims.iter().filter(waits).map(|(name, _)| name.clone()).collect::<Vec<_>>() {
            self.look(&name).await;
        }
    }

    /// Does what a definition needs.
    async fn look(&mut self, name: &str) {
        let Some(entry) = self.definitions.get(&self.definitions.key("", name)) else { return };
        let done = self.look_after(name, &entry).await;
        let failed = done.err().filter(|status| !matches!(status.code, 404 | 409));
        let Some(status) = failed else { return self.backoff.forget(&(Work::Look, name.to_owned())) };
        tracing::warn!(definition = name, %status, "could not look after a custom resource definition; trying again");
        let pause = self.backoff.failed((Work::Look, name.to_owned()));
        let (again, name) = (self.again.0.clone(), name.to_owned());
        tokio::spawn(async move {
            tokio::time::sleep(pause).await;
            // Nobody listens any more when the server stops.
            let _ = again.send(name);
        });
    }

    async fn look_after(&mut self, name: &str, entry: &Arc<Entry>) -> Result<(), Status> {
        let definition = entry.decode();
        if !self.note(&definition) {
            // It comes again.
            return Ok(());
        }
        let others = self
            .claims
            .iter()
            .filter(|(other, claim)| *other != name && definition["spec"]["group"].str() == claim.group);
        let named = status::named(&definition, others.map(|(_, claim)| claim));
        let named = self.tell(&definition, named).await?;
        let established = status::established(&named);
        if !status::is_established(&established) || self.serve(&established, entry).await {
            self.tell(&named, established).await?;
        }
        if definition.is_deleting() && finalize::is_due(&definition) {
            self.clear(name);
        }
        Ok(())
    }

    /// Writes the new status of a definition, if it is another, and gives the definition as it is then.
    async fn tell(&mut self, old: &Value, new: Value) -> Result<Value, Status> {
        if new["status"] == old["status"] {
            return Ok(new);
        }
        let change = |now: &Value| {
            let mut changed = now.clone();
            changed.set("status", new["status"].clone());
            // Another state would need another answer; it comes by itself.
            changed.set_meta("resourceVersion", old.resource_version());
            Ok(changed)
        };
        let key = ObjectKey::new("", old.name());
        let stored = self.api.update(Mode::Status, &self.cx, &DEFINITIONS, &key, &change).await?;
        self.note(&stored);
        Ok(stored)
    }

    /// Puts the resource into the table, or its new form in place of the old; says whether it is there.
    async fn serve(&mut self, definition: &Value, entry: &Arc<Entry>) -> bool {
        let name = definition.name();
        if finalize::is_built_in(definition) {
            // What is built in answers.
            return true;
        }
        let (mark, stored) = (Definition::mark(definition), Definition::stored_mark(definition));
        let known = self.served.get(name);
        if let Some(known) = known.filter(|known| known.mark == mark) {
            known.source.renew(entry.json.clone());
            return true;
        }
        let refills = known.is_none_or(|known| known.stored != stored);
        let source = Source::new(entry.json.clone());
        let rows = match Definition::of(definition, &source) {
            Ok(definition) => {
                let webhook = Webhook::of(&self.api, name, &definition.conversion).map(Arc::new);
                definition.rows(webhook.as_ref())
            }
            Err(why) => {
                tracing::error!(definition = name, %why, "cannot serve a custom resource");
                return false;
            }
        };
        let Some(row) = rows.iter().find(|row| row.version == row.storage.1) else {
            tracing::error!(definition = name, "cannot serve a custom resource: no version is the stored one");
            return false;
        };
        if refills && let Err(error) = self.api.caches().add(row.clone()).await {
            tracing::error!(definition = name, %error, "cannot serve a custom resource: its objects cannot be read");
            return false;
        }
        self.api.custom().replace(row.group, row.plural, &rows);
        let served = Served { group: row.group, plural: row.plural, prefix: row.prefix, source, mark, stored };
        self.served.insert(name.to_owned(), served);
        true
    }

    async fn withdraw(&mut self, name: &str) {
        if let Some(clearing) = self.clearing.remove(name) {
            clearing.abort();
        }
        self.backoff.forget(&(Work::Clear, name.to_owned()));
        let Some(served) = self.served.remove(name) else { return };
        self.api.custom().replace(served.group, served.plural, &[]);
        self.api.caches().remove(served.prefix).await;
    }

    /// Begins to clear away the objects of a definition that is being deleted, unless that is under way.
    fn clear(&mut self, name: &str) {
        if self.clearing.get(name).is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (api, again, key) = (self.api.clone(), self.again.0.clone(), name.to_owned());
        // If it fails, that is: else the definition is gone.
        let pause = self.backoff.failed((Work::Clear, name.to_owned()));
        let task = tokio::spawn(async move {
            if let Err(status) = finalize::clear(&api, &key).await {
                tracing::warn!(definition = key, %status, "could not clear away the objects of a definition; trying again");
                tokio::time::sleep(pause).await;
                let _ = again.send(key);
            }
        });
        self.clearing.insert(name.to_owned(), task.abort_handle());
    }
}
