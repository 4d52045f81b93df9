//! Pod templates as objects of their own.

use super::{Strategy, defaults, template_warnings};
use crate::validation::{At, template};
use kaji_api::Value;
use kaji_api::field::Errors;

/// Pod templates.
pub struct PodTemplates;

impl Strategy for PodTemplates {
    fn default(&self, obj: &mut Value) {
        defaults::template(obj, &["template"]);
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        template::template(At::root(obj).field("template"), e);
    }

    fn warnings(&self, obj: &Value, old: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        template_warnings(obj, old, &["template"], &mut out);
        out
    }

    fn has_generation(&self) -> bool {
        true
    }
}
