//! DELETE of one object and of a collection: preconditions, grace, finalizers, propagation
//! (apiserver `registry/rest/delete.go` and `registry/generic/registry/store.go`).

use super::options::DeleteOptions;
use super::{Phase, Scope, Selection, Written, options::ListOptions};
use crate::admission::Operation;
use crate::cache::{Entry, now_rfc3339, to_stored};
use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use kaji_api::{Status, Value};
use std::sync::Arc;
use std::time::Duration;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
const ATTEMPTS: usize = 100;
/// Deletions of a collection under way at once; the store commits them together.
const WORKERS: usize = 16;

/// Resources whose deletion answers with the object instead of a `Status`.
const RETURNED: &[(&str, &str)] = &[
    ("", "resourcequotas"),
    ("", "persistentvolumes"),
    ("", "serviceaccounts"),
    ("", "persistentvolumeclaims"),
    ("", "namespaces"),
    ("", "pods"),
    ("", "services"),
    ("", "podtemplates"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "volumeattributesclasses"),
    ("resource.k8s.io", "resourceclaimtemplates"),
    ("resource.k8s.io", "resourceslices"),
    ("resource.k8s.io", "resourceclaims"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "devicetaintrules"),
];

/// What a deletion came to.
pub(crate) enum Deleted {
    /// It is gone.
    Gone(Arc<Entry>),
    /// It will be: this is its state until then.
    Pending(Arc<Entry>),
    /// Its deletion is already under way; nothing changed.
    Already(Arc<Entry>),
}

impl Deleted {
    /// The object's last state.
    pub(crate) fn entry(&self) -> &Arc<Entry> {
        match self {
            Deleted::Gone(e) | Deleted::Pending(e) | Deleted::Already(e) => e,
        }
    }
}

/// What to do with the object as it is.
enum Step {
    Remove,
    Mark(Box<Value>),
    Nothing,
}

