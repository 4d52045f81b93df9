//! Macros: calls that stand for more than a call.

use crate::ast::{ACCUMULATOR, Expr, Fold, Id, Kind, OLD_ACCUMULATOR, op};
use crate::value::Val;

/// Why a macro does not fit its arguments, and where.
type Fault = (Id, String);
/// Turns target and arguments into what the macro stands for.
type Expand = fn(&mut Maker<'_>, Option<Expr>, Vec<Expr>) -> Result<Expr, Fault>;

/// Name, number of arguments, whether it is called on a target.
const MACROS: &[(&str, usize, bool, Expand)] = &[
    ("has", 1, false, has),
    ("all", 2, true, |m, t, a| quantifier(m, Quantifier::All, t, a)),
    ("all", 3, true, |m, t, a| quantifier(m, Quantifier::All, t, a)),
    ("exists", 2, true, |m, t, a| quantifier(m, Quantifier::Exists, t, a)),
    ("exists", 3, true, |m, t, a| quantifier(m, Quantifier::Exists, t, a)),
    ("exists_one", 2, true, |m, t, a| quantifier(m, Quantifier::One, t, a)),
    ("exists_one", 3, true, |m, t, a| quantifier(m, Quantifier::One, t, a)),
    ("existsOne", 3, true, |m, t, a| quantifier(m, Quantifier::One, t, a)),
    ("map", 2, true, map),
    ("map", 3, true, map),
    ("filter", 2, true, filter),
    ("transformList", 3, true, |m, t, a| transform(m, Into::List, t, a)),
    ("transformList", 4, true, |m, t, a| transform(m, Into::List, t, a)),
    ("transformMap", 3, true, |m, t, a| transform(m, Into::Map, t, a)),
    ("transformMap", 4, true, |m, t, a| transform(m, Into::Map, t, a)),
    ("transformMapEntry", 3, true, |m, t, a| transform(m, Into::Entry, t, a)),
    ("transformMapEntry", 4, true, |m, t, a| transform(m, Into::Entry, t, a)),
    ("optMap", 2, true, |m, t, a| opt_map(m, "optMap", t, a)),
    ("optFlatMap", 2, true, |m, t, a| opt_map(m, "optFlatMap", t, a)),
    ("sortBy", 2, true, sort_by),
];

/// More nodes than this are not copied again.
const MOST_NODES: usize = 200_000;
/// A variable that nothing reads.
const UNUSED: &str = "#unused";
/// Function behind the `transformMap` macros.
pub(crate) const MAP_INSERT: &str = "cel.@mapInsert";
/// Function behind the `sortBy` macro.
pub(crate) const SORT_BY_KEYS: &str = "@sortByAssociatedKeys";

/// The macro of that name and form.
pub(crate) fn find(name: &str, args: usize, receiver: bool) -> Option<Expand> {
    let row = MACROS.iter().find(|(n, a, r, _)| *n == name && *a == args && *r == receiver)?;
    Some(row.3)
}

#[derive(Clone, Copy)]
enum Quantifier {
    All,
    Exists,
    One,
}

#[derive(Clone, Copy)]
enum Into {
    List,
    Map,
    Entry,
}

/// Makes nodes that stand where the macro does.
pub(crate) struct Maker<'p> {
    pub(crate) places: &'p mut Vec<usize>,
    pub(crate) offset: usize,
}

