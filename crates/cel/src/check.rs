//! The checker: finds the type of every node, and which overloads each call may mean.

mod literals;

use crate::ast::{Expr, Field, Fold, Id, Kind, Tree, op};
use crate::decl::DeclType;
use crate::env::Env;
use crate::library::{Overload, find_function};
use crate::source::Errors;
use crate::types::{Bindings, Type, most_general, signature};
use std::sync::Arc;

/// What the checker found out, by node.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) tree: Tree,
    pub(crate) types: Vec<Type>,
    pub(crate) meanings: Vec<Meaning>,
}

/// What a name or call means.
#[derive(Clone, Debug, Default)]
pub(crate) enum Meaning {
    /// What it looks like.
    #[default]
    Plain,
    /// A variable, also where it was written as a selection: `authorizer.requestResource`.
    Variable(String),
    /// A type as a value.
    Type(Type),
    /// A call; `qualified` if the target was part of the function's name.
    Call { function: String, overloads: Vec<Overload>, qualified: bool },
}

/// Checks a tree. Errors are reported; the result is good only if there are none.
pub(crate) fn check(tree: Tree, env: &Env, errors: &mut Errors<'_>) -> Checked {
    let nodes = tree.places.len();
    let mut checker = Checker {
        env,
        errors,
        places: &tree.places,
        types: vec![Type::Error; nodes],
        meanings: vec![Meaning::Plain; nodes],
        bindings: Bindings::default(),
        free: 0,
        scopes: Vec::new(),
    };
    checker.check(&tree.root);
    let Checker { types, meanings, bindings, .. } = checker;
    let types = types.iter().map(|ty| bindings.substitute(ty, true)).collect();
    let checked = Checked { tree, types, meanings };
    if errors.is_empty() {
        literals::validate(&checked, errors);
    }
    checked
}

impl Checked {
    /// Whether a variable of that name is read.
    pub(crate) fn uses(&self, variable: &str) -> bool {
        self.meanings.iter().any(|meaning| matches!(meaning, Meaning::Variable(name) if name == variable))
    }
}

struct Checker<'c, 's> {
    env: &'c Env,
    errors: &'c mut Errors<'s>,
    places: &'c [usize],
    types: Vec<Type>,
    meanings: Vec<Meaning>,
    bindings: Bindings,
    /// How many type parameters have been made.
    free: usize,
    /// Variables of macros, innermost last.
    scopes: Vec<(String, Type)>,
}

impl Checker<'_, '_> {
    fn error(&mut self, id: Id, message: impl Into<String>) {
        self.errors.at(self.places[id], message);
    }

    fn ty(&self, expr: &Expr) -> Type {
        self.types[expr.id].clone()
    }

    fn set(&mut self, expr: &Expr, ty: Type) {
        self.types[expr.id] = ty;
    }

    fn fresh(&mut self) -> Type {
        self.free += 1;
        Type::Param(format!("_var{}", self.free - 1).into())
    }

    fn undeclared(&mut self, id: Id, name: &str) {
        self.error(id, format!("undeclared reference to '{name}' (in container '')"));
    }

    fn mismatch(&mut self, id: Id, expected: &Type, found: &Type) {
        self.error(id, format!("expected type '{expected}' but found '{found}'"));
    }

    fn check(&mut self, expr: &Expr) {
        match &expr.kind {
            Kind::Literal(value) => self.set(expr, value.type_of()),
            Kind::Ident(name) => self.ident(expr, name),
            Kind::Select { operand, field, test } => self.select(expr, operand, field, *test),
            Kind::Call { function, target, args } => self.call(expr, function, target.as_deref(), args),
            Kind::List { elements, optional } => self.list(expr, elements, optional),
            Kind::Map(entries) => self.map(expr, entries),
            Kind::Struct { name, fields } => self.object(expr, name, fields),
            Kind::Fold(fold) => self.fold(expr, fold),
            Kind::Broken => {}
        }
    }

