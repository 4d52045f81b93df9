//! Lists under strategic merge patch: scalars as sets, objects by their merge key, and the order of both.

use super::json::equal;
use super::places::Places;
use super::strategic::{
    DIRECTIVE, Meta, StrategicPatchError as Error, merge as merge_object, unknown_directive, without_directives,
};
use crate::field::printed;
use crate::schema::Shape;
use crate::value::Value;

/// Merges a list whose strategy is merge, or under `$setElementOrder`.
pub(super) fn merge(original: Vec<Value>, patch: Vec<Value>, meta: &Meta<'_>) -> Result<Vec<Value>, Error> {
    merge_or_delete(original, patch, meta, false, &mut Vec::new())
}

/// `$deleteFromPrimitiveList`: takes scalars out.
pub(super) fn delete(original: Vec<Value>, gone: Vec<Value>, meta: &Meta<'_>) -> Result<Vec<Value>, Error> {
    merge_or_delete(original, gone, meta, true, &mut Vec::new())
}

/// `slots` holds the items of the original where upstream's array has them: deleted ones leave room at the end
/// that new ones take, which shows in the order under `$setElementOrder`.
fn merge_or_delete(
    mut original: Vec<Value>,
    mut patch: Vec<Value>,
    meta: &Meta<'_>,
    delete: bool,
    slots: &mut Vec<Value>,
) -> Result<Vec<Value>, Error> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    if !objects(&original, &patch)? {
        if delete {
            let gone = Places::of(&patch, None);
            original.retain(|item| !gone.has(item));
            return Ok(original);
        }
        let merged = unique(original.iter().chain(&patch).cloned().collect());
        return arrange(merged, &patch, &original, meta.key.unwrap_or_default(), false);
    }
    let key = meta.key.ok_or_else(|| Error::NoKeyDeclared(kind(meta.shape)))?;
    if take_directives(&mut original, &mut patch, key, slots)? {
        original = std::mem::take(&mut patch);
        slots.clear();
    }
    let mut merged = original.clone();
    let mut places = Places::of(&original, Some(key));
    for item in &patch {
        match places.first(key_value(item, key)?) {
            Some(at) => merged[at] = merge_item(std::mem::take(&mut merged[at]), item.clone(), meta)?,
            None => {
                if let Some(slot) = slots.get_mut(merged.len()) {
                    *slot = item.clone();
                }
                merged.push(item.clone());
                places.push(item);
            }
        }
    }
    arrange(merged, &patch, &original, key, true)
}

fn merge_item(original: Value, patch: Value, meta: &Meta<'_>) -> Result<Value, Error> {
    match (original, patch) {
        (Value::Object(original), Value::Object(patch)) => merge_object(original, patch, meta.shape).map(Value::Object),
        (_, patch) => Ok(patch),
    }
}

/// `$setElementOrder`: the merged list in that order; none where there is no list at all.
pub(super) fn merge_ordered(
    original: Option<Vec<Value>>,
    patch: Option<Vec<Value>>,
    order: Vec<Value>,
    meta: &Meta<'_>,
) -> Result<Option<Vec<Value>>, Error> {
    check_order(patch.as_deref().unwrap_or_default(), &order, meta.key)?;
    let mut slots = original.clone().unwrap_or_default();
    let merged = match (original.clone(), patch.clone()) {
        (None, None) => return Ok(None),
        (Some(original), None) => original,
        (None, Some(patch)) => patch.into_iter().filter_map(without_directives).collect(),
        (Some(original), Some(patch)) if meta.strategy.merge => {
            merge_or_delete(original, patch, meta, false, &mut slots)?
        }
        (Some(_), Some(patch)) => patch,
    };
    let (original, patch) = (original.unwrap_or_default(), patch.unwrap_or_default());
    if original.is_empty() && patch.is_empty() {
        return Err(Error::NoItems);
    }
    let objects = objects(&original, &patch)?;
    let server = if slots.len() == original.len() { &slots } else { &original };
    arrange(merged, &order, server, meta.key.unwrap_or_default(), objects).map(Some)
}