impl Maker<'_> {
    fn node(&mut self, kind: Kind) -> Expr {
        self.places.push(self.offset);
        Expr { id: self.places.len() - 1, kind }
    }

    fn literal(&mut self, value: Val<'static>) -> Expr {
        self.node(Kind::Literal(value))
    }

    fn ident(&mut self, name: &str) -> Expr {
        self.node(Kind::Ident(name.to_owned()))
    }

    fn accumulator(&mut self) -> Expr {
        self.ident(ACCUMULATOR)
    }

    fn call(&mut self, function: &str, args: Vec<Expr>) -> Expr {
        self.node(Kind::Call { function: function.to_owned(), target: None, args })
    }

    fn member(&mut self, function: &str, target: Expr, args: Vec<Expr>) -> Expr {
        self.node(Kind::Call { function: function.to_owned(), target: Some(Box::new(target)), args })
    }

    fn list(&mut self, elements: Vec<Expr>) -> Expr {
        let optional = vec![false; elements.len()];
        self.node(Kind::List { elements, optional })
    }

    fn fold(&mut self, fold: Fold) -> Expr {
        self.node(Kind::Fold(Box::new(fold)))
    }

    /// The same once more, under ids of its own. Chains of macros that copy double each time: they end at some point.
    fn copy(&mut self, expr: &Expr) -> Result<Expr, Fault> {
        if self.places.len() > MOST_NODES {
            return Err((expr.id, format!("expression expands to more than {MOST_NODES} nodes")));
        }
        let mut copy = expr.clone();
        self.renumber(&mut copy);
        Ok(copy)
    }

    fn renumber(&mut self, expr: &mut Expr) {
        let place = self.places[expr.id];
        self.places.push(place);
        expr.id = self.places.len() - 1;
        match &mut expr.kind {
            Kind::Literal(_) | Kind::Ident(_) | Kind::Broken => {}
            Kind::Select { operand, .. } => self.renumber(operand),
            Kind::Call { target, args, .. } => {
                target.iter_mut().for_each(|t| self.renumber(t));
                args.iter_mut().for_each(|a| self.renumber(a));
            }
            Kind::List { elements, .. } => elements.iter_mut().for_each(|e| self.renumber(e)),
            Kind::Map(entries) => entries.iter_mut().for_each(|e| {
                self.renumber(&mut e.key);
                self.renumber(&mut e.value);
            }),
            Kind::Struct { fields, .. } => fields.iter_mut().for_each(|f| self.renumber(&mut f.value)),
            Kind::Fold(f) => {
                for part in [&mut f.range, &mut f.start, &mut f.condition, &mut f.step, &mut f.result] {
                    self.renumber(part);
                }
            }
        }
    }

    /// `let name = value in body`: a fold over nothing, whose result is the body.
    fn bind(&mut self, name: &str, value: Expr, body: Expr) -> Expr {
        let range = self.list(Vec::new());
        let condition = self.literal(Val::Bool(false));
        let step = self.ident(name);
        let (var, accumulator) = (UNUSED.to_owned(), name.to_owned());
        self.fold(Fold { range, var, second: None, accumulator, start: value, condition, step, result: body })
    }
}

/// The one variable that a macro takes, or two.
fn variables(args: &[Expr], two: bool, complaint: &str) -> Result<(String, Option<String>), Fault> {
    let name = |e: &Expr| match &e.kind {
        Kind::Ident(name) => Ok(name.clone()),
        _ => Err((e.id, complaint.to_owned())),
    };
    let first = name(&args[0])?;
    let second = if two { Some(name(&args[1])?) } else { None };
    if second.as_ref() == Some(&first) {
        return Err((args[1].id, format!("duplicate variable name: {first}")));
    }
    for (var, arg) in std::iter::once(&first).chain(&second).zip(args) {
        if var == ACCUMULATOR || var == OLD_ACCUMULATOR {
            return Err((arg.id, "iteration variable overwrites accumulator variable".to_owned()));
        }
    }
    Ok((first, second))
}

fn range_of(target: Option<Expr>) -> Expr {
    target.expect("these macros are found for calls on a target only")
}

fn has(maker: &mut Maker<'_>, _: Option<Expr>, mut args: Vec<Expr>) -> Result<Expr, Fault> {
    let arg = args.remove(0);
    match arg.kind {
        Kind::Select { operand, field, .. } => Ok(maker.node(Kind::Select { operand, field, test: true })),
        _ => Err((arg.id, "invalid argument to has() macro".to_owned())),
    }
}

fn quantifier(m: &mut Maker<'_>, kind: Quantifier, target: Option<Expr>, mut args: Vec<Expr>) -> Result<Expr, Fault> {
    let (var, second) = variables(&args, args.len() == 3, "argument must be a simple name")?;
    let predicate = args.pop().expect("the table says how many arguments there are");
    let (start, condition, step, result);
    match kind {
        Quantifier::All => {
            start = m.literal(Val::Bool(true));
            let so_far = m.accumulator();
            condition = m.call(op::NOT_STRICTLY_FALSE, vec![so_far]);
            let so_far = m.accumulator();
            step = m.call(op::AND, vec![so_far, predicate]);
            result = m.accumulator();
        }
        Quantifier::Exists => {
            start = m.literal(Val::Bool(false));
            let so_far = m.accumulator();
            let not_yet = m.call(op::NOT, vec![so_far]);
            condition = m.call(op::NOT_STRICTLY_FALSE, vec![not_yet]);
            let so_far = m.accumulator();
            step = m.call(op::OR, vec![so_far, predicate]);
            result = m.accumulator();
        }
        Quantifier::One => {
            start = m.literal(Val::Int(0));
            condition = m.literal(Val::Bool(true));
            let (so_far, one) = (m.accumulator(), m.literal(Val::Int(1)));
            let more = m.call(op::ADD, vec![so_far, one]);
            let same = m.accumulator();
            step = m.call(op::CONDITIONAL, vec![predicate, more, same]);
            let (count, one) = (m.accumulator(), m.literal(Val::Int(1)));
            result = m.call(op::EQ, vec![count, one]);
        }
    }
    let accumulator = ACCUMULATOR.to_owned();
    Ok(m.fold(Fold { range: range_of(target), var, second, accumulator, start, condition, step, result }))
}