impl Scope<'_> {
    /// Deletes the object, or begins to.
    pub(crate) async fn delete(&self, options: &DeleteOptions) -> Result<Deleted, Status> {
        self.delete_if(options, true).await
    }

    /// The same for what admission has agreed to already, in another form.
    pub(crate) async fn delete_admitted(&self, options: &DeleteOptions) -> Result<Deleted, Status> {
        self.delete_if(options, false).await
    }

    async fn delete_if(&self, options: &DeleteOptions, ask: bool) -> Result<Deleted, Status> {
        let mut current = Some(self.get("").await?);
        for _ in 0..ATTEMPTS {
            let Some(entry) = current else { return Err(self.not_found()) };
            let mut object = self.in_storage_version(&entry).await?;
            self.check_delete_preconditions(options, &object)?;
            if ask {
                self.admit_delete(options, &object).await?;
            }
            let step = match self.is_namespaces() {
                true => namespace_step(options, &mut object),
                false => self.step(options, &mut object),
            };
            let written = match step {
                Step::Nothing => return Ok(Deleted::Already(entry)),
                Step::Remove => self.end(&entry, &object).await?,
                Step::Mark(marked) => self.mark(&entry, *marked).await?,
            };
            match written {
                Ok(deleted) => return Ok(deleted),
                Err(found) => current = found,
            }
        }
        Err(self.conflict(super::STALE))
    }

    /// 409 when uid or resourceVersion of the options don't match.
    pub(crate) fn check_delete_preconditions(&self, options: &DeleteOptions, object: &Value) -> Result<(), Status> {
        let record = (object.uid(), object.resource_version());
        if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != record.0) {
            return Err(self.precondition(&format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have \
                 been deleted and then recreated",
                record.0
            )));
        }
        if let Some(rv) = options.resource_version.as_deref().filter(|rv| *rv != record.1) {
            return Err(self.precondition(&format!(
                "the ResourceVersion in the precondition ({rv}) does not match the ResourceVersion in record ({}). \
                 The object might have been modified",
                record.1
            )));
        }
        Ok(())
    }

    fn precondition(&self, why: &str) -> Status {
        // Upstream names the kind here where everything else names the resource.
        let kind = kaji_api::GroupResource { group: self.row.group.into(), resource: self.row.kind.into() };
        Status::conflict(&kind, self.name, why)
    }

    async fn admit_delete(&self, options: &DeleteOptions, object: &Value) -> Result<(), Status> {
        let mut none = Value::Null;
        self.admit_with(Phase::Mutate, Operation::Delete, &mut none, object, Some(options)).await?;
        self.admit_with(Phase::Validate, Operation::Delete, &mut none, object, Some(options)).await
    }

    fn step(&self, options: &DeleteOptions, object: &mut Value) -> Step {
        let before = object.clone();
        let asked = options.grace.map(|g| if g < 0 { 1 } else { g });
        if !object.is_deleting() {
            self.strategy().begin_deletion(object);
        }
        let graceful = match object.is_deleting() {
            true => match shorten_grace(object, asked) {
                Grace::Pending => return Step::Nothing,
                Grace::Shortened(seconds) => Some(seconds),
                Grace::None => None,
            },
            false => self.strategy().grace(object, asked).inspect(|seconds| begin_grace(object, *seconds)),
        };
        self.set_propagation(options, object);
        let finalizers = !object["metadata"]["finalizers"].items().is_empty();
        match graceful {
            Some(seconds) if seconds > 0 => {}
            _ if !finalizers => return Step::Remove,
            Some(_) => {}
            None => mark_deleting(object),
        }
        match *object == before {
            true => Step::Nothing,
            false => Step::Mark(Box::new(object.clone())),
        }
    }

    /// Sets or clears the finalizers that stand for the propagation asked for.
    fn set_propagation(&self, options: &DeleteOptions, object: &mut Value) {
        let had = |name: &str| object["metadata"]["finalizers"].items().iter().any(|f| f.str() == name);
        let (orphan, foreground) = match (options.orphan, options.propagation.as_deref()) {
            (Some(orphan), _) => (orphan, false),
            (None, Some("Orphan")) => (true, false),
            (None, Some("Foreground")) => (false, true),
            (None, Some(_)) => (false, false),
            (None, None) => {
                let first = object["metadata"]["finalizers"].items().iter().map(Value::str);
                match first.into_iter().find(|f| matches!(*f, ORPHAN | FOREGROUND)) {
                    Some(f) => (f == ORPHAN, f == FOREGROUND),
                    None => (self.strategy().default_propagation() == ORPHAN, false),
                }
            }
        };
        if had(ORPHAN) != orphan || had(FOREGROUND) != foreground {
            set_finalizers(object, orphan, foreground);
        }
    }

    async fn end(&self, entry: &Arc<Entry>, object: &Value) -> Result<Result<Deleted, Option<Arc<Entry>>>, Status> {
        if self.cx.dry_run {
            return Ok(Ok(Deleted::Gone(entry.clone())));
        }
        Ok(match self.remove(entry).await? {
            Written::Yes(last) => {
                self.strategy().release(self.api, object, None).await;
                Ok(Deleted::Gone(last))
            }
            Written::No(found) => Err(found),
        })
    }

    async fn mark(&self, entry: &Arc<Entry>, mut marked: Value) -> Result<Result<Deleted, Option<Arc<Entry>>>, Status> {
        self.ty().normalize(&mut marked);
        let stored = to_stored(&marked);
        if self.cx.dry_run {
            return Ok(Ok(Deleted::Pending(self.dry(&entry.key, &stored, entry.revision))));
        }
        Ok(match self.put(&entry.key, stored, entry.revision).await? {
            Written::Yes(entry) => Ok(Deleted::Pending(entry)),
            Written::No(found) => Err(found),
        })
    }

    /// The answer to a deletion: the object or a `Status`, as upstream has it for each resource.
    pub(crate) fn deletion_answer(&self, deleted: &Deleted) -> Option<Value> {
        let returned = RETURNED.contains(&(self.stored.group, self.stored.plural));
        if returned || matches!(deleted, Deleted::Pending(_)) {
            return None;
        }
        let object = deleted.entry().decode();
        let mut details = Value::object();
        details.set("name", object.name());
        if !self.row.group.is_empty() {
            details.set("group", self.row.group);
        }
        details.set("kind", self.row.plural);
        details.set("uid", object.uid());
        let mut status = kaji_api::value!({"kind": "Status", "apiVersion": "v1"});
        status.set("metadata", Value::object());
        status.set("status", "Success");
        status.set("details", details);
        Some(status)
    }

    /// Deletes all that is selected; gives what was selected.
    pub(crate) async fn delete_collection(
        &self,
        list: &ListOptions,
        selection: &Selection,
        options: &DeleteOptions,
    ) -> Result<super::Listed, Status> {
        let listed = self.list(list, selection).await?;
        let mut running = FuturesUnordered::new();
        for entry in &listed.entries {
            if running.len() == WORKERS {
                running.next().await.unwrap_or(Ok(()))?;
            }
            running.push(self.delete_listed(entry, options).boxed());
        }
        while let Some(deleted) = running.next().await {
            deleted?;
        }
        drop(running);
        Ok(listed)
    }

    /// Deletes one of a collection; gone already is as good.
    async fn delete_listed(&self, entry: &Entry, options: &DeleteOptions) -> Result<(), Status> {
        let (namespace, name) = entry.names(&self.stored);
        match self.named(namespace, name).delete(options).await {
            Err(status) if status.code != 404 => Err(status),
            _ => Ok(()),
        }
    }
}

