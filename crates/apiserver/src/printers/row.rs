//! One object as cells see it, and the ways cells say things.

use super::duration::human;
use jiff::{SignedDuration, Timestamp};
use kaji_api::selector::LabelSelector;
use kaji_api::{Value, quantity::Quantity};

/// What stands for nothing.
pub(super) const NONE: &str = "<none>";
/// What stands for a field that was not set.
pub(super) const UNSET: &str = "<unset>";
/// What stands for a fact that is not known.
pub(super) const UNKNOWN: &str = "<unknown>";

/// Cells from whatever turns into values.
macro_rules! cells {
    ($($cell:expr),* $(,)?) => { vec![$(kaji_api::Value::from($cell)),*] };
}
pub(super) use cells;

/// An object and the time it is looked at.
pub(super) struct Row<'a> {
    pub(super) object: &'a Value,
    pub(super) now: Timestamp,
}

impl<'a> Row<'a> {
    pub(super) fn name(&self) -> &'a str {
        self.object.name()
    }

    pub(super) fn spec(&self) -> &'a Value {
        &self.object["spec"]
    }

    pub(super) fn status(&self) -> &'a Value {
        &self.object["status"]
    }

    /// Time since creation.
    pub(super) fn age(&self) -> String {
        self.since(&self.object["metadata"]["creationTimestamp"])
    }

    /// Time since a timestamp.
    pub(super) fn since(&self, at: &Value) -> String {
        time(at).map_or_else(|| UNKNOWN.to_owned(), |at| human(self.now.duration_since(at)))
    }
}

/// A timestamp, where it is one.
pub(super) fn time(at: &Value) -> Option<Timestamp> {
    at.str().parse().ok()
}

/// So many seconds.
pub(super) fn seconds(count: i64) -> String {
    human(SignedDuration::from_secs(count))
}

/// The string, or what stands for its absence.
pub(super) fn or<'a>(value: &'a Value, absent: &'a str) -> &'a str {
    Some(value.str()).filter(|s| !s.is_empty()).unwrap_or(absent)
}

/// The string as it is set, empty or not, or what stands for its absence.
pub(super) fn set_or<'a>(value: &'a Value, absent: &'a str) -> &'a str {
    value.as_str().unwrap_or(absent)
}

/// The integer, zero where absent.
pub(super) fn int(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

/// How many items or entries.
pub(super) fn count(value: &Value) -> i64 {
    let entries = value.as_object().map_or(0, kaji_api::Object::len);
    i64::try_from(value.items().len() + entries).expect("objects are small")
}

/// Integer or string, as text.
pub(super) fn int_or_string(value: &Value) -> Option<String> {
    value.as_i64().map(|n| n.to_string()).or_else(|| value.as_str().map(str::to_owned))
}

/// A quantity in canonical form; an absent one is zero.
pub(super) fn quantity(value: &Value) -> String {
    Quantity::canonical(or(value, "0")).unwrap_or_else(|| value.str().to_owned())
}

/// A map as a selector writes it.
pub(super) fn labels(map: &Value) -> String {
    filled(LabelSelector::from_map(map).to_string())
}

/// A label selector as a query writes it.
pub(super) fn selector(value: &Value) -> String {
    LabelSelector::from_value(value).map_or_else(|_| "<error>".to_owned(), |s| filled(s.to_string()))
}

/// The text, or what stands for nothing.
pub(super) fn filled(text: String) -> String {
    if text.is_empty() { NONE.to_owned() } else { text }
}

/// The items' strings with a separator between.
pub(super) fn join(items: &Value, separator: &str) -> String {
    items.items().iter().map(Value::str).collect::<Vec<_>>().join(separator)
}

/// Names and images of a pod template's containers.
pub(super) fn containers(template: &Value) -> (String, String) {
    let containers = template["spec"]["containers"].items();
    let each = |field: &str| containers.iter().map(|c| c[field].str()).collect::<Vec<_>>().join(",");
    (each("name"), each("image"))
}

/// The first three, and how many more there are.
pub(super) fn first_three(items: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = items.collect();
    let shown = &all[..all.len().min(3)];
    let text = shown.join(",");
    match all.len() - shown.len() {
        0 => text,
        more => format!("{text} + {more} more..."),
    }
}

/// The condition of a type.
pub(super) fn condition<'a>(conditions: &'a Value, kind: &str) -> Option<&'a Value> {
    conditions.items().iter().find(|c| c["type"].str() == kind)
}

/// Whether the condition of a type holds.
pub(super) fn holds(conditions: &Value, kind: &str) -> bool {
    condition(conditions, kind).is_some_and(is_true)
}

/// Whether a condition's status is true.
pub(super) fn is_true(condition: &Value) -> bool {
    condition["status"].str() == "True"
}

/// Whether an annotation says `true`.
pub(super) fn is_marked(object: &Value, annotations: &[&str]) -> bool {
    annotations.iter().any(|a| object.annotation(a) == Some("true"))
}

/// The name, marked where the object is the default of its kind.
pub(super) fn default_name(row: &Row<'_>, annotations: &[&str]) -> String {
    let mark = if is_marked(row.object, annotations) { " (default)" } else { "" };
    format!("{}{mark}", row.name())
}
