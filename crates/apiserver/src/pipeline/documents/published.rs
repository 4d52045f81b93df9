//! What is published of all resources that one table serves, made when somebody asks.

use super::super::version;
use super::Aggregated;
use super::openapi::built_in;
use crate::custom::open_api;
use crate::row::{CustomRow, Table};
use crate::served::Served;
use kaji_api::ResourceDef;
use kaji_api::discovery::{Discovery, etag};
use kaji_api::openapi::{CustomTypes, OpenApi, Packed};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

/// Discovery of one table.
#[derive(Default)]
pub(crate) struct Published {
    core: OnceLock<Aggregated>,
    groups: OnceLock<Aggregated>,
}

impl Table {
    /// Discovery of everything that is served here.
    pub(super) fn discovery<'a>(&'a self, built_in: &'a Served) -> Discovery<'a> {
        Discovery::of(built_in.rows().map(any).chain(self.served().map(|row| &**row)))
    }

    /// The core group in the aggregated form.
    pub(super) fn core(&self, built_in: &Served) -> &Aggregated {
        self.published.core.get_or_init(|| Aggregated::of(&self.discovery(built_in).aggregated(true)))
    }

    /// The named groups in the aggregated form.
    pub(super) fn groups(&self, built_in: &Served) -> &Aggregated {
        self.published.groups.get_or_init(|| Aggregated::of(&self.discovery(built_in).aggregated(false)))
    }

    /// The OpenAPI v3 documents of custom resources, by name, with their entity tags.
    pub(super) fn v3_tags(&self, served: &Served) -> BTreeMap<String, String> {
        let mut marks: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for custom in self.custom() {
            marks.entry(document_name(custom)).or_default().push(&custom.mark);
        }
        marks.into_iter().map(|(name, marks)| (name, tag(served, marks))).collect()
    }

    fn v3_tag(&self, served: &Served, name: &str) -> Option<String> {
        let marks: Vec<&str> = self.v3_rows(name).map(|custom| custom.mark.as_str()).collect();
        (!marks.is_empty()).then(|| tag(served, marks))
    }

    fn v3_rows(&self, name: &str) -> impl Iterator<Item = &Arc<CustomRow>> {
        self.custom().filter(move |custom| document_name(custom) == name)
    }

    fn custom(&self) -> impl Iterator<Item = &Arc<CustomRow>> {
        self.served().filter_map(|row| row.custom())
    }
}

/// A built-in row among others.
fn any<'a>(row: &'static ResourceDef) -> &'a ResourceDef {
    row
}

fn document_name(custom: &CustomRow) -> String {
    format!("apis/{}/{}", custom.def.group, custom.def.version)
}

/// The entity tag of a document that tells of rows with these marks, and of what is built in.
fn tag(served: &Served, mut marks: Vec<&str>) -> String {
    marks.sort_unstable();
    etag(format!("{} {}", built_in(served).tag("custom"), marks.join(" ")).as_bytes())
}

fn types<'a>(rows: impl Iterator<Item = &'a Arc<CustomRow>>) -> CustomTypes {
    let mut all = CustomTypes::default();
    for custom in rows {
        let definition = custom.version.definition();
        let versions = definition["spec"]["versions"].items().iter();
        for version in versions.filter(|v| v["name"].str() == custom.def.version) {
            all.0.extend(open_api::types(&definition, version).0);
        }
    }
    all
}

/// OpenAPI documents with custom resources in them that somebody asked for: each as long as its entity tag stays.
#[derive(Default)]
pub(crate) struct Kept(Mutex<HashMap<String, Arc<Packed>>>);

impl Kept {
    /// OpenAPI v2 of everything; none: what is built in is all there is.
    pub(super) fn v2(&self, served: &Served, table: &Table) -> Option<Arc<Packed>> {
        let marks: Vec<&str> = table.custom().map(|custom| custom.mark.as_str()).collect();
        if marks.is_empty() {
            return None;
        }
        let tag = tag(served, marks);
        self.get("v2", &tag, || {
            let rows = served.rows().map(any).chain(table.served().map(|row| &**row));
            let open_api = OpenApi::new(rows, &version::git_version(), served.options);
            Some(open_api.with_types(types(table.custom())).packed_v2(&tag))
        })
    }

    /// One document of v3; none: no custom resources are told of there.
    pub(super) fn v3(&self, served: &Served, table: &Table, name: &str) -> Option<Arc<Packed>> {
        let tag = table.v3_tag(served, name)?;
        self.get(name, &tag, || {
            let rows = table.v3_rows(name).map(|custom| &custom.def);
            let open_api = OpenApi::new(rows, &version::git_version(), served.options);
            open_api.with_types(types(table.v3_rows(name))).packed_v3(name, &tag)
        })
    }

    /// Lets go of documents whose group versions are served no more.
    pub(super) fn forget_others(&self, names: &BTreeMap<String, String>) {
        self.0.lock().retain(|name, _| name == "v2" || names.contains_key(name));
    }

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    fn get(&self, name: &str, tag: &str, make: impl FnOnce() -> Option<Packed>) -> Option<Arc<Packed>> {
        let kept = self.0.lock().get(name).filter(|document| document.etag == tag).cloned();
        kept.or_else(|| {
            // Made outside the lock: two may do so at once, which is only a little waste.
            let made = Arc::new(make()?);
            self.0.lock().insert(name.to_owned(), made.clone());
            Some(made)
        })
    }
}
