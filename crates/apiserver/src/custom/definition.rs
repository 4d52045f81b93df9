//! A CustomResourceDefinition: compiled, and (as a resource) defaulted and validated.

mod columns;
mod conversion;
mod defaults;
mod open_api;
mod options;
mod strategy;
mod validate;

pub(super) use conversion::has_bad_bundle;
pub(crate) use strategy::Definitions;

use super::conversion::Conversion;
use super::source::Source;
use super::tables::TooLarge;
use super::version::Version;
use kaji_api::discovery::etag;
use kaji_api::{Value, codec, value};
use std::sync::Arc;

/// A definition, read; what it takes to work with objects is compiled when the first one comes.
#[derive(Debug)]
pub struct Definition {
    /// Tells apart what was made of it, see [`Definition::mark`].
    pub mark: String,
    /// It is being deleted: nothing new can be created.
    pub dying: bool,
    /// API group.
    pub group: String,
    /// Plural name, as in paths.
    pub plural: String,
    /// Singular name.
    pub singular: String,
    /// Kind of the objects.
    pub kind: String,
    /// Kind of lists of them.
    pub list_kind: String,
    /// Short names for people.
    pub short: Vec<String>,
    /// Categories such as `all`.
    pub categories: Vec<String>,
    /// Lives in namespaces.
    pub namespaced: bool,
    /// How objects come from one version to another.
    pub conversion: Conversion,
    /// The versions, in the order of the definition.
    pub versions: Vec<Arc<Version>>,
}

/// Why a stored definition cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// A version's schema does not fit the tables.
    #[error("version {version} of {name} cannot be served")]
    #[non_exhaustive]
    Schema {
        /// The definition.
        name: String,
        /// The version.
        version: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Definition {
    /// Reads a stored definition: its names as accepted, where they are, else as wished for. Takes any object.
    pub(crate) fn of(crd: &Value, source: &Arc<Source>) -> Result<Self, CompileError> {
        let (spec, accepted) = (&crd["spec"], &crd["status"]["acceptedNames"]);
        let names = if accepted["plural"].str().is_empty() { &spec["names"] } else { accepted };
        let group = spec["group"].str();
        let text = |field: &str| names[field].str().to_owned();
        let list = |field: &str| names[field].items().iter().map(|v| v.str().to_owned()).collect();
        let kind = text("kind");
        let versions = spec["versions"].items().iter().map(|v| {
            Version::of(group, &kind, v, source).map(Arc::new).map_err(|cause: TooLarge| CompileError::Schema {
                name: crd.name().to_owned(),
                version: v["name"].str().to_owned(),
                cause: cause.into(),
            })
        });
        Ok(Definition {
            versions: versions.collect::<Result<_, _>>()?,
            mark: Self::mark(crd),
            dying: crd.is_deleting(),
            group: group.to_owned(),
            plural: text("plural"),
            singular: text("singular"),
            list_kind: text("listKind"),
            short: list("shortNames"),
            categories: list("categories"),
            namespaced: spec["scope"].str() == "Namespaced",
            conversion: Conversion::of(&spec["conversion"]),
            kind,
        })
    }

    /// What all that is made of a definition depends on: as long as this stays, so does that.
    pub(crate) fn mark(crd: &Value) -> String {
        let (names, generation) = (&crd["status"]["acceptedNames"], &crd["metadata"]["generation"]);
        hash(&value!([(crd.uid()), (generation.clone()), (names.clone()), (crd.is_deleting())]))
    }

    /// The same for what is read from the store.
    pub(crate) fn stored_mark(crd: &Value) -> String {
        let (versions, conversion) = (&crd["spec"]["versions"], &crd["spec"]["conversion"]);
        hash(&value!([(crd.uid()), (versions.clone()), (conversion.clone())]))
    }

    /// The version of that name.
    pub fn version(&self, name: &str) -> Option<&Arc<Version>> {
        self.versions.iter().find(|v| v.name == name)
    }

    /// The version that objects are stored in.
    pub fn storage(&self) -> Option<&Arc<Version>> {
        self.versions.iter().find(|v| v.storage)
    }
}

fn hash(value: &Value) -> String {
    let mut json = Vec::new();
    codec::write_json(value, &mut json);
    etag(&json)
}

#[cfg(test)]
impl Definition {
    /// Reads any object.
    pub(crate) fn compile(crd: &Value) -> Result<Self, CompileError> {
        let mut json = Vec::new();
        codec::write_json(crd, &mut json);
        Self::of(crd, &Source::new(json.into()))
    }
}

#[cfg(test)]
mod tests;
