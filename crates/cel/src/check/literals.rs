//! What is checked of literals once types are known: patterns, times, format strings, and that lists and maps hold
//! values of one type.

use super::{Checked, Meaning};
use crate::ast::{Expr, Kind};
use crate::library::{compile_pattern, go_format};
use crate::source::Errors;
use crate::types::Type;
use crate::value::convert;

/// Reports what is wrong with literals.
pub(super) fn validate(checked: &Checked, errors: &mut Errors<'_>) {
    let mut validator = Validator { checked, errors };
    validator.calls(&checked.tree.root);
    if validator.errors.is_empty() {
        validator.aggregates(&checked.tree.root, false);
    }
}

struct Validator<'c, 'e, 's> {
    checked: &'c Checked,
    errors: &'e mut Errors<'s>,
}

impl Validator<'_, '_, '_> {
    fn error(&mut self, expr: &Expr, message: String) {
        self.errors.at(self.checked.tree.places[expr.id], message);
    }

    fn ty(&self, expr: &Expr) -> &Type {
        &self.checked.types[expr.id]
    }

    fn calls(&mut self, expr: &Expr) {
        if let Kind::Call { function, target, args } = &expr.kind {
            self.literal_argument(function, args);
            if function == "format"
                && let Some(target) = target
            {
                self.format_string(expr, target, args);
            }
        }
        for child in expr.children() {
            self.calls(child);
        }
    }

    /// The first argument of these functions, where it is a literal.
    fn literal_argument(&mut self, function: &str, args: &[Expr]) {
        let Some(Expr { kind: Kind::Literal(value), .. }) = args.first() else { return };
        let good = match function {
            "duration" => convert(value, &Type::Duration).is_ok(),
            "timestamp" => convert(value, &Type::Timestamp).is_ok(),
            "matches" => value.as_str().is_none_or(|pattern| compile_pattern(pattern).is_ok()),
            _ => return,
        };
        if !good {
            self.error(&args[0], format!("invalid {function} argument"));
        }
    }

    fn format_string(&mut self, expr: &Expr, target: &Expr, args: &[Expr]) {
        let (Kind::Literal(text), Some(Kind::List { elements, .. })) = (&target.kind, args.first().map(|a| &a.kind))
        else {
            return;
        };
        let Some(text) = text.as_str() else { return };
        let mut used = 0;
        for piece in go_format::parse(text) {
            let go_format::Piece::Clause(clause) = piece else { continue };
            let Some(element) = elements.get(used) else {
                return self.error(expr, format!("index {used} out of range"));
            };
            used += 1;
            match clause {
                Err(message) => return self.error(expr, message),
                Ok(clause) => {
                    if let Some(unfit) = self.unfit(clause.verb, element) {
                        let why = go_format::misfit(clause.verb, self.ty(unfit).name());
                        return self.error(unfit, format!("error during formatting: {why}"));
                    }
                }
            }
        }
        if elements.len() > used {
            let got = elements.len();
            self.error(expr, format!("too many arguments supplied to string.format (expected {used}, got {got})"));
        }
    }

    /// The element, or one within, whose type does not go with the clause.
    fn unfit<'x>(&self, verb: char, element: &'x Expr) -> Option<&'x Expr> {
        let ty = self.ty(element);
        let fits = match (verb, ty) {
            (_, Type::Dyn) => true,
            ('s', ty) => !matches!(ty, Type::Object(_) | Type::Opaque(..) | Type::Error | Type::Param(_)),
            ('d' | 'o', ty) => matches!(ty, Type::Int | Type::Uint),
            ('f' | 'e', ty) => matches!(ty, Type::Double | Type::String),
            ('b', ty) => matches!(ty, Type::Int | Type::Uint | Type::Bool),
            (_, ty) => matches!(ty, Type::Int | Type::Uint | Type::String | Type::Bytes),
        };
        if !fits {
            return Some(element);
        }
        match &element.kind {
            Kind::List { .. } | Kind::Map(_) if verb == 's' => {
                element.children().into_iter().find_map(|child| self.unfit(verb, child))
            }
            _ => None,
        }
    }

    /// Lists and maps of one type, except in arguments of `format`.
    fn aggregates(&mut self, expr: &Expr, exempt: bool) {
        match &expr.kind {
            _ if exempt => {}
            Kind::List { elements, optional } => {
                let mut common: Option<Type> = None;
                for (element, optional) in elements.iter().zip(optional) {
                    let ty = self.unwrapped(element, *optional);
                    match &common {
                        None => common = Some(ty),
                        Some(first) if *first != ty => {
                            let message = format!("expected type '{first}' but found '{ty}'");
                            self.error(element, message);
                            break;
                        }
                        Some(_) => {}
                    }
                }
            }
            Kind::Map(entries) => {
                let mut common: Option<(Type, Type)> = None;
                for entry in entries {
                    let key = self.ty(&entry.key).clone();
                    let value = self.unwrapped(&entry.value, entry.optional);
                    let Some((keys, values)) = &common else {
                        common = Some((key, value));
                        continue;
                    };
                    let wrong = [(&entry.key, keys, key), (&entry.value, values, value)];
                    let wrong: Vec<_> = wrong.into_iter().filter(|(_, first, ty)| *first != ty).collect();
                    for (at, first, ty) in wrong {
                        let message = format!("expected type '{first}' but found '{ty}'");
                        self.error(at, message);
                    }
                }
            }
            _ => {}
        }
        let within =
            exempt || matches!(&self.checked.meanings[expr.id], Meaning::Call { function, .. } if function == "format");
        for child in expr.children() {
            self.aggregates(child, within);
        }
    }

    fn unwrapped(&self, expr: &Expr, optional: bool) -> Type {
        let ty = self.ty(expr);
        if optional { ty.optional_inner().unwrap_or(ty).clone() } else { ty.clone() }
    }
}
