//! Names in metadata that other fields use too.

use super::At;
use kaji_api::field::Errors;
use kaji_api::names;

/// A finalizer's name: fully qualified, or one of the three that Kubernetes itself uses.
pub(crate) fn finalizer(at: At<'_>, e: &mut Errors) {
    at.check(e, names::qualified_name);
    if !at.str().contains('/') && !["kubernetes", "orphan", "foregroundDeletion"].contains(&at.str()) {
        at.invalid(e, "name is neither a standard finalizer name nor is it fully qualified");
    }
}
