//! What a write does to the ownership of fields (apimachinery `util/managedfields`, structured-merge-diff `merge`).

use super::compare::Comparison;
use super::conflict::{self, Conflict};
use super::filter::Filter;
use super::kind::Kind;
use super::owners::{self, Owner, Owners};
use super::scalar::same;
use super::set::Set;
use super::{check, compare, last_applied, merge, paths, prune, reconcile};
use crate::schema::TypeRef;
use crate::status::Status;
use crate::value::Value;
use std::borrow::Cow;
use std::sync::LazyLock;

/// Who owns what was there before anybody applied.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// Fields that nobody owns: the server's, and what identifies the object.
static NOBODYS: LazyLock<Set> = LazyLock::new(|| {
    Set::of(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// The versions in which a resource is served.
pub trait Versions: Sync {
    /// The object, given in one version, as another shows it. None where there is no such version.
    fn convert(&self, object: &Value, from: &str, to: &str) -> Option<Value>;

    /// The schema of a version, if there is such a version.
    fn ty(&self, version: &str) -> Option<TypeRef<'_>>;
}

/// One write: by whom, and through what. Objects are in its version.
#[derive(Clone, Copy)]
pub struct Writer<'a> {
    /// The field manager.
    pub manager: &'a str,
    /// The subresource, or empty.
    pub subresource: &'a str,
    /// `apiVersion` of the request.
    pub version: &'a str,
    /// Kind of the request.
    pub kind: &'a str,
    /// Schema of that kind.
    pub ty: TypeRef<'a>,
    /// What the write can reach.
    pub filter: Filter,
    /// Other versions, in which managers may have written.
    pub versions: &'a dyn Versions,
    /// The time: RFC 3339, whole seconds.
    pub now: &'a str,
}

/// Why a configuration is not applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApplyError {
    /// It can't be applied to this object.
    Unfit(String),
    /// It doesn't fit the schema, or the object doesn't.
    Failed(String),
    /// Others own fields that it would change.
    Conflicts(Vec<Conflict>),
}

impl From<ApplyError> for Status {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Unfit(why) => Status::bad_request(why),
            ApplyError::Failed(why) => Status::new(500, "", why),
            ApplyError::Conflicts(conflicts) => {
                let mut status = Status::new(409, "Conflict", conflict::message(&conflicts));
                status.details = Value::from_iter([("causes", conflict::causes(&conflicts))]);
                status
            }
        }
    }
}

impl<'a> Writer<'a> {
    /// `metadata.managedFields` of an object that is created (`live` is empty then), replaced or patched. None when
    /// there is none: nobody kept account of its fields so far, or somebody asked to forget it.
    ///
    /// # Errors
    /// Objects that don't compare; then nothing is known of their fields any more.
    pub fn update(&self, live: &Value, object: &Value) -> Result<Option<Value>, String> {
        let mut owners = self.owners_before(live, object);
        if owners.0.is_empty() && !live.uid().is_empty() {
            return Ok(None);
        }
        self.note(live, object, self.manager, &mut owners)?;
        Ok(owners.into_value())
    }

    /// The managers to start from: those that the client sends, if it may and does, else the object's.
    fn owners_before(&self, live: &Value, object: &Value) -> Owners {
        let (sent, stored) = (&object["metadata"]["managedFields"], &live["metadata"]["managedFields"]);
        let stored = || Owners::stored(stored).unwrap_or_default();
        if !self.subresource.is_empty() || sent.is_null() {
            return stored();
        }
        if owners::is_reset(sent) {
            return Owners::default();
        }
        if *sent == live["metadata"]["managedFields"] {
            return stored();
        }
        Owners::sent(sent).ok().filter(|owners| !owners.0.is_empty()).unwrap_or_else(stored)
    }

