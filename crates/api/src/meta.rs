//! Reading and writing `metadata` of any object.

use crate::value::Value;
use std::fmt;

/// Namespace (empty when cluster-scoped) and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Empty for cluster-scoped objects.
    pub namespace: String,
    /// Unique in the namespace.
    pub name: String,
}

impl ObjectKey {
    /// A key from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        ObjectKey { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    /// `namespace/name`, or `name` alone when cluster-scoped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

impl Value {
    /// `apiVersion`, or `""`.
    pub fn api_version(&self) -> &str {
        self["apiVersion"].str()
    }

    /// `kind`, or `""`.
    pub fn kind(&self) -> &str {
        self["kind"].str()
    }

    /// A string of `metadata`, or `""`.
    pub fn meta(&self, field: &str) -> &str {
        self["metadata"][field].str()
    }

    /// `metadata.name`, or `""`.
    pub fn name(&self) -> &str {
        self.meta("name")
    }

    /// `metadata.namespace`, or `""`.
    pub fn namespace(&self) -> &str {
        self.meta("namespace")
    }

    /// `metadata.uid`, or `""`.
    pub fn uid(&self) -> &str {
        self.meta("uid")
    }

    /// `metadata.resourceVersion`, or `""`.
    pub fn resource_version(&self) -> &str {
        self.meta("resourceVersion")
    }

    /// Namespace and name.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(self.namespace(), self.name())
    }

    /// A label's value.
    pub fn label(&self, key: &str) -> Option<&str> {
        self["metadata"]["labels"][key].as_str()
    }

    /// An annotation's value.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self["metadata"]["annotations"][key].as_str()
    }

    /// True once deletion has begun.
    pub fn is_deleting(&self) -> bool {
        !self["metadata"]["deletionTimestamp"].is_null()
    }

    /// Sets a field of `metadata`.
    pub fn set_meta(&mut self, field: &'static str, value: impl Into<Value>) {
        self.entry("metadata").set(field, value);
    }
}
