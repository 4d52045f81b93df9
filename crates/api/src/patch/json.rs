//! JSON patch (RFC 6902), as evanphx/json-patch 4 has it, with its leniencies: negative indices count from the
//! end, a missing field reads as null, `replace` makes a field that isn't there.

use crate::status::Status;
use crate::value::{Object, Value};
use std::collections::HashMap;

/// A patch of more operations is refused.
pub const MAX_OPERATIONS: usize = 10_000;

/// What `copy` may add in all, as JSON.
pub const MAX_COPIED_BYTES: usize = 3 << 20;

/// Why an operation does not apply. Patched objects' owners are told no more than that one doesn't.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonPatchError {
    /// The operation lacks a member, or points at nothing.
    #[error("{0}: missing value")]
    Missing(String),
    /// The value is not what `test` expects.
    #[error("testing value {0} failed: test failed")]
    TestFailed(String),
    /// An index outside of its list.
    #[error("{context}Unable to access invalid index: {index}: invalid index referenced")]
    InvalidIndex {
        /// Operation and path, with a colon.
        context: String,
        /// The index given.
        index: i64,
    },
    /// Something else than an index where a list is.
    #[error("{context}strconv.Atoi: parsing {}: {why}", crate::field::quoted(.key))]
    NotAnIndex {
        /// Operation and path, with a colon.
        context: String,
        /// What stands in place of the index.
        key: String,
        /// `invalid syntax` or `value out of range`.
        why: &'static str,
    },
    /// Copies made the object grow too much.
    #[error(
        "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the limit {limit}"
    )]
    CopiedTooMuch {
        /// Bytes so far.
        copied: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Operations put things into each other further than any object goes.
    #[error("exceeded max depth")]
    TooDeep,
    /// The whole document can only become an object or a list.
    #[error("replace operation value must be object or array: %!w(<nil>)")]
    NotADocument,
    /// No operation of that name.
    #[error("Unexpected kind: {0}")]
    UnknownOperation(String),
}

/// `application/json-patch+json`. Errors are upstream's 400, 413 and 422.
pub fn json_patch(target: &mut Value, patch: &Value) -> Result<(), Status> {
    check(patch)?;
    let count = patch.items().len();
    if count > MAX_OPERATIONS {
        let text = format!("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}");
        return Err(Status::too_large(format!("Request entity too large: {text}")));
    }
    open_owners(target, patch.items());
    apply_json_patch(target, patch.items()).map_err(|_| Status::rejected())
}

/// Gives sets of fields the form that operations can look into, where any of them does.
fn open_owners(target: &mut Value, operations: &[Value]) {
    const OWNERS: &str = "/metadata/managedFields";
    let reaches = |path: &Value| path.as_str().is_some_and(|p| p.starts_with(OWNERS) || OWNERS.starts_with(p));
    if operations.iter().any(|o| reaches(&o["path"]) || reaches(&o["from"]))
        && let Some(owners) = target.get_mut("metadata").and_then(|m| m.get_mut("managedFields"))
    {
        for fields in owners.items_mut().iter_mut().filter_map(|owner| owner.get_mut("fieldsV1")) {
            *fields = fields.opened().into_owned();
        }
    }
}

/// Refuses what is no list of operations, in the words of Go's decoder.
fn check(patch: &Value) -> Result<(), Status> {
    let refused =
        |what: String| Err(Status::bad_request(format!("error decoding patch: json: cannot unmarshal {what}")));
    if !matches!(patch, Value::Array(_) | Value::Null) {
        return refused(format!("{} into Go value of type []handlers.jsonPatchOp", json_type(patch)));
    }
    for operation in patch.items() {
        if !matches!(operation, Value::Object(_) | Value::Null) {
            return refused(format!("{} into Go value of type handlers.jsonPatchOp", json_type(operation)));
        }
        for member in ["op", "path", "from"] {
            match &operation[member] {
                Value::Null | Value::String(_) => {}
                other => {
                    let place = format!("into Go struct field jsonPatchOp.{member} of type string");
                    return refused(format!("{} {place}", json_type(other)));
                }
            }
        }
    }
    Ok(())
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Float(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) | Value::Raw(_) => "object",
    }
}

