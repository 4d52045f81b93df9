//! How large values can be: what a schema allows at a path, and what follows from the expression itself.

use super::range::CostRange;
use crate::ast::{Expr, Id, Kind};
use crate::check::Checked;
use crate::decl::DeclType;
use crate::types::Type;
use crate::value::Val;
use std::collections::HashMap;
use std::sync::Arc;

/// Sizes of keys (or positions) and values of a list or map.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntrySizes {
    pub(super) list: bool,
    pub(super) key: CostRange,
    pub(super) value: CostRange,
}

impl EntrySizes {
    /// Covers both, if both are known.
    pub(super) fn union(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        let (a, b) = (a?, b?);
        Some(EntrySizes { list: a.list, key: a.key.union(b.key), value: a.value.union(b.value) })
    }
}

/// Where a value lies below a variable: field names, `@items`, `@values`, `@keys`, `@indices`.
type Path = Vec<String>;

/// Sizes of the values of an expression's nodes.
pub(super) struct Sizes<'c> {
    checked: &'c Checked,
    variables: &'c [(String, Arc<DeclType>)],
    paths: HashMap<Id, Path>,
    sizes: HashMap<Id, CostRange>,
    entries: HashMap<Id, EntrySizes>,
    /// Variables of macros, innermost last.
    locals: Vec<Local>,
}

struct Local {
    name: String,
    path: Path,
    size: Option<CostRange>,
    entries: Option<EntrySizes>,
}

impl<'c> Sizes<'c> {
    pub(super) fn new(checked: &'c Checked, variables: &'c [(String, Arc<DeclType>)]) -> Self {
        Sizes {
            checked,
            variables,
            paths: HashMap::new(),
            sizes: HashMap::new(),
            entries: HashMap::new(),
            locals: Vec::new(),
        }
    }