    /// Gives what the write changed to a manager, and takes it from all others.
    fn note(&self, live: &Value, object: &Value, manager: &str, owners: &mut Owners) -> Result<(), String> {
        if self.ty.is_custom() {
            self.reconcile(owners);
        }
        let difference = self.compare(self.ty, live, object)?;
        if difference.is_empty() {
            return Ok(());
        }
        let changed = difference.modified.union(difference.added);
        let removed = difference.removed;
        for owner in &mut owners.0 {
            if &*owner.version == self.version {
                owner.lose(&changed);
                owner.lose(&removed);
            } else {
                let other = self.compare_in(&owner.version, live, object)?;
                let Some(other) = other else {
                    owner.replace(Set::default());
                    continue;
                };
                owner.lose(&other.modified.union(other.added));
                owner.lose(&other.removed);
            }
        }
        let own = changed.difference(&NOBODYS);
        if !own.is_empty() {
            let me = Owner::new(manager, false, self.version, self.subresource);
            let mut me = owners.take(&me).unwrap_or(me);
            me.gain(own);
            me.time = self.now.into();
            owners.0.push(me);
        }
        owners.0.retain(|owner| !owner.owns_nothing());
        owners.cap();
        Ok(())
    }

    fn reconcile(&self, owners: &mut Owners) {
        for owner in &mut owners.0 {
            if let Some(ty) = self.ty_of(&owner.version) {
                reconcile::owner(Kind::of_type(ty), owner);
            }
        }
    }

    fn compare(&self, ty: TypeRef<'_>, live: &Value, object: &Value) -> Result<Comparison, String> {
        let all = compare::objects(Kind::of_type(ty), live, object)
            .map_err(|why| format!("failed to compare objects: {why}"))?;
        Ok(Comparison {
            added: self.filter.apply(all.added),
            modified: self.filter.apply(all.modified),
            removed: self.filter.apply(all.removed),
        })
    }

    /// The same in another version; none where there is no such version.
    fn compare_in(&self, version: &str, live: &Value, object: &Value) -> Result<Option<Comparison>, String> {
        let Some(ty) = self.ty_of(version) else { return Ok(None) };
        let both = (self.convert(live, self.version, version), self.convert(object, self.version, version));
        let (Some(live), Some(object)) = both else { return Ok(None) };
        self.compare(ty, &live, &object).map(Some)
    }

