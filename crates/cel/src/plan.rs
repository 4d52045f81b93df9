//! Plans: checked expressions made ready to run.
//!
//! Chains of selections and indices become one [`Attr`], as in cel-go, so that optional selections and costs come out
//! the same. Constants are worked out here, constant patterns compiled, variables of macros given places.

use crate::ast::{ACCUMULATOR, Expr, Fold, Id, Kind, op};
use crate::check::{Checked, Meaning};
use crate::cost::Rule;
use crate::library::{CONVERSIONS, Overload, Pattern, compile_pattern, dispatch, find_function};
use crate::parser::MAP_INSERT;
use crate::value::{EvalError, MapKey, Val};
use std::collections::HashSet;
use std::sync::Arc;

/// A step of a plan.
#[derive(Debug)]
pub(crate) enum Node {
    Const(Val<'static>),
    Attr(Box<Attr>),
    And(Box<[Node; 2]>),
    Or(Box<[Node; 2]>),
    NotStrictlyFalse(Box<Node>),
    Call(Box<Call>),
    /// `x in [constants]`.
    InSet(Box<(Node, HashSet<MapKey>)>),
    /// `optional.or(optional)`.
    OptOr(Box<[Node; 2]>),
    /// `optional.orValue(value)`.
    OptOrValue(Box<[Node; 2]>),
    List(Box<ListNode>),
    Map(Box<MapNode>),
    Struct(Box<StructNode>),
    Fold(Box<FoldNode>),
    /// Adds to the list that a fold makes.
    Append {
        slot: usize,
        list: Box<Node>,
    },
    /// Adds to the map that a fold makes.
    Insert {
        slot: usize,
        call: Box<Call>,
    },
}

/// Something, and the selections and indices behind it.
#[derive(Debug)]
pub(crate) struct Attr {
    pub(crate) root: Root,
    pub(crate) quals: Vec<Qual>,
    /// `has(…)`: asks whether the last selection finds something.
    pub(crate) test: bool,
}

/// What is selected from.
#[derive(Debug)]
pub(crate) enum Root {
    Global(Arc<str>),
    /// A variable of a macro.
    Local(usize),
    /// `condition ? this : that`.
    Cond(Box<[Node; 3]>),
    Of(Node),
}

/// A selection or index.
#[derive(Debug)]
pub(crate) struct Qual {
    pub(crate) key: Key,
    pub(crate) optional: bool,
}

#[derive(Debug)]
pub(crate) enum Key {
    Const(Val<'static>),
    Node(Node),
}

/// A function call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) function: String,
    pub(crate) overloads: Vec<Overload>,
    /// The first overload looks at values itself.
    pub(crate) single: bool,
    pub(crate) args: Vec<Node>,
    /// The compiled second argument, where it is a constant pattern.
    pub(crate) pattern: Option<Pattern>,
    pub(crate) rule: Rule,
}

#[derive(Debug)]
pub(crate) struct ListNode {
    pub(crate) elements: Vec<(Node, bool)>,
}

#[derive(Debug)]
pub(crate) struct MapNode {
    pub(crate) entries: Vec<(Node, Node, bool)>,
}

#[derive(Debug)]
pub(crate) struct StructNode {
    pub(crate) name: Arc<str>,
    pub(crate) fields: Vec<(String, Node, bool)>,
}

/// A loop over a list or map.
#[derive(Debug)]
pub(crate) struct FoldNode {
    pub(crate) range: Node,
    pub(crate) accumulator: usize,
    pub(crate) var: usize,
    pub(crate) second: Option<usize>,
    pub(crate) start: Node,
    pub(crate) condition: Node,
    pub(crate) step: Node,
    pub(crate) result: Node,
}

/// A plan and the room it needs.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) root: Node,
    /// Places for variables of macros.
    pub(crate) slots: usize,
    /// How deep it nests.
    pub(crate) depth: usize,
}

/// Plans a checked expression; fails where a constant part has no value.
pub(crate) fn plan(checked: &Checked) -> Result<Plan, EvalError> {
    let mut planner = Planner { checked, scopes: Vec::new(), slots: 0, depth: 0, deepest: 0 };
    let root = planner.node(&checked.tree.root)?;
    Ok(Plan { root, slots: planner.slots, depth: planner.deepest })
}

struct Planner<'c> {
    checked: &'c Checked,
    /// Variables of macros and their places, innermost last.
    scopes: Vec<(String, usize)>,
    slots: usize,
    depth: usize,
    deepest: usize,
}

type Planned = Result<Node, EvalError>;

