//! Documents as they are kept: compressed, with the tag that tells versions apart.

use super::{Dialect, OpenApi, Options, gnostic, v3_index};
use crate::discovery::etag;
use crate::openapi::descriptions::Descriptions;
use crate::resource::ResourceDef;
use crate::value::Value;
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::sync::OnceLock;

/// One document.
pub struct Packed {
    /// Its JSON, as a client that accepts gzip can have it.
    pub gzip: Vec<u8>,
    /// Its entity tag, quoted.
    pub etag: String,
    dialect: Dialect,
}

impl Packed {
    /// A document of v2.
    pub fn v2(document: &Value) -> Self {
        Self::of(document, Dialect::V2)
    }

    pub(super) fn of(document: &Value, dialect: Dialect) -> Self {
        let mut json = Vec::new();
        crate::codec::write_json(document, &mut json);
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(&json).expect("memory takes all");
        Packed { gzip: encoder.finish().expect("memory takes all"), etag: etag(&json), dialect }
    }

    /// The JSON itself.
    pub fn json(&self) -> Vec<u8> {
        let mut json = Vec::new();
        GzDecoder::new(self.gzip.as_slice()).read_to_end(&mut json).expect("packed above");
        json
    }

    /// The message of gnostic; made anew each time, for hardly anyone asks.
    pub fn protobuf(&self) -> Vec<u8> {
        let document = crate::codec::parse_json(&self.json()).expect("written above");
        match self.dialect {
            Dialect::V2 => gnostic::v2(&document),
            Dialect::V3 => gnostic::v3(&document),
        }
    }
}

/// The documents of a server, built when first asked for.
pub struct Documents {
    rows: Vec<&'static ResourceDef>,
    version: String,
    options: Options,
    v2: OnceLock<Packed>,
    v3: OnceLock<BTreeMap<String, Packed>>,
}

impl Documents {
    /// For the rows that are served, by a server of that version (`v1.36.0`).
    pub fn new(rows: impl IntoIterator<Item = &'static ResourceDef>, version: &str, options: Options) -> Self {
        Documents {
            rows: rows.into_iter().collect(),
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

    /// `/openapi/v2`.
    pub fn v2(&self) -> &Packed {
        self.v2.get_or_init(|| Packed::of(&self.open_api().v2(), Dialect::V2))
    }

    fn v3_all(&self) -> &BTreeMap<String, Packed> {
        self.v3.get_or_init(|| {
            let (open_api, texts) = (self.open_api(), Descriptions::load());
            let packed = |name: String| {
                let document = Packed::of(&open_api.v3_with(&name, &texts), Dialect::V3);
                (name, document)
            };
            open_api.v3_names().into_iter().map(packed).collect()
        })
    }

    /// `/openapi/v3/NAME`; none: no such document.
    pub fn v3(&self, name: &str) -> Option<&Packed> {
        self.v3_all().get(name)
    }

    /// `/openapi/v3`.
    pub fn v3_index(&self) -> Value {
        v3_index(self.v3_all().iter().map(|(name, document)| (name.as_str(), document.etag.trim_matches('"'))))
    }
}
