//! Rules at work.

use super::{Old, Rule, Rules, Tree};
use crate::custom::value::correlate::items_by_keys;
use kaji_api::Value;
use kaji_api::field::{Errors, FieldError, Path, Reason, shown};
use kaji_cel::{Activation, EvalError, LONGEST_MESSAGE, PER_CALL_LIMIT, Program, Val};
use std::sync::Arc;

/// One look at a value.
pub(super) struct Run<'r> {
    pub(super) tree: &'r Tree,
    /// Where the value stands in the object.
    pub(super) base: &'r Path,
    pub(super) budget: u64,
    pub(super) errors: &'r mut Errors,
}

/// Where a part of the value stands; a path is made of it for errors only.
pub(super) enum Place<'p> {
    Base,
    Field(&'p Place<'p>, &'p str),
    Key(&'p Place<'p>, &'p str),
    Index(&'p Place<'p>, usize),
}

impl Place<'_> {
    fn path(&self, base: &Path) -> Path {
        match self {
            Place::Base => base.clone(),
            Place::Field(parent, name) => parent.path(base).child(name),
            Place::Key(parent, key) => parent.path(base).key(key),
            Place::Index(parent, i) => parent.path(base).index(*i),
        }
    }
}

/// What a part was, as far as that can be told.
#[derive(Clone, Copy)]
pub(super) struct Past<'a> {
    here: Option<Old<'a>>,
    /// The nearest part around that was something: then and now.
    around: Option<(Old<'a>, &'a Value)>,
}

impl<'a> Past<'a> {
    pub(super) fn of(here: Option<Old<'a>>) -> Self {
        Past { here, around: None }
    }

    fn entry(&self, tree: &Tree, value: &'a Value, name: &str) -> Self {
        let Some(here) = self.here else { return *self };
        if self.around.is_none() && matches!(name, "apiVersion" | "kind") {
            return Past { here: None, around: None };
        }
        Past { here: tree.old_entry(&here, name), around: Some((here, value)) }
    }

    fn is_same(&self, tree: &Tree, value: &Value) -> bool {
        match (self.here, self.around) {
            (Some(here), _) => tree.unchanged(&here, value),
            (None, Some((around, now))) => tree.unchanged(&around, now),
            (None, None) => false,
        }
    }
}

/// The budget is used up: nothing more is looked at.
struct Exhausted;

type Step = Result<(), Exhausted>;

const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

