//! Fields that others own with other values.

use super::element::Element;
use super::owners::Owner;
use crate::field::quoted;
use crate::value::Value;
use std::fmt::Write;

/// A field that another manager owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The manager, as messages name it: `"hpa" with subresource "scale" using autoscaling/v1`.
    pub manager: String,
    /// The field.
    pub path: Vec<Element>,
}

impl Conflict {
    /// With an owner, about a field.
    pub(super) fn with(owner: &Owner, path: Vec<Element>) -> Self {
        let mut manager = quoted(&owner.manager);
        if !owner.subresource.is_empty() {
            let _ = write!(manager, " with subresource {}", quoted(&owner.subresource));
        }
        if !owner.applied {
            let _ = write!(manager, " using {}", owner.version);
        }
        Conflict { manager, path }
    }

    fn field(&self) -> String {
        self.path.iter().map(ToString::to_string).collect()
    }
}

/// The sentence for people.
pub(super) fn message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {}: {}", one.manager, one.field());
    }
    let mut text = format!("Apply failed with {} conflicts: ", conflicts.len());
    let mut last = None;
    for conflict in conflicts {
        if last != Some(&conflict.manager) {
            let gap = if last.is_some() { "\n" } else { "" };
            let _ = write!(text, "{gap}conflicts with {}:", conflict.manager);
            last = Some(&conflict.manager);
        }
        let _ = write!(text, "\n- {}", conflict.field());
    }
    text
}

/// The causes of the status.
pub(super) fn causes(conflicts: &[Conflict]) -> Value {
    let cause = |conflict: &Conflict| {
        Value::from_iter([
            ("reason", Value::from("FieldManagerConflict")),
            ("message", Value::from(format!("conflict with {}", conflict.manager))),
            ("field", Value::from(conflict.field())),
        ])
    };
    Value::Array(conflicts.iter().map(cause).collect())
}