/// The patch's items, deletions apart, must stand in the order given, all of them.
fn check_order(patch: &[Value], order: &[Value], key: Option<&str>) -> Result<(), Error> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    if key.is_some() {
        patch.iter().try_for_each(object)?;
    }
    let deleted = |item: &&Value| key.is_some() && item[DIRECTIVE].str() == "delete";
    let mut items = patch.iter().filter(|item| !deleted(item)).peekable();
    for place in order {
        while items.next_if(|item| item.get(DIRECTIVE).is_some()).is_some() {}
        let Some(item) = items.peek() else { return Ok(()) };
        if same(item, place, key)? {
            items.next();
        }
    }
    // Other directives behind the last item named are not passed over any more, as upstream has it.
    if items.peek().is_some() {
        let shown = |list: &[Value]| printed(&Value::Array(list.to_vec()));
        return Err(Error::OrderMismatch { patch: shown(patch), order: shown(order) });
    }
    Ok(())
}

fn same(a: &Value, b: &Value, key: Option<&str>) -> Result<bool, Error> {
    match key {
        None => Ok(equal(a, b)),
        Some(key) => {
            object(a)?;
            object(b)?;
            Ok(equal(key_value(a, key)?, key_value(b, key)?))
        }
    }
}

/// Items that the order names come in that order, the others in the server's; both are interleaved as the
/// server had them, as far as that goes.
fn arrange(
    merged: Vec<Value>,
    order: &[Value],
    server: &[Value],
    key: &str,
    objects: bool,
) -> Result<Vec<Value>, Error> {
    let key = (!key.is_empty()).then_some(key);
    if let Some(key) = key.filter(|_| objects) {
        for item in merged.iter().chain(order).chain(server) {
            object(item)?;
            key_value(item, key)?;
        }
    }
    let (order, server) = (Places::of(order, key), Places::of(server, key));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = merged.into_iter().partition(|item| order.has(item));
    sort(&mut named, &order);
    sort(&mut others, &server);
    let mut out = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    while let (Some(other), Some(next)) = (others.peek(), named.peek()) {
        let before = matches!((server.place(other), server.place(next)), (Some(a), Some(b)) if a < b);
        out.extend(if before { others.next() } else { named.next() });
    }
    out.extend(named);
    out.extend(others);
    Ok(out)
}

/// Upstream sorts so few by insertion.
const FEW: usize = 12;

/// Into the order of a list.
fn sort(items: &mut Vec<Value>, order: &Places<'_>) {
    let mut placed: Vec<(Option<usize>, Value)> =
        std::mem::take(items).into_iter().map(|item| (order.place(&item), item)).collect();
    if placed.len() > FEW || placed.iter().all(|(place, _)| place.is_some()) {
        placed.sort_by_key(|(place, _)| *place);
    } else {
        insert_sorted(&mut placed);
    }
    items.extend(placed.into_iter().map(|(_, item)| item));
}

/// Items that the list doesn't hold are less than all, and all are less than they: where that leads depends on how one
/// sorts, so this is how upstream does.
fn insert_sorted(placed: &mut [(Option<usize>, Value)]) {
    let less = |a: Option<usize>, b: Option<usize>| match (a, b) {
        (Some(a), Some(b)) => a < b,
        _ => true,
    };
    for end in 1..placed.len() {
        let mut at = end;
        while at > 0 && less(placed[at].0, placed[at - 1].0) {
            placed.swap(at, at - 1);
            at -= 1;
        }
    }
}

fn unique(all: Vec<Value>) -> Vec<Value> {
    let places = Places::of(&all, None);
    let first: Vec<bool> = all.iter().enumerate().map(|(at, item)| places.place(item) == Some(at)).collect();
    all.into_iter().zip(first).filter_map(|(item, first)| first.then_some(item)).collect()
}