impl Run<'_> {
    /// The rules at a place and below.
    pub(super) fn rules(
        &mut self,
        rules: &Rules,
        value: &Value,
        old: Option<&Value>,
        past: &Past<'_>,
        place: &Place<'_>,
    ) {
        // Nobody waits for more once the budget is gone.
        let _ = self.walk(rules, value, old, past, place);
    }

    fn walk(&mut self, rules: &Rules, value: &Value, old: Option<&Value>, past: &Past<'_>, place: &Place<'_>) -> Step {
        if value.is_null() {
            return Ok(());
        }
        let old = old.filter(|old| !old.is_null());
        self.own(rules, value, old, past, place)?;
        match value {
            Value::Array(items) => self.items(rules, items, old, past, place, value),
            Value::Object(_) => self.entries(rules, value, old, past, place),
            _ => Ok(()),
        }
    }

    fn items(
        &mut self,
        rules: &Rules,
        items: &[Value],
        old: Option<&Value>,
        past: &Past<'_>,
        place: &Place<'_>,
        value: &Value,
    ) -> Step {
        let Some(of_items) = &rules.items else { return Ok(()) };
        let tree = self.tree;
        let before = old.filter(|_| !rules.keys.is_empty()).map(|old| items_by_keys(old.items(), &rules.keys));
        let there = past.here.map(|here| tree.old_items(&here));
        for (i, item) in items.iter().enumerate() {
            let old = before.as_ref().and_then(|before| before.of(item));
            let past = match (&there, past.here) {
                (Some(there), Some(here)) => Past { here: there.of(item), around: Some((here, value)) },
                _ => *past,
            };
            self.walk(of_items, item, old, &past, &Place::Index(place, i))?;
        }
        Ok(())
    }

    fn entries(
        &mut self,
        rules: &Rules,
        value: &Value,
        old: Option<&Value>,
        past: &Past<'_>,
        place: &Place<'_>,
    ) -> Step {
        let old = old.filter(|_| rules.correlatable);
        if let Some(additional) = &rules.additional {
            for (key, entry) in value.entries() {
                let past = past.entry(self.tree, value, key);
                self.walk(additional, entry, old.and_then(|old| old.get(key)), &past, &Place::Key(place, key))?;
            }
        }
        for (name, property) in &rules.properties {
            let Some(entry) = value.get(name) else { continue };
            let past = past.entry(self.tree, value, name);
            self.walk(property, entry, old.and_then(|old| old.get(name)), &past, &Place::Field(place, name))?;
        }
        Ok(())
    }

    fn own(&mut self, rules: &Rules, value: &Value, old: Option<&Value>, past: &Past<'_>, place: &Place<'_>) -> Step {
        for rule in &rules.own {
            self.rule(rules, rule, value, old, past, place)?;
        }
        Ok(())
    }

    fn rule(
        &mut self,
        rules: &Rules,
        rule: &Rule,
        value: &Value,
        old: Option<&Value>,
        past: &Past<'_>,
        place: &Place<'_>,
    ) -> Step {
        if self.budget == 0 {
            self.wrong(rules, place, OUT_OF_BUDGET);
            return Err(Exhausted);
        }
        let compiled = rules.compiled(rule);
        let program = match &compiled.program {
            None => return Ok(()),
            Some(Ok(program)) => program,
            Some(Err(why)) => {
                self.wrong(rules, place, &format!("rule compile error: {why}"));
                return Ok(());
            }
        };
        // Rules about a change need something to compare with, unless they say that they can do without.
        if compiled.uses_old && old.is_none() && !rule.optional_old {
            return Ok(());
        }
        let activation = match activation(rules, rule, value, old) {
            Ok(activation) => activation,
            Err(why) => {
                self.wrong(rules, place, &format!("{why} evaluating rule: {}", rule.shown()));
                return Ok(());
            }
        };
        let done = program.eval(&activation, PER_CALL_LIMIT);
        self.spend(done.cost, rules, place)?;
        match done.result {
            Ok(value) if value.as_bool() == Some(true) => return Ok(()),
            Ok(_) => {}
            Err(error) => return self.failed(rules, rule, &error, place),
        }
        let excused = !compiled.uses_old && past.is_same(self.tree, value);
        let mut at = place.path(self.base);
        if !rule.field.is_empty() {
            at = at.child(&rule.field);
        }
        let text = match &compiled.message {
            Some(Ok(message)) => match self.message(message, rule, &activation) {
                Ok(text) => text,
                Err(why) => {
                    if !excused {
                        self.errors.invalid(&at, rules.ty.as_str(), &why);
                    }
                    return Err(Exhausted);
                }
            },
            _ => None,
        };
        let text = text.unwrap_or_else(|| match rule.message.as_str() {
            "" => format!("failed rule: {}", rule.text.trim()),
            message => message.to_owned(),
        });
        if !excused {
            self.errors.0.push(error(rules, rule, &at, value, &text));
        }
        Ok(())
    }

    fn spend(&mut self, cost: u64, rules: &Rules, place: &Place<'_>) -> Step {
        if cost > self.budget {
            self.wrong(rules, place, OUT_OF_BUDGET);
            return Err(Exhausted);
        }
        self.budget -= cost;
        Ok(())
    }

    fn failed(&mut self, rules: &Rules, rule: &Rule, error: &EvalError, place: &Place<'_>) -> Step {
        let text = error.to_string();
        let shown = rule.shown();
        if text.starts_with("no such overload") {
            let why = "call arguments did not match a supported operator, function or macro signature for rule";
            self.wrong(rules, place, &format!("'{text}': {why}: {shown}"));
        } else if *error == EvalError::OverBudget {
            let why = "no further validation rules will be run due to call cost exceeds limit for rule";
            self.wrong(rules, place, &format!("'{text}': {why}: {shown}"));
            return Err(Exhausted);
        } else {
            self.wrong(rules, place, &format!("{text} evaluating rule: {shown}"));
        }
        Ok(())
    }

    /// The text that an expression makes, or none where it makes none that is fit; an error once the budget is gone.
    fn message(
        &mut self,
        program: &Program,
        rule: &Rule,
        activation: &Activation<'_>,
    ) -> Result<Option<String>, String> {
        let done = program.eval(activation, PER_CALL_LIMIT);
        if done.cost > self.budget {
            let why = "messageExpression evaluation failed due to running out of cost budget, no further validation \
                       rules will be run";
            return Err(why.to_owned());
        }
        let text = match done.result {
            Err(EvalError::OverBudget) => {
                let quoted = kaji_api::field::quoted(&rule.message_expression);
                return Err(format!(
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression: {quoted}"
                ));
            }
            Err(_) => None,
            Ok(value) => value.as_str().map(|s| s.trim().to_owned()),
        };
        self.budget -= done.cost;
        Ok(text.filter(|t| !t.is_empty() && t.len() <= LONGEST_MESSAGE && !t.contains('\n')))
    }

    fn wrong(&mut self, rules: &Rules, place: &Place<'_>, text: &str) {
        self.errors.invalid(&place.path(self.base), rules.ty.as_str(), text);
    }
}

fn activation<'a>(
    rules: &'a Rules,
    rule: &Rule,
    value: &'a Value,
    old: Option<&'a Value>,
) -> Result<Activation<'a>, EvalError> {
    let mut activation = Activation::new().with("self", Val::typed(value, &rules.schema)?);
    let old = old.map(|old| Val::typed(old, &rules.schema)).transpose()?;
    match (rule.optional_old, old) {
        (true, old) => {
            activation.bind("oldSelf", Val::Optional(old.map(Arc::new)));
        }
        (false, Some(old)) => {
            activation.bind("oldSelf", old);
        }
        (false, None) => {}
    }
    Ok(activation)
}

/// The error of a rule that is broken: objects and lists are not shown.
fn error(rules: &Rules, rule: &Rule, at: &Path, value: &Value, text: &str) -> FieldError {
    let reason = rule.reason.unwrap_or(Reason::Invalid);
    let omitted = matches!(rules.ty.as_str(), "object" | "array");
    let head = |word: &str| if omitted { word.to_owned() } else { format!("{word}: {}", shown(value)) };
    let message = match reason {
        Reason::Forbidden => format!("Forbidden: {text}"),
        Reason::Required => format!("Required value: {text}"),
        Reason::Duplicate => head("Duplicate value"),
        _ => format!("{}: {text}", head("Invalid value")),
    };
    FieldError { reason, field: at.to_string(), message }
}
