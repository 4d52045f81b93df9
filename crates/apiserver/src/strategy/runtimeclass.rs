//! Runtime classes.

use super::Strategy;
use crate::validation::{At, immutable, labels, resources, scheduling, warn};
use kaji_api::field::Errors;
use kaji_api::{Value, names};

/// Runtime classes.
pub struct RuntimeClasses;

impl Strategy for RuntimeClasses {
    fn default(&self, obj: &mut Value) {
        if !obj["overhead"]["podFixed"].is_null() {
            resources::round_up(obj.entry_at(&["overhead", "podFixed"]));
        }
    }

    fn validate(&self, obj: &Value, e: &mut Errors) {
        let at = At::root(obj);
        at.field("handler").check_required(e, names::dns1123_label);
        if at.field("overhead").is_set() {
            resources::overhead(at.field("overhead").with(&obj["overhead"]["podFixed"]), e);
        }
        labels::labels(at.fields(&["scheduling", "nodeSelector"]), e);
        let tolerations = at.fields(&["scheduling", "tolerations"]);
        scheduling::tolerations(tolerations, e);
        let same = |a: &Value, b: &Value| ["key", "operator", "value", "effect"].iter().all(|f| a[*f] == b[*f]);
        for (i, toleration) in tolerations.list().enumerate() {
            if tolerations.items()[..i].iter().any(|other| same(other, toleration.v)) {
                toleration.duplicate(e);
            }
        }
    }

    fn validate_update(&self, obj: &Value, old: &Value, e: &mut Errors) {
        immutable(At::root(obj).field("handler"), At::root(old).field("handler"), e);
    }

    fn warnings(&self, obj: &Value, _: Option<&Value>) -> Vec<String> {
        let labels = obj["scheduling"]["nodeSelector"].entries();
        labels
            .filter_map(|(key, _)| warn::old_node_label(key))
            .map(|t| format!("scheduling.nodeSelector: {t}"))
            .collect()
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn unconditional_update(&self) -> bool {
        false
    }
}
