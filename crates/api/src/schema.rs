//! Schema tables: types, fields, and what derives from them.
//!
//! Tables are flat arrays addressed by index, so that the built-in ones are plain statics (compiled from
//! `schema/*.kaji`) and those of custom resources are built at run time by [`Builder`]; both are read
//! through [`TypeRef`], [`FieldRef`] and [`Shape`].

mod builder;
pub(crate) mod canonical;
mod defaults;
mod names;
mod tables;
mod view;

pub use builder::{Builder, CustomField, CustomItems, ShapeId, TypeId};
pub use names::intern;
pub use tables::{ListType, Literal, MapType, Scalar, Schema};
pub use view::{Alternative, Default, FieldRef, Lifecycle, ListRef, MapRef, PatchStrategy, Shape, TypeRef};

use crate::resource::{GroupDef, ResourceDef};

/// Statics compiled from `schema/*.kaji`.
mod built_in {
    #![allow(clippy::all)]
    use super::TypeRef;
    use super::tables::*;
    use crate::resource::{GroupDef, ResourceDef, SubresourceDef, VersionDef};
    use std::borrow::Cow;
    include!(concat!(env!("OUT_DIR"), "/tables.rs"));
}

/// The built-in schema.
pub fn built_in() -> &'static Schema {
    &built_in::SCHEMA
}

/// The rows of `crate::resource::all`.
pub(crate) fn built_in_resources() -> &'static [ResourceDef] {
    built_in::RESOURCES
}

/// The row of `crate::resource::find`.
pub(crate) fn built_in_resource(group: &str, version: &str, plural: &str) -> Option<&'static ResourceDef> {
    let key = (plural, group, version);
    let at = built_in::BY_PLURAL.binary_search_by(|row| {
        let r = &built_in::RESOURCES[usize::from(*row)];
        (r.plural, r.group, r.version).cmp(&key)
    });
    Some(&built_in::RESOURCES[usize::from(built_in::BY_PLURAL[at.ok()?])])
}

/// The rows of `crate::resource::groups`.
pub(crate) fn built_in_groups() -> &'static [GroupDef] {
    built_in::GROUPS
}

/// The built-in type of a kind (`""`, `v1`, `Pod`; also lists, options, reviews), if there is one.
pub fn kind(group: &str, version: &str, kind: &str) -> Option<TypeRef<'static>> {
    let at = built_in::KINDS.binary_search_by(|(g, v, k, _)| (*g, *v, *k).cmp(&(group, version, kind))).ok();
    let id = match at {
        Some(at) => built_in::KINDS[at].3,
        None => built_in::COMMON_KINDS.iter().find(|(k, _)| *k == kind)?.1,
    };
    Some(TypeRef { schema: built_in(), id })
}

/// The built-in type of a full name (`io.k8s.api.core.v1.PodSpec`), if there is one.
pub fn named(name: &str) -> Option<TypeRef<'static>> {
    let at = built_in::BY_NAME.binary_search_by(|id| built_in().types[*id as usize].name.as_ref().cmp(name)).ok()?;
    Some(TypeRef { schema: built_in(), id: built_in::BY_NAME[at] })
}

/// Every group and version that built-in kinds are registered in, sorted.
pub fn group_versions() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut last = None;
    built_in::KINDS
        .iter()
        .map(|(group, version, ..)| (*group, *version))
        .filter(move |gv| last.replace(*gv) != Some(*gv))
}

/// Every built-in type, by full name.
pub fn all() -> impl Iterator<Item = TypeRef<'static>> {
    built_in::BY_NAME.iter().map(|id| TypeRef { schema: built_in(), id: *id })
}

#[cfg(test)]
mod tests;
