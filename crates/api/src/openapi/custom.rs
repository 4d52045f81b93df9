//! Types of custom resources in the documents: their schemas are given, not made from tables.

use crate::value::Value;
use std::collections::BTreeMap;

/// The type of a custom resource, or of lists of it.
#[derive(Clone, Debug)]
pub struct CustomType {
    /// Its definition in v2.
    pub v2: Value,
    /// Its schema in v3.
    pub v3: Value,
    /// Names of the built-in types that these refer to.
    pub needs: &'static [&'static str],
}

/// Types by name, see [`model_name`].
#[derive(Clone, Debug, Default)]
pub struct CustomTypes(pub BTreeMap<String, CustomType>);

/// The name of a custom resource's type: `org.example.v1.Thing`.
pub fn model_name(group: &str, version: &str, kind: &str) -> String {
    let parts: Vec<&str> = group.rsplit('.').collect();
    format!("{}.{version}.{kind}", parts.join("."))
}