/// Members that no operation has: `json patch unknown field "[0].x"`.
pub fn json_patch_warnings(patch: &Value) -> Vec<String> {
    let unknown = |(i, operation): (usize, &Value)| {
        let names: Vec<&str> = operation.entries().map(|(name, _)| name).collect();
        let names = names.into_iter().filter(|name| !["op", "path", "from", "value"].contains(name));
        names.map(|name| format!("json patch unknown field \"[{i}].{name}\"")).collect::<Vec<_>>()
    };
    patch.items().iter().enumerate().flat_map(unknown).collect()
}

/// Applies operations in order, with whole texts of what went wrong.
pub fn apply_json_patch(target: &mut Value, operations: &[Value]) -> Result<(), JsonPatchError> {
    let mut copied = 0;
    let mut depth = Depth::of(target);
    for operation in operations {
        let op = Operation { members: operation };
        depth.grow(&op, target)?;
        match operation["op"].as_str().unwrap_or("unknown") {
            "add" => op.add(target)?,
            "remove" => op.remove(target)?,
            "replace" => op.replace(target)?,
            "move" => op.r#move(target)?,
            "test" => op.test(target)?,
            "copy" => op.copy(target, &mut copied)?,
            other => return Err(JsonPatchError::UnknownOperation(other.to_owned())),
        }
    }
    Ok(())
}

type Applied = Result<(), JsonPatchError>;

struct Operation<'a> {
    members: &'a Value,
}

fn missing(text: impl Into<String>) -> JsonPatchError {
    JsonPatchError::Missing(text.into())
}

impl<'a> Operation<'a> {
    fn path(&self, failing: &str) -> Result<&'a str, JsonPatchError> {
        self.members["path"].as_str().ok_or_else(|| missing(failing))
    }

    fn from(&self, name: &str) -> Result<&'a str, JsonPatchError> {
        let text = || missing(format!("{name} operation failed to decode from: operation, missing from field"));
        self.members["from"].as_str().ok_or_else(text)
    }

    /// Null where there is none.
    fn value(&self) -> &'a Value {
        &self.members["value"]
    }

    fn add(&self, doc: &mut Value) -> Applied {
        let path = self.path("add operation failed to decode path")?;
        let (place, key) = container(doc, path)
            .ok_or_else(|| missing(format!("add operation does not apply: doc is missing path: \"{path}\"")))?;
        add(place, &key, self.value().clone(), &format!("error in add for path: '{path}': "))
    }

    fn remove(&self, doc: &mut Value) -> Applied {
        let path = self.path("remove operation failed to decode path")?;
        let (place, key) = container(doc, path)
            .ok_or_else(|| missing(format!("remove operation does not apply: doc is missing path: \"{path}\"")))?;
        remove(place, &key, &format!("error in remove for path: '{path}': ")).map(drop)
    }

    fn replace(&self, doc: &mut Value) -> Applied {
        let path = self.path("replace operation failed to decode path: operation missing path field")?;
        if path.is_empty() {
            if !matches!(self.value(), Value::Object(_) | Value::Array(_)) {
                return Err(JsonPatchError::NotADocument);
            }
            *doc = self.value().clone();
            return Ok(());
        }
        let (place, key) = container(doc, path)
            .ok_or_else(|| missing(format!("replace operation does not apply: doc is missing path: {path}")))?;
        match place {
            Value::Array(items) => {
                let no_key = |_| missing(format!("replace operation does not apply: doc is missing key: {path}"));
                let at = existing(items, &key, "").map_err(no_key)?;
                items[at] = self.value().clone();
            }
            other => other.set(key, self.value().clone()),
        }
        Ok(())
    }

    fn r#move(&self, doc: &mut Value) -> Applied {
        let from = self.from("move")?;
        let (place, key) = container(doc, from)
            .ok_or_else(|| missing(format!("move operation does not apply: doc is missing from path: {from}")))?;
        let value = remove(place, &key, &format!("error in move for path: '{key}': "))?;
        let path = self.path("move operation failed to decode path: operation missing path field")?;
        let (place, key) = container(doc, path).ok_or_else(|| {
            missing(format!("move operation does not apply: doc is missing destination path: {path}"))
        })?;
        add(place, &key, value, &format!("error in move for path: '{path}': "))
    }

    fn test(&self, doc: &mut Value) -> Applied {
        let path = self.path("test operation failed to decode path: operation missing path field")?;
        let found = if path.is_empty() {
            &*doc
        } else {
            let (place, key) = container(doc, path)
                .ok_or_else(|| missing(format!("test operation does not apply: is missing path: {path}")))?;
            get(place, &key, &format!("error in test for path: '{path}': "))?
        };
        if equal(found, self.value()) { Ok(()) } else { Err(JsonPatchError::TestFailed(path.to_owned())) }
    }

    fn copy(&self, doc: &mut Value, copied: &mut usize) -> Applied {
        let from = self.from("copy")?;
        let (place, key) = container(doc, from)
            .ok_or_else(|| missing(format!("copy operation does not apply: doc is missing from path: {from}")))?;
        let value = get(place, &key, &format!("error in copy for from: '{from}': "))?.clone();
        let path = self.path("copy operation failed to decode path")?;
        let (place, key) = container(doc, path).ok_or_else(|| {
            missing(format!("copy operation does not apply: doc is missing destination path: {path}"))
        })?;
        *copied += size(&value);
        if *copied > MAX_COPIED_BYTES {
            return Err(JsonPatchError::CopiedTooMuch { copied: *copied, limit: MAX_COPIED_BYTES });
        }
        add(place, &key, value, "error while adding value during copy: ")
    }
}

