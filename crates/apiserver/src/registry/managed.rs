//! `metadata.managedFields` of every write: who owns which field. What it means is told by `kaji_api::apply`;
//! here it is put to objects, which the registry has in their storage version, while managers own fields as the
//! version in the path of their request names them.

mod reset;
pub(crate) mod scale;

use super::{Mode, Scope, convert};
use crate::admission::Attributes;
use crate::row::Row;
use kaji_api::apply::{ApplyError, Owners, Versions, Writer};
use kaji_api::field::{Errors, Path};
use kaji_api::schema::TypeRef;
use kaji_api::{Status, Value, codec};
use std::borrow::Cow;
use std::sync::OnceLock;

/// Who keeps account of the owners of fields in a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// The registry, when the object is as the client wants it.
    #[default]
    Noted,
    /// Whoever changes the object: `managedFields` comes with it.
    Given,
    /// Server-side apply: the same, and an object that doesn't exist is made.
    Applied,
}

/// The versions in which the objects of a scope are known.
struct Served<'a, 'b> {
    scope: &'a Scope<'b>,
    /// Looked up when there is a manager of another version.
    rows: OnceLock<Vec<Row>>,
}

impl Served<'_, '_> {
    fn row(&self, api_version: &str) -> Option<&Row> {
        let rows = self.rows.get_or_init(|| rows_of(self.scope));
        rows.iter().find(|row| row.api_version() == api_version)
    }
}

fn rows_of(scope: &Scope<'_>) -> Vec<Row> {
    if scope.stored.custom().is_some() {
        let stored = &scope.stored;
        let is_same = |row: &&Row| row.group == stored.group && row.plural == stored.plural;
        return scope.api.custom().load().rows().filter(is_same).cloned().collect();
    }
    // Also those that are not served: what was written in them was converted.
    let all = kaji_api::resource::all().iter();
    let is_same =
        |row: &&'static kaji_api::ResourceDef| row.plural == scope.stored.plural && row.prefix == scope.stored.prefix;
    all.filter(is_same).filter(|row| row.ty.is_some()).map(Row::BuiltIn).collect()
}

impl Versions for Served<'_, '_> {
    fn convert(&self, object: &Value, from: &str, to: &str) -> Option<Value> {
        let (from, to) = (self.row(from)?, self.row(to)?);
        let mut object = object.clone();
        convert::to_storage(from, &self.scope.stored, &mut object).ok()?;
        convert::from_storage(to, &self.scope.stored, &mut object).ok()?;
        Some(object)
    }

    fn ty(&self, version: &str) -> Option<TypeRef<'_>> {
        self.row(version).map(Row::ty)
    }
}

/// Kinds of subresources have one version.
struct Single;

impl Versions for Single {
    fn convert(&self, _: &Value, _: &str, _: &str) -> Option<Value> {
        None
    }

    fn ty(&self, _: &str) -> Option<TypeRef<'_>> {
        None
    }
}

