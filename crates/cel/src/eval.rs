//! Evaluation: runs a plan, counting what it costs.
//!
//! Costs are charged where cel-go charges them: one for a variable and for each selection or index, what
//! [`crate::cost::Rule`] says for a call, a fixed sum for what is made. Evaluation ends when they exceed the limit.

use crate::activation::Activation;
use crate::cost::{LIST, MAP, STRUCT};
use crate::library::{self, dispatch};
use crate::plan::{Attr, Call, FoldNode, Key, ListNode, MapNode, Node, Plan, Qual, Root, StructNode};
use crate::value::{Entries, EvalError, List, Map, MapKey, Outcome, Struct, Val, fail, no_overload};
use std::collections::HashSet;
use std::sync::Arc;

/// Runs a plan; the outcome and its cost.
pub(crate) fn run<'a>(plan: &Plan, activation: &Activation<'a>, limit: u64) -> (Outcome<'a>, u64) {
    let locals = (0..plan.slots).map(|_| Slot::Empty).collect();
    let mut eval = Eval { activation, locals, cost: 0, limit };
    let outcome = eval.node(&plan.root);
    (outcome, eval.cost)
}

struct Eval<'p, 'a> {
    activation: &'p Activation<'a>,
    locals: Vec<Slot<'p, 'a>>,
    cost: u64,
    limit: u64,
}

/// A variable of a macro.
enum Slot<'p, 'a> {
    Empty,
    /// Worked out when first asked for.
    Lazy(&'p Node),
    Ready(Outcome<'a>),
}

impl<'p, 'a> Eval<'p, 'a> {
    fn charge(&mut self, cost: u64) -> Result<(), EvalError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(EvalError::OverBudget) } else { Ok(()) }
    }