    /// What a name stands for: a variable of a macro, of the environment, or a type.
    fn lookup(&self, name: &str) -> Option<(Meaning, Type)> {
        let global = name.strip_prefix('.');
        let name = global.unwrap_or(name);
        if global.is_none()
            && let Some((_, ty)) = self.scopes.iter().rev().find(|(n, _)| n == name)
        {
            return Some((Meaning::Variable(name.to_owned()), ty.clone()));
        }
        if let Some(ty) = self.env.variable(name) {
            return Some((Meaning::Variable(name.to_owned()), ty.clone()));
        }
        let ty = self.env.find_type(name)?;
        Some((Meaning::Type(ty.clone()), Type::Type(Some(Arc::new(ty)))))
    }

    fn ident(&mut self, expr: &Expr, name: &str) {
        match self.lookup(name) {
            Some((meaning, ty)) => {
                self.meanings[expr.id] = meaning;
                self.set(expr, ty);
            }
            None => self.undeclared(expr.id, name),
        }
    }

    fn select(&mut self, expr: &Expr, operand: &Expr, field: &str, test: bool) {
        // `a.b` may be a variable of that name.
        if let Some(name) = expr.qualified_name()
            && let Some((meaning, ty)) = self.lookup(&name)
        {
            self.meanings[expr.id] = meaning;
            self.set(expr, ty);
            return;
        }
        let selected = self.selected(expr.id, operand, field, false);
        let ty = if test { Type::Bool } else { self.bindings.substitute(&selected, false) };
        self.set(expr, ty);
    }

    /// The type of a field.
    fn selected(&mut self, id: Id, operand: &Expr, field: &str, optional: bool) -> Type {
        self.check(operand);
        let operand_type = self.bindings.substitute(&self.ty(operand), false);
        let (target, was_optional) = match operand_type.optional_inner() {
            Some(inner) => (inner.clone(), true),
            None => (operand_type, false),
        };
        let result = match &target {
            Type::Map(entry) => entry.1.clone(),
            Type::Object(name) => self.field_type(id, name, field).unwrap_or(Type::Error),
            Type::Param(_) => {
                self.bindings.assignable(&Type::Dyn, &target);
                Type::Dyn
            }
            other => {
                if !other.is_dyn_or_error() {
                    self.error(id, format!("type '{other}' does not support field selection"));
                }
                Type::Dyn
            }
        };
        if optional || was_optional { Type::optional(result) } else { result }
    }

    fn field_type(&mut self, id: Id, object: &str, field: &str) -> Option<Type> {
        let Some(decl) = self.env.object(object) else {
            self.error(id, format!("unexpected failed resolution of '{object}'"));
            return None;
        };
        let found = self.env.field(&decl, field).map(DeclType::ty).cloned();
        if found.is_none() {
            self.error(id, format!("undefined field '{field}'"));
        }
        found
    }

    fn call(&mut self, expr: &Expr, function: &str, target: Option<&Expr>, args: &[Expr]) {
        if function == op::OPT_SELECT {
            return self.optional_select(expr, args);
        }
        args.iter().for_each(|arg| self.check(arg));
        let Some(target) = target else {
            let name = function.strip_prefix('.').unwrap_or(function);
            return self.resolve_or_complain(expr, function, name, None, args, false);
        };
        // `a.b.c()` may be a function of that name rather than `c` called on `a.b`.
        if let Some(prefix) = target.qualified_name() {
            let qualified = format!("{prefix}.{function}");
            let name = qualified.strip_prefix('.').unwrap_or(&qualified);
            if find_function(name, self.env.has_patches()).is_some() {
                return self.resolve_or_complain(expr, name, name, None, args, true);
            }
        }
        self.check(target);
        self.resolve_or_complain(expr, function, function, Some(target), args, false);
    }

