//! Parameters: the objects that a binding refers to (apiserver `policy/generic`).

use super::frame::{Binding, Frame};
use crate::admission::Attributes;
use crate::registry::convert;
use crate::row::Row;
use crate::server::Api;
use kaji_api::selector::LabelSelector;
use kaji_api::{ResourceDef, Status, Value};
use std::sync::Arc;

/// The resource of a policy's parameters, where it takes any. The error is one of the policy.
pub(super) fn kind(frame: &Frame, api: &Api) -> Result<Option<Row>, String> {
    let Some((version, kind)) = &frame.param_kind else { return Ok(None) };
    let unknown = || format!("failed to find resource referenced by paramKind: '{}'", shown(version, kind));
    resource_of(api, version, kind).map(Some).ok_or_else(unknown)
}

/// The parameters to judge a write with, one after another; a single null where there are none to have. The error is
/// one of the binding.
pub(super) fn collect(kind: Option<&Row>, binding: &Binding, a: &Attributes<'_>) -> Result<Vec<Value>, String> {
    let Some(row) = kind else { return Ok(vec![Value::Null]) };
    let reference = &binding.params;
    if reference.is_null() {
        return Ok(vec![Value::Null]);
    }
    let named = reference["namespace"].str();
    if !named.is_empty() && !row.namespaced {
        return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
    }
    let namespace = match (row.namespaced, named) {
        (false, _) => "",
        (true, "") => a.namespace,
        (true, named) => named,
    };
    if row.namespaced && namespace.is_empty() {
        return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into());
    }
    let found = match reference["name"].str() {
        "" => {
            let selector = LabelSelector::from_value(&reference["selector"])?;
            let mut all = a.api.list_cached(&row.group_resource(), namespace);
            all.retain(|object| selector.matches_object(object));
            all
        }
        name => a.api.get_cached(&row.group_resource(), namespace, name).into_iter().collect(),
    };
    if found.is_empty() && reference["parameterNotFoundAction"].str() == "Deny" {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    let stored = a.api.stored(&row.group_resource());
    let in_version = |object| in_version(row, stored.as_ref(), object).map_err(|status| status.message);
    found.into_iter().map(Arc::unwrap_or_clone).map(in_version).collect()
}

/// The resource of a kind.
pub(crate) fn resource_of(api: &Api, version: &str, kind: &str) -> Option<Row> {
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    let is = |row: &ResourceDef| row.group == group && row.version == version && row.kind == kind;
    let built_in = api.served().rows().find(|row| is(row) && !row.prefix.is_empty());
    built_in.map(Row::BuiltIn).or_else(|| api.custom().load().served().find(|row| is(row)).cloned())
}

fn shown(version: &str, kind: &str) -> String {
    let (group, version) = version.rsplit_once('/').unwrap_or(("", version));
    format!("{group}/{version}, Kind={kind}")
}

fn in_version(row: &Row, stored: Option<&Row>, mut object: Value) -> Result<Value, Status> {
    if let Some(stored) = stored.filter(|stored| !convert::is_same(row, stored)) {
        convert::from_storage(row, stored, &mut object)?;
    }
    Ok(object)
}
