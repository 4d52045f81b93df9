//! Finding type parameters: which types fit each other under what bindings.

use super::Type;
use std::collections::HashMap;
use std::sync::Arc;

/// What type parameters stand for, as far as known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bindings(HashMap<Arc<str>, Type>);

impl Bindings {
    fn find(&self, ty: &Type) -> Option<&Type> {
        match ty {
            Type::Param(name) => self.0.get(name),
            _ => None,
        }
    }

    /// Whether `from` can be used where `to` is wanted; learns bindings if so, and nothing if not.
    pub(crate) fn assignable(&mut self, from: &Type, to: &Type) -> bool {
        self.all_assignable(std::slice::from_ref(from), std::slice::from_ref(to))
    }

    /// The same for argument lists.
    pub(crate) fn all_assignable(&mut self, from: &[Type], to: &[Type]) -> bool {
        if from.len() != to.len() {
            return false;
        }
        if !from.iter().chain(to).any(Type::has_params) {
            return from.iter().zip(to).all(|(f, t)| self.fits(f, t));
        }
        let before = self.clone();
        let fits = from.iter().zip(to).all(|(f, t)| self.fits(f, t));
        if !fits {
            *self = before;
        }
        fits
    }

    fn fits(&mut self, from: &Type, to: &Type) -> bool {
        if let Type::Param(_) = to {
            let (valid, bound) = self.substitutes(from, to);
            if valid {
                return true;
            }
            if bound {
                return false;
            }
        }
        if let Type::Param(_) = from {
            return self.substitutes(to, from).0;
        }
        if from.is_dyn_or_error() || to.is_dyn_or_error() {
            return true;
        }
        match (from, to) {
            (Type::Null, other) | (other, Type::Null) => is_nullable(other),
            (Type::Type(_), Type::Type(_)) => true,
            (Type::List(a), Type::List(b)) => self.fits(a, b),
            (Type::Map(a), Type::Map(b)) => self.fits(&a.0, &b.0) && self.fits(&a.1, &b.1),
            (Type::Opaque(a, ps), Type::Opaque(b, qs)) => {
                a == b && ps.len() == qs.len() && ps.iter().zip(qs.iter()).all(|(p, q)| self.fits(p, q))
            }
            _ => from == to,
        }
    }

    /// Whether the parameter can stand for the type, and whether it already stands for something.
    fn substitutes(&mut self, ty: &Type, param: &Type) -> (bool, bool) {
        if ty == param {
            return (true, true);
        }
        if let Some(bound) = self.find(param).cloned() {
            if *ty == bound {
                return (true, true);
            }
            if !self.fits(ty, &bound) {
                return (false, true);
            }
            let general = most_general(ty, &bound).clone();
            if self.is_free_of(param, &general) {
                self.insert(param, general);
            }
            return (true, true);
        }
        if self.is_free_of(param, ty) {
            self.insert(param, ty.clone());
            return (true, false);
        }
        (false, false)
    }

    fn insert(&mut self, param: &Type, ty: Type) {
        if let Type::Param(name) = param {
            self.0.insert(name.clone(), ty);
        }
    }

    /// The parameter occurs nowhere in the type.
    fn is_free_of(&self, param: &Type, within: &Type) -> bool {
        if param == within {
            return false;
        }
        match within {
            Type::Param(_) => self.find(within).is_none_or(|bound| self.is_free_of(param, bound)),
            other => other.parameters().into_iter().all(|p| self.is_free_of(param, p)),
        }
    }

    /// The type with its parameters replaced; unknown ones become `dyn` if asked for.
    pub(crate) fn substitute(&self, ty: &Type, to_dyn: bool) -> Type {
        if !ty.has_params() {
            return ty.clone();
        }
        if let Some(bound) = self.find(ty) {
            return self.substitute(bound, to_dyn);
        }
        match ty {
            Type::Param(_) if to_dyn => Type::Dyn,
            Type::List(item) => Type::list(self.substitute(item, to_dyn)),
            Type::Map(e) => Type::map(self.substitute(&e.0, to_dyn), self.substitute(&e.1, to_dyn)),
            Type::Opaque(name, ps) => {
                Type::Opaque(name.clone(), ps.iter().map(|p| self.substitute(p, to_dyn)).collect())
            }
            Type::Type(Some(of)) => Type::Type(Some(Arc::new(self.substitute(of, to_dyn)))),
            other => other.clone(),
        }
    }
}

fn is_nullable(ty: &Type) -> bool {
    matches!(ty, Type::Null | Type::Opaque(..) | Type::Object(_) | Type::Duration | Type::Timestamp)
}

/// The less specific of two types that fit each other.
pub(crate) fn most_general<'t>(a: &'t Type, b: &'t Type) -> &'t Type {
    if is_equal_or_less_specific(a, b) { a } else { b }
}

fn is_equal_or_less_specific(a: &Type, b: &Type) -> bool {
    match (a, b) {
        (Type::Dyn | Type::Param(_), _) => true,
        (_, Type::Dyn | Type::Param(_)) => false,
        (Type::Opaque(n, ps), Type::Opaque(m, qs)) => {
            n == m && ps.len() == qs.len() && ps.iter().zip(qs.iter()).all(|(p, q)| is_equal_or_less_specific(p, q))
        }
        (Type::List(p), Type::List(q)) => is_equal_or_less_specific(p, q),
        (Type::Map(p), Type::Map(q)) => is_equal_or_less_specific(&p.0, &q.0) && is_equal_or_less_specific(&p.1, &q.1),
        (Type::Type(_), Type::Type(_)) => true,
        _ => a == b,
    }
}