    /// The schema of a version.
    pub(super) fn ty_of(&self, version: &str) -> Option<TypeRef<'a>> {
        if version == self.version { Some(self.ty) } else { self.versions.ty(version) }
    }

    /// An object in another version.
    pub(super) fn convert<'v>(&self, object: &'v Value, from: &str, to: &str) -> Option<Cow<'v, Value>> {
        if from == to { Some(Cow::Borrowed(object)) } else { self.versions.convert(object, from, to).map(Cow::Owned) }
    }

    /// The configuration applied to an object (an empty one, if it doesn't exist), `managedFields` included. It is not
    /// in canonical form.
    ///
    /// # Errors
    /// A configuration that doesn't fit, or fields that others own with other values.
    pub fn apply(&self, live: &Value, config: &Value, force: bool) -> Result<Value, ApplyError> {
        let owners = Owners::stored(&live["metadata"]["managedFields"])
            .map_err(|why| ApplyError::Failed(format!("failed to decode managed fields: {why}")))?;
        self.check(config)?;
        let attempt = |force| self.attempt(live, config, owners.clone(), force);
        let mut object = match attempt(force) {
            Err(ApplyError::Conflicts(conflicts)) if self.manager == last_applied::KUBECTL => {
                let allowed = last_applied::allowed(self, live).unwrap_or_default();
                let left: Vec<Conflict> = conflicts.into_iter().filter(|c| !allowed.has(&c.path)).collect();
                if !left.is_empty() {
                    return Err(ApplyError::Conflicts(left));
                }
                attempt(true)?
            }
            other => other?,
        };
        if self.manager == last_applied::KUBECTL {
            last_applied::refresh(&mut object, config);
        }
        Ok(object)
    }

    fn check(&self, config: &Value) -> Result<(), ApplyError> {
        let (group, version) = config.api_version().split_once('/').unwrap_or(("", config.api_version()));
        let gvk = format!("{group}/{version}, Kind={}", config.kind());
        if config.kind() != self.kind || config.api_version() != self.version {
            return Err(ApplyError::Unfit(format!("invalid object type: {gvk}")));
        }
        if config["metadata"].get("managedFields").is_some_and(|m| !m.is_null()) {
            return Err(ApplyError::Unfit("metadata.managedFields must be nil".to_owned()));
        }
        check::config(self.ty, config).map_err(|why| {
            let named = format!("{}/{}; {gvk}", config.namespace(), config.name());
            ApplyError::Failed(format!("failed to create typed patch object ({named}): {why}"))
        })
    }

    fn attempt(&self, live: &Value, config: &Value, mut owners: Owners, force: bool) -> Result<Value, ApplyError> {
        let failed = ApplyError::Failed;
        if owners.0.is_empty() {
            let mut nothing = Value::object();
            self.ty.normalize(&mut nothing);
            self.note(&nothing, live, BEFORE_FIRST_APPLY, &mut owners)
                .map_err(|why| failed(format!("failed to create manager for existing fields: {why}")))?;
        }
        self.reconcile(&mut owners);
        let merged = merge::objects(Kind::of_type(self.ty), live, config)
            .map_err(|why| failed(format!("failed to merge config: {why}")))?;
        let mut me = Owner::new(self.manager, true, self.version, self.subresource);
        let last = owners.take(&me);
        me.replace(self.filter.apply(paths::of(Kind::of_type(self.ty), config)));
        owners.0.push(me);
        let mut merged = prune::prune(self, merged, &owners, last.as_ref());
        let mut me = owners.0.pop().expect("just pushed");
        self.take_over(live, &merged, &mut owners, force)?;
        me.replace(me.set().into_owned().difference(&NOBODYS));
        let before = last.map(|last| last.time).unwrap_or_default();
        me.time = if same(live, &merged) { before } else { self.now.into() };
        owners.0.push(me);
        owners.0.retain(|owner| !owner.owns_nothing());
        match owners.into_value() {
            Some(owners) => merged.set_meta("managedFields", owners),
            None => drop(merged.entry("metadata").remove("managedFields")),
        }
        Ok(merged)
    }

    /// Takes from others what the applied object changes, or tells of it.
    fn take_over(&self, live: &Value, object: &Value, owners: &mut Owners, force: bool) -> Result<(), ApplyError> {
        let mut conflicts = Vec::new();
        let mut differences: Vec<(Box<str>, Option<Comparison>)> = Vec::new();
        for owner in &mut owners.0 {
            if !differences.iter().any(|(version, _)| *version == owner.version) {
                let found = self.compare_in(&owner.version, live, object).map_err(ApplyError::Failed)?;
                differences.push((owner.version.clone(), found));
            }
            let found = differences.iter().find(|(version, _)| *version == owner.version);
            let Some((_, Some(difference))) = found else {
                owner.replace(Set::default());
                continue;
            };
            let changed = difference.modified.clone().union(difference.added.clone());
            if owner.meets(&changed) {
                let contested = owner.set().intersection(&changed);
                conflicts.extend(contested.paths().into_iter().map(|path| Conflict::with(owner, path)));
                owner.lose(&changed);
            }
            owner.lose(&difference.removed);
        }
        if force || conflicts.is_empty() {
            return Ok(());
        }
        conflicts.sort_by(|a, b| a.manager.cmp(&b.manager));
        Err(ApplyError::Conflicts(conflicts))
    }
}

/// Restores the times of managers where nothing but those would change, so that such a write changes nothing.
pub fn keep_times(object: &mut Value, old: &Value) {
    let was = &old["metadata"]["managedFields"];
    let now = &object["metadata"]["managedFields"];
    if was.items().len() != now.items().len() || was == now {
        return;
    }
    let owners = was.items().iter().zip(now.items());
    let same_owners = owners.into_iter().all(|(a, b)| same_but("time", a, b));
    let same_rest =
        || same_but("metadata", object, old) && same_but("managedFields", &object["metadata"], &old["metadata"]);
    if same_owners && same_rest() {
        object.set_meta("managedFields", was.clone());
    }
}

/// Whether two objects in canonical form are the same but for one field.
fn same_but(field: &str, a: &Value, b: &Value) -> bool {
    a.entries().filter(|(key, _)| *key != field).eq(b.entries().filter(|(key, _)| *key != field))
}
