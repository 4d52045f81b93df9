//! PUT and PATCH: a change of an object that exists (or may be created by it).

use super::{Ownership, Phase, STALE, Scope, Written, create, metadata};
use crate::admission::Operation;
use crate::cache::{Entry, may_be_done, to_stored, unchanged};
use crate::strategy::Write;
use kaji_api::field::{Errors, Path};
use kaji_api::{Status, Value};
use std::sync::Arc;

/// How often an update without a resourceVersion of its own is tried against concurrent writers.
const ATTEMPTS: usize = 100;

/// Which rules an update follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The object itself.
    Main,
    /// Its `status`.
    Status,
    /// A subresource that has prepared and checked everything but metadata by itself.
    Raw,
    /// The server's own part of an action that admission has seen already.
    Internal,
}

/// From the object as it is (null: it doesn't exist) to what it should be. May run several times.
pub(crate) type Transform<'a> = &'a (dyn Fn(&Value) -> Result<Value, Status> + Send + Sync);

/// What an attempt came to.
enum Attempt {
    Done(Arc<Entry>),
    Lost(Option<Arc<Entry>>),
}

impl Scope<'_> {
    /// Changes the object; the second value says whether it was created.
    pub(crate) async fn update(&self, mode: Mode, transform: Transform<'_>) -> Result<(Arc<Entry>, bool), Status> {
        self.api.caches().fresh().await?;
        let mut current = self.cache.get(&self.key());
        for _ in 0..ATTEMPTS {
            let Some(entry) = current else {
                match self.create_by_update(mode, transform).await {
                    // Somebody else created it meanwhile: then this is an update after all.
                    Err(status) if status.reason == "AlreadyExists" => {
                        self.api.caches().fresh().await?;
                        current = self.cache.get(&self.key());
                        continue;
                    }
                    other => return other.map(|entry| (entry, true)),
                }
            };
            match self.attempt(mode, &entry, transform).await? {
                Attempt::Done(entry) => return Ok((entry, false)),
                Attempt::Lost(found) => current = found,
            }
        }
        Err(self.conflict(STALE))
    }

    async fn create_by_update(&self, mode: Mode, transform: Transform<'_>) -> Result<Arc<Entry>, Status> {
        let may_create = self.ownership == Ownership::Applied || self.strategy().create_on_update();
        if mode != Mode::Main || !may_create {
            return Err(self.not_found());
        }
        let object = transform(&Value::Null)?;
        self.api.may_create(self).await?;
        if !object.uid().is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                object.uid()
            );
            return Err(self.conflict(&why));
        }
        self.create(object).await
    }

    async fn attempt(&self, mode: Mode, entry: &Arc<Entry>, transform: Transform<'_>) -> Result<Attempt, Status> {
        let old = self.in_storage_version(entry).await?;
        let mut object = transform(&old)?;
        self.check_preconditions(&object, &old, entry)?;
        object.set_meta("resourceVersion", entry.revision.to_string());
        create::ensure_namespace(self, &mut object)?;
        self.default(&mut object);
        metadata::dedup_owners(self.cx, &mut object, false);
        self.ty().normalize(&mut object);
        self.note_owners(mode, &mut object, &old);
        if mode != Mode::Internal {
            self.admit(Phase::Mutate, Operation::Update, &mut object, &old).await?;
            metadata::dedup_owners(self.cx, &mut object, true);
        }
        self.prepare(mode, &mut object, &old);
        if mode == Mode::Main {
            self.strategy().authorize(Write { api: self.api, cx: self.cx, new: &object, old: Some(&old) }).await?;
        }
        self.check(mode, &object, &old)?;
        if mode != Mode::Internal {
            self.admit(Phase::Validate, Operation::Update, &mut object, &old).await?;
        }
        if self.ends_by(&object, &old) {
            return self.finish_deletion(entry, &object, &old).await;
        }
        self.store(mode, entry, object, &old).await
    }

    fn check_preconditions(&self, object: &Value, old: &Value, entry: &Entry) -> Result<(), Status> {
        if !object.uid().is_empty() && object.uid() != old.uid() {
            let why = format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: \
                 Precondition failed: UID in precondition: {}, UID in object meta: {}",
                entry.key,
                object.uid(),
                old.uid()
            );
            return Err(self.conflict(&why));
        }
        match object.resource_version() {
            "" | "0" if self.strategy().unconditional_update() => Ok(()),
            "" | "0" => {
                let mut errors = Errors::new();
                let path = Path::new("metadata").child("resourceVersion");
                errors.invalid(&path, 0, "must be specified for an update");
                Err(Status::invalid(self.row.group, self.row.plural, self.name, &errors))
            }
            text if super::list::parse_revision(text)? == entry.revision => Ok(()),
            _ => Err(self.conflict(STALE)),
        }
    }

    fn prepare(&self, mode: Mode, object: &mut Value, old: &Value) {
        let strategy = self.strategy();
        match old["metadata"]["generation"].is_null() {
            true => drop(object.entry("metadata").remove("generation")),
            false => object.set_meta("generation", old["metadata"]["generation"].clone()),
        }
        match mode {
            Mode::Main => strategy.prepare_update(self.cx, object, old),
            Mode::Status => strategy.prepare_status_update(self.cx, object, old),
            Mode::Raw | Mode::Internal => {}
        }
        metadata::preserve(object, old);
        self.ty().normalize(object);
        if matches!(mode, Mode::Main | Mode::Raw) && strategy.has_generation() && strategy.counts_as_change(object, old)
        {
            let generation = old["metadata"]["generation"].as_i64().unwrap_or(0);
            object.set_meta("generation", generation + 1);
            self.ty().normalize(object);
        }
    }

    fn check(&self, mode: Mode, object: &Value, old: &Value) -> Result<(), Status> {
        let strategy = self.strategy();
        let mut errors = Errors::new();
        metadata::validate(object, self.stored.namespaced, strategy.name_check(), &mut errors);
        metadata::validate_update(object, old, &mut errors);
        match mode {
            Mode::Main => strategy.validate_update(object, old, &mut errors),
            Mode::Status => strategy.validate_status_update(object, old, &mut errors),
            Mode::Raw | Mode::Internal => {}
        }
        if !errors.is_empty() {
            return Err(self.invalid(object.name(), &errors));
        }
        if mode == Mode::Main {
            strategy.warnings(object, Some(old)).into_iter().for_each(|w| self.cx.warnings.add(w));
        }
        Ok(())
    }

    /// Whether this update takes away the last thing that kept a deleted object (upstream
    /// `ShouldDeleteDuringUpdate`).
    fn ends_by(&self, object: &Value, old: &Value) -> bool {
        let kept = !object["metadata"]["finalizers"].items().is_empty()
            || (self.is_namespaces() && !object["spec"]["finalizers"].items().is_empty());
        let grace = old["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0);
        !kept && old.is_deleting() && grace == 0
    }

    async fn finish_deletion(&self, entry: &Arc<Entry>, object: &Value, old: &Value) -> Result<Attempt, Status> {
        let shown = self.dry(&entry.key, &to_stored(object), entry.revision);
        if self.cx.dry_run {
            return Ok(Attempt::Done(shown));
        }
        match self.remove(entry).await? {
            Written::Yes(_) => {
                self.strategy().release(self.api, old, None).await;
                Ok(Attempt::Done(shown))
            }
            // Gone meanwhile: the other one finished what this one wanted.
            Written::No(None) => Ok(Attempt::Done(shown)),
            Written::No(found) => Ok(Attempt::Lost(found)),
        }
    }

    async fn store(&self, mode: Mode, entry: &Arc<Entry>, mut object: Value, old: &Value) -> Result<Attempt, Status> {
        let strategy = self.strategy();
        let allocates = mode == Mode::Main;
        if allocates {
            strategy.allocate(self.api, self.cx, &mut object, Some(old)).await?;
        }
        kaji_api::apply::keep_times(&mut object, old);
        let stored = to_stored(&object);
        // What is sealed with an old key is written anew, even if it stays the same.
        if unchanged(entry, &stored) && !self.api.caches().is_stale(&self.stored, entry) {
            return Ok(Attempt::Done(entry.clone()));
        }
        if self.cx.dry_run {
            return Ok(Attempt::Done(self.dry(&entry.key, &stored, entry.revision)));
        }
        let guards = if allocates { strategy.guards(self.api, &object, Some(old)).await } else { Ok(Vec::new()) };
        let written = match guards {
            Ok(guards) => self.put_guarded(&entry.key, stored, entry.revision, guards).await,
            Err(lost) => Err(lost),
        };
        if allocates {
            match &written {
                Ok(Written::Yes(_)) => strategy.release(self.api, old, Some(&object)).await,
                Err(status) if may_be_done(status) => {}
                _ => strategy.release(self.api, &object, Some(old)).await,
            }
        }
        Ok(match written? {
            Written::Yes(entry) => Attempt::Done(entry),
            Written::No(found) => Attempt::Lost(found),
        })
    }

    /// Whether the resource is `namespaces`, whose own rules for deletion upstream keeps in its storage.
    pub(crate) fn is_namespaces(&self) -> bool {
        self.stored.group.is_empty() && self.stored.plural == "namespaces"
    }
}