impl Planner<'_> {
    fn meaning(&self, id: Id) -> &Meaning {
        &self.checked.meanings[id]
    }

    fn node(&mut self, expr: &Expr) -> Planned {
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        let node = self.node_of(expr);
        self.depth -= 1;
        node
    }

    fn node_of(&mut self, expr: &Expr) -> Planned {
        match self.meaning(expr.id) {
            Meaning::Variable(name) => {
                let name = name.clone();
                return Ok(self.variable(&name));
            }
            Meaning::Type(ty) => return Ok(Node::Const(Val::Type(ty.clone()))),
            Meaning::Plain | Meaning::Call { .. } => {}
        }
        match &expr.kind {
            Kind::Literal(value) => Ok(Node::Const(value.clone())),
            Kind::Select { operand, field, test } => {
                let operand = self.node(operand)?;
                let qual = Qual { key: Key::Const(Val::from(field.clone())), optional: false };
                let mut attr = attr_of(operand);
                attr.quals.push(qual);
                attr.test = *test;
                Ok(Node::Attr(attr))
            }
            Kind::Call { target, args, .. } => self.call(expr, target.as_deref(), args),
            Kind::List { elements, optional } => self.list(elements, optional),
            Kind::Map(entries) => self.map(entries),
            Kind::Struct { name, fields } => {
                let name = name.strip_prefix('.').unwrap_or(name).into();
                let fields = fields.iter().map(|f| Ok((f.name.clone(), self.node(&f.value)?, f.optional)));
                Ok(Node::Struct(Box::new(StructNode { name, fields: fields.collect::<Result<_, EvalError>>()? })))
            }
            Kind::Fold(fold) => self.fold(fold),
            Kind::Ident(_) | Kind::Broken => unreachable!("expressions with errors are not planned"),
        }
    }

    fn variable(&self, name: &str) -> Node {
        let root = match self.local(name) {
            Some(slot) => Root::Local(slot),
            None => Root::Global(name.into()),
        };
        Node::Attr(Box::new(Attr { root, quals: Vec::new(), test: false }))
    }

    fn local(&self, name: &str) -> Option<usize> {
        self.scopes.iter().rev().find(|(n, _)| n == name).map(|(_, slot)| *slot)
    }

    fn call(&mut self, expr: &Expr, target: Option<&Expr>, args: &[Expr]) -> Planned {
        let Meaning::Call { function, overloads, qualified } = self.meaning(expr.id).clone() else {
            unreachable!("checked calls have a meaning");
        };
        if let Some(grown) = self.accumulate(&function, &overloads, args)? {
            return Ok(grown);
        }
        let target = target.filter(|_| !qualified);
        let mut nodes = Vec::with_capacity(args.len() + 1);
        for arg in target.into_iter().chain(args) {
            nodes.push(self.node(arg)?);
        }
        self.operation(function, overloads, nodes)
    }

    fn operation(&mut self, function: String, overloads: Vec<Overload>, nodes: Vec<Node>) -> Planned {
        Ok(match function.as_str() {
            op::AND => Node::And(Box::new(two(nodes))),
            op::OR => Node::Or(Box::new(two(nodes))),
            op::CONDITIONAL => {
                let nodes: [Node; 3] = nodes.try_into().expect("conditionals have three parts");
                Node::Attr(Box::new(Attr { root: Root::Cond(Box::new(nodes)), quals: Vec::new(), test: false }))
            }
            op::NOT_STRICTLY_FALSE => {
                Node::NotStrictlyFalse(Box::new(nodes.into_iter().next().expect("checked: one argument")))
            }
            op::INDEX => index(nodes, false),
            op::OPT_INDEX | op::OPT_SELECT => index(nodes, true),
            "or" => Node::OptOr(Box::new(two(nodes))),
            "orValue" => Node::OptOrValue(Box::new(two(nodes))),
            op::IN => return Ok(self.within(function, overloads, nodes)),
            name if CONVERSIONS.contains(&name) && matches!(nodes[..], [Node::Const(_)]) => {
                let [Node::Const(value)] = &nodes[..] else { unreachable!("matched above") };
                Node::Const(dispatch(name, &overloads, std::slice::from_ref(value))?)
            }
            _ => {
                let pattern = constant_pattern(&function, &nodes)?;
                Node::Call(Box::new(self.plain_call(function, overloads, nodes, pattern)))
            }
        })
    }

    fn plain_call(
        &self,
        function: String,
        overloads: Vec<Overload>,
        args: Vec<Node>,
        pattern: Option<Pattern>,
    ) -> Call {
        let single = find_function(&function, true).is_some_and(|f| f.single);
        let id = match &overloads[..] {
            [only] => Some(only.id),
            _ => None,
        };
        let rule = Rule::of(&function, id);
        Call { function, overloads, single, args, pattern, rule }
    }

    /// A constant list becomes a set if it holds scalars only; nothing is in an empty one.
    fn within(&self, function: String, overloads: Vec<Overload>, nodes: Vec<Node>) -> Node {
        if let [_, Node::Const(Val::List(list))] = &nodes[..]
            && matches!(&overloads[..], [only] if only.id == "in_list")
        {
            if list.is_empty() {
                return Node::Const(Val::Bool(false));
            }
            let keys: Option<HashSet<MapKey>> =
                list.iter().map(|item| item.ok().and_then(|v| MapKey::of(&v))).collect();
            if let Some(keys) = keys {
                let value = nodes.into_iter().next().expect("matched above");
                return Node::InSet(Box::new((value, keys)));
            }
        }
        Node::Call(Box::new(self.plain_call(function, overloads, nodes, None)))
    }

    /// `@result + [x]` and `cel.@mapInsert(@result, …)`, which macros write, grow what they made in place.
    fn accumulate(&mut self, function: &str, overloads: &[Overload], args: &[Expr]) -> Result<Option<Node>, EvalError> {
        let on_accumulator = matches!(args.first().map(|a| &a.kind), Some(Kind::Ident(name)) if name == ACCUMULATOR);
        let Some(slot) = self.local(ACCUMULATOR).filter(|_| on_accumulator) else { return Ok(None) };
        Ok(match (function, args) {
            (op::ADD, [_, list @ Expr { kind: Kind::List { .. }, .. }]) => {
                Some(Node::Append { slot, list: Box::new(self.node(list)?) })
            }
            (MAP_INSERT, [_, rest @ ..]) => {
                let rest = rest.iter().map(|arg| self.node(arg)).collect::<Result<Vec<_>, _>>()?;
                let call = self.plain_call(function.to_owned(), overloads.to_vec(), rest, None);
                Some(Node::Insert { slot, call: Box::new(call) })
            }
            _ => None,
        })
    }

    fn list(&mut self, elements: &[Expr], optional: &[bool]) -> Planned {
        let mut nodes = Vec::with_capacity(elements.len());
        for (element, optional) in elements.iter().zip(optional) {
            nodes.push((self.node(element)?, *optional));
        }
        let constants: Option<Vec<Val<'static>>> = nodes.iter().map(|(node, opt)| constant(node, *opt)).collect();
        Ok(match constants {
            Some(values) => Node::Const(Val::list(values)),
            None => Node::List(Box::new(ListNode { elements: nodes })),
        })
    }

    fn map(&mut self, entries: &[crate::ast::Entry]) -> Planned {
        let mut nodes = Vec::with_capacity(entries.len());
        for entry in entries {
            nodes.push((self.node(&entry.key)?, self.node(&entry.value)?, entry.optional));
        }
        let constants: Option<Vec<_>> =
            nodes.iter().map(|(key, value, opt)| Some((constant(key, false)?, constant(value, *opt)?))).collect();
        Ok(match constants {
            Some(entries) => Node::Const(Val::map(entries)),
            None => Node::Map(Box::new(MapNode { entries: nodes })),
        })
    }

    fn place(&mut self, name: &str) -> usize {
        self.scopes.push((name.to_owned(), self.slots));
        self.slots += 1;
        self.slots - 1
    }

    fn fold(&mut self, fold: &Fold) -> Planned {
        let range = self.node(&fold.range)?;
        let start = self.node(&fold.start)?;
        let outside = self.scopes.len();
        let accumulator = self.place(&fold.accumulator);
        let var = self.place(&fold.var);
        let second = fold.second.as_ref().map(|name| self.place(name));
        let condition = self.node(&fold.condition)?;
        let step = self.node(&fold.step)?;
        self.scopes.truncate(outside + 1);
        let result = self.node(&fold.result)?;
        self.scopes.truncate(outside);
        Ok(Node::Fold(Box::new(FoldNode { range, accumulator, var, second, start, condition, step, result })))
    }
}