/// How many objects and lists in each other a document may have while it is patched. The patched object must be
/// shallower than that.
const MAX_DEPTH: usize = 1024;

/// An upper bound of a document's depth: operations move parts to where they are deeper.
struct Depth(usize);

impl Depth {
    fn of(doc: &Value) -> Self {
        Depth(depth(doc))
    }

    /// What the operation will make of it. Only when that is too much is the document looked at.
    fn grow(&mut self, op: &Operation<'_>, doc: &Value) -> Result<(), JsonPatchError> {
        let grown = self.after(op);
        if grown <= MAX_DEPTH {
            self.0 = grown;
            return Ok(());
        }
        self.0 = depth(doc);
        if self.0 > MAX_DEPTH / 2 {
            return Err(JsonPatchError::TooDeep);
        }
        let grown = self.after(op);
        self.0 = grown;
        if grown <= MAX_DEPTH { Ok(()) } else { Err(JsonPatchError::TooDeep) }
    }

    fn after(&self, op: &Operation<'_>) -> usize {
        let parts = |member: &str| op.members[member].str().bytes().filter(|c| *c == b'/').count();
        let part = match op.members["op"].str() {
            "add" | "replace" => depth(op.value()),
            "move" | "copy" => self.0.saturating_sub(parts("from")),
            _ => return self.0,
        };
        self.0.max(parts("path") + part)
    }
}

/// How many objects and lists are in each other.
fn depth(value: &Value) -> usize {
    let below = match value {
        Value::Object(o) => o.0.iter().map(|(_, value)| depth(value)).max(),
        Value::Array(items) => items.iter().map(depth).max(),
        _ => return 0,
    };
    1 + below.unwrap_or(0)
}

/// The size as JSON; nothing for null, as upstream counts.
fn size(value: &Value) -> usize {
    if value.is_null() { 0 } else { serde_json::to_vec(value).map_or(0, |text| text.len()) }
}

