//! Ownership as stories: objects that several managers write in turn.

mod codec;
mod custom;
mod properties;
mod scenarios;

use super::{ApplyError, Element, Filter, Owners, Set, Versions, Writer, keep_times};
use crate::codec::{coerce, decode_json, parse_json};
use crate::schema::{self, TypeRef};
use crate::{Value, codec as json};

/// A resource that was never served in another version.
struct Only;

impl Versions for Only {
    fn convert(&self, _: &Value, _: &str, _: &str) -> Option<Value> {
        None
    }

    fn ty(&self, _: &str) -> Option<TypeRef<'_>> {
        None
    }
}

/// An object and the time.
struct Object<'a> {
    ty: TypeRef<'a>,
    version: &'static str,
    kind: &'static str,
    filter: Filter,
    now: String,
    live: Value,
}

fn object(group: &'static str, version: &'static str, kind: &'static str) -> Object<'static> {
    let ty = schema::kind(group, version, kind).unwrap();
    let version = if group.is_empty() { version } else { Box::leak(format!("{group}/{version}").into_boxed_str()) };
    Object::of(ty, version, kind)
}

impl<'a> Object<'a> {
    fn of(ty: TypeRef<'a>, version: &'static str, kind: &'static str) -> Self {
        let mut live = Value::object();
        ty.normalize(&mut live);
        Object { ty, version, kind, filter: Filter::All, now: "2026-01-01T00:00:00Z".to_owned(), live }
    }

    fn writer<'w>(&'w self, manager: &'w str) -> Writer<'w> {
        Writer {
            manager,
            subresource: "",
            version: self.version,
            kind: self.kind,
            ty: self.ty,
            filter: self.filter,
            versions: &Only,
            now: &self.now,
        }
    }

    /// JSON of a configuration, with kind, version and name.
    fn config(&self, fields: &str) -> Value {
        let mut config = parse_json(fields.as_bytes()).unwrap_or_else(|e| panic!("{e}: {fields}"));
        config.set("apiVersion", self.version);
        config.set("kind", self.kind);
        config.set_meta("name", "it");
        config
    }

    fn try_apply(&mut self, manager: &str, fields: &str, force: bool) -> Result<(), ApplyError> {
        let merged = self.writer(manager).apply(&self.live, &self.config(fields), force)?;
        self.become_(merged);
        Ok(())
    }

    fn become_(&mut self, next: Value) {
        let (mut next, _) = coerce(self.ty, next).unwrap();
        next.set_meta("uid", "its-uid");
        self.ty.default(&mut next);
        self.ty.normalize(&mut next);
        keep_times(&mut next, &self.live);
        self.live = next;
    }

    #[track_caller]
    fn apply(&mut self, manager: &str, fields: &str) -> &mut Self {
        self.try_apply(manager, fields, false).unwrap();
        self
    }

    #[track_caller]
    fn force(&mut self, manager: &str, fields: &str) -> &mut Self {
        self.try_apply(manager, fields, true).unwrap();
        self
    }

    /// The text of the refusal.
    #[track_caller]
    fn refused(&mut self, manager: &str, fields: &str) -> String {
        let refused = self.try_apply(manager, fields, false).unwrap_err();
        crate::Status::from(refused).message
    }

    /// An ordinary write of the whole object.
    fn replace(&mut self, manager: &str, fields: &str) -> &mut Self {
        let text = fields.to_owned();
        self.write(manager, |this, _| this.config(&text))
    }

    /// An ordinary write of a part of it.
    fn edit(&mut self, manager: &str, change: impl FnOnce(&mut Value)) -> &mut Self {
        self.write(manager, |_, live| {
            let mut next = live.clone();
            change(&mut next);
            next
        })
    }

    fn write(&mut self, manager: &str, next: impl FnOnce(&Self, &Value) -> Value) -> &mut Self {
        let (mut next, _) = coerce(self.ty, next(self, &self.live)).unwrap();
        if !self.live.uid().is_empty() {
            next.set_meta("uid", "its-uid");
        }
        self.ty.default(&mut next);
        self.ty.normalize(&mut next);
        match self.writer(manager).update(&self.live, &next).unwrap() {
            Some(owners) => next.set_meta("managedFields", owners),
            None => drop(next.entry("metadata").remove("managedFields")),
        }
        self.become_(next);
        self
    }

    fn at(&mut self, now: &str) -> &mut Self {
        self.now = now.to_owned();
        self
    }

    /// The fields of a manager as `FieldsV1`, or `none`.
    fn fields(&self, manager: &str) -> String {
        let owners = self.live["metadata"]["managedFields"].items();
        let found = owners.iter().find(|o| o["manager"].str() == manager);
        found.map_or("none".to_owned(), |o| text(&o["fieldsV1"]))
    }

    /// Managers, operations and times, in the order they are written.
    fn managers(&self) -> Vec<String> {
        let owners = self.live["metadata"]["managedFields"].items();
        owners.iter().map(|o| format!("{} {} {}", o["manager"].str(), o["operation"].str(), o["time"].str())).collect()
    }

    fn spec(&self) -> String {
        text(&self.live["spec"])
    }
}

fn text(value: &Value) -> String {
    let mut out = Vec::new();
    json::write_json(value, &mut out);
    String::from_utf8(out).unwrap()
}

fn typed(ty: TypeRef<'_>, fields: &str) -> Value {
    decode_json(ty, fields.as_bytes()).unwrap().0
}

fn path(names: &[&'static str]) -> Vec<Element> {
    names.iter().map(|name| Element::field(*name)).collect()
}