enum Grace {
    /// Already being deleted with no more time than asked.
    Pending,
    Shortened(i64),
    /// Nothing to wait for.
    None,
}

/// A second deletion may shorten the time of the first, never lengthen it.
fn shorten_grace(object: &mut Value, asked: Option<i64>) -> Grace {
    let running = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
    if running <= 0 {
        return Grace::None;
    }
    let Some(asked) = asked.filter(|asked| *asked < running) else { return Grace::Pending };
    let now = jiff::Timestamp::now();
    let until: jiff::Timestamp = object.meta("deletionTimestamp").parse().unwrap_or(now);
    let moved = until - Duration::from_secs((running - asked).unsigned_abs());
    let (until, seconds) = if moved < now { (now, asked.min(1)) } else { (moved, asked) };
    object.set_meta("deletionTimestamp", until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    object.set_meta("deletionGracePeriodSeconds", seconds);
    Grace::Shortened(seconds)
}

fn begin_grace(object: &mut Value, seconds: i64) {
    let until = jiff::Timestamp::now() + Duration::from_secs(seconds.unsigned_abs());
    object.set_meta("deletionTimestamp", until.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    object.set_meta("deletionGracePeriodSeconds", seconds);
    raise_generation(object);
}

fn mark_deleting(object: &mut Value) {
    if !object.is_deleting() {
        raise_generation(object);
        object.set_meta("deletionTimestamp", now_rfc3339());
    }
    object.set_meta("deletionGracePeriodSeconds", 0);
}

fn raise_generation(object: &mut Value) {
    if let Some(generation) = object["metadata"]["generation"].as_i64().filter(|g| *g > 0) {
        object.set_meta("generation", generation + 1);
    }
}

fn set_finalizers(object: &mut Value, orphan: bool, foreground: bool) {
    let others = object["metadata"]["finalizers"].items().iter().filter(|f| !matches!(f.str(), ORPHAN | FOREGROUND));
    let mut finalizers: Vec<Value> = others.cloned().collect();
    finalizers.extend(orphan.then(|| Value::from(ORPHAN)));
    finalizers.extend(foreground.then(|| Value::from(FOREGROUND)));
    match finalizers.is_empty() {
        true => drop(object.entry("metadata").remove("finalizers")),
        false => object.set_meta("finalizers", Value::Array(finalizers)),
    }
}

/// A namespace is first marked, then waits for its contents (`spec.finalizers`) to go.
fn namespace_step(options: &DeleteOptions, object: &mut Value) -> Step {
    if object.is_deleting() {
        let kept =
            !object["spec"]["finalizers"].items().is_empty() || !object["metadata"]["finalizers"].items().is_empty();
        return if kept { Step::Nothing } else { Step::Remove };
    }
    object.set_meta("deletionTimestamp", now_rfc3339());
    *object.entry_at(&["status", "phase"]) = Value::from("Terminating");
    let has = |name: &str| object["metadata"]["finalizers"].items().iter().any(|f| f.str() == name);
    let (orphan, foreground) = match (options.orphan, options.propagation.as_deref()) {
        (Some(orphan), _) => (orphan, !orphan),
        (None, Some(p)) => (p == "Orphan", p == "Foreground"),
        (None, None) => (has(ORPHAN), has(FOREGROUND)),
    };
    if has(ORPHAN) != orphan || has(FOREGROUND) != foreground {
        set_finalizers(object, orphan, foreground);
    }
    Step::Mark(Box::new(object.clone()))
}
