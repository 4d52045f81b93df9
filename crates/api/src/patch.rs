//! The three classic patches on values. Server-side apply is to come.

use crate::schema::TypeRef;
use crate::status::Status;
use crate::value::Value;

/// `application/json-patch+json`. Errors are upstream's 400 and 422.
pub fn json_patch(_target: &mut Value, _patch: &Value) -> Result<(), Status> {
    unimplemented!()
}

/// `application/merge-patch+json` (RFC 7386).
pub fn merge_patch(_target: &mut Value, _patch: &Value) {
    unimplemented!()
}

/// `application/strategic-merge-patch+json` with `$patch`, `$retainKeys`, `$setElementOrder/…`,
/// `$deleteFromPrimitiveList/…`.
pub fn strategic_merge_patch(_ty: TypeRef<'_>, _target: &mut Value, _patch: &Value) -> Result<(), Status> {
    unimplemented!()
}
