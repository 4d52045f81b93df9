//! One object as the cache and the store keep it.
//!
//! Stored form: a format byte, the place where `resourceVersion` belongs (u32, little endian), and the
//! canonical JSON without it; the revision is only known once the write is done. The cache holds the JSON
//! with it spliced in.

use crate::encryption::SealId;
use crate::row::Row;
use bytes::Bytes;
use kaji_api::{ResourceDef, Value, codec};
use kaji_store::Revision;
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};

const FORMAT_JSON: u8 = 1;
const HEADER: usize = 5;
const SPLICE: &[u8] = b",\"resourceVersion\":\"";
/// Decimal digits of the largest number of 64 bits.
const LONGEST_REVISION: usize = 20;

/// An object as the cache keeps it.
#[derive(Debug)]
pub struct Entry {
    /// Store key.
    pub key: String,
    /// Canonical JSON in the storage version, resourceVersion included.
    pub json: Bytes,
    /// Its resourceVersion.
    pub revision: Revision,
    /// Where in `json` the digits of the revision begin.
    digits: usize,
    /// How its value in the store is sealed.
    pub(crate) seal: SealId,
    made: Made,
}

/// What was made of an object, each when it was asked for first.
#[derive(Debug, Default)]
struct Made {
    selected: OnceLock<Selected>,
    object: OnceLock<Arc<Value>>,
    /// In other versions: a webhook may have been asked.
    forms: OnceLock<Box<Mutex<Vec<Form>>>>,
}

/// An apiVersion, and the object in it.
type Form = (Box<str>, Arc<Entry>);

/// What selectors look at, taken from the object once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selected {
    labels: Vec<(Box<str>, Box<str>)>,
    fields: Vec<(&'static str, Box<str>)>,
}

impl Selected {
    /// From an object of a stored resource.
    pub(crate) fn of(row: &Row, object: &Value) -> Self {
        let strategy = row.strategy();
        let field = |f: &&'static str| Some((*f, strategy.selectable(object, f)?.into()));
        Selected {
            labels: object["metadata"]["labels"].entries().map(|(k, v)| (k.into(), v.str().into())).collect(),
            fields: row.field_selectors.iter().filter_map(field).collect(),
        }
    }

    /// A label's value.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.labels.iter().find(|(k, _)| &**k == key).map(|(_, v)| &**v)
    }

    /// A selectable field's value; absent ones read as empty.
    pub(crate) fn field(&self, field: &str) -> Option<&str> {
        Some(self.fields.iter().find(|(k, _)| *k == field).map_or("", |(_, v)| v))
    }
}

impl Entry {
    /// From the stored form (unsealed).
    pub(crate) fn from_stored(key: &str, stored: &[u8], revision: Revision) -> Option<Self> {
        let (&format, rest) = stored.split_first()?;
        let (at, json) = rest.split_first_chunk::<4>()?;
        let at = u32::from_le_bytes(*at) as usize;
        if format != FORMAT_JSON || at > json.len() {
            return None;
        }
        Some(Self::splice(key, &json[..at], &json[at..], revision))
    }

    /// Revision 0 is that of objects never written (dry runs): they show none.
    fn splice(key: &str, head: &[u8], tail: &[u8], revision: Revision) -> Self {
        let mut json = Vec::with_capacity(head.len() + tail.len() + SPLICE.len() + LONGEST_REVISION + 1);
        json.extend_from_slice(head);
        let mut digits = 0;
        if revision != 0 {
            json.extend_from_slice(SPLICE);
            digits = json.len();
            json.extend_from_slice(revision.to_string().as_bytes());
            json.push(b'"');
        }
        json.extend_from_slice(tail);
        let (key, json) = (key.to_owned(), json.into());
        Entry { key, json, revision, digits, seal: SealId::default(), made: Made::default() }
    }

    /// The same object under another revision: what watchers are told of its end.
    pub(crate) fn at(&self, revision: Revision) -> Self {
        let head = self.digits - SPLICE.len();
        let tail = self.digits + self.json[self.digits..].iter().position(|b| *b == b'"').unwrap_or_default() + 1;
        Self::splice(&self.key, &self.json[..head], &self.json[tail..], revision)
    }

    /// The same, with how its value in the store is sealed.
    pub(crate) fn sealed(self, seal: SealId) -> Self {
        Entry { seal, ..self }
    }

    /// Shares it.
    pub(crate) fn shared(self) -> Arc<Self> {
        Arc::new(self)
    }

    /// The object, decoded anew.
    pub fn decode(&self) -> Value {
        codec::parse_json(&self.json).expect("the cache holds what the server encoded itself")
    }

    /// The object, decoded once and kept: it takes several times the memory of its bytes.
    pub(super) fn kept_object(&self) -> Arc<Value> {
        self.made.object.get_or_init(|| Arc::new(self.decode())).clone()
    }