    fn node(&mut self, node: &'p Node) -> Outcome<'a> {
        match node {
            Node::Const(value) => Ok(value.constant()),
            Node::Attr(attr) => self.attr(attr),
            Node::And(terms) => self.logic(terms, false),
            Node::Or(terms) => self.logic(terms, true),
            Node::NotStrictlyFalse(node) => self.not_strictly_false(node),
            Node::Call(call) => self.call(call),
            Node::InSet(set) => self.in_set(&set.0, &set.1),
            Node::OptOr(both) => self.opt_or(both, false),
            Node::OptOrValue(both) => self.opt_or(both, true),
            Node::List(list) => self.list(list),
            Node::Map(map) => self.map(map),
            Node::Struct(object) => self.object(object),
            Node::Fold(fold) => self.fold(fold),
            Node::Append { slot, list } => self.append(*slot, list),
            Node::Insert { slot, call } => self.insert(*slot, call),
        }
    }

    /// `&&` and `||`: the deciding value wins over errors on the other side.
    fn logic(&mut self, terms: &'p [Node; 2], decides: bool) -> Outcome<'a> {
        let mut fault = None;
        for term in terms {
            let error = match self.node(term) {
                Ok(Val::Bool(b)) if b == decides => return Ok(Val::Bool(decides)),
                Ok(Val::Bool(_)) => continue,
                Ok(_) => EvalError::Failed("no such overload".into()),
                Err(EvalError::OverBudget) => return Err(EvalError::OverBudget),
                Err(error) => error,
            };
            fault = fault.or(Some(error));
        }
        fault.map_or(Ok(Val::Bool(!decides)), Err)
    }

    fn not_strictly_false(&mut self, node: &'p Node) -> Outcome<'a> {
        let value = match self.node(node) {
            Err(EvalError::OverBudget) => return Err(EvalError::OverBudget),
            Ok(Val::Bool(b)) => b,
            _ => true,
        };
        self.charge(1)?;
        Ok(Val::Bool(value))
    }

    fn in_set(&mut self, node: &'p Node, set: &HashSet<MapKey>) -> Outcome<'a> {
        let value = self.node(node)?;
        Ok(Val::Bool(MapKey::of(&value).is_some_and(|key| set.contains(&key))))
    }

    fn opt_or(&mut self, both: &'p [Node; 2], unwrap: bool) -> Outcome<'a> {
        match self.node(&both[0])? {
            Val::Optional(None) => self.node(&both[1]),
            Val::Optional(Some(value)) if unwrap => Ok(value.as_ref().clone()),
            other => Ok(other),
        }
    }

    fn attr(&mut self, attr: &'p Attr) -> Outcome<'a> {
        let value = self.resolve(attr);
        // Conditionals cost what their parts cost; `has` costs what it selects from.
        if !attr.test && !matches!(attr.root, Root::Cond(_)) {
            self.charge(1)?;
        }
        value
    }

    /// The value of a chain without the cost of the chain itself.
    fn resolve(&mut self, attr: &'p Attr) -> Outcome<'a> {
        let mut value = match &attr.root {
            Root::Global(name) => match self.activation.get(name) {
                Some(value) => value.clone(),
                None => return fail(format!("no such attribute(s): {name}")),
            },
            Root::Local(slot) => self.local(*slot)?,
            Root::Cond(parts) => self.conditional(parts)?,
            Root::Of(node) => self.node(node)?,
        };
        let mut optional = false;
        if let Val::Optional(inner) = &value {
            let Some(inner) = inner.clone() else {
                return Ok(if attr.test { Val::Bool(false) } else { value });
            };
            (value, optional) = (inner.as_ref().clone(), true);
        }
        for (n, qual) in attr.quals.iter().enumerate() {
            optional |= qual.optional;
            let test = attr.test && n + 1 == attr.quals.len();
            match self.qualify(&value, qual, optional, test)? {
                found if test => return Ok(Val::Bool(found.is_some())),
                Some(found) => value = found,
                None => return Ok(Val::Optional(None)),
            }
        }
        Ok(if optional { Val::some(value) } else { value })
    }

    fn conditional(&mut self, parts: &'p [Node; 3]) -> Outcome<'a> {
        let branch = match self.node(&parts[0])? {
            Val::Bool(true) => &parts[1],
            Val::Bool(false) => &parts[2],
            _ => return no_overload(),
        };
        match branch {
            Node::Attr(attr) => self.resolve(attr),
            other => self.node(other),
        }
    }

    fn local(&mut self, slot: usize) -> Outcome<'a> {
        match &self.locals[slot] {
            Slot::Ready(value) => value.clone(),
            Slot::Lazy(node) => {
                let node = *node;
                let value = self.node(node);
                self.locals[slot] = Slot::Ready(value.clone());
                value
            }
            Slot::Empty => fail("no such attribute(s)"),
        }
    }

    /// One step of a chain. Where absence is allowed, `None` says so.
    fn qualify(
        &mut self,
        value: &Val<'a>,
        qual: &'p Qual,
        optional: bool,
        test: bool,
    ) -> Result<Option<Val<'a>>, EvalError> {
        match &qual.key {
            Key::Const(key) => self.selected(value, key, optional, test),
            Key::Node(node) => {
                let key = match node {
                    Node::Attr(attr) => self.resolve(attr)?,
                    other => self.node(other)?,
                };
                if !matches!(key, Val::String(_) | Val::Int(_) | Val::Uint(_) | Val::Bool(_) | Val::Double(_)) {
                    return fail(format!("invalid qualifier type: {}", key.type_of().name()));
                }
                self.selected(value, &key, optional, test)
            }
        }
    }

    /// What an optional selection does not find costs nothing.
    fn selected(
        &mut self,
        value: &Val<'a>,
        key: &Val<'_>,
        optional: bool,
        test: bool,
    ) -> Result<Option<Val<'a>>, EvalError> {
        let found = select(value, key);
        if test || !optional || matches!(found, Ok(Some(_))) {
            self.charge(1)?;
        }
        match found? {
            None if !test && !optional => match value {
                Val::List(_) => fail(format!("index out of bounds: {key}")),
                _ => fail(format!("no such key: {key}")),
            },
            found => Ok(found),
        }
    }

    fn call(&mut self, call: &'p Call) -> Outcome<'a> {
        // Most calls have few arguments: no need for a vector of its own then.
        let mut args: [Val<'a>; 3] = [Val::Null, Val::Null, Val::Null];
        match call.args.len() {
            n @ 1..=2 => {
                let mut fault = None;
                for (arg, node) in args.iter_mut().zip(&call.args) {
                    match self.node(node) {
                        Ok(value) => *arg = value,
                        Err(EvalError::OverBudget) => return Err(EvalError::OverBudget),
                        Err(error) => fault = fault.or(Some(error)),
                    }
                }
                self.apply(call, &args[..n], fault)
            }
            _ => {
                let args = call.args.iter().map(|node| self.node(node)).collect::<Result<Vec<_>, _>>()?;
                self.apply(call, &args, None)
            }
        }
    }

    fn apply(&mut self, call: &Call, args: &[Val<'a>], fault: Option<EvalError>) -> Outcome<'a> {
        let outcome = match fault {
            Some(error) => Err(error),
            None => invoke(call, args),
        };
        if matches!(outcome, Err(EvalError::OverBudget)) {
            self.cost = self.limit.saturating_add(1);
            return outcome;
        }
        self.charge(call.rule.cost(args, outcome.as_ref().ok()))?;
        outcome
    }

    fn list(&mut self, list: &'p ListNode) -> Outcome<'a> {
        let made = self.elements(list);
        self.charge(LIST)?;
        made.map(Val::list)
    }

    fn elements(&mut self, list: &'p ListNode) -> Result<Vec<Val<'a>>, EvalError> {
        let mut items = Vec::with_capacity(list.elements.len());
        for (node, optional) in &list.elements {
            match (self.node(node)?, optional) {
                (value, false) => items.push(value),
                (Val::Optional(value), true) => items.extend(value.map(|v| v.as_ref().clone())),
                (value, true) => {
                    return fail(format!("cannot initialize optional list element from non-optional value {value}"));
                }
            }
        }
        Ok(items)
    }

    fn map(&mut self, map: &'p MapNode) -> Outcome<'a> {
        let made = self.entries(map);
        self.charge(MAP)?;
        made.map(|entries| Val::Map(Map::Made(Arc::new(entries))))
    }

    fn entries(&mut self, map: &'p MapNode) -> Result<Entries<'a>, EvalError> {
        let mut entries = Entries::default();
        for (key, value, optional) in &map.entries {
            let key = self.node(key)?;
            match (self.node(value)?, optional) {
                (value, false) => entries.put(key, value),
                (Val::Optional(Some(value)), true) => entries.put(key, value.as_ref().clone()),
                (Val::Optional(None), true) => entries.remove(&key),
                (value, true) => {
                    return fail(format!("cannot initialize optional entry '{key}' from non-optional value {value}"));
                }
            }
        }
        Ok(entries)
    }

    fn object(&mut self, object: &'p StructNode) -> Outcome<'a> {
        let made = self.fields(object);
        self.charge(STRUCT)?;
        made.map(|fields| Val::Struct(Arc::new(Struct { name: object.name.clone(), fields })))
    }

    fn fields(&mut self, object: &'p StructNode) -> Result<Vec<(String, Val<'a>)>, EvalError> {
        let mut fields: Vec<(String, Val<'a>)> = Vec::with_capacity(object.fields.len());
        for (name, node, optional) in &object.fields {
            let value = match (self.node(node)?, optional) {
                (value, false) => Some(value),
                (Val::Optional(value), true) => value.map(|v| v.as_ref().clone()),
                (value, true) => {
                    return fail(format!("cannot initialize optional entry '{name}' from non-optional value {value}"));
                }
            };
            fields.retain(|(n, _)| n != name);
            fields.extend(value.map(|v| (name.clone(), v)));
        }
        Ok(fields)
    }

    fn fold(&mut self, fold: &'p FoldNode) -> Outcome<'a> {
        let range = self.node(&fold.range)?;
        self.locals[fold.accumulator] = Slot::Lazy(&fold.start);
        match &range {
            Val::List(list) => self.fold_list(fold, list)?,
            Val::Map(map) => self.fold_map(fold, map)?,
            _ => return fail(format!("got '{}', expected iterable type", range.type_of().name())),
        }
        let result = self.node(&fold.result);
        for slot in [Some(fold.accumulator), Some(fold.var), fold.second].into_iter().flatten() {
            self.locals[slot] = Slot::Empty;
        }
        result
    }

    fn fold_list(&mut self, fold: &'p FoldNode, list: &List<'a>) -> Result<(), EvalError> {
        for at in 0..list.len() {
            let item = list.get(at);
            match fold.second {
                None => self.locals[fold.var] = Slot::Ready(item),
                Some(second) => {
                    let at = i64::try_from(at).unwrap_or(i64::MAX);
                    self.locals[fold.var] = Slot::Ready(Ok(Val::Int(at)));
                    self.locals[second] = Slot::Ready(item);
                }
            }
            if !self.step(fold)? {
                break;
            }
        }
        Ok(())
    }

    fn fold_map(&mut self, fold: &'p FoldNode, map: &Map<'a>) -> Result<(), EvalError> {
        for key in map.keys() {
            if let Some(second) = fold.second {
                let value = map.find(&key).map(|v| v.unwrap_or(Val::Null));
                self.locals[second] = Slot::Ready(value);
            }
            self.locals[fold.var] = Slot::Ready(Ok(key));
            if !self.step(fold)? {
                break;
            }
        }
        Ok(())
    }

    /// One round; false once the condition says no. Errors become the accumulated value.
    fn step(&mut self, fold: &'p FoldNode) -> Result<bool, EvalError> {
        match self.node(&fold.condition) {
            Err(EvalError::OverBudget) => return Err(EvalError::OverBudget),
            Ok(Val::Bool(false)) => return Ok(false),
            _ => {}
        }
        let value = self.node(&fold.step);
        if matches!(value, Err(EvalError::OverBudget)) {
            return Err(EvalError::OverBudget);
        }
        self.locals[fold.accumulator] = Slot::Ready(value);
        Ok(true)
    }

    /// Takes what a fold has made so far; the step puts the grown value back.
    fn take(&mut self, slot: usize) -> Result<Outcome<'a>, EvalError> {
        if let Slot::Lazy(node) = self.locals[slot] {
            self.locals[slot] = Slot::Ready(self.node(node));
        }
        let taken = std::mem::replace(&mut self.locals[slot], Slot::Empty);
        self.charge(1)?;
        Ok(match taken {
            Slot::Ready(value) => value,
            _ => fail("no such attribute(s)"),
        })
    }

    fn append(&mut self, slot: usize, list: &'p Node) -> Outcome<'a> {
        let so_far = self.take(slot)?;
        let more = self.node(list);
        if matches!(more, Err(EvalError::OverBudget)) {
            return more;
        }
        self.charge(1)?;
        match (so_far?, more?) {
            (Val::List(so_far), Val::List(more)) => so_far.append(&more),
            _ => no_overload(),
        }
    }

    fn insert(&mut self, slot: usize, call: &'p Call) -> Outcome<'a> {
        let so_far = self.take(slot)?;
        let args = call.args.iter().map(|node| self.node(node)).collect::<Result<Vec<_>, _>>();
        if matches!(args, Err(EvalError::OverBudget)) {
            return Err(EvalError::OverBudget);
        }
        self.charge(1)?;
        let (Val::Map(mut map), args) = (so_far?, args?) else { return no_overload() };
        match &args[..] {
            [key, value] => map.insert(key.clone(), value.clone()),
            [Val::Map(more)] => {
                for key in more.keys() {
                    let value = more.find(&key)?.unwrap_or(Val::Null);
                    match map.insert(key, value)? {
                        Val::Map(grown) => map = grown,
                        _ => return no_overload(),
                    }
                }
                Ok(Val::Map(map))
            }
            _ => no_overload(),
        }
    }
}

/// Calls the function, with its compiled pattern if it has one.
fn invoke<'a>(call: &Call, args: &[Val<'a>]) -> Outcome<'a> {
    if let Some(pattern) = &call.pattern {
        return match call.function.as_str() {
            "matches" => match args[0].as_str() {
                Some(text) => Ok(Val::Bool(pattern.is_match(text))),
                None => no_overload(),
            },
            "find" => library::find(pattern, args),
            _ => library::find_all(pattern, args),
        };
    }
    match &call.overloads[..] {
        [only, ..] if call.single => (only.run)(args),
        // The checker was not sure of the types of what is `dyn`.
        overloads => dispatch(&call.function, overloads, args),
    }
}

/// What a key selects; `None` where there is nothing.
fn select<'a>(value: &Val<'a>, key: &Val<'_>) -> Result<Option<Val<'a>>, EvalError> {
    match value {
        Val::Map(map) => map.find(key),
        Val::List(list) => {
            let at = position(key)?;
            let at = usize::try_from(at).ok().filter(|at| *at < list.len());
            at.map(|at| list.get(at)).transpose()
        }
        Val::Struct(object) => {
            let Some(name) = key.as_str() else { return Ok(None) };
            Ok(object.fields.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone()))
        }
        _ => Ok(None),
    }
}

/// A number as a position.
#[expect(clippy::cast_possible_truncation, reason = "whole numbers in range only")]
fn position(key: &Val<'_>) -> Result<i64, EvalError> {
    match key {
        Val::Int(n) => Ok(*n),
        Val::Uint(n) => i64::try_from(*n).map_or_else(|_| fail(format!("unsupported index value {n} in list")), Ok),
        Val::Double(f) if f.fract() == 0.0 && f.abs() < 9.0e18 => Ok(*f as i64),
        Val::Double(f) => fail(format!("unsupported index value {f} in list")),
        other => fail(format!("unsupported index type '{}' in list", other.type_of().name())),
    }
}
