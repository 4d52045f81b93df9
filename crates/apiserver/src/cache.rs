//! The watch cache: one per stored resource, fed by one store watch; encoded bytes, shared.

use bytes::Bytes;
use kaji_api::Value;
use kaji_store::Revision;

/// An object as the cache keeps it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Store key.
    pub key: String,
    /// Canonical JSON in the storage version, resourceVersion included.
    pub json: Bytes,
    /// Its resourceVersion.
    pub revision: Revision,
}

impl Entry {
    /// The object, decoded anew.
    pub fn decode(&self) -> Value {
        kaji_api::codec::parse_json(&self.json).expect("the cache holds what the server encoded itself")
    }
}
