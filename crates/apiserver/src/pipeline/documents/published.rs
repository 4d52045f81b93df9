//! What is published of all resources that one table serves; made when somebody asks, kept as long as the table.

use super::super::version;
use super::Aggregated;
use crate::custom::open_api;
use crate::row::Table;
use crate::server::Api;
use kaji_api::GroupResource;
use kaji_api::discovery::Discovery;
use kaji_api::openapi::{CustomTypes, OpenApi, Options, Packed};
use std::collections::BTreeMap;
use std::sync::OnceLock;

const DEFINITIONS: GroupResource = GroupResource::of("apiextensions.k8s.io", "customresourcedefinitions");

/// Documents of one table.
#[derive(Default)]
pub(crate) struct Published {
    core: OnceLock<Aggregated>,
    groups: OnceLock<Aggregated>,
    v2: OnceLock<Packed>,
    v3: OnceLock<BTreeMap<String, Packed>>,
}

impl Table {
    /// Discovery of everything that is served here.
    pub(super) fn discovery(&self) -> Discovery<'_> {
        let built_in = kaji_api::resource::all().iter().filter(|row| row.enabled);
        Discovery::of(built_in.chain(self.served().map(|row| &**row)))
    }

    /// The core group in the aggregated form.
    pub(super) fn core(&self) -> &Aggregated {
        self.published.core.get_or_init(|| Aggregated::of(&self.discovery().aggregated(true)))
    }

    /// The named groups in the aggregated form.
    pub(super) fn groups(&self) -> &Aggregated {
        self.published.groups.get_or_init(|| Aggregated::of(&self.discovery().aggregated(false)))
    }

    /// OpenAPI v2 of everything; none: what is built in is all there is.
    pub(super) fn open_api_v2(&self, api: &Api) -> Option<&Packed> {
        self.served().next()?;
        Some(self.published.v2.get_or_init(|| {
            let built_in = kaji_api::resource::all().iter().filter(|row| row.enabled);
            let rows = built_in.chain(self.served().map(|row| &**row));
            let open_api = OpenApi::new(rows, &version::git_version(), Options::default());
            open_api.with_types(self.types(api)).packed_v2()
        }))
    }

    /// The OpenAPI v3 documents of custom resources, by name.
    pub(super) fn open_api_v3(&self, api: &Api) -> &BTreeMap<String, Packed> {
        self.published.v3.get_or_init(|| {
            let rows = self.served().map(|row| &**row);
            let open_api = OpenApi::new(rows, &version::git_version(), Options::default()).with_types(self.types(api));
            let own: std::collections::BTreeSet<String> =
                self.served().map(|row| format!("apis/{}/{}", row.group, row.version)).collect();
            let packed = |name: String| Some((name.clone(), open_api.packed_v3(&name)?));
            own.into_iter().filter_map(packed).collect()
        })
    }

    fn types(&self, api: &Api) -> CustomTypes {
        let mut all = CustomTypes::default();
        for row in self.served() {
            let name = format!("{}.{}", row.plural, row.group);
            let Some(definition) = api.get_cached(&DEFINITIONS, "", &name) else { continue };
            let versions = definition["spec"]["versions"].items().iter();
            for version in versions.filter(|v| v["name"].str() == row.version) {
                all.0.extend(open_api::types(&definition, version).0);
            }
        }
        all
    }
}
