//! Whether a value fits: the walk that every write makes.

use super::check::{Check, in_range, is_whole};
use super::format::Format;
use super::{NONE, Node, NodeId, Tree, flags, types};
use kaji_api::Value;

impl Tree {
    /// Whether the value is valid. Exactly when `report` finds nothing wrong.
    pub(super) fn fits(&self, id: NodeId, value: &Value) -> bool {
        let node = self.node(id);
        if value.is_null() {
            let typed = node.types == 0 || node.has(flags::NULLABLE);
            return typed && !self.checks(node).iter().any(|c| matches!(c, Check::Enum(_)));
        }
        type_fault(node, value).is_none()
            && self.checks(node).iter().all(|check| self.junctor_fits(check, value) && self.holds(node, check, value))
            && match value {
                Value::String(s) => node.format.admits(s),
                Value::Int(_) | Value::Float(_) => in_range(node, value),
                Value::Array(items) => node.items == NONE || items.iter().all(|item| self.fits(node.items, item)),
                Value::Object(_) => self.object_fits(node, value),
                Value::Bool(_) | Value::Null | Value::Raw(_) => true,
            }
    }

    fn junctor_fits(&self, check: &Check, value: &Value) -> bool {
        match check {
            Check::AllOf(of) => self.members[of.range()].iter().all(|one| self.fits(*one, value)),
            Check::AnyOf(of) => self.members[of.range()].iter().any(|one| self.fits(*one, value)),
            Check::OneOf(of) => {
                self.members[of.range()].iter().filter(|one| self.fits(**one, value)).take(2).count() == 1
            }
            Check::Not(not) => !self.fits(*not, value),
            _ => true,
        }
    }

    fn object_fits(&self, node: &Node, value: &Value) -> bool {
        let mut next = 0;
        let entries = value.entries().all(|(name, value)| match self.field(node, name, &mut next) {
            Some(field) => self.fits(field, value),
            None if node.has(flags::CLOSED) => false,
            None => node.additional == NONE || self.fits(node.additional, value),
        });
        entries && self.required(node).iter().all(|name| value.get(name).is_some())
    }
}

/// The JSON type of a value and its bit.
pub(super) fn type_of(value: &Value) -> (u8, &'static str) {
    match value {
        Value::Null => (0, "null"),
        Value::Bool(_) => (types::BOOLEAN, "boolean"),
        Value::Int(_) => (types::INTEGER, "integer"),
        Value::Float(_) => (types::NUMBER, "number"),
        Value::String(_) => (types::STRING, "string"),
        Value::Array(_) => (types::ARRAY, "array"),
        Value::Object(_) | Value::Raw(_) => (types::OBJECT, "object"),
    }
}

/// What a value's type should be, and what it is, where that is wrong. Strings and lists pass where there is a
/// format that is not of numbers: formats speak for themselves.
pub(super) fn type_fault(node: &Node, value: &Value) -> Option<(&'static str, &'static str)> {
    let formatted = node.format != Format::None;
    if node.types == 0 && !formatted {
        return None;
    }
    let (bit, name) = type_of(value);
    let admitted = node.types & bit != 0
        || matches!(value, Value::Float(f) if node.types & types::INTEGER != 0 && is_whole(*f))
        || matches!(value, Value::Int(_) if node.types & types::NUMBER != 0);
    let text_or_list = matches!(value, Value::String(_) | Value::Array(_));
    let format = match value {
        Value::Int(_) => "int64",
        Value::Float(_) => "float64",
        _ => "",
    };
    if !text_or_list && formatted && !admitted && format != node.format.name() {
        return Some((node.format.name(), format));
    }
    if formatted && text_or_list && node.types & (types::NUMBER | types::INTEGER) == 0 {
        return None;
    }
    (!admitted).then(|| (types_text(node.types), name))
}

/// The types as `type` lists them.
pub(super) fn types_text(of: u8) -> &'static str {
    match of {
        types::OBJECT => "object",
        types::ARRAY => "array",
        types::STRING => "string",
        types::NUMBER => "number",
        types::INTEGER => "integer",
        types::BOOLEAN => "boolean",
        _ => "integer,string",
    }
}
