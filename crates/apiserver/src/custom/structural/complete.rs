//! What value validations mention must be in the skeleton.

use super::super::props::Props;
use kaji_api::field::{Errors, Path};

/// Everything below `allOf`, `anyOf`, `oneOf` and `not` of the root.
pub(super) fn validate(root: Props<'_>, path: &Path, e: &mut Errors) {
    junctors(root, Some(root), path, path, e);
}

/// `v` says something of the values of `s`, and stands at `v_path`.
fn junctors(v: Props<'_>, s: Option<Props<'_>>, s_path: &Path, v_path: &Path, e: &mut Errors) {
    if let Some(not) = v.schema("not") {
        nested(not, s, s_path, &v_path.child("not"), e);
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (i, one) in v.list(junctor).enumerate() {
            nested(one, s, s_path, &v_path.child(junctor).index(i), e);
        }
    }
}

fn nested(v: Props<'_>, s: Option<Props<'_>>, s_path: &Path, v_path: &Path, e: &mut Errors) {
    let Some(skeleton) = s else {
        e.required(s_path, &format!("because it is defined in {v_path}"));
        return;
    };
    junctors(v, s, s_path, v_path, e);
    if let Some(items) = v.items() {
        nested(items, skeleton.items(), &s_path.child("items"), &v_path.child("items"), e);
    }
    for (name, property) in v.properties() {
        let (s_path, v_path) = (s_path.child("properties").key(name), v_path.child("properties").key(name));
        match skeleton.property(name) {
            None => e.required(&s_path, &format!("because it is defined in {v_path}")),
            there => nested(property, there, &s_path, &v_path, e),
        }
    }
}
