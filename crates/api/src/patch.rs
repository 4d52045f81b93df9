//! The three classic patches on values.
//!
//! A patch that fails may leave its target half patched: callers patch a copy.

mod entries;
mod json;
mod list;
mod merge;
mod places;
mod strategic;

#[cfg(test)]
pub(crate) use json::equal as same;

pub use json::{JsonPatchError, MAX_COPIED_BYTES, MAX_OPERATIONS, apply_json_patch, json_patch, json_patch_warnings};
pub use merge::{check_merge_patch, merge_patch};
pub use strategic::{StrategicPatchError, strategic_merge_patch};

#[cfg(test)]
mod tests;