    fn optional_select(&mut self, expr: &Expr, args: &[Expr]) {
        let [operand, name] = args else { return };
        let Kind::Literal(value) = &name.kind else { return };
        let Some(field) = value.as_str() else { return };
        let ty = self.selected(expr.id, operand, field, true);
        let ty = self.bindings.substitute(&ty, false);
        self.set(expr, ty);
        self.set(name, Type::String);
        let overloads = find_function(op::OPT_SELECT, false).map(|f| f.overloads.clone()).unwrap_or_default();
        self.meanings[expr.id] = Meaning::Call { function: op::OPT_SELECT.to_owned(), overloads, qualified: false };
    }

    fn resolve_or_complain(
        &mut self,
        expr: &Expr,
        written: &str,
        name: &str,
        target: Option<&Expr>,
        args: &[Expr],
        qualified: bool,
    ) {
        let Some(function) = find_function(name, self.env.has_patches()) else {
            return self.undeclared(expr.id, written);
        };
        let arg_types: Vec<Type> = target.into_iter().chain(args).map(|arg| self.ty(arg)).collect();
        if matches!(name, op::AND | op::OR) && !self.are_booleans(args) {
            return;
        }
        let mut fitting = Vec::new();
        let mut result: Option<Type> = None;
        for overload in function.overloads.iter().filter(|o| o.member == target.is_some()) {
            let Some(ty) = self.fit(overload, &arg_types) else { continue };
            fitting.push(*overload);
            result = Some(match result {
                None => ty,
                Some(so_far) if so_far == Type::Dyn || so_far == ty => so_far,
                Some(_) => Type::Dyn,
            });
        }
        match result {
            Some(ty) => {
                self.set(expr, ty);
                let function = name.to_owned();
                self.meanings[expr.id] = Meaning::Call { function, overloads: fitting, qualified };
            }
            None => {
                let shown: Vec<Type> = arg_types.iter().map(|ty| self.bindings.substitute(ty, true)).collect();
                let applied = signature(&shown, target.is_some());
                self.error(expr.id, format!("found no matching overload for '{name}' applied to '{applied}'"));
            }
        }
    }

    /// Arguments of `&&` and `||` are looked at one by one, for better messages.
    fn are_booleans(&mut self, args: &[Expr]) -> bool {
        let mut all = true;
        for arg in args {
            let ty = self.ty(arg);
            if !self.bindings.assignable(&ty, &Type::Bool) {
                self.mismatch(arg.id, &Type::Bool, &ty);
                all = false;
            }
        }
        all
    }

    /// The result type if the overload can be called with these arguments.
    fn fit(&mut self, overload: &Overload, args: &[Type]) -> Option<Type> {
        if overload.args.len() != args.len() {
            return None;
        }
        // Parameters of each try are new.
        let suffix = format!("_{}", self.free);
        self.free += 1;
        let wanted: Vec<Type> = overload.args.iter().map(|sig| sig.to_type(&suffix)).collect();
        let fits = self.bindings.all_assignable(args, &wanted);
        fits.then(|| self.bindings.substitute(&overload.result.to_type(&suffix), false))
    }

    /// The type of an element written with `?`: what its optional holds.
    fn unwrapped(&mut self, expr: &Expr, optional: bool) -> Type {
        let ty = self.ty(expr);
        if !optional {
            return ty;
        }
        match ty.optional_inner() {
            Some(inner) => inner.clone(),
            None => {
                if ty != Type::Dyn {
                    self.mismatch(expr.id, &Type::optional(ty.clone()), &ty);
                }
                ty
            }
        }
    }

    fn list(&mut self, expr: &Expr, elements: &[Expr], optional: &[bool]) {
        let mut common: Option<Type> = None;
        for (element, optional) in elements.iter().zip(optional) {
            self.check(element);
            let ty = self.unwrapped(element, *optional);
            common = Some(self.join(common, ty));
        }
        let item = common.unwrap_or_else(|| self.fresh());
        self.set(expr, Type::list(item));
    }

