//! Objects within objects: their type and metadata (apiextensions-apiserver `pkg/apiserver/schema/objectmeta`).

use super::{NONE, Node, NodeId, Tree, flags};
use kaji_api::field::{Errors, Path};
use kaji_api::{Value, names};

impl Tree {
    /// What is wrong with the metadata of objects within the value. Quick where there are none.
    pub(crate) fn report_embedded(&self, id: NodeId, value: &Value, path: &Path, e: &mut Errors) {
        let node = self.node(id);
        if !node.has(flags::HOLDS_EMBEDDED) {
            return;
        }
        match value {
            Value::Object(_) => {
                if node.has(flags::EMBEDDED) {
                    resource(value, path, e);
                }
                self.report_entries(node, value, path, e);
            }
            Value::Array(items) if node.items != NONE => {
                for (i, item) in items.iter().enumerate() {
                    self.report_embedded(node.items, item, &path.index(i), e);
                }
            }
            _ => {}
        }
    }

    fn report_entries(&self, node: &Node, value: &Value, path: &Path, e: &mut Errors) {
        let mut next = 0;
        for (name, value) in value.entries() {
            if let Some(field) = self.field(node, name, &mut next) {
                if self.node(field).has(flags::HOLDS_EMBEDDED) {
                    self.report_embedded(field, value, &path.child(name), e);
                }
            } else if node.additional != NONE {
                self.report_embedded(node.additional, value, &path.key(name), e);
            }
        }
    }
}

/// `apiVersion`, `kind` and `metadata` of an object.
pub(crate) fn resource(value: &Value, path: &Path, e: &mut Errors) {
    for field in ["apiVersion", "kind"] {
        if value.get(field).is_none() {
            e.required(&path.child(field), "");
        }
    }
    if let Some(version) = value.get("apiVersion") {
        let at = path.child("apiVersion");
        match version.as_str() {
            None => e.invalid(&at, version.clone(), "must be a string"),
            Some("") => e.invalid(&at, "", "must not be empty"),
            Some(s) if s.matches('/').count() > 1 => {
                e.invalid(&at, s, &format!("unexpected GroupVersion string: {s}"));
            }
            Some(_) => {}
        }
    }
    if let Some(kind) = value.get("kind") {
        let at = path.child("kind");
        match kind.as_str() {
            None => e.invalid(&at, kind.clone(), "must be a string"),
            Some("") => e.invalid(&at, "", "must not be empty"),
            Some(s) => {
                let texts = names::dns1035_label(&s.to_lowercase());
                if !texts.is_empty() {
                    let text = format!("may have mixed case, but should otherwise match: {}", texts.join(","));
                    e.invalid(&at, s, &text);
                }
            }
        }
    }
    if let Some(metadata) = value.get("metadata") {
        let namespaced = !metadata["namespace"].str().is_empty();
        crate::registry::metadata::validate_nested(metadata, namespaced, &path.child("metadata"), e);
    }
}
