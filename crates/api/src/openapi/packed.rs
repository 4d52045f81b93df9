//! Documents as they are kept: compressed, with the tag that tells versions apart.

use super::form::Form;
use super::{Dialect, OpenApi, Options, gnostic, v3_index};
use crate::discovery::etag;
use crate::resource::ResourceDef;
use crate::value::Value;
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// One document.
pub struct Packed {
    json: Form,
    protobuf: OnceLock<Form>,
    /// Its entity tag, quoted.
    pub etag: String,
    dialect: Dialect,
}

impl Packed {
    /// A document of v2 that was made of others; its tag is its hash.
    pub fn v2(document: &Value) -> Self {
        let mut json = Vec::new();
        crate::codec::write_json(document, &mut json);
        Self::pack(&json, Dialect::V2, etag(&json))
    }

    pub(super) fn of(document: &Value, dialect: Dialect, etag: &str) -> Self {
        let mut json = Vec::new();
        crate::codec::write_json(document, &mut json);
        Self::pack(&json, dialect, etag.to_owned())
    }

    fn pack(json: &[u8], dialect: Dialect, etag: String) -> Self {
        Packed { json: Form::of(json), protobuf: OnceLock::new(), etag, dialect }
    }

    /// Its JSON.
    pub fn json(&self) -> &Form {
        &self.json
    }

    /// The message of gnostic, made when first asked for.
    pub fn protobuf(&self) -> &Form {
        self.protobuf.get_or_init(|| {
            let document = crate::codec::parse_json(&self.json.plain()).expect("written above");
            Form::of(&match self.dialect {
                Dialect::V2 => gnostic::v2(&document),
                Dialect::V3 => gnostic::v3(&document),
            })
        })
    }
}

/// The documents of a server, each built when first asked for.
pub struct Documents {
    rows: Vec<&'static ResourceDef>,
    version: String,
    options: Options,
    /// Stands for all that they are made of.
    mark: String,
    v2: OnceLock<Packed>,
    v3: OnceLock<BTreeMap<String, OnceLock<Packed>>>,
}

impl Documents {
    /// For the rows that are served, by a server of that version (`v1.36.0`).
    pub fn new(rows: impl IntoIterator<Item = &'static ResourceDef>, version: &str, options: Options) -> Self {
        let rows: Vec<&ResourceDef> = rows.into_iter().collect();
        let names: Vec<String> = rows.iter().map(|r| format!("{}/{}/{}", r.group, r.version, r.plural)).collect();
        Documents {
            mark: format!("{} {version} {options:?} {}", env!("OPENAPI_SOURCES"), names.join(" ")),
            rows,
            version: version.to_owned(),
            options,
            v2: OnceLock::new(),
            v3: OnceLock::new(),
        }
    }

    /// For the built-in rows that are on by default.
    pub fn built_in(version: &str) -> Self {
        Self::new(crate::resource::all().iter().filter(|row| row.enabled), version, Options::default())
    }

    /// What makes them; not kept, for it is large, too.
    fn open_api(&self) -> OpenApi {
        OpenApi::new(self.rows.iter().copied(), &self.version, self.options)
    }

    /// The entity tag of a document, `v2` or one of v3: known without building it.
    pub fn tag(&self, name: &str) -> String {
        etag(format!("{name} {}", self.mark).as_bytes())
    }

    /// `/openapi/v2`.
    pub fn v2(&self) -> &Packed {
        self.v2.get_or_init(|| self.open_api().packed_v2(&self.tag("v2")))
    }

    fn v3_all(&self) -> &BTreeMap<String, OnceLock<Packed>> {
        self.v3.get_or_init(|| self.open_api().v3_names().into_iter().map(|name| (name, OnceLock::new())).collect())
    }

    /// `/openapi/v3/NAME`; none: no such document.
    pub fn v3(&self, name: &str) -> Option<&Packed> {
        let place = self.v3_all().get(name)?;
        Some(place.get_or_init(|| {
            let own = self.rows.iter().copied().filter(|row| document_of(row) == name);
            // Few documents are about no resources but about groups.
            let rows = if own.clone().next().is_some() { own.collect() } else { self.rows.clone() };
            let open_api = OpenApi::new(rows, &self.version, self.options);
            open_api.packed_v3(name, &self.tag(name)).expect("documents are named by what makes them")
        }))
    }

    /// `/openapi/v3`.
    pub fn v3_index(&self) -> Value {
        v3_index(self.v3_all().keys().map(|name| (name.clone(), self.tag(name))))
    }
}

/// The document of v3 that tells of a resource.
fn document_of(row: &ResourceDef) -> String {
    match row.group {
        "" => format!("api/{}", row.version),
        group => format!("apis/{group}/{}", row.version),
    }
}
