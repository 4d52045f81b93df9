//! `x-kubernetes-validations` in a definition: the form of rules, and what they may cost.

use crate::custom::paths::field_path;
use crate::custom::props::Props;
use crate::custom::rules::{self, Compiled};
use crate::custom::structural;
use kaji_api::Value;
use kaji_api::field::{Errors, Path};
use kaji_cel::{DeclType, Env, Schema};
use std::sync::Arc;

const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// The form of rules, their expressions apart.
pub(super) fn texts(s: Props<'_>, path: &Path, e: &mut Errors) {
    for (i, rule) in s.rules().iter().enumerate() {
        texts_of(s, rule, &path.index(i), e);
    }
}

fn has_newlines(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

fn texts_of(s: Props<'_>, rule: &Value, path: &Path, e: &mut Errors) {
    let (text, message) = (rule["rule"].str().trim(), rule["message"].str());
    let at = path.child("message");
    if text.is_empty() {
        e.required(&path.child("rule"), "rule is not specified");
    } else if !message.is_empty() && message.trim().is_empty() {
        e.invalid(&at, message, "must be non-empty if specified");
    } else if has_newlines(message.trim()) {
        e.invalid(&at, message, "must not contain line breaks");
    } else if has_newlines(text) && message.trim().is_empty() {
        e.required(&at, "message must be specified if rule contains line breaks");
    }
    let expression = rule["messageExpression"].str();
    if !expression.is_empty() && expression.trim().is_empty() {
        e.required(&path.child("messageExpression"), "messageExpression must be non-empty if specified");
    }
    if let Some(reason) = rule["reason"].as_str().filter(|r| !REASONS.contains(r)) {
        e.not_supported(&path.child("reason"), reason, &REASONS);
    }
    let field = rule["fieldPath"].str();
    let at = path.child("fieldPath");
    if !field.is_empty() && field.trim().is_empty() {
        e.invalid(&at, field, "must be non-empty if specified");
    }
    if has_newlines(field) {
        e.invalid(&at, field, "must not contain line breaks");
    }
    let leads_nowhere = || structural::unsupported(s).is_ok() && field_path(field, s, true).is_err();
    if !field.is_empty() && leads_nowhere() {
        e.invalid(&at, field, "must be a valid path");
    }
}

/// How often a part of the schema can occur in one object.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    schema: Option<Props<'a>>,
    /// None: no limit.
    most: Option<u64>,
}

impl<'a> Scope<'a> {
    pub(super) fn root(schema: Props<'a>) -> Self {
        Scope { schema: Some(schema), most: Some(1) }
    }

    /// Where rules are not looked at: below `allOf` and the like.
    pub(super) fn none() -> Self {
        Scope { schema: None, most: None }
    }

    pub(super) fn is_some(self) -> bool {
        self.schema.is_some()
    }

    /// A schema below.
    pub(super) fn below(self, parent: Props<'_>, child: Props<'a>) -> Self {
        if self.schema.is_none() {
            return Scope::none();
        }
        let most = self.most.and_then(|most| Some(most.saturating_mul(elements(parent)?)));
        Scope { schema: Some(child), most }
    }

    /// How often, at most.
    pub(super) fn most(self) -> Option<u64> {
        self.most
    }
}

/// How many parts a value has at most, for each of which the schemas below count once.
fn elements(s: Props<'_>) -> Option<u64> {
    let limit = |field: &str| s.0[field].as_i64().map(|n| u64::try_from(n).unwrap_or_default());
    match s.ty() {
        "object" if s.has_additional() => limit("maxProperties"),
        "array" => limit("maxItems"),
        _ => Some(1),
    }
}

/// The circumstances of rules.
pub(super) struct Within<'a> {
    pub(super) scope: Scope<'a>,
    pub(super) uncorrelated: Option<&'a Path>,
    pub(super) unchanged: bool,
    pub(super) is_root: bool,
}

/// What all rules of a definition cost together.
#[derive(Default)]
pub(super) struct Budget {
    total: u64,
    most_expensive: Vec<(Path, u64)>,
}

/// The most that one rule may cost, and all of a schema.
const PER_RULE: u64 = 10_000_000;
const PER_SCHEMA: u64 = 100_000_000;
/// The largest request, which limits how often anything can occur.
const MAX_REQUEST: u64 = 3 * 1024 * 1024;

