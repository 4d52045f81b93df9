//! Field errors: what is wrong, where, in upstream's words
//! (apimachinery `util/validation/field`).

use crate::value::Value;
use std::fmt;

/// The place of a value in an object, as users read it: `spec.containers[0].ports[1].name`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// A path of one or more names: `Path::new("metadata")`.
    pub fn new(name: &str) -> Self {
        Path(name.to_owned())
    }

    /// The path of the object itself: prints as nothing.
    pub fn root() -> Self {
        Path::default()
    }

    /// This path's child field.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Path(name.to_owned()) } else { Path([&self.0, ".", name].concat()) }
    }

    /// This list's item.
    #[must_use]
    pub fn index(&self, i: usize) -> Self {
        Path(format!("{}[{i}]", self.0))
    }

    /// This map's entry.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Path([&self.0, "[", key, "]"].concat())
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// The kinds of field error, named as the causes of a `Status` name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The value is absent but needed.
    Required,
    /// The value is of the wrong form.
    Invalid,
    /// The value is not one of a closed set.
    NotSupported,
    /// The value stands twice.
    Duplicate,
    /// The value may not be set here.
    Forbidden,
    /// What the value names doesn't exist.
    NotFound,
    /// The value is too long (bytes).
    TooLong,
    /// The list has too many items.
    TooMany,
    /// Our own failure.
    Internal,
    /// The value is of the wrong type.
    TypeInvalid,
}

impl Reason {
    /// The word in `status.details.causes[].reason`.
    pub fn word(self) -> &'static str {
        match self {
            Reason::Required => "FieldValueRequired",
            Reason::Invalid => "FieldValueInvalid",
            Reason::NotSupported => "FieldValueNotSupported",
            Reason::Duplicate => "FieldValueDuplicate",
            Reason::Forbidden => "FieldValueForbidden",
            Reason::NotFound => "FieldValueNotFound",
            Reason::TooLong => "FieldValueTooLong",
            Reason::TooMany => "FieldValueTooMany",
            Reason::Internal => "InternalError",
            Reason::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

/// One thing that is wrong with an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// What kind of wrong.
    pub reason: Reason,
    /// Where.
    pub field: String,
    /// The whole text after the field: `Invalid value: "x": must be …`.
    pub message: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// A value as upstream shows it in a message: strings quoted as Go does, others as JSON.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(s) => quoted(s),
        Value::Null => "null".to_owned(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

/// A value as Go's `%v` prints decoded JSON: `map[a:1 b:[x y]]`.
pub fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(s) => s.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(printed).collect::<Vec<_>>().join(" ")),
        Value::Object(o) => {
            let mut entries: Vec<_> = o.0.iter().map(|(k, v)| (k, printed(v))).collect();
            entries.sort();
            let entries: Vec<String> = entries.into_iter().map(|(k, v)| format!("{k}:{v}")).collect();
            format!("map[{}]", entries.join(" "))
        }
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

/// A string as Go's `%q` writes it.
pub fn quoted(s: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The field errors of one object, in the order found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(pub Vec<FieldError>);

impl Errors {
    /// No errors yet.
    pub fn new() -> Self {
        Errors::default()
    }

    /// True when nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push(&mut self, reason: Reason, path: &Path, message: String) {
        self.0.push(FieldError { reason, field: path.to_string(), message });
    }

    /// `Required value[: detail]`.
    pub fn required(&mut self, path: &Path, detail: &str) {
        self.push(Reason::Required, path, with_detail("Required value".to_owned(), detail));
    }

    /// `Invalid value: <value>: detail`.
    pub fn invalid(&mut self, path: &Path, value: impl Into<Value>, detail: &str) {
        self.push(Reason::Invalid, path, with_detail(format!("Invalid value: {}", shown(&value.into())), detail));
    }

    /// `Invalid value: <value>: detail`, with the cause that says that the type is wrong.
    pub fn type_invalid(&mut self, path: &Path, value: impl Into<Value>, detail: &str) {
        let head = format!("Invalid value: {}", shown(&value.into()));
        self.push(Reason::TypeInvalid, path, with_detail(head, detail));
    }

    /// `Unsupported value: <value>: supported values: "a", "b"`, in the order given (upstream sorts sets).
    pub fn not_supported(&mut self, path: &Path, value: impl Into<Value>, supported: &[&str]) {
        let list = supported.iter().map(|s| quoted(s)).collect::<Vec<_>>().join(", ");
        let detail = if list.is_empty() { String::new() } else { format!("supported values: {list}") };
        self.push(
            Reason::NotSupported,
            path,
            with_detail(format!("Unsupported value: {}", shown(&value.into())), &detail),
        );
    }

    /// `Duplicate value: <value>`.
    pub fn duplicate(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(Reason::Duplicate, path, format!("Duplicate value: {}", shown(&value.into())));
    }

    /// `Forbidden: detail`.
    pub fn forbidden(&mut self, path: &Path, detail: &str) {
        self.push(Reason::Forbidden, path, with_detail("Forbidden".to_owned(), detail));
    }

    /// `Not found: <value>`.
    pub fn not_found(&mut self, path: &Path, value: impl Into<Value>) {
        self.push(Reason::NotFound, path, format!("Not found: {}", shown(&value.into())));
    }

    /// `Internal error: detail`.
    pub fn internal(&mut self, path: &Path, detail: &str) {
        self.push(Reason::Internal, path, with_detail("Internal error".to_owned(), detail));
    }

    /// `Too long: may not be more than N bytes`.
    pub fn too_long(&mut self, path: &Path, max: usize) {
        self.push(Reason::TooLong, path, format!("Too long: may not be more than {max} bytes"));
    }

    /// `Too many: N: must have at most M items`.
    pub fn too_many(&mut self, path: &Path, actual: usize, max: usize) {
        let items = if max == 1 { "item" } else { "items" };
        self.push(Reason::TooMany, path, format!("Too many: {actual}: must have at most {max} {items}"));
    }

    /// Adds another list behind this one.
    pub fn append(&mut self, other: Errors) {
        self.0.extend(other.0);
    }
}

fn with_detail(mut head: String, detail: &str) -> String {
    if !detail.is_empty() {
        head.push_str(": ");
        head.push_str(detail);
    }
    head
}

impl fmt::Display for Errors {
    /// One error as it is; several as `[a, b]`, each text once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seen = std::collections::HashSet::new();
        let unique: Vec<String> = self.0.iter().map(ToString::to_string).filter(|m| seen.insert(m.clone())).collect();
        match unique.as_slice() {
            [one] => f.write_str(one),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}