/// The object or list that a path's last part is a key of, and that key.
fn container<'v>(doc: &'v mut Value, path: &str) -> Option<(&'v mut Value, String)> {
    // What stands before the first slash is passed over.
    let (_, below) = path.split_once('/')?;
    let mut parts: Vec<&str> = below.split('/').collect();
    let key = unescaped(parts.pop()?);
    let mut place = doc;
    for part in parts {
        let part = unescaped(part);
        place = match place {
            Value::Array(items) => {
                let at = existing(items, &part, "").ok()?;
                &mut items[at]
            }
            other => other.get_mut(&part)?,
        };
        if !matches!(place, Value::Object(_) | Value::Array(_)) {
            return None;
        }
    }
    Some((place, key))
}

/// `~1` is a slash, `~0` a tilde.
fn unescaped(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    let mut rest = part;
    while let Some(at) = rest.find('~') {
        out.push_str(&rest[..at]);
        let (c, length) = match rest.as_bytes().get(at + 1) {
            Some(b'1') => ('/', 2),
            Some(b'0') => ('~', 2),
            _ => ('~', 1),
        };
        out.push(c);
        rest = &rest[at + length..];
    }
    out + rest
}

fn index(key: &str, context: &str) -> Result<i64, JsonPatchError> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    key.parse().map_err(|e: std::num::ParseIntError| {
        let why = if matches!(e.kind(), PosOverflow | NegOverflow) { "value out of range" } else { "invalid syntax" };
        JsonPatchError::NotAnIndex { context: context.to_owned(), key: key.to_owned(), why }
    })
}

/// The position that an index means among `count`; negative ones count from the end.
fn position(index: i64, count: usize, context: &str) -> Result<usize, JsonPatchError> {
    let from_start = if index < 0 { index.checked_add_unsigned(count as u64) } else { Some(index) };
    let at = from_start.and_then(|at| usize::try_from(at).ok()).filter(|at| *at < count);
    at.ok_or_else(|| JsonPatchError::InvalidIndex { context: context.to_owned(), index })
}

/// The position of an item that is there.
fn existing(items: &[Value], key: &str, context: &str) -> Result<usize, JsonPatchError> {
    position(index(key, context)?, items.len(), context)
}

/// The item or field; null for a field that isn't there.
fn get<'v>(place: &'v Value, key: &str, context: &str) -> Result<&'v Value, JsonPatchError> {
    match place {
        Value::Array(items) => Ok(&items[existing(items, key, context)?]),
        other => Ok(&other[key]),
    }
}

fn add(place: &mut Value, key: &str, value: Value, context: &str) -> Applied {
    match place {
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let said = format!("{context}value was not a proper array index: '{key}': ");
            let at = position(index(key, &said)?, items.len() + 1, context)?;
            items.insert(at, value);
        }
        other => other.set(key.to_owned(), value),
    }
    Ok(())
}

fn remove(place: &mut Value, key: &str, context: &str) -> Result<Value, JsonPatchError> {
    match place {
        Value::Array(items) => {
            let at = existing(items, key, context)?;
            Ok(items.remove(at))
        }
        other => {
            let no_key = || missing(format!("{context}Unable to remove nonexistent key: {key}"));
            other.remove(key).ok_or_else(no_key)
        }
    }
}

/// Equal, whatever the order of fields.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && same_entries(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (a, b) => a == b,
    }
}

/// Whether two objects of as many entries have the same ones; mostly they come in the same order.
fn same_entries(a: &Object, b: &Object) -> bool {
    let in_order = a.0.iter().zip(&b.0).take_while(|((k, _), (l, _))| k == l).count();
    let ((a, rest_a), (b, rest_b)) = (a.0.split_at(in_order), b.0.split_at(in_order));
    let others: HashMap<&str, &Value> = rest_b.iter().map(|(key, value)| (key.as_ref(), value)).collect();
    a.iter().zip(b).all(|((_, v), (_, w))| equal(v, w))
        && rest_a.iter().all(|(key, v)| others.get(key.as_ref()).is_some_and(|w| equal(v, w)))
}