fn two(nodes: Vec<Node>) -> [Node; 2] {
    nodes.try_into().expect("checked: two arguments")
}

/// The chain that a selection extends.
fn attr_of(node: Node) -> Box<Attr> {
    match node {
        Node::Attr(attr) if !attr.test => attr,
        other => Box::new(Attr { root: Root::Of(other), quals: Vec::new(), test: false }),
    }
}

fn index(nodes: Vec<Node>, optional: bool) -> Node {
    let [operand, key] = two(nodes);
    let mut attr = attr_of(operand);
    let key = match key {
        Node::Const(value) => Key::Const(value),
        other => Key::Node(other),
    };
    attr.quals.push(Qual { key, optional });
    Node::Attr(attr)
}

fn constant(node: &Node, optional: bool) -> Option<Val<'static>> {
    match node {
        Node::Const(value) if !optional => Some(value.clone()),
        _ => None,
    }
}

/// The second argument of functions on patterns, compiled if it is constant.
fn constant_pattern(function: &str, nodes: &[Node]) -> Result<Option<Pattern>, EvalError> {
    match (function, nodes) {
        ("matches" | "find" | "findAll", [_, Node::Const(Val::String(text)), ..]) => {
            compile_pattern(text).map(Some).map_err(EvalError::Failed)
        }
        _ => Ok(None),
    }
}
