//! OpenAPI v2 and v3 from the schema tables, descriptions included.
//!
//! [`OpenApi`] is a pure function of the rows that are served. Documents are large (the one of v2 is 4 MB of JSON)
//! and asked for rarely: [`Documents`] builds each on the first request for it and keeps it compressed. Their entity
//! tags are known before: they are made of what the documents are made of.

mod custom;
mod definitions;
mod descriptions;
mod document;
mod form;
mod gnostic;
mod packed;
mod params;
mod paths;

pub use custom::{CustomType, CustomTypes, model_name};
pub use form::Form;
pub use packed::{Documents, Packed};

use crate::resource::ResourceDef;
use crate::value::{Object, Value};
use descriptions::Descriptions;
use paths::PathItem;
use std::collections::{BTreeMap, BTreeSet};

/// What the documents tell beyond the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// CBOR is served, too.
    pub cbor: bool,
    /// Closed sets of values are listed.
    pub enums: bool,
}

impl Default for Options {
    /// As a server without feature gates does.
    fn default() -> Self {
        Options { cbor: false, enums: true }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialect {
    V2,
    V3,
}

/// What the documents say of a field of a built-in type. Reads all descriptions: keep the answer.
pub fn describe(ty: &str, field: &str) -> String {
    Descriptions::load().of(ty).field(field).to_owned()
}

/// What definitions are made from.
#[derive(Clone, Copy)]
struct Sources<'a> {
    options: Options,
    texts: &'a Descriptions,
    custom: &'a CustomTypes,
}

/// Makes documents for a server that serves these rows.
pub struct OpenApi {
    paths: BTreeMap<String, PathItem>,
    version: String,
    options: Options,
    custom: CustomTypes,
}

impl OpenApi {
    /// For the rows that are served, by a server of that version (`v1.36.0`).
    pub fn new<'a>(rows: impl IntoIterator<Item = &'a ResourceDef>, version: &str, options: Options) -> Self {
        OpenApi {
            paths: paths::all(rows, options),
            version: version.to_owned(),
            options,
            custom: CustomTypes::default(),
        }
    }

    /// For the built-in rows that are on by default.
    pub fn built_in(version: &str) -> Self {
        Self::new(crate::resource::all().iter().filter(|row| row.enabled), version, Options::default())
    }

    /// With types of custom resources, whose rows are among those given before.
    #[must_use]
    pub fn with_types(mut self, types: CustomTypes) -> Self {
        self.custom = types;
        self
    }

    /// `/openapi/v2`, as it is kept under an entity tag.
    pub fn packed_v2(&self, etag: &str) -> Packed {
        Packed::of(&self.v2(), Dialect::V2, etag)
    }

    /// `/openapi/v3/NAME`, as it is kept under an entity tag; none: no such document.
    pub fn packed_v3(&self, name: &str, etag: &str) -> Option<Packed> {
        Some(Packed::of(&self.v3(name)?, Dialect::V3, etag))
    }

    fn sources<'a>(&'a self, texts: &'a Descriptions) -> Sources<'a> {
        Sources { options: self.options, texts, custom: &self.custom }
    }

    /// `/openapi/v2`.
    pub fn v2(&self) -> Value {
        let texts = Descriptions::load();
        let mut out = document::v2(&self.paths, &self.version, self.sources(&texts));
        sort(&mut out);
        out
    }

    /// The documents of v3, by their paths below `/openapi/v3/`: `api/v1`, `apis/apps/v1`, `version`.
    pub fn v3_names(&self) -> BTreeSet<String> {
        self.paths.keys().map(|path| document_name(path)).collect()
    }

    /// `/openapi/v3/NAME`; none: no such document.
    pub fn v3(&self, name: &str) -> Option<Value> {
        if !self.v3_names().contains(name) {
            return None;
        }
        let texts = Descriptions::load();
        let own = match name.split('/').collect::<Vec<_>>().as_slice() {
            ["api", version] => Some(("", (*version).to_owned())),
            ["apis", group, version] => Some((*group, (*version).to_owned())),
            _ => None,
        };
        let own = own.as_ref().map(|(group, version)| (*group, version.as_str()));
        let paths = self.paths.iter().filter(|(path, _)| document_name(path) == name);
        let mut out = document::v3(paths, &self.version, self.sources(&texts), own);
        sort(&mut out);
        Some(out)
    }
}

/// Where a document of v3 is, by its entity tag: what the index says of it, and where it has moved to.
pub fn v3_place(name: &str, etag: &str) -> String {
    format!("/openapi/v3/{name}?hash={}", etag.trim_matches('"'))
}

/// `/openapi/v3`: where the documents are, by their names and entity tags.
pub fn v3_index(documents: impl IntoIterator<Item = (String, String)>) -> Value {
    let entry = |(name, etag): (String, String)| {
        let place = crate::value!({"serverRelativeURL": (v3_place(&name, &etag))});
        (name, place)
    };
    crate::value!({"paths": (documents.into_iter().map(entry).collect::<Value>())})
}

/// The v3 document that a path stands in.
fn document_name(path: &str) -> String {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let length = match parts.as_slice() {
        ["api", ..] => 2,
        ["apis", ..] => 3,
        ["logs", ..] => 1,
        _ => parts.len(),
    };
    parts[..parts.len().min(length)].join("/")
}

/// Fields in alphabetical order, as Go writes maps.
fn sort(value: &mut Value) {
    match value {
        Value::Object(Object(fields)) => {
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            fields.iter_mut().for_each(|(_, v)| sort(v));
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
