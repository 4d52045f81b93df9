//! Which built-in resources are served. All of them are stored and looked at by the server's own parts, whatever
//! clients may ask for.

use crate::config::runtime::Name;
use crate::config::{Config, gates};
use crate::row::Row;
use kaji_api::ResourceDef;
use kaji_api::openapi::{Documents, Options};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// The built-in resources that clients see.
#[derive(Default)]
pub(crate) struct Served {
    /// Served by default, but not here.
    off: BTreeSet<Name>,
    /// How OpenAPI tells of them.
    pub(crate) options: Options,
    /// Their OpenAPI documents, where they differ from the usual ones.
    pub(crate) documents: OnceLock<Documents>,
}

impl Served {
    /// As `--runtime-config` wants it; the error is for people.
    pub(crate) fn new(config: &Config) -> Result<Self, String> {
        let off = config.runtime.switched_off(kaji_api::resource::all(), config.limits.fairness)?;
        let options = Options { enums: config.gates.is_on(gates::OPENAPI_ENUMS), ..Options::default() };
        Ok(Served { off, options, documents: OnceLock::new() })
    }

    /// Whether OpenAPI tells of them as it does by default.
    pub(crate) fn is_usual(&self) -> bool {
        self.off.is_empty() && self.options == Options::default()
    }

    /// Whether clients see a resource.
    pub(crate) fn has(&self, row: &ResourceDef) -> bool {
        row.enabled && (self.off.is_empty() || !self.off.contains(&(row.group, row.version, row.plural)))
    }

    /// All of them, in discovery's order.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &'static ResourceDef> {
        kaji_api::resource::all().iter().filter(|row| self.has(row))
    }

    /// Whether any resource of a group version is served.
    pub(crate) fn has_version(&self, group: &str, version: &str) -> bool {
        self.rows().any(|row| (row.group, row.version) == (group, version))
    }

    /// The one in a path, if it is served.
    pub(crate) fn row(&self, group: &str, version: &str, plural: &str) -> Option<Row> {
        kaji_api::resource::find(group, version, plural).filter(|row| self.has(row)).map(Row::BuiltIn)
    }
}
