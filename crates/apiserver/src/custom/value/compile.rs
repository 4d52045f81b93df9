//! From a definition's schema to a [`Tree`].

use super::super::props::Props;
use super::check::{Bound, Check};
use super::{Field, Format, NONE, Node, NodeId, Pattern, Span, Tree, flags, types};
use kaji_api::Value;
use kaji_api::schema::intern;
use kaji_api::value::Key;
use std::collections::HashMap;
use std::sync::OnceLock;

/// Compiles a schema, whether or not it is structural. None: anything is valid.
pub(crate) fn compile(schema: Option<Props<'_>>) -> Tree {
    let mut compiler = Compiler::default();
    compiler.node(schema.unwrap_or(Props(&Value::Null)));
    let patterns = compiler.patterns.into_iter();
    Tree {
        nodes: compiler.nodes.into(),
        fields: compiler.fields.into(),
        checks: compiler.checks.into(),
        members: compiler.members.into(),
        words: compiler.words.into(),
        values: compiler.values.into(),
        patterns: patterns.map(|text| Pattern { text: text.into(), regex: OnceLock::new() }).collect(),
    }
}

#[derive(Default)]
struct Compiler<'a> {
    nodes: Vec<Node>,
    fields: Vec<Field>,
    checks: Vec<Check>,
    members: Vec<NodeId>,
    words: Vec<Key>,
    values: Vec<Value>,
    patterns: Vec<&'a str>,
    known: HashMap<&'a str, u32>,
}

impl<'a> Compiler<'a> {
    fn node(&mut self, s: Props<'a>) -> NodeId {
        let id = narrow(self.nodes.len());
        let types = types_of(s);
        self.nodes.push(Node {
            types,
            flags: 0,
            format: Format::of(s.0["format"].str(), types),
            fields: Span::default(),
            checks: Span::default(),
            required: Span::default(),
            keys: Span::default(),
            items: NONE,
            additional: NONE,
        });
        let items = s.items().map_or(NONE, |items| self.node(items));
        let additional = s.additional().map_or(NONE, |additional| self.node(additional));
        let fields = self.fields(s);
        let checks = self.checks(s);
        let required = self.words(s.required());
        let keys = self.words(s.list_keys());
        let below = self.holds(items) | self.holds(additional) | self.fields_hold(fields);
        let own = own_flags(s);
        let node = &mut self.nodes[id as usize];
        (node.items, node.additional, node.fields) = (items, additional, fields);
        (node.checks, node.required, node.keys) = (checks, required, keys);
        node.flags = own | below;
        id
    }

    fn fields(&mut self, s: Props<'a>) -> Span {
        let mut fields: Vec<Field> =
            s.properties().map(|(name, property)| Field { name: intern(name), node: self.node(property) }).collect();
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        push(&mut self.fields, fields)
    }

    fn words(&mut self, words: impl Iterator<Item = &'a str>) -> Span {
        push(&mut self.words, words.map(intern).collect())
    }

    fn members(&mut self, s: Props<'a>, junctor: &str) -> Option<Span> {
        let members: Vec<NodeId> = s.list(junctor).map(|one| self.node(one)).collect();
        (!members.is_empty()).then(|| push(&mut self.members, members))
    }

    /// In the order in which upstream reports them.
    fn checks(&mut self, s: Props<'a>) -> Span {
        let mut checks = Vec::new();
        checks.extend(self.members(s, "anyOf").map(Check::AnyOf));
        checks.extend(self.members(s, "oneOf").map(Check::OneOf));
        checks.extend(self.members(s, "allOf").map(Check::AllOf));
        checks.extend(s.schema("not").map(|not| Check::Not(self.node(not))));
        let whole = |field: &str| s.0[field].as_i64();
        checks.extend(whole("maxLength").map(Check::MaxLength));
        checks.extend(whole("minLength").map(Check::MinLength));
        let pattern = s.0["pattern"].str();
        checks.extend((!pattern.is_empty()).then(|| Check::Pattern(self.pattern(pattern))));
        let number = |field: &str| Some(&s.0[field]).filter(|v| !v.is_null()).map(super::check::float);
        let bound = |field: &str| if s.0[field].bool() { Bound::Exclusive } else { Bound::Inclusive };
        checks.extend(number("multipleOf").map(Check::MultipleOf));
        checks.extend(number("minimum").map(|min| Check::Minimum(min, bound("exclusiveMinimum"))));
        checks.extend(number("maximum").map(|max| Check::Maximum(max, bound("exclusiveMaximum"))));
        checks.extend(whole("minItems").map(Check::MinItems));
        checks.extend(whole("maxItems").map(Check::MaxItems));
        checks.extend(s.0["uniqueItems"].bool().then_some(Check::UniqueItems));
        let members = s.0["enum"].items();
        checks.extend((!members.is_empty()).then(|| Check::Enum(push(&mut self.values, members.to_vec()))));
        checks.extend(whole("minProperties").map(Check::MinProperties));
        checks.extend(whole("maxProperties").map(Check::MaxProperties));
        push(&mut self.checks, checks)
    }

    fn pattern(&mut self, text: &'a str) -> u32 {
        *self.known.entry(text).or_insert_with(|| {
            self.patterns.push(text);
            narrow(self.patterns.len() - 1)
        })
    }

    /// What a node below says of what it holds.
    fn holds(&self, id: NodeId) -> u8 {
        let Some(node) = self.nodes.get(id as usize) else { return 0 };
        node.flags & (flags::HOLDS_LISTS | flags::HOLDS_EMBEDDED)
    }

    fn fields_hold(&self, fields: Span) -> u8 {
        self.fields[fields.range()].iter().fold(0, |held, field| held | self.holds(field.node))
    }
}

fn push<T>(to: &mut Vec<T>, parts: Vec<T>) -> Span {
    let start = narrow(to.len());
    to.extend(parts);
    Span { start, end: narrow(to.len()) }
}

fn narrow(n: usize) -> u32 {
    u32::try_from(n).expect("a definition of a few megabytes has fewer than 2^32 parts")
}

fn types_of(s: Props<'_>) -> u8 {
    if s.int_or_string() {
        return types::INTEGER | types::STRING;
    }
    match s.ty() {
        "object" => types::OBJECT,
        "array" => types::ARRAY,
        "string" => types::STRING,
        "number" => types::NUMBER,
        "integer" => types::INTEGER,
        "boolean" => types::BOOLEAN,
        // Refused when the definition was made.
        _ => 0,
    }
}

fn own_flags(s: Props<'_>) -> u8 {
    let list = match s.list_type() {
        "set" => flags::SET | flags::HOLDS_LISTS,
        "map" => flags::MAP | flags::HOLDS_LISTS,
        _ => 0,
    };
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    list | flag(s.nullable(), flags::NULLABLE)
        | flag(s.0["additionalProperties"].as_bool() == Some(false), flags::CLOSED)
        | flag(s.embedded(), flags::EMBEDDED | flags::HOLDS_EMBEDDED)
}
