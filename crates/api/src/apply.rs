//! Server-side apply: who owns which field, and how an applied configuration becomes part of an object.
//!
//! Pure functions over [`Value`](crate::Value)s and the schema tables, built-in or made at run time; semantics follow
//! structured-merge-diff v6 and apimachinery `util/managedfields`. A [`Set`] names fields by [`Element`]s from
//! the object down and is written as `FieldsV1`. [`Owners`] is `metadata.managedFields` taken apart: [`Writer::update`]
//! notes what an ordinary write changed, [`Writer::apply`] merges a configuration, or says with whom it conflicts. Objects are
//! in canonical form; the answer of [`Writer::apply`] isn't yet.

mod atomics;
mod check;
mod compare;
mod conflict;
mod element;
mod fields_v1;
mod filter;
mod kind;
mod last_applied;
mod merge;
mod owners;
mod paths;
mod prune;
mod reconcile;
mod remove;
mod scalar;
mod set;
mod write;
mod zip;

pub use compare::Comparison;
pub use conflict::Conflict;
pub use element::Element;
pub use filter::{Filter, Paths};
pub use last_applied::LAST_APPLIED;
pub use owners::{Owner, Owners};
pub use set::Set;
pub use write::{ApplyError, Versions, Writer, keep_times};

use crate::schema::TypeRef;
use crate::value::Value;
use kind::Kind;

/// Fields of an object by path, as its schema divides it (upstream `ToFieldSet`).
pub fn field_set(ty: TypeRef<'_>, object: &Value) -> Set {
    paths::of(Kind::of_type(ty), object)
}

/// What differs between two objects.
///
/// # Errors
/// An item of a list of type map that cannot be told by its keys.
pub fn compare(ty: TypeRef<'_>, old: &Value, new: &Value) -> Result<Comparison, String> {
    compare::objects(Kind::of_type(ty), old, new)
}

/// The configuration laid over the object: granular parts merge, all else is the configuration's.
///
/// # Errors
/// An item of a list of type map that cannot be told by its keys, or stands there twice.
pub fn merge(ty: TypeRef<'_>, object: &Value, config: &Value) -> Result<Value, String> {
    merge::objects(Kind::of_type(ty), object, config)
}

/// A configuration that nobody will own laid over an object, as mutating admission policies do it (apiserver
/// `policy/mutating/patch`). The answer is not in canonical form.
///
/// # Errors
/// A configuration that does not fit the schema, or has lists, maps or structs that are replaced as a whole: fields that
/// it does not name would be lost.
pub fn lay_over(ty: TypeRef<'_>, object: &Value, config: &Value) -> Result<Value, String> {
    check::config(ty, config).map_err(|why| format!("failed to convert patch object to typed object: {why}"))?;
    let atomics = atomics::find(ty, config);
    if !atomics.is_empty() {
        let why = "may not mutate atomic arrays, maps or structs";
        return Err(format!("invalid ApplyConfiguration: {why}: {}", atomics.join(", ")));
    }
    merge(ty, object, config).map_err(|why| format!("failed to merge patch: {why}"))
}

/// The part of the object that is in the set.
pub fn extract(ty: TypeRef<'_>, object: &Value, set: &Set) -> Value {
    remove::extract(Kind::of_type(ty), object, set)
}

#[cfg(test)]
mod tests;
