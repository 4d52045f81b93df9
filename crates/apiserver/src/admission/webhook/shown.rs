//! A write's objects as a webhook sees them: in the version it asks for.

use super::asked;
use crate::admission::Attributes;
use crate::registry::convert;
use crate::row::Row;
use crate::subresource::scale;
use bytes::Bytes;
use kaji_api::codec::write_json;
use kaji_api::schema::TypeRef;
use kaji_api::{GroupVersionKind, ResourceDef, Status, Value};
use std::borrow::Cow;

/// The objects in one version, and their JSON.
pub(super) struct Shown {
    pub(super) row: Row,
    pub(super) object: Bytes,
    pub(super) old: Bytes,
}

impl Shown {
    pub(super) fn new(a: &Attributes<'_>, row: &Row) -> Result<Self, Status> {
        let json = |value: &Value| {
            let mut out = Vec::new();
            write_json(&*in_version(a, row, value)?, &mut out);
            Ok::<_, Status>(Bytes::from(out))
        };
        Ok(Shown { row: row.clone(), object: json(a.object)?, old: json(a.old)? })
    }

    /// Whether this is the version of a row.
    pub(super) fn is_in(&self, row: &ResourceDef) -> bool {
        (self.row.group, self.row.version) == (row.group, row.version)
    }
}

/// What the object that travels with a write is, beside the row that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// The object itself.
    Whole,
    /// Its scale, which travels as the object itself.
    Scale,
    /// Something of its own: a binding, options.
    Own,
}

fn form(a: &Attributes<'_>) -> Form {
    match a.target.sub {
        Some(sub) if sub.kind == "Scale" => Form::Scale,
        Some(sub) if sub.kind != a.target.resource.kind => Form::Own,
        _ if asked(a).plural == "bindings" => Form::Own,
        _ => Form::Whole,
    }
}

/// A value of the write as a version has it; null stays null.
pub(in crate::admission) fn in_version<'v>(
    a: &Attributes<'_>,
    row: &Row,
    value: &'v Value,
) -> Result<Cow<'v, Value>, Status> {
    let stored = &a.target.resource;
    Ok(match form(a) {
        _ if value.is_null() => Cow::Borrowed(value),
        Form::Scale => scale::of(stored, value).map_or(Cow::Borrowed(value), Cow::Owned),
        Form::Whole if !convert::is_same(row, stored) => {
            let mut converted = value.clone();
            convert::from_storage(row, stored, &mut converted)?;
            Cow::Owned(converted)
        }
        Form::Whole | Form::Own => Cow::Borrowed(value),
    })
}

/// The kind of what a webhook is shown.
pub(super) fn kind(a: &Attributes<'_>, row: &ResourceDef) -> GroupVersionKind {
    let (group, version, kind) = match a.target.sub {
        Some(sub) if sub.kind != a.target.resource.kind => (sub.group, sub.version, sub.kind),
        _ => (row.group, row.version, row.kind),
    };
    GroupVersionKind { group: group.into(), version: version.into(), kind: kind.into() }
}

/// The schema of what a version shows.
pub(in crate::admission) fn type_of<'r>(a: &Attributes<'_>, row: &'r Row) -> Result<TypeRef<'r>, Status> {
    if form(a) == Form::Whole {
        return Ok(row.ty());
    }
    let kind = kind(a, row);
    kaji_api::schema::kind(&kind.group, &kind.version, &kind.kind)
        .ok_or_else(|| Status::internal(format!("no schema for {kind}")))
}

/// Takes over what a webhook made of the object; says whether it is another one now.
pub(super) fn take_over(a: &mut Attributes<'_>, row: &Row, json: &[u8]) -> Result<bool, Status> {
    // Fields that nobody knows are dropped, as from bodies.
    let (new, _) = kaji_api::codec::decode_json(type_of(a, row)?, json).map_err(Status::internal)?;
    put(a, row, new)
}

/// Puts a changed object, as a version shows it, in place of the write's, with its defaults; says whether it is another
/// one now.
pub(in crate::admission) fn put(a: &mut Attributes<'_>, row: &Row, mut new: Value) -> Result<bool, Status> {
    let stored = &a.target.resource;
    match form(a) {
        Form::Whole => {
            convert::to_storage(row, stored, &mut new)?;
            crate::registry::apply_defaults(stored, &mut new);
            stored.ty().normalize(&mut new);
        }
        Form::Scale => {
            let replicas = new["spec"]["replicas"].as_i64().unwrap_or(0);
            new = a.object.clone();
            new.entry("spec").set("replicas", replicas);
        }
        Form::Own => {
            let ty = type_of(a, row)?;
            ty.default(&mut new);
            ty.normalize(&mut new);
        }
    }
    let changed = new != *a.object;
    a.rounds.note_owners(a.object, &new);
    *a.object = new;
    Ok(changed)
}