    fn map(&mut self, expr: &Expr, entries: &[crate::ast::Entry]) {
        let (mut keys, mut values) = (None, None);
        for entry in entries {
            self.check(&entry.key);
            let ty = self.ty(&entry.key);
            keys = Some(self.join(keys, ty));
            self.check(&entry.value);
            let ty = self.unwrapped(&entry.value, entry.optional);
            values = Some(self.join(values, ty));
        }
        let key = keys.unwrap_or_else(|| self.fresh());
        let value = values.unwrap_or_else(|| self.fresh());
        self.set(expr, Type::map(key, value));
    }

    /// The type of all elements so far. That they are of one type is checked later, except where it does not matter.
    fn join(&mut self, before: Option<Type>, ty: Type) -> Type {
        match before {
            None => ty,
            Some(before) if self.bindings.assignable(&before, &ty) => most_general(&before, &ty).clone(),
            Some(_) => Type::Dyn,
        }
    }

    fn object(&mut self, expr: &Expr, name: &str, fields: &[Field]) {
        let Some((_, ty)) = self.lookup(name) else { return self.undeclared(expr.id, name) };
        let made = match &ty {
            Type::Type(Some(of)) => match of.as_ref() {
                Type::Object(object) => Some(object.clone()),
                other => {
                    let shown = other.to_string();
                    self.error(expr.id, format!("'{shown}' is not a message type"));
                    None
                }
            },
            other => {
                let shown = other.to_string();
                self.error(expr.id, format!("'{shown}' is not a type"));
                None
            }
        };
        self.set(expr, made.as_ref().map_or(Type::Error, |name| Type::Object(name.clone())));
        for field in fields {
            self.check(&field.value);
            let found = self.unwrapped(&field.value, field.optional);
            let Some(object) = &made else { continue };
            let wanted = self.field_type(field.id, object, &field.name).unwrap_or(Type::Error);
            if !self.bindings.assignable(&wanted, &found) {
                let name = &field.name;
                self.error(
                    field.id,
                    format!("expected type of field '{name}' is '{wanted}' but provided type is '{found}'"),
                );
            }
        }
    }

    fn fold(&mut self, expr: &Expr, fold: &Fold) {
        self.check(&fold.range);
        self.check(&fold.start);
        let range = self.bindings.substitute(&self.ty(&fold.range), false);
        let accumulated = self.ty(&fold.start);
        let (first, second) = self.range_types(&fold.range, &range);
        let depth = self.scopes.len();
        self.scopes.push((fold.accumulator.clone(), accumulated.clone()));
        // The variables: item or key; with two of them, position or key, and value.
        match &fold.second {
            None => self.scopes.push((fold.var.clone(), if is_list(&range) { second } else { first })),
            Some(name) => {
                self.scopes.push((fold.var.clone(), first));
                self.scopes.push((name.clone(), second));
            }
        }
        self.check(&fold.condition);
        self.require(&fold.condition, &Type::Bool);
        self.check(&fold.step);
        self.require(&fold.step, &accumulated);
        self.scopes.truncate(depth + 1);
        self.check(&fold.result);
        self.scopes.truncate(depth);
        let ty = self.bindings.substitute(&self.ty(&fold.result), false);
        self.set(expr, ty);
    }

    /// Types of position or key, and of item or value.
    fn range_types(&mut self, expr: &Expr, range: &Type) -> (Type, Type) {
        match range {
            Type::List(item) => (Type::Int, item.as_ref().clone()),
            Type::Map(entry) => (entry.0.clone(), entry.1.clone()),
            Type::Dyn | Type::Error | Type::Param(_) => {
                self.bindings.assignable(&Type::Dyn, range);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                self.error(
                    expr.id,
                    format!(
                        "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                    ),
                );
                (Type::Error, Type::Error)
            }
        }
    }

    fn require(&mut self, expr: &Expr, ty: &Type) {
        let found = self.ty(expr);
        if !self.bindings.assignable(ty, &found) {
            self.mismatch(expr.id, ty, &found);
        }
    }
}

fn is_list(ty: &Type) -> bool {
    matches!(ty, Type::List(_))
}
