//! The syntax tree, macros already expanded.
//!
//! Every node has an id; [`Tree`] keeps the place in the text that each id stands for, and the checker adds types.

use crate::value::Val;

/// Identifies a node within its [`Tree`].
pub(crate) type Id = usize;

/// The variable that folds accumulate into. Not writable in source, so it collides with nothing.
pub(crate) const ACCUMULATOR: &str = "@result";
/// The same under its old name, which is still refused as an iteration variable.
pub(crate) const OLD_ACCUMULATOR: &str = "__result__";

/// Names of the functions that operators stand for.
pub(crate) mod op {
    pub(crate) const CONDITIONAL: &str = "_?_:_";
    pub(crate) const AND: &str = "_&&_";
    pub(crate) const OR: &str = "_||_";
    pub(crate) const NOT: &str = "!_";
    pub(crate) const NOT_STRICTLY_FALSE: &str = "@not_strictly_false";
    pub(crate) const EQ: &str = "_==_";
    pub(crate) const NE: &str = "_!=_";
    pub(crate) const LT: &str = "_<_";
    pub(crate) const LE: &str = "_<=_";
    pub(crate) const GT: &str = "_>_";
    pub(crate) const GE: &str = "_>=_";
    pub(crate) const ADD: &str = "_+_";
    pub(crate) const SUB: &str = "_-_";
    pub(crate) const MUL: &str = "_*_";
    pub(crate) const DIV: &str = "_/_";
    pub(crate) const REM: &str = "_%_";
    pub(crate) const NEG: &str = "-_";
    pub(crate) const INDEX: &str = "_[_]";
    pub(crate) const OPT_INDEX: &str = "_[?_]";
    pub(crate) const OPT_SELECT: &str = "_?._";
    pub(crate) const IN: &str = "@in";
}

/// A parsed expression and where its nodes stand in the text.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: Expr,
    /// Offset in characters, by id.
    pub(crate) places: Vec<usize>,
}

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) id: Id,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Literal(Val<'static>),
    Ident(String),
    /// `operand.field`, or `has(operand.field)` with `test`.
    Select {
        operand: Box<Expr>,
        field: String,
        test: bool,
    },
    Call {
        function: String,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    List {
        elements: Vec<Expr>,
        /// Which elements were written with `?`.
        optional: Vec<bool>,
    },
    Map(Vec<Entry>),
    Struct {
        name: String,
        fields: Vec<Field>,
    },
    Fold(Box<Fold>),
    /// Stands where an error was reported.
    Broken,
}

/// `key: value` of a map literal.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: Expr,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// `name: value` of an object literal.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) id: Id,
    pub(crate) name: String,
    pub(crate) value: Expr,
    pub(crate) optional: bool,
}

/// What macros over lists and maps expand to, and `cel.bind`-like ones with an empty range.
#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) range: Expr,
    pub(crate) var: String,
    /// Set in macros with two variables (index or key, and value).
    pub(crate) second: Option<String>,
    pub(crate) accumulator: String,
    pub(crate) start: Expr,
    pub(crate) condition: Expr,
    pub(crate) step: Expr,
    pub(crate) result: Expr,
}

impl Expr {
    /// Nodes directly below, in the order they are written.
    pub(crate) fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            Kind::Literal(_) | Kind::Ident(_) | Kind::Broken => Vec::new(),
            Kind::Select { operand, .. } => vec![operand],
            Kind::Call { target, args, .. } => target.iter().map(AsRef::as_ref).chain(args).collect(),
            Kind::List { elements, .. } => elements.iter().collect(),
            Kind::Map(entries) => entries.iter().flat_map(|e| [&e.key, &e.value]).collect(),
            Kind::Struct { fields, .. } => fields.iter().map(|f| &f.value).collect(),
            Kind::Fold(f) => vec![&f.range, &f.start, &f.condition, &f.step, &f.result],
        }
    }

    /// `a.b.c` as one name, where it is nothing but names.
    pub(crate) fn qualified_name(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.clone()),
            Kind::Select { operand, field, test: false } => Some(format!("{}.{field}", operand.qualified_name()?)),
            _ => None,
        }
    }
}
