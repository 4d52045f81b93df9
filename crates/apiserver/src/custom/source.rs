//! The text of a definition, to compile from when somebody first needs it.

use bytes::Bytes;
use kaji_api::{Value, codec};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;

/// A definition's JSON, as the cache of definitions holds it: shared, so that a definition nobody uses is kept once.
pub(crate) struct Source(Mutex<Bytes>);

impl Source {
    /// From the JSON of a definition.
    pub(crate) fn new(json: Bytes) -> Arc<Self> {
        Arc::new(Source(Mutex::new(json)))
    }

    /// Takes the newer text of a definition that says the same of its versions, so that the older can be let go.
    pub(crate) fn renew(&self, json: Bytes) {
        *self.0.lock() = json;
    }

    /// The definition.
    pub(crate) fn read(&self) -> Value {
        let json = self.0.lock().clone();
        codec::parse_json(&json).expect("the cache holds what the server encoded itself")
    }

    /// One version of the definition; null where there is none of that name.
    pub(crate) fn version(&self, name: &str) -> Value {
        let Some(Value::Array(versions)) = self.read().entry_at(&["spec"]).remove("versions") else {
            return Value::Null;
        };
        versions.into_iter().find(|v| v["name"].str() == name).unwrap_or_default()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.lock().len())
    }
}
