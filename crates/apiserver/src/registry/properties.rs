//! See [`crate::properties`].

use super::{apply_defaults, convert, list, metadata};
use crate::context::RequestContext;
use crate::printers;
use crate::row::Row;
use kaji_api::codec::{coerce, parse_json};
use kaji_api::field::Errors;
use kaji_api::{Value, resource};

/// Objects of one kind, a NUL between: the first is created, the second comes in its place; where there is one only, it
/// comes in its own. What may be created may be written again, and stays as it is.
pub fn objects(data: &[u8]) {
    let mut texts = data.splitn(2, |c| *c == 0);
    let Some((row, stored, new)) = texts.next().and_then(read) else { return };
    let cx = RequestContext::system();
    let (old, errors) = created(&cx, &stored, new);
    shown(&row, &stored, &old);
    if errors.is_empty() {
        let (same, errors) = updated(&cx, &stored, old.clone(), &old);
        assert_eq!(same, old, "written again");
        assert!(errors.is_empty(), "written again: {errors:?}");
        assert!(!stored.strategy().counts_as_change(&same, &old), "nothing has changed");
    }
    let Some((_, _, new)) = texts.next().and_then(read).filter(|(other, ..)| is_one(other, &row)) else { return };
    let (new, _) = updated(&cx, &stored, new, &old);
    shown(&row, &stored, &new);
}

/// A token for the rest of a list, and a revision: what is read is written the same.
pub(crate) fn revisions(token: &str, revision: &str) {
    if let Ok((start, at)) = list::decode_continue(token, "") {
        assert_eq!(list::decode_continue(&list::encode_continue(&start, at), ""), Ok((start, at)));
    }
    if let Ok(at) = list::parse_revision(revision) {
        assert_eq!(list::parse_revision(&at.to_string()), Ok(at));
    }
}

/// An object of a kind that is stored: in the path's version, in that of the store, and itself in the latter.
fn read(text: &[u8]) -> Option<(Row, Row, Value)> {
    let value = parse_json(text).ok()?;
    let (group, version) = value.api_version().split_once('/').unwrap_or(("", value.api_version()));
    let def = resource::all()
        .iter()
        .find(|r| r.enabled && r.ty.is_some() && r.group == group && r.version == version && r.kind == value.kind())?;
    let (row, stored) = (Row::BuiltIn(def), Row::built_in(def.storage.0, def.storage.1, def.plural)?);
    let (mut object, _) = coerce(row.ty(), value).ok()?;
    convert::built_in_to_storage(&row, &stored, &mut object);
    object.set("kind", stored.kind);
    stored.ty().normalize(&mut object);
    Some((row, stored, object))
}

fn is_one(a: &Row, b: &Row) -> bool {
    (a.group, a.version, a.kind) == (b.group, b.version, b.kind)
}

/// What becomes of a new object, and what is wrong with it: as [`super::create`] does it.
fn created(cx: &RequestContext, stored: &Row, mut object: Value) -> (Value, Errors) {
    metadata::wipe_system_fields(&mut object);
    if stored.namespaced && object.namespace().is_empty() {
        object.set_meta("namespace", "default");
    }
    metadata::dedup_owners(cx, &mut object, false);
    default(stored, &mut object);
    object.set_meta("uid", "u");
    object.set_meta("creationTimestamp", "2026-01-01T00:00:00Z");
    let strategy = stored.strategy();
    strategy.prepare_create(cx, &mut object);
    match strategy.has_generation() {
        true => object.set_meta("generation", 1),
        false => drop(object.entry("metadata").remove("generation")),
    }
    stored.ty().normalize(&mut object);
    let mut errors = Errors::new();
    metadata::validate(&object, stored.namespaced, strategy.name_check(), &mut errors);
    strategy.validate(&object, &mut errors);
    let _ = strategy.warnings(&object, None);
    (object, errors)
}

/// The same for one that comes in the place of another, or with another status: as [`super::update`] does it.
fn updated(cx: &RequestContext, stored: &Row, mut object: Value, old: &Value) -> (Value, Errors) {
    metadata::dedup_owners(cx, &mut object, false);
    default(stored, &mut object);
    match old["metadata"]["generation"].is_null() {
        true => drop(object.entry("metadata").remove("generation")),
        false => object.set_meta("generation", old["metadata"]["generation"].clone()),
    }
    let strategy = stored.strategy();
    let prepared = |prepare: &dyn Fn(&mut Value)| {
        let mut object = object.clone();
        prepare(&mut object);
        metadata::preserve(&mut object, old);
        stored.ty().normalize(&mut object);
        let mut errors = Errors::new();
        metadata::validate(&object, stored.namespaced, strategy.name_check(), &mut errors);
        metadata::validate_update(&object, old, &mut errors);
        (object, errors)
    };
    let (main, mut errors) = prepared(&|object| strategy.prepare_update(cx, object, old));
    strategy.validate_update(&main, old, &mut errors);
    let (status, mut wrong) = prepared(&|object| strategy.prepare_status_update(cx, object, old));
    strategy.validate_status_update(&status, old, &mut wrong);
    let _ = (strategy.counts_as_change(&main, old), strategy.warnings(&main, Some(old)));
    (main, errors)
}

/// Defaults are filled in once.
fn default(stored: &Row, object: &mut Value) {
    let filled = |object: &mut Value| {
        apply_defaults(stored, object);
        stored.ty().normalize(object);
    };
    filled(object);
    let mut twice = object.clone();
    filled(&mut twice);
    assert_eq!(&twice, object, "defaulted twice");
}

/// As tables, selectors and the path's version show it.
fn shown(row: &Row, stored: &Row, object: &Value) {
    let now = "2026-01-01T00:00:01Z".parse().expect("a time");
    // Addresses have a cell without a column, as upstream's do.
    assert!(printers::cells(stored, object, now).len() >= printers::columns(stored).len(), "a cell for each column");
    let _ = printers::conditions(stored, object);
    let strategy = stored.strategy();
    stored.field_selectors.iter().for_each(|field| drop(strategy.selectable(object, field)));
    let mut there = object.clone();
    convert::built_in_from_storage(row, stored, &mut there);
    convert::built_in_to_storage(row, stored, &mut there);
}
