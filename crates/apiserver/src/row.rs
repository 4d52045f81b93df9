//! Rows of resources as the server works with them: built in, or made at run time from a definition.

mod table;

pub(crate) use table::{CustomRows, Table};

use crate::custom::{Version, Webhook};
use crate::strategy::{self, Strategy};
use kaji_api::ResourceDef;
use kaji_api::schema::TypeRef;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// What the server knows of one resource in one version; cheap to clone.
#[derive(Clone)]
pub enum Row {
    /// Compiled into the program.
    BuiltIn(&'static ResourceDef),
    /// From a CustomResourceDefinition; lives as long as somebody uses it.
    Custom(Arc<CustomRow>),
}

/// A custom resource in one version.
pub struct CustomRow {
    /// What is uniform about it; its `ty` is none.
    pub def: ResourceDef,
    /// What it was made of: as long as this stays, so does all that is said of it.
    pub mark: String,
    /// Defaults, validation, selectable fields.
    pub strategy: Box<dyn Strategy>,
    /// What the definition says of this version.
    pub version: Arc<Version>,
    /// The kind of lists.
    pub list_kind: String,
    /// Who converts objects from one version to another; none: versions differ in name alone.
    pub webhook: Option<Arc<Webhook>>,
}

impl Row {
    /// A built-in resource, if there is one and it is served.
    pub fn built_in(group: &str, version: &str, plural: &str) -> Option<Self> {
        kaji_api::resource::find(group, version, plural).filter(|row| row.enabled).map(Row::BuiltIn)
    }

    /// The schema of its objects.
    pub fn ty(&self) -> TypeRef<'_> {
        match self {
            Row::BuiltIn(def) => def.ty.expect("built-in rows that are served have a schema"),
            Row::Custom(custom) => custom.version.ty(),
        }
    }

    /// What is special about it.
    pub fn strategy(&self) -> &dyn Strategy {
        match self {
            Row::BuiltIn(def) => strategy::of(def),
            Row::Custom(custom) => custom.strategy.as_ref(),
        }
    }

    /// The kind of lists of its objects.
    pub fn list_kind(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Row::Custom(custom) => custom.list_kind.as_str().into(),
            Row::BuiltIn(def) => format!("{}List", def.kind).into(),
        }
    }

    /// The custom resource it is, if it is one.
    pub fn custom(&self) -> Option<&Arc<CustomRow>> {
        match self {
            Row::BuiltIn(_) => None,
            Row::Custom(custom) => Some(custom),
        }
    }
}

impl Deref for Row {
    type Target = ResourceDef;

    fn deref(&self) -> &ResourceDef {
        match self {
            Row::BuiltIn(def) => def,
            Row::Custom(custom) => &custom.def,
        }
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.api_version(), self.plural)
    }
}