    pub(super) fn ty(&self, expr: &Expr) -> Type {
        self.checked.types[expr.id].clone()
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|l| l.name == name)
    }

    fn path(&self, expr: &Expr) -> Path {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    fn below(&self, expr: &Expr, step: &str) -> Path {
        let mut path = self.path(expr);
        path.push(step.to_owned());
        path
    }

    /// Notes where a variable lies.
    pub(super) fn name(&mut self, expr: &Expr, name: &str) {
        let path = self.local(name).map_or_else(|| vec![name.to_owned()], |l| l.path.clone());
        self.paths.insert(expr.id, path);
    }

    /// Notes where a field lies.
    pub(super) fn select(&mut self, expr: &Expr, operand: &Expr, field: &str) {
        let path = self.below(operand, field);
        self.paths.insert(expr.id, path);
    }

    /// Notes where an item or entry lies.
    pub(super) fn index(&mut self, expr: &Expr, operand: &Expr, list: bool) {
        let path = self.below(operand, if list { "@items" } else { "@values" });
        self.paths.insert(expr.id, path);
    }

    /// Names a value.
    pub(super) fn push(&mut self, name: &str, expr: &Expr) {
        let (path, size, entries) = (self.path(expr), self.known(expr), self.entries(expr));
        self.locals.push(Local { name: name.to_owned(), path, size, entries });
    }

    fn is_list(&self, range: &Expr) -> bool {
        match self.entries(range) {
            Some(entries) => entries.list,
            None => matches!(self.ty(range), Type::List(_)),
        }
    }

    fn push_part(&mut self, name: &str, range: &Expr, step: &str, size: Option<CostRange>) {
        let path = self.below(range, step);
        self.locals.push(Local { name: name.to_owned(), path, size, entries: None });
    }

    /// Names the position or key of a macro with two variables.
    pub(super) fn push_key(&mut self, name: &str, range: &Expr) {
        let step = if self.is_list(range) { "@indices" } else { "@keys" };
        let size = self.entries(range).map(|e| e.key);
        self.push_part(name, range, step, size);
    }

    /// Names the value of a macro with two variables.
    pub(super) fn push_value(&mut self, name: &str, range: &Expr) {
        let step = if self.is_list(range) { "@items" } else { "@values" };
        let size = self.entries(range).map(|e| e.value);
        self.push_part(name, range, step, size);
    }

    /// Names the item or key of a macro with one variable.
    pub(super) fn push_item(&mut self, name: &str, range: &Expr) {
        let (step, size) = match self.is_list(range) {
            true => ("@items", self.entries(range).map(|e| e.value)),
            false => ("@keys", self.entries(range).map(|e| e.key)),
        };
        self.push_part(name, range, step, size);
    }

    pub(super) fn pop(&mut self, n: usize) {
        self.locals.truncate(self.locals.len() - n);
    }

    /// The size of a value, if anything is known about it.
    pub(super) fn known(&mut self, expr: &Expr) -> Option<CostRange> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        if let Some(size) = literal(expr) {
            return Some(CostRange::fixed(size));
        }
        let path = self.path(expr);
        if let Some(size) = self.declared(&path) {
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if is_scalar(&self.checked.types[expr.id]) {
            return Some(CostRange::fixed(1));
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    /// The size of a value: without bound if nothing is known.
    pub(super) fn of(&mut self, expr: &Expr) -> CostRange {
        self.known(expr).unwrap_or(CostRange::UNKNOWN)
    }

    /// What the schema allows at a path.
    fn declared(&self, path: &[String]) -> Option<CostRange> {
        let (root, steps) = path.split_first()?;
        // Upstream takes every path for one below its first variable, whatever it starts with: types by name, and items
        // of lists that macros made. Sizes of rules in use depend on it.
        let declared = self.variables.iter().find(|(name, _)| name == root);
        let mut decl = &declared.or(self.variables.first())?.1;
        for step in steps {
            decl = match step.as_str() {
                "@items" | "@values" => decl.element()?,
                "@keys" => {
                    decl.element().filter(|_| matches!(decl.ty(), Type::Map(_)))?;
                    // Keys are plain strings without a size of their own.
                    return Some(CostRange::new(0, 0));
                }
                field => decl.field(field)?,
            };
        }
        if matches!(decl.ty(), Type::Dyn) && decl.max_elements() == 0 {
            return None;
        }
        Some(CostRange::new(0, decl.max_elements()))
    }

    /// The size of the items of a list.
    pub(super) fn item_size(&self, list: &Expr) -> Option<CostRange> {
        match self.ty(list) {
            Type::List(_) => Some(self.declared(&self.below(list, "@items")).unwrap_or(CostRange::UNKNOWN)),
            _ => None,
        }
    }

    pub(super) fn set(&mut self, expr: &Expr, size: Option<CostRange>) {
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
    }

    pub(super) fn set_entries(&mut self, expr: &Expr, entries: Option<EntrySizes>) {
        if let Some(entries) = entries {
            self.entries.insert(expr.id, entries);
        }
    }

    pub(super) fn entries(&self, expr: &Expr) -> Option<EntrySizes> {
        if let Some(entries) = self.entries.get(&expr.id) {
            return Some(*entries);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.entries,
            _ => None,
        }
    }

    /// One expression's value is another's.
    pub(super) fn copy(&mut self, to: &Expr, from: &Expr) {
        let size = self.known(from);
        self.set(to, size);
        let entries = self.entries(from);
        self.set_entries(to, entries);
    }
}

/// The size of a literal.
fn literal(expr: &Expr) -> Option<u64> {
    match &expr.kind {
        Kind::Literal(value) => match value {
            Val::String(_) | Val::Bytes(_) => value.size(),
            _ => Some(1),
        },
        Kind::List { elements, .. } => Some(elements.len() as u64),
        Kind::Map(entries) => Some(entries.len() as u64),
        _ => None,
    }
}

/// Of a size that is known before anything runs.
fn is_scalar(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        other => other.optional_inner().is_some_and(is_scalar),
    }
}
