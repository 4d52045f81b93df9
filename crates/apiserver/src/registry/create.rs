//! POST: a new object.

use super::{Mode, Phase, Scope, Written, metadata};
use crate::admission::Operation;
use crate::cache::{Entry, may_be_done, now_rfc3339, to_stored};
use crate::strategy::Write;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use kaji_api::{Status, Value, field::Errors};
use std::sync::Arc;

/// How often a generated name is tried (upstream `maxNameGenerationCreateAttempts`).
const NAME_ATTEMPTS: usize = 8;
/// No vowels and no look-alikes, so that names are neither words nor ambiguous.
const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const RANDOM_LENGTH: usize = 5;
const MAX_GENERATED: usize = 63;

impl Scope<'_> {
    /// Stores a new object and gives it as stored.
    pub(crate) async fn create(&self, mut object: Value) -> Result<Arc<Entry>, Status> {
        if !matches!(object.resource_version(), "" | "0") {
            return Err(Status::new(500, "", "resourceVersion should not be set on objects to be created"));
        }
        metadata::wipe_system_fields(&mut object);
        ensure_namespace(self, &mut object)?;
        metadata::dedup_owners(self.cx, &mut object, false);
        self.default(&mut object);
        self.note_owners(Mode::Main, &mut object, &Value::Null);
        self.admit(Phase::Mutate, Operation::Create, &mut object, &Value::Null).await?;
        metadata::dedup_owners(self.cx, &mut object, true);
        if !object.name().is_empty() || object.meta("generateName").is_empty() {
            return self.create_named(object).await;
        }
        self.create_generated(object).await
    }

    async fn create_generated(&self, object: Value) -> Result<Arc<Entry>, Status> {
        let base = object.meta("generateName").to_owned();
        let mut last = None;
        for _ in 0..NAME_ATTEMPTS {
            let mut named = object.clone();
            named.set_meta("name", generate_name(&base));
            let name = named.name().to_owned();
            match self.create_named(named).await {
                Err(status) if status.reason == "AlreadyExists" => last = Some((status, name)),
                other => return other,
            }
        }
        let (mut status, name) = last.expect("at least one attempt was made");
        status.message = format!(
            "{} \"{name}\" already exists, the server was not able to generate a unique name for the object",
            self.resource()
        );
        status.details.set("retryAfterSeconds", 1);
        Err(status)
    }

    async fn create_named(&self, mut object: Value) -> Result<Arc<Entry>, Status> {
        let strategy = self.strategy();
        object.set_meta("uid", uuid::Uuid::new_v4().to_string());
        object.set_meta("creationTimestamp", now_rfc3339());
        strategy.prepare_create(self.cx, &mut object);
        match strategy.has_generation() {
            true => object.set_meta("generation", 1),
            false => drop(object.entry("metadata").remove("generation")),
        }
        self.ty().normalize(&mut object);
        strategy.authorize(Write { api: self.api, cx: self.cx, new: &object, old: None }).await?;
        let mut errors = Errors::new();
        metadata::validate(&object, self.stored.namespaced, strategy.name_check(), &mut errors);
        strategy.validate(&object, &mut errors);
        if !errors.is_empty() {
            return Err(self.invalid(object.name(), &errors));
        }
        strategy.warnings(&object, None).into_iter().for_each(|w| self.cx.warnings.add(w));
        let name = object.name().to_owned();
        let scope = self.named(self.namespace, &name);
        scope.admit(Phase::Validate, Operation::Create, &mut object, &Value::Null).await?;
        scope.insert(object).await
    }

    async fn insert(&self, mut object: Value) -> Result<Arc<Entry>, Status> {
        let key = self.key();
        if self.cx.dry_run {
            self.api.caches().fresh().await?;
            if let Some(existing) = self.cache.get(&key) {
                return Err(self.exists(Some(existing)));
            }
        }
        let strategy = self.strategy();
        strategy.allocate(self.api, self.cx, &mut object, None).await?;
        let stored = to_stored(&object);
        if self.cx.dry_run {
            return Ok(self.dry(&key, &stored, 0));
        }
        let written = match strategy.guards(self.api, &object, None).await {
            Ok(guards) => self.put_guarded(&key, stored, 0, guards).await,
            Err(lost) => Err(lost),
        };
        match &written {
            Ok(Written::Yes(entry)) => return Ok(entry.clone()),
            // It may be there: then it needs what it took.
            Err(status) if may_be_done(status) => {}
            Ok(Written::No(_)) | Err(_) => strategy.release(self.api, &object, None).await,
        }
        match written? {
            Written::No(found) => Err(self.exists(found)),
            Written::Yes(entry) => Ok(entry),
        }
    }

    fn exists(&self, found: Option<Arc<Entry>>) -> Status {
        let mut status = Status::already_exists(&self.resource(), self.name);
        if found.is_some_and(|e| e.decode().is_deleting()) {
            status.message = format!("object is being deleted: {}", status.message);
        }
        status
    }

    /// Sets kind and apiVersion to the stored version's.
    pub(crate) fn stamp(&self, object: &mut Value) {
        object.set("kind", self.stored.kind);
        object.set("apiVersion", self.stored.api_version());
        self.ty().normalize(object);
    }

    /// Applies the schema's and the strategy's defaults.
    pub(crate) fn default(&self, object: &mut Value) {
        super::apply_defaults(&self.stored, object);
    }
}

pub(crate) fn generate_name(base: &str) -> String {
    let keep =
        base.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_GENERATED - RANDOM_LENGTH);
    let base = &base[..keep.last().unwrap_or(0)];
    let mut random = [0u8; RANDOM_LENGTH];
    SystemRandom::new().fill(&mut random).expect("the system's random numbers are there");
    let suffix = random.iter().map(|b| char::from(ALPHABET[usize::from(*b) % ALPHABET.len()]));
    base.chars().chain(suffix).collect()
}

/// The object's namespace must be the path's, and is set from it (upstream
/// `EnsureObjectNamespaceMatchesRequestNamespace`).
pub(crate) fn ensure_namespace(scope: &Scope<'_>, object: &mut Value) -> Result<(), Status> {
    let expected = if scope.stored.namespaced { scope.namespace } else { "" };
    if object.namespace() == expected {
        return Ok(());
    }
    match (object.namespace().is_empty(), expected.is_empty()) {
        (true, _) => object.set_meta("namespace", expected),
        (false, true) => drop(object.entry("metadata").remove("namespace")),
        (false, false) => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

/// The object's name must be the path's (upstream `checkName`).
pub(crate) fn check_name_on_url(scope: &Scope<'_>, object: &Value) -> Result<(), Status> {
    let name = object.name();
    if name.is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            scope.name
        )));
    }
    if name != scope.name {
        return Err(Status::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            scope.name
        )));
    }
    Ok(())
}
