//! Validation of values by a definition's schema, as kube-openapi's validator does it, in its words.
//!
//! A schema is compiled once to flat arrays. Values are first asked whether they fit, which allocates nothing; only
//! when one does not, the walk is made again by `report`, which gathers every error, chooses among alternatives as
//! upstream does, and forgives what an update leaves as it was.

mod check;
mod compile;
pub(crate) mod correlate;
mod embedded;
mod fits;
pub(crate) mod format;
mod lists;
mod report;
mod text;

pub(crate) use check::same;
pub(crate) use compile::compile;
pub(crate) use embedded::resource;

use check::Check;
use correlate::Old;
use format::Format;
use kaji_api::Value;
use kaji_api::field::{Errors, Path};
use kaji_api::value::Key;
use regex::Regex;
use std::ops::Range;
use std::sync::OnceLock;

/// A compiled schema. Node 0 is the root.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    nodes: Box<[Node]>,
    fields: Box<[Field]>,
    checks: Box<[Check]>,
    /// Members of `allOf`, `anyOf` and `oneOf`.
    members: Box<[NodeId]>,
    /// Required names and keys of lists.
    words: Box<[Key]>,
    /// Members of `enum`.
    values: Box<[Value]>,
    patterns: Box<[Pattern]>,
}

/// Of `Tree::nodes`.
pub(crate) type NodeId = u32;

/// The schema of one place.
#[derive(Clone, Debug)]
struct Node {
    /// Of [`types`]; none means any.
    types: u8,
    /// Of [`flags`].
    flags: u8,
    format: Format,
    fields: Span,
    checks: Span,
    required: Span,
    keys: Span,
    /// Of list items; [`NONE`] where nothing is said of them.
    items: NodeId,
    /// Of entries that no field names; [`NONE`] where nothing is said of them.
    additional: NodeId,
}

/// No node.
const NONE: NodeId = NodeId::MAX;

/// JSON types as bits.
mod types {
    pub(super) const OBJECT: u8 = 1;
    pub(super) const ARRAY: u8 = 2;
    pub(super) const STRING: u8 = 4;
    pub(super) const NUMBER: u8 = 8;
    pub(super) const INTEGER: u8 = 16;
    pub(super) const BOOLEAN: u8 = 32;
}

/// Flags of nodes.
mod flags {
    /// `null` is a value.
    pub(super) const NULLABLE: u8 = 1;
    /// Entries that no field names are refused.
    pub(super) const CLOSED: u8 = 2;
    /// Items are told apart by value.
    pub(super) const SET: u8 = 4;
    /// Items are told apart by keys.
    pub(super) const MAP: u8 = 8;
    /// An object with metadata of its own.
    pub(super) const EMBEDDED: u8 = 16;
    /// This node or one below it is a set or map.
    pub(super) const HOLDS_LISTS: u8 = 32;
    /// This node or one below it is embedded.
    pub(super) const HOLDS_EMBEDDED: u8 = 64;
}

#[derive(Clone, Debug)]
struct Field {
    name: Key,
    node: NodeId,
}

/// A range of one of the arrays.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// A pattern, compiled when the first string meets it: most never do.
#[derive(Debug)]
struct Pattern {
    text: Box<str>,
    regex: OnceLock<Option<Box<Regex>>>,
}

impl Pattern {
    /// Whether the string matches; a pattern that is none matches nothing.
    fn matches(&self, s: &str) -> bool {
        let regex = self.regex.get_or_init(|| kaji_api::pattern::compile(&self.text).ok().map(Box::new));
        regex.as_ref().is_some_and(|regex| regex.is_match(s))
    }
}

/// A pattern of our own.
struct StaticPattern {
    text: &'static str,
    regex: OnceLock<Regex>,
}

impl StaticPattern {
    const fn new(text: &'static str) -> Self {
        StaticPattern { text, regex: OnceLock::new() }
    }

    fn matches(&self, s: &str) -> bool {
        self.regex.get_or_init(|| Regex::new(self.text).expect("a pattern of our own compiles")).is_match(s)
    }
}

impl Node {
    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}

impl Tree {
    /// What is wrong with an object, or with what an update makes of the old one: what stays as it was is excused.
    pub(crate) fn validate(&self, value: &Value, old: Option<&Value>, errors: &mut Errors) {
        let old = old.map(|old| self.old_root(old));
        self.validate_at(0, value, old.as_ref(), Path::root(), errors);
    }

    /// What is wrong with a default of this schema.
    pub(crate) fn validate_default(&self, value: &Value, path: &Path, errors: &mut Errors) {
        self.validate_at(0, value, None, path.clone(), errors);
    }

    /// What is wrong with `status`, looked at by itself.
    pub(crate) fn validate_status(&self, status: &Value, old: Option<&Value>, errors: &mut Errors) {
        let Some(node) = self.nodes.first().and_then(|root| self.field(root, "status", &mut 0)) else { return };
        let old = old.map(|value| Old { node, value });
        self.validate_at(node, status, old.as_ref(), Path::new("status"), errors);
    }

    fn validate_at(&self, id: NodeId, value: &Value, old: Option<&Old<'_>>, base: Path, errors: &mut Errors) {
        if !self.fits(id, value) {
            errors.append(report::Reporter { tree: self, base }.value(id, value, "", old).errors);
        }
    }

    fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id as usize]
    }

    fn fields(&self, node: &Node) -> &[Field] {
        &self.fields[node.fields.range()]
    }

    fn checks(&self, node: &Node) -> &[Check] {
        &self.checks[node.checks.range()]
    }

    fn keys(&self, node: &Node) -> &[Key] {
        &self.words[node.keys.range()]
    }

    fn required(&self, node: &Node) -> &[Key] {
        &self.words[node.required.range()]
    }

    /// The node of a property, looked for from `next` on and round again: objects mostly come sorted, as fields do.
    fn field(&self, node: &Node, name: &str, next: &mut usize) -> Option<NodeId> {
        let fields = self.fields(node);
        let (before, after) = fields.split_at((*next).min(fields.len()));
        let at = match after.iter().position(|f| f.name == name) {
            Some(at) => at + before.len(),
            None => before.iter().position(|f| f.name == name)?,
        };
        *next = at + 1;
        Some(fields[at].node)
    }

    /// The node of an entry: its field's, or that of all others.
    fn entry(&self, node: &Node, name: &str, next: &mut usize) -> Option<NodeId> {
        self.field(node, name, next).or((node.additional != NONE).then_some(node.additional))
    }

    /// Bytes that it occupies, about.
    #[cfg(test)]
    pub(crate) fn size(&self) -> usize {
        self.nodes.len() * size_of::<Node>()
            + self.fields.len() * size_of::<Field>()
            + self.checks.len() * size_of::<Check>()
            + self.members.len() * size_of::<NodeId>()
            + self.words.len() * size_of::<Key>()
            + self.values.len() * size_of::<Value>()
            + self.patterns.iter().map(|p| size_of::<Pattern>() + p.text.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