/// Carries out `$patch: delete` items, takes directives out of the patch, and says whether it replaces the list.
fn take_directives(
    original: &mut Vec<Value>,
    patch: &mut Vec<Value>,
    key: &str,
    slots: &mut [Value],
) -> Result<bool, Error> {
    if patch.iter().all(|item| item.get(DIRECTIVE).is_none()) {
        return Ok(false);
    }
    let mut replace = false;
    let places = Places::of(original, Some(key));
    let mut left = Remaining::of(original, slots);
    for item in std::mem::take(patch) {
        match item.get(DIRECTIVE) {
            None => patch.push(item),
            Some(directive) => match directive.str() {
                "delete" => {
                    let value = key_value(&item, key)?;
                    let has_key = |at: &usize| original[*at].get(key).is_some();
                    places.all(value).filter(has_key).for_each(|at| left.remove(at));
                }
                "replace" => replace = true,
                "merge" => return Err(Error::MergeDirective),
                _ => return Err(unknown_directive(directive, item.as_object().cloned().unwrap_or_default())),
            },
        }
    }
    *original = left.finish();
    Ok(replace)
}

/// A list that items are taken out of, each moving those behind it: what that leaves where they were stays in `slots`.
struct Remaining<'v> {
    items: &'v [Value],
    there: Vec<bool>,
    count: usize,
    /// Behind the last item that is still there.
    end: usize,
    slots: &'v mut [Value],
}

impl<'v> Remaining<'v> {
    fn of(items: &'v [Value], slots: &'v mut [Value]) -> Self {
        Remaining { items, there: vec![true; items.len()], count: items.len(), end: items.len(), slots }
    }

    /// Takes out the item that stood at a place in the beginning.
    fn remove(&mut self, at: usize) {
        if !std::mem::take(&mut self.there[at]) {
            return;
        }
        self.count -= 1;
        if let Some(slot) = self.slots.get_mut(self.count) {
            *slot = self.items[self.end - 1].clone();
        }
        while self.end > 0 && !self.there[self.end - 1] {
            self.end -= 1;
        }
    }

    fn finish(self) -> Vec<Value> {
        let left = self.items.iter().zip(&self.there).filter(|(_, there)| **there);
        let left: Vec<Value> = left.map(|(item, _)| item.clone()).collect();
        for (slot, item) in self.slots.iter_mut().zip(&left) {
            slot.clone_from(item);
        }
        left
    }
}

fn key_value<'a>(item: &'a Value, key: &str) -> Result<&'a Value, Error> {
    item.get(key).ok_or_else(|| Error::NoMergeKey { item: printed(item), key: key.to_owned() })
}

/// Whether the items are objects; all must be of one kind.
fn objects(original: &[Value], patch: &[Value]) -> Result<bool, Error> {
    let mut all = original.iter().chain(patch);
    let first = all.next().ok_or(Error::NoItems)?;
    if matches!(first, Value::Array(_)) {
        return Err(Error::ListOfLists);
    }
    if all.any(|item| go_type(item) != go_type(first)) {
        let shown = |list: &[Value]| printed(&Value::Array(list.to_vec()));
        return Err(Error::MixedItems(format!("[{} {}]", shown(original), shown(patch))));
    }
    Ok(matches!(first, Value::Object(_)))
}

fn object(item: &Value) -> Result<(), Error> {
    match item {
        Value::Object(_) => Ok(()),
        other => Err(Error::Kind { expected: "map[string]interface {}", found: go_type(other) }),
    }
}

/// The items of what must be a list.
pub(super) fn array(value: Value) -> Result<Vec<Value>, Error> {
    match value {
        Value::Array(items) => Ok(items),
        other => Err(Error::Kind { expected: "[]interface {}", found: go_type(&other) }),
    }
}

/// As Go names the type of decoded JSON.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) | Value::Raw(_) => "map[string]interface {}",
    }
}

/// As Go's decoder names JSON values.
pub(super) fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Int(_) | Value::Float(_) => "number",
        Value::Bool(_) => "bool",
        Value::String(_) => "string",
        _ => "null",
    }
}

/// Go's kind of a shape.
fn kind(shape: Shape<'_>) -> &'static str {
    match shape {
        Shape::Struct(_) | Shape::Either(..) | Shape::Scalar(_) => "struct",
        Shape::List(_) => "slice",
        Shape::Map(_) => "map",
    }
}
