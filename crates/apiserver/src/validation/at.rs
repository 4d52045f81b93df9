//! A value and its place in the object.

use kaji_api::Value;
use kaji_api::field::{Errors, FieldError, Path};
use std::ops::Deref;

/// Deeper than any built-in type goes.
const DEPTH: usize = 24;

static NOTHING: Value = Value::Null;

#[derive(Clone, Copy)]
enum Step<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

/// A value (`null` where absent) and where it is. Cheap to copy: the path is made only for errors.
#[derive(Clone, Copy)]
pub(crate) struct At<'a> {
    /// The value itself.
    pub(crate) v: &'a Value,
    steps: [Step<'a>; DEPTH],
    len: usize,
}

impl Deref for At<'_> {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.v
    }
}

impl<'a> At<'a> {
    /// The object itself.
    pub(crate) fn root(v: &'a Value) -> Self {
        At { v, steps: [Step::Index(0); DEPTH], len: 0 }
    }

    fn step(self, v: &'a Value, step: Step<'a>) -> Self {
        let mut to = At { v, ..self };
        if let Some(place) = to.steps.get_mut(to.len) {
            *place = step;
            to.len += 1;
        }
        to
    }

    /// A field of this struct.
    pub(crate) fn field(self, name: &'a str) -> Self {
        self.step(&self.v[name], Step::Field(name))
    }

    /// A field by several names.
    pub(crate) fn fields(self, names: &[&'a str]) -> Self {
        names.iter().fold(self, |at, name| at.field(name))
    }

    /// An entry of this map.
    pub(crate) fn key(self, key: &'a str) -> Self {
        self.step(&self.v[key], Step::Key(key))
    }

    /// An item of this list, `null` behind its end.
    pub(crate) fn index(self, i: usize) -> Self {
        self.step(self.v.items().get(i).unwrap_or(&NOTHING), Step::Index(i))
    }

    /// This place with another value: upstream reports some errors elsewhere than where the value is.
    pub(crate) fn with(self, v: &'a Value) -> Self {
        At { v, ..self }
    }

    /// The items of this list.
    pub(crate) fn list(self) -> impl Iterator<Item = At<'a>> {
        self.v.items().iter().enumerate().map(move |(i, v)| self.step(v, Step::Index(i)))
    }

    /// The entries of this map.
    pub(crate) fn map(self) -> impl Iterator<Item = (&'a str, At<'a>)> {
        self.v.entries().map(move |(k, v)| (k, self.step(v, Step::Key(k))))
    }

    /// The string, or `""`.
    pub(crate) fn str(self) -> &'a str {
        self.v.str()
    }

    /// The number, or 0.
    pub(crate) fn i64(self) -> i64 {
        self.v.as_i64().unwrap_or_default()
    }

    /// Present and not `null`.
    pub(crate) fn is_set(self) -> bool {
        !self.v.is_null()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> Path {
        self.steps[..self.len].iter().fold(Path::root(), |path, step| match step {
            Step::Field(name) => path.child(name),
            Step::Index(i) => path.index(*i),
            Step::Key(key) => path.key(key),
        })
    }

    pub(crate) fn required(self, e: &mut Errors, detail: &str) {
        e.required(&self.path(), detail);
    }

    /// Shows the value; an absent one as the empty string.
    pub(crate) fn invalid(self, e: &mut Errors, detail: &str) {
        let shown = if self.is_null() { Value::from("") } else { self.v.clone() };
        e.invalid(&self.path(), shown, detail);
    }

    /// Shows another value.
    pub(crate) fn invalid_as(self, e: &mut Errors, shown: impl Into<Value>, detail: &str) {
        e.invalid(&self.path(), shown, detail);
    }

    pub(crate) fn not_supported(self, e: &mut Errors, supported: &[&str]) {
        let shown = if self.is_null() { Value::from("") } else { self.v.clone() };
        e.not_supported(&self.path(), shown, supported);
    }

    pub(crate) fn duplicate(self, e: &mut Errors) {
        e.duplicate(&self.path(), self.v.clone());
    }

    pub(crate) fn duplicate_as(self, e: &mut Errors, shown: impl Into<Value>) {
        e.duplicate(&self.path(), shown);
    }

    pub(crate) fn forbidden(self, e: &mut Errors, detail: &str) {
        e.forbidden(&self.path(), detail);
    }

    pub(crate) fn not_found(self, e: &mut Errors) {
        e.not_found(&self.path(), if self.is_null() { Value::from("") } else { self.v.clone() });
    }

    pub(crate) fn too_long(self, e: &mut Errors, max: usize) {
        e.too_long(&self.path(), max);
    }

    pub(crate) fn too_many(self, e: &mut Errors, max: usize) {
        e.too_many(&self.path(), self.v.items().len(), max);
    }

    /// Adds a detail to the error pushed last: for the few kinds that usually carry none.
    pub(crate) fn detail(e: &mut Errors, detail: &str) {
        if let Some(FieldError { message, .. }) = e.0.last_mut() {
            message.push_str(": ");
            message.push_str(detail);
        }
    }

    /// An error per text that a check of form gives.
    pub(crate) fn check(self, e: &mut Errors, form: impl Fn(&str) -> Vec<String>) {
        for text in form(self.str()) {
            self.invalid_as(e, self.str(), &text);
        }
    }

    /// The same, where the string is not empty.
    pub(crate) fn check_if_set(self, e: &mut Errors, form: impl Fn(&str) -> Vec<String>) {
        if !self.str().is_empty() {
            self.check(e, form);
        }
    }

    /// The same; an empty string is "required".
    pub(crate) fn check_required(self, e: &mut Errors, form: impl Fn(&str) -> Vec<String>) {
        if self.str().is_empty() { self.required(e, "") } else { self.check(e, form) }
    }

    /// "Required" where the string, list or map is empty.
    pub(crate) fn need(self, e: &mut Errors) {
        if self.is_zero() {
            self.required(e, "");
        }
    }
}