impl Scope<'_> {
    /// Sets `managedFields` of an object that is about to take the place of `live` (null: it is created).
    pub(super) fn note_owners(&self, mode: Mode, object: &mut Value, live: &Value) {
        if self.ownership == Ownership::Noted && mode != Mode::Internal {
            let subresource = match mode {
                Mode::Status => "status",
                _ => self.sub.map_or("", |sub| sub.name),
            };
            self.note_owners_as(&self.cx.field_manager, subresource, object, live);
        }
    }

    /// The same for a manager of its own.
    pub(crate) fn note_owners_as(&self, manager: &str, subresource: &str, object: &mut Value, live: &Value) {
        let owners = self.with_writer(manager, subresource, |writer| {
            let live = self.shown(live, writer);
            writer.update(&live, &self.shown(object, writer))
        });
        set_owners(object, owners);
    }

    fn with_writer<T>(&self, manager: &str, subresource: &str, run: impl FnOnce(&Writer<'_>) -> T) -> T {
        run(&Writer {
            manager,
            subresource,
            version: &self.row.api_version(),
            kind: self.row.kind,
            ty: self.row.ty(),
            filter: reset::of(&self.row, subresource),
            versions: &Served { scope: self, rows: OnceLock::new() },
            now: &crate::cache::now_rfc3339(),
        })
    }

    /// A stored object in the version of the path; null stands for one that doesn't exist yet.
    fn shown<'v>(&self, object: &'v Value, writer: &Writer<'_>) -> Cow<'v, Value> {
        if object.is_null() {
            let mut empty = Value::object();
            writer.ty.normalize(&mut empty);
            return Cow::Owned(empty);
        }
        if convert::is_same(&self.row, &self.stored) {
            return Cow::Borrowed(object);
        }
        let mut object = object.clone();
        // The request itself fails where this does: nothing is noted.
        let _ = convert::from_storage(&self.row, &self.stored, &mut object);
        Cow::Owned(object)
    }

    /// A configuration applied to the object as stored (null: it doesn't exist); the answer is in the version of
    /// the path.
    pub(crate) fn apply(&self, live: &Value, config: &Value, force: bool) -> Result<Value, Status> {
        let subresource = self.sub.map_or("", |sub| sub.name);
        self.with_writer(&self.cx.field_manager, subresource, |writer| {
            let merged = writer.apply(&self.shown(live, writer), config, force)?;
            fit(writer.ty, merged, config)
        })
    }
}

/// What an applied object is in canonical form.
fn fit(ty: TypeRef<'_>, merged: Value, config: &Value) -> Result<Value, Status> {
    let (object, _) = codec::coerce(ty, merged).map_err(|why| {
        let (group, version) = config.api_version().split_once('/').unwrap_or(("", config.api_version()));
        let named = format!("{}/{}; {group}/{version}, Kind={}", config.namespace(), config.name(), config.kind());
        Status::from(ApplyError::Failed(format!("failed to convert new object ({named}) to proper version: {why}")))
    })?;
    Ok(object)
}

fn set_owners(object: &mut Value, owners: Result<Option<Value>, String>) {
    let owners = owners.unwrap_or_else(|why| {
        // Nothing is known of its fields any more, which is better than something wrong.
        tracing::error!(kind = object.kind(), namespace = object.namespace(), name = object.name(), %why,
            "could not note the owners of fields");
        None
    });
    match owners {
        Some(owners) => object.set_meta("managedFields", owners),
        None => drop(object.entry("metadata").remove("managedFields")),
    }
}

/// Policies and webhooks may change whom fields belong to, but what makes no sense is undone (apiserver
/// `handlers/fieldmanager/admission.go`).
pub(super) fn keep_valid(a: &mut Attributes<'_>) {
    let Some(before) = a.rounds.owners_before() else { return };
    let Err(why) = Owners::sent(&a.object["metadata"]["managedFields"]) else { return };
    a.cx.warnings.add(format!(
        ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating \
         admission controller; please fix your requests: {why}"
    ));
    match before.is_null() {
        true => drop(a.object.entry("metadata").remove("managedFields")),
        false => a.object.set_meta("managedFields", before),
    }
}

/// What is wrong with `managedFields` that clients may have written.
pub(super) fn validate(entries: &Value, path: &Path, errors: &mut Errors) {
    const MAX_SUBRESOURCE: usize = 256;
    for (at, entry) in entries.items().iter().enumerate() {
        let path = path.index(at);
        if !matches!(entry["operation"].str(), "Apply" | "Update") {
            errors.invalid(&path.child("operation"), entry["operation"].str(), "must be `Apply` or `Update`");
        }
        if !matches!(entry["fieldsType"].str(), "" | "FieldsV1") {
            errors.invalid(&path.child("fieldsType"), entry["fieldsType"].str(), "must be `FieldsV1`");
        }
        super::metadata::validate_manager_at(entry["manager"].str(), &path.child("manager"), errors);
        if entry["subresource"].str().len() > MAX_SUBRESOURCE {
            errors.too_long(&path.child("subresource"), MAX_SUBRESOURCE);
        }
    }
}