    /// The object of a custom resource in the form its definition asks for now; those of built-in resources, and
    /// those that cannot be converted, are as they are.
    pub(super) fn as_defined(self: Arc<Self>, row: &Row) -> Arc<Self> {
        if row.custom().is_none() {
            return self;
        }
        let mut object = self.decode();
        if let Err(status) = crate::registry::convert::as_defined(row, &mut object) {
            tracing::warn!(key = self.key, %status, "a stored object does not fit its definition");
            return self;
        }
        let stored = to_stored(&object);
        match unchanged(&self, &stored) {
            true => self,
            false => Entry::from_stored(&self.key, &stored, self.revision).map_or(self, Entry::shared),
        }
    }

    /// Whether the JSON of a custom resource begins with this apiVersion, as it does unless fields stand before it.
    pub(crate) fn starts_as(&self, api_version: &str) -> bool {
        let rest =
            self.json.strip_prefix(b"{\"apiVersion\":\"").and_then(|rest| rest.strip_prefix(api_version.as_bytes()));
        rest.is_some_and(|rest| rest.starts_with(b"\""))
    }

    /// The object in another version, where it was converted before.
    pub(crate) fn form(&self, api_version: &str) -> Option<Arc<Self>> {
        let forms = self.made.forms.get()?.lock();
        forms.iter().find(|(version, _)| &**version == api_version).map(|(_, form)| form.clone())
    }

    /// The same entry with the object in another version; kept as long as this one.
    pub(crate) fn keep_form(&self, object: &Value) -> Arc<Self> {
        let form = Entry::from_stored(&self.key, &to_stored(object), self.revision).expect("just encoded").shared();
        let mut forms = self.made.forms.get_or_init(Box::default).lock();
        match forms.iter().find(|(version, _)| **version == *object.api_version()) {
            // Somebody else had it converted meanwhile.
            Some((_, known)) => known.clone(),
            None => {
                forms.push((object.api_version().into(), form.clone()));
                form
            }
        }
    }

    /// Namespace and name, from the key.
    pub(crate) fn names<'a>(&'a self, row: &ResourceDef) -> (&'a str, &'a str) {
        let path = &self.key["/registry/".len() + row.prefix.len() + 1..];
        match row.namespaced {
            true => path.split_once('/').unwrap_or(("", path)),
            false => ("", path),
        }
    }

    /// What selectors look at; decodes the object the first time.
    pub(crate) fn selected(&self, row: &Row) -> &Selected {
        self.made.selected.get_or_init(|| Selected::of(row, &self.decode()))
    }

    /// The JSON behind `"kind":…,"apiVersion":…,`: as an item of a list shows it, without the opening brace.
    /// Custom objects show both in lists, too.
    pub(crate) fn item(&self, row: &Row) -> &[u8] {
        if row.custom().is_some() {
            return &self.json[1..];
        }
        let at = self.json.windows(13).position(|w| w == b",\"metadata\":{");
        &self.json[at.map_or(1, |at| at + 1)..]
    }
}

/// The stored form of an object (not yet sealed).
pub(crate) fn to_stored(object: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    out.extend_from_slice(&[FORMAT_JSON, 0, 0, 0, 0]);
    let mut splice = 0;
    out.push(b'{');
    for (i, (name, field)) in object.entries().enumerate() {
        write_name(i, name, &mut out);
        match name {
            "metadata" => splice = write_metadata(field, &mut out),
            _ => codec::write_json(field, &mut out),
        }
    }
    out.push(b'}');
    let at = u32::try_from(splice - HEADER).expect("objects are far below 4 GiB");
    out[1..HEADER].copy_from_slice(&at.to_le_bytes());
    out
}

/// Writes metadata without resourceVersion; returns where it belongs: behind the uid, as upstream orders them.
fn write_metadata(metadata: &Value, out: &mut Vec<u8>) -> usize {
    let mut splice = 0;
    out.push(b'{');
    for (i, (name, field)) in metadata.entries().filter(|(name, _)| *name != "resourceVersion").enumerate() {
        write_name(i, name, out);
        codec::write_json(field, out);
        if matches!(name, "name" | "generateName" | "namespace" | "uid") {
            splice = out.len();
        }
    }
    out.push(b'}');
    splice
}

fn write_name(index: usize, name: &str, out: &mut Vec<u8>) {
    if index > 0 {
        out.push(b',');
    }
    // Few custom resources have fields at these levels whose names need escapes.
    if name.bytes().any(|b| b < b' ' || matches!(b, b'"' | b'\\')) {
        codec::write_json(&Value::from(name), out);
        return out.push(b':');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Whether the stored form is what the entry already holds, so that a write would change nothing.
pub(crate) fn unchanged(entry: &Entry, stored: &[u8]) -> bool {
    Entry::from_stored(&entry.key, stored, entry.revision).is_some_and(|new| new.json == entry.json)
}

/// Now, as timestamps of metadata are written.
pub(crate) fn now_rfc3339() -> String {
    codec::show_time(jiff::Timestamp::now().as_second())
}