/// A fold that visits everything, with an optional filter before its step.
fn gather(
    m: &mut Maker<'_>,
    range: Expr,
    (var, second): (String, Option<String>),
    start: Expr,
    filter: Option<Expr>,
    step: Expr,
) -> Expr {
    let condition = m.literal(Val::Bool(true));
    let step = match filter {
        None => step,
        Some(filter) => {
            let same = m.accumulator();
            m.call(op::CONDITIONAL, vec![filter, step, same])
        }
    };
    let (accumulator, result) = (ACCUMULATOR.to_owned(), m.accumulator());
    m.fold(Fold { range, var, second, accumulator, start, condition, step, result })
}

fn append(m: &mut Maker<'_>, element: Expr) -> Expr {
    let so_far = m.accumulator();
    let list = m.list(vec![element]);
    m.call(op::ADD, vec![so_far, list])
}

fn map(m: &mut Maker<'_>, target: Option<Expr>, mut args: Vec<Expr>) -> Result<Expr, Fault> {
    let vars = variables(&args, false, "argument is not an identifier")?;
    let element = args.pop().expect("the table says how many arguments there are");
    let filter = if args.len() == 2 { args.pop() } else { None };
    let (start, step) = (m.list(Vec::new()), append(m, element));
    Ok(gather(m, range_of(target), vars, start, filter, step))
}

fn filter(m: &mut Maker<'_>, target: Option<Expr>, mut args: Vec<Expr>) -> Result<Expr, Fault> {
    let vars = variables(&args, false, "argument is not an identifier")?;
    let filter = args.pop();
    let element = args.remove(0);
    let (start, step) = (m.list(Vec::new()), append(m, element));
    Ok(gather(m, range_of(target), vars, start, filter, step))
}

fn transform(m: &mut Maker<'_>, into: Into, target: Option<Expr>, mut args: Vec<Expr>) -> Result<Expr, Fault> {
    let vars = variables(&args, true, "argument must be a simple name")?;
    let value = args.pop().expect("the table says how many arguments there are");
    let filter = if args.len() == 3 { args.pop() } else { None };
    let (start, step) = match into {
        Into::List => (m.list(Vec::new()), append(m, value)),
        Into::Map => {
            let (so_far, key) = (m.accumulator(), m.ident(&vars.0));
            (m.node(Kind::Map(Vec::new())), m.call(MAP_INSERT, vec![so_far, key, value]))
        }
        Into::Entry => {
            let so_far = m.accumulator();
            (m.node(Kind::Map(Vec::new())), m.call(MAP_INSERT, vec![so_far, value]))
        }
    };
    Ok(gather(m, range_of(target), vars, start, filter, step))
}

fn opt_map(m: &mut Maker<'_>, name: &str, target: Option<Expr>, mut args: Vec<Expr>) -> Result<Expr, Fault> {
    let Kind::Ident(var) = args[0].kind.clone() else {
        return Err((args[0].id, format!("{name}() variable name must be a simple identifier")));
    };
    let body = args.pop().expect("the table says how many arguments there are");
    let target = range_of(target);
    let copy = m.copy(&target)?;
    let value = m.member("value", copy, Vec::new());
    let mut mapped = m.bind(&var, value, body);
    if name == "optMap" {
        mapped = m.call("optional.of", vec![mapped]);
    }
    let has_value = m.member("hasValue", target, Vec::new());
    let none = m.call("optional.none", Vec::new());
    Ok(m.call(op::CONDITIONAL, vec![has_value, mapped, none]))
}

fn sort_by(m: &mut Maker<'_>, target: Option<Expr>, args: Vec<Expr>) -> Result<Expr, Fault> {
    const INPUT: &str = "@__sortBy_input__";
    let target = range_of(target);
    if !matches!(
        target.kind,
        Kind::List { .. } | Kind::Select { .. } | Kind::Ident(_) | Kind::Fold(_) | Kind::Call { .. }
    ) {
        let message = "sortBy can only be applied to a list, identifier, comprehension, call or select expression";
        return Err((target.id, message.to_owned()));
    }
    let input = m.ident(INPUT);
    let keys = map(m, Some(input), args)?;
    let input = m.ident(INPUT);
    let sorted = m.member(SORT_BY_KEYS, input, vec![keys]);
    Ok(m.bind(INPUT, target, sorted))
}
