//! Pruning by a schema as the definition has it (apiextensions-apiserver `pkg/apiserver/schema/pruning`): for
//! defaults, which must be pruned before the schema's tables can be made of them. Objects are pruned by the tables.

use super::props::Props;
use kaji_api::{Object, Value};

/// Drops fields that the schema does not know. An embedded resource keeps what says what it is.
pub(crate) fn prune(value: &mut Value, schema: Option<Props<'_>>) {
    if let Some(s) = schema.filter(|s| s.preserves()) {
        return keep(value, Some(s));
    }
    match value {
        Value::Object(Object(entries)) => {
            let Some(s) = schema else { return entries.clear() };
            entries.retain_mut(|(name, value)| {
                if s.embedded() && is_meta(name) {
                    return true;
                }
                match s.property(name) {
                    Some(property) => prune(value, Some(property)),
                    None if s.has_additional() => prune(value, s.additional()),
                    None => return false,
                }
                true
            });
        }
        Value::Array(items) => items.iter_mut().for_each(|item| prune(item, schema.and_then(Props::items))),
        _ => {}
    }
}

/// The same below a schema that preserves unknown fields: what it names is pruned.
fn keep(value: &mut Value, schema: Option<Props<'_>>) {
    let Some(s) = schema else { return };
    match value {
        Value::Object(Object(entries)) => {
            for (name, value) in entries.iter_mut().filter(|(name, _)| !(s.embedded() && is_meta(name))) {
                match s.property(name) {
                    Some(property) => prune(value, Some(property)),
                    None if s.has_additional() => prune(value, s.additional()),
                    None => {}
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| keep(item, s.items())),
        _ => {}
    }
}

fn is_meta(name: &str) -> bool {
    matches!(name, "apiVersion" | "kind" | "metadata")
}

/// A default as it is filled in: pruned, its entries sorted.
pub(crate) fn default(schema: Props<'_>) -> Option<Value> {
    let mut value = schema.default()?.clone();
    prune(&mut value, Some(schema));
    sort(&mut value);
    Some(value)
}

fn sort(value: &mut Value) {
    match value {
        Value::Object(Object(entries)) => {
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            entries.iter_mut().for_each(|(_, value)| sort(value));
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}
