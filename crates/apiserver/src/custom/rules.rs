//! `x-kubernetes-validations`: rules in CEL that values must meet (apiextensions-apiserver
//! `pkg/apiserver/schema/cel`).
//!
//! The parts of a schema that have rules form a tree of their own. Programs are compiled when a value first meets
//! them: a definition that nobody uses costs little. One budget covers all rules of a write.

mod eval;

use super::paths::field_path;
use super::props::Props;
use super::value::Tree;
use super::value::correlate::Old;
use kaji_api::Value;
use kaji_api::field::{Errors, Path, Reason};
use kaji_cel::{DeclType, Env, Program, RUNTIME_BUDGET, Schema, Type};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// Rules at one place and below.
#[derive(Debug)]
pub(crate) struct Rules {
    schema: Arc<Schema>,
    /// `type`, as messages show it.
    ty: String,
    own: Vec<Rule>,
    /// Entries are compared with the old ones of that name.
    correlatable: bool,
    /// Items are compared with the old ones with the same keys.
    keys: Vec<String>,
    items: Option<Box<Rules>>,
    additional: Option<Box<Rules>>,
    properties: BTreeMap<String, Rules>,
}

/// One rule, as it is written.
#[derive(Debug)]
struct Rule {
    text: String,
    message: String,
    message_expression: String,
    reason: Option<Reason>,
    /// In the form of field errors, from the place of the rule on.
    field: String,
    optional_old: bool,
    program: OnceLock<Compiled>,
}

/// A rule, compiled.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// Nothing, where the rule is empty.
    pub(crate) program: Option<Result<Program, String>>,
    pub(crate) message: Option<Result<Program, String>>,
    /// Says something about a change.
    pub(crate) uses_old: bool,
}

impl Rules {
    /// The rules of the schema of a resource, if there are any.
    pub(crate) fn of(schema: Option<Props<'_>>) -> Option<Self> {
        let root = schema.filter(|s| s.any(&|s| !s.rules().is_empty()))?;
        Self::at(root, Arc::new(Schema::resource(root.0)))
    }

    /// The rules of a part of a schema, for the default that stands there.
    pub(crate) fn of_part(schema: Props<'_>) -> Option<Self> {
        let any = schema.any(&|s| !s.rules().is_empty());
        any.then(|| Self::at(schema, Arc::new(Schema::from_open_api(schema.0)))).flatten()
    }

    fn at(s: Props<'_>, schema: Arc<Schema>) -> Option<Self> {
        let below = |s: Option<Props<'_>>, schema: Option<&Arc<Schema>>| Self::at(s?, schema?.clone()).map(Box::new);
        let items = below(s.items(), schema.items());
        let additional = below(s.additional(), schema.additional());
        let property = |(name, s): (&str, Props<'_>)| Some((name.to_owned(), Self::at(s, schema.property(name)?)?));
        let properties: BTreeMap<String, Rules> = s.properties().filter_map(property).collect();
        if s.rules().is_empty() && items.is_none() && additional.is_none() && properties.is_empty() {
            return None;
        }
        let keys = if s.list_type() == "map" { s.list_keys().map(str::to_owned).collect() } else { Vec::new() };
        Some(Rules {
            ty: s.ty().to_owned(),
            own: s.rules().iter().map(|rule| Rule::of(rule, s)).collect(),
            correlatable: s.map_type() != "atomic",
            schema,
            keys,
            items,
            additional,
            properties,
        })
    }

    /// What rules say against a value. Of an update, what is what it was is excused unless the rule is about the
    /// change.
    pub(crate) fn validate(&self, tree: &Tree, value: &Value, old: Option<&Value>, path: &Path, e: &mut Errors) {
        let mut run = eval::Run { tree, base: path, budget: RUNTIME_BUDGET, errors: e };
        let past = old.map(|old| tree.old_root(old));
        run.rules(self, value, old, &eval::Past::of(past), &eval::Place::Base);
    }

    /// What rules say against a default: it may come anew, and it may have been there before.
    pub(crate) fn validate_default(&self, tree: &Tree, value: &Value, path: &Path, e: &mut Errors) {
        let before = e.0.len();
        for old in [Some(value), None] {
            let mut run = eval::Run { tree, base: path, budget: RUNTIME_BUDGET, errors: e };
            run.rules(self, value, old, &eval::Past::of(None), &eval::Place::Base);
            if e.0.len() > before {
                return;
            }
        }
    }

    fn env(&self, optional_old: bool) -> Option<Env> {
        let this = Arc::new(DeclType::of_schema(&self.schema, "self")?);
        let old = if optional_old { Arc::new(DeclType::optional(&this)) } else { this.clone() };
        Some(Env::new().with("self", this).with("oldSelf", old))
    }

    fn compiled<'r>(&self, rule: &'r Rule) -> &'r Compiled {
        rule.program.get_or_init(|| compile(self.env(rule.optional_old).as_ref(), &rule.text, &rule.message_expression))
    }
}

impl Rule {
    fn of(rule: &Value, s: Props<'_>) -> Self {
        let field = rule["fieldPath"].str();
        let normal = (!field.is_empty()).then(|| field_path(field, s, true).ok()).flatten();
        Rule {
            text: rule["rule"].str().to_owned(),
            message: rule["message"].str().trim().to_owned(),
            message_expression: rule["messageExpression"].str().to_owned(),
            reason: match rule["reason"].str() {
                "FieldValueForbidden" => Some(Reason::Forbidden),
                "FieldValueRequired" => Some(Reason::Required),
                "FieldValueDuplicate" => Some(Reason::Duplicate),
                _ => None,
            },
            field: normal.map_or_else(String::new, |(path, _)| path),
            optional_old: rule["optionalOldSelf"].bool(),
            program: OnceLock::new(),
        }
    }

    /// The rule as messages name it.
    fn shown(&self) -> &str {
        if self.message.is_empty() { self.text.trim() } else { &self.message }
    }
}

/// Compiles a rule and what explains its failure.
pub(crate) fn compile(env: Option<&Env>, rule: &str, message: &str) -> Compiled {
    if rule.trim().is_empty() {
        return Compiled { program: None, message: None, uses_old: false };
    }
    let Some(env) = env else {
        let why = "failed to convert to declType for CEL validation rules".to_owned();
        return Compiled { program: Some(Err(why)), message: None, uses_old: false };
    };
    let program = env.compile(rule).map_err(|why| why.to_string()).and_then(|program| match program.output() {
        Type::Bool => Ok(program),
        _ => Err("cel expression must evaluate to a bool".to_owned()),
    });
    let uses_old = program.as_ref().is_ok_and(|program| program.uses("oldSelf"));
    let message = (!message.is_empty() && program.is_ok()).then(|| {
        let program = env.compile(message).map_err(|why| format!("messageExpression {why}"))?;
        match program.output() {
            Type::String => Ok(program),
            _ => Err("messageExpression must evaluate to a string".to_owned()),
        }
    });
    Compiled { program: Some(program), message, uses_old }
}

/// Why rules are not looked at: other errors that they may rest on.
pub(crate) fn blocked(errors: &[kaji_api::field::FieldError]) -> bool {
    let blocks = [Reason::NotSupported, Reason::Required, Reason::TooLong, Reason::TooMany, Reason::TypeInvalid];
    errors.iter().any(|e| blocks.contains(&e.reason))
}

/// The text for that.
pub(crate) const BLOCKED: &str = "some validation rules were not checked because the object was invalid; correct the \
                                  existing errors to complete validation";

#[cfg(test)]
mod tests;