impl Budget {
    /// Compiles the rules of a schema, and adds what they may cost.
    pub(super) fn compile(&mut self, s: Props<'_>, path: &Path, within: &Within<'_>, e: &mut Errors) {
        let schema = if within.is_root { Schema::resource(s.0) } else { Schema::from_open_api(s.0) };
        let Some(this) = DeclType::of_schema(&schema, "self").map(Arc::new) else {
            let text = "internal error: failed to construct type information for x-kubernetes-validations rules: unable \
                        to convert structural schema to CEL declarations";
            return e.internal(path, text);
        };
        let most = within.scope.most().unwrap_or_else(|| MAX_REQUEST / (this.min_size() + 1));
        let env = Env::new().with("self", this.clone());
        let (plain, optional) =
            (env.clone().with("oldSelf", this.clone()), env.with("oldSelf", DeclType::optional(&this)));
        for (i, rule) in s.rules().iter().enumerate() {
            let env = if rule["optionalOldSelf"].bool() { &optional } else { &plain };
            let compiled = rules::compile(Some(env), rule["rule"].str(), rule["messageExpression"].str());
            self.rule(rule, &compiled, most, &path.index(i), within, e);
        }
    }

    fn rule(&mut self, rule: &Value, compiled: &Compiled, most: u64, path: &Path, within: &Within<'_>, e: &mut Errors) {
        let at = path.child("rule");
        let cost = match &compiled.program {
            Some(Ok(program)) => program.estimate().max.saturating_mul(most),
            _ => 0,
        };
        if !within.unchanged && cost > PER_RULE {
            e.forbidden(&at, &too_expensive("estimated rule cost", cost, PER_RULE));
        }
        self.observe(&at, cost);
        if let Some(Err(why)) = &compiled.program {
            e.invalid(&at, internal(rule), why);
        }
        let at = path.child("messageExpression");
        match &compiled.message {
            Some(Err(why)) => e.invalid(&at, internal(rule), why),
            Some(Ok(message)) => {
                let cost = message.estimate().max;
                if !within.unchanged && cost > PER_RULE {
                    e.forbidden(&at, &too_expensive("estimated messageExpression cost", cost, PER_RULE));
                }
                self.observe(&at, cost);
            }
            None => {}
        }
        if compiled.uses_old {
            if let Some(around) = within.uncorrelated {
                let text =
                    format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {around}");
                e.invalid(&path.child("rule"), rule["rule"].str(), &text);
            }
        } else if let Some(optional) = rule["optionalOldSelf"].as_bool() {
            let text = "may not be set if oldSelf is not used in rule";
            e.invalid(&path.child("optionalOldSelf"), optional, text);
        }
    }

    fn observe(&mut self, path: &Path, cost: u64) {
        self.total = self.total.saturating_add(cost);
        if cost < PER_SCHEMA / 100 {
            return;
        }
        self.most_expensive.push((path.clone(), cost));
        self.most_expensive.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
        self.most_expensive.truncate(4);
    }

    /// What the schema's rules cost too much together.
    pub(super) fn total(&self, path: &Path, e: &mut Errors) {
        if self.total <= PER_SCHEMA {
            return;
        }
        for (path, _) in &self.most_expensive {
            let text = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            e.forbidden(path, text);
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        e.forbidden(path, &too_expensive(what, self.total, PER_SCHEMA));
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown to one decimal")]
fn too_expensive(what: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let factor = match factor {
        f if f > 100.0 => "more than 100x".to_owned(),
        f if f < 1.5 => format!("{f:.6}x"),
        f => format!("{f:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}

/// A rule as upstream's older form shows it in messages.
fn internal(rule: &Value) -> Value {
    Value::from_iter([
        ("Rule", Value::from(rule["rule"].str())),
        ("Message", Value::from(rule["message"].str())),
        ("MessageExpression", Value::from(rule["messageExpression"].str())),
        ("Reason", rule["reason"].clone()),
        ("FieldPath", Value::from(rule["fieldPath"].str())),
        ("OptionalOldSelf", rule["optionalOldSelf"].clone()),
    ])
}
