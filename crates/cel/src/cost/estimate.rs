//! The range of what an expression may cost, from its tree and the sizes that schemas allow.
//!
//! Follows cel-go's checker and upstream's library estimates node by node.

use super::range::CostRange;
use super::sizes::{EntrySizes, Sizes};
use super::{CHARACTER, CHECK, FORMAT_PATTERN, LIST, MAP, PATTERN, STRUCT};
use crate::ast::{Expr, Fold, Kind, OLD_ACCUMULATOR, op};
use crate::check::{Checked, Meaning};
use crate::decl::DeclType;
use crate::library::{Overload, opaque};
use crate::types::Type;
use crate::value::Val;
use std::sync::Arc;

/// Estimates a checked expression; `variables` say how large things can be.
pub(crate) fn estimate(checked: &Checked, variables: &[(String, Arc<DeclType>)]) -> CostRange {
    let mut estimator = Estimator { checked, sizes: Sizes::new(checked, variables) };
    estimator.cost(&checked.tree.root)
}

struct Estimator<'c> {
    checked: &'c Checked,
    sizes: Sizes<'c>,
}

/// What a call costs, and how large its result is.
#[derive(Clone, Copy, Debug)]
struct CallRange {
    cost: CostRange,
    result: Option<CostRange>,
}

const ONE: CostRange = CostRange::fixed(1);

fn costs(cost: CostRange) -> CallRange {
    CallRange { cost, result: None }
}

fn makes(cost: CostRange, result: CostRange) -> CallRange {
    CallRange { cost, result: Some(result) }
}

impl Estimator<'_> {
    fn cost(&mut self, expr: &Expr) -> CostRange {
        match &self.checked.meanings[expr.id] {
            Meaning::Variable(name) => {
                self.sizes.name(expr, name);
                return ONE;
            }
            Meaning::Type(ty) => {
                self.sizes.name(expr, ty.name());
                return ONE;
            }
            Meaning::Plain | Meaning::Call { .. } => {}
        }
        match &expr.kind {
            Kind::Literal(_) | Kind::Broken => CostRange::default(),
            Kind::Ident(name) => {
                self.sizes.name(expr, name);
                ONE
            }
            // Asking whether something is there costs what it is asked of.
            Kind::Select { operand, test: true, .. } => self.cost(operand),
            Kind::Select { operand, field, .. } => {
                let cost = self.cost(operand);
                self.sizes.select(expr, operand, field);
                match self.sizes.ty(operand) {
                    Type::Map(_) | Type::Object(_) | Type::Param(_) => cost + ONE,
                    _ => cost,
                }
            }
            Kind::Call { target, args, .. } => self.call(expr, target.as_deref(), args),
            Kind::List { elements, .. } => self.list(expr, elements),
            Kind::Map(entries) => self.map(expr, entries),
            Kind::Struct { fields, .. } => {
                fields.iter().fold(CostRange::fixed(STRUCT), |sum, f| sum + self.cost(&f.value))
            }
            Kind::Fold(fold) if is_bind(fold) => self.bind(expr, fold),
            Kind::Fold(fold) => self.fold(expr, fold),
        }
    }

    fn list(&mut self, expr: &Expr, elements: &[Expr]) -> CostRange {
        let mut sum = CostRange::fixed(LIST);
        let mut item = CostRange::new(if elements.is_empty() { 0 } else { u64::MAX }, 0);
        for element in elements {
            sum = sum + self.cost(element);
            item = item.union(self.sizes.of(element));
        }
        self.sizes.set_entries(expr, Some(EntrySizes { list: true, key: ONE, value: item }));
        sum
    }

    fn map(&mut self, expr: &Expr, entries: &[crate::ast::Entry]) -> CostRange {
        let mut sum = CostRange::fixed(MAP);
        let least = if entries.is_empty() { 0 } else { u64::MAX };
        let (mut key, mut value) = (CostRange::new(least, 0), CostRange::new(least, 0));
        for entry in entries {
            sum = sum + self.cost(&entry.key) + self.cost(&entry.value);
            key = key.union(self.sizes.of(&entry.key));
            value = value.union(self.sizes.of(&entry.value));
        }
        self.sizes.set_entries(expr, Some(EntrySizes { list: false, key, value }));
        sum
    }

    fn bind(&mut self, expr: &Expr, fold: &Fold) -> CostRange {
        let mut sum = self.cost(&fold.range) + self.cost(&fold.start);
        self.sizes.push(&fold.accumulator, &fold.start);
        sum = sum + self.cost(&fold.result);
        self.sizes.copy(expr, &fold.result);
        self.sizes.pop(1);
        sum
    }

    fn fold(&mut self, expr: &Expr, fold: &Fold) -> CostRange {
        let mut sum = self.cost(&fold.range) + self.cost(&fold.start);
        self.sizes.push(&fold.accumulator, &fold.start);
        match &fold.second {
            None => self.sizes.push_item(&fold.var, &fold.range),
            Some(second) => {
                self.sizes.push_key(&fold.var, &fold.range);
                self.sizes.push_value(second, &fold.range);
            }
        }
        let condition = self.cost(&fold.condition);
        let step = self.cost(&fold.step);
        self.sizes.pop(if fold.second.is_some() { 2 } else { 1 });
        sum = sum + self.cost(&fold.result);
        self.sizes.pop(1);
        let rounds = self.sizes.of(&fold.range);
        sum = sum + rounds * (step + condition);
        match &fold.start.kind {
            Kind::Literal(_) => {
                let size = self.sizes.known(&fold.start);
                self.sizes.set(expr, size);
            }
            Kind::List { .. } | Kind::Map(_) => {
                self.sizes.set(expr, Some(rounds));
                let entries = self.sizes.entries(&fold.step);
                self.sizes.set_entries(expr, entries);
            }
            _ => {}
        }
        sum
    }

    fn call(&mut self, expr: &Expr, target: Option<&Expr>, args: &[Expr]) -> CostRange {
        let Meaning::Call { function, overloads, qualified } = &self.checked.meanings[expr.id] else {
            return CostRange::default();
        };
        if function == "dyn" {
            let cost = self.cost(&args[0]) + ONE;
            self.sizes.copy(expr, &args[0]);
            return cost;
        }
        let costs: Vec<CostRange> = args.iter().map(|arg| self.cost(arg)).collect();
        let target = target.filter(|_| !qualified);
        let mut sum = CostRange::default();
        if let Some(target) = target {
            sum = self.cost(target);
        }
        let mut cost = CostRange::new(u64::MAX, 0);
        let mut result: Option<CostRange> = None;
        for overload in overloads {
            let range = self.function(expr, function, overload, target, args, &costs);
            cost = cost.union(range.cost);
            if let Some(size) = range.result {
                result = Some(result.map_or(size, |r| r.union(size)));
            }
            if matches!(overload.id, "index_list" | "index_map") {
                result = self.sizes.entries(&args[0]).map(|e| e.value);
                self.sizes.index(expr, &args[0], overload.id == "index_list");
            }
            if result.is_none() {
                result = self.sizes.known(expr);
            }
        }
        self.sizes.set(expr, result);
        sum + cost
    }

    fn function(
        &mut self,
        expr: &Expr,
        function: &str,
        overload: &Overload,
        target: Option<&Expr>,
        args: &[Expr],
        arg_costs: &[CostRange],
    ) -> CallRange {
        let arg_sum = arg_costs.iter().fold(CostRange::default(), |sum, c| sum + *c);
        let own = self.list_overload(overload.id, target, args);
        let own = own.or_else(|| self.library(function, overload.id, target, args));
        if let Some(range) = own {
            return CallRange { cost: range.cost + arg_sum, ..range };
        }
        match overload.id {
            // The right side counts only if the left does not decide.
            "logical_or" | "logical_and" => {
                let (left, right) = (arg_costs[0], arg_costs[1]);
                costs(CostRange::new(left.min, (left + right).max))
            }
            "conditional" => {
                let size = self.sizes.of(&args[1]).union(self.sizes.of(&args[2]));
                let entries = EntrySizes::union(self.sizes.entries(&args[1]), self.sizes.entries(&args[2]));
                self.sizes.set_entries(expr, entries);
                makes(arg_costs[0] + arg_costs[1].union(arg_costs[2]), size)
            }
            id => {
                let range = self.standard(expr, id, target, args);
                CallRange { cost: range.cost + arg_sum, ..range }
            }
        }
    }

    /// Functions of the language itself.
    fn standard(&mut self, expr: &Expr, id: &str, target: Option<&Expr>, args: &[Expr]) -> CallRange {
        match (id, target, args) {
            ("string_format", Some(target), _) => costs(self.sizes.of(target).scale(CHARACTER)),
            ("string_to_bytes", _, [arg]) => {
                let size = self.sizes.of(arg);
                makes(size.scale(CHARACTER), CostRange::new(size.min, size.max.wrapping_mul(4)))
            }
            ("bytes_to_string", _, [arg]) => {
                let size = self.sizes.of(arg);
                makes(size.scale(CHARACTER), CostRange::new(size.min / 4, size.max))
            }
            ("strings_quote", _, [arg]) => {
                let size = self.sizes.of(arg);
                let quoted = CostRange::new(size.min + 2, size.max.wrapping_mul(2).wrapping_add(2));
                makes(size.scale(CHARACTER), quoted)
            }
            ("starts_with_string" | "ends_with_string", _, [arg]) => costs(self.sizes.of(arg).scale(CHARACTER)),
            ("in_list", _, [_, list]) => costs(self.sizes.of(list).scale(1.0)),
            ("matches_string", Some(target), [pattern]) => {
                let text = (self.sizes.of(target) + ONE).scale(CHARACTER);
                costs(text * self.sizes.of(pattern).scale(PATTERN))
            }
            ("contains_string", Some(target), [part]) => {
                costs(self.sizes.of(target).scale(CHARACTER) * self.sizes.of(part).scale(CHARACTER))
            }
            ("add_string" | "add_bytes" | "add_list", _, [left, right]) => {
                let size = self.sizes.of(left) + self.sizes.of(right);
                let entries = EntrySizes::union(self.sizes.entries(left), self.sizes.entries(right));
                self.sizes.set_entries(expr, entries);
                makes(if id == "add_list" { ONE } else { size.scale(CHARACTER) }, size)
            }
            (id, _, [left, right]) if matches!(id, "equals" | "not_equals") || super::compares_texts(id) => {
                let smaller = self.sizes.of(left).max.min(self.sizes.of(right).max);
                costs(CostRange::new(u64::from(smaller > 0), smaller).scale(CHARACTER))
            }
            _ => costs(ONE),
        }
    }

    /// cel-go's libraries of lists and sets.
    fn list_overload(&mut self, id: &str, target: Option<&Expr>, args: &[Expr]) -> Option<CallRange> {
        Some(match (id, target, args) {
            ("list_sets_contains_list" | "list_sets_intersects_list", _, [a, b]) => {
                costs((self.sizes.of(a) * self.sizes.of(b)).scale(1.0) + ONE)
            }
            ("list_sets_equivalent_list", _, [a, b]) => costs((self.sizes.of(a) * self.sizes.of(b)).scale(2.0) + ONE),
            ("list_slice", Some(list), [start, end]) => {
                let size = self.sizes.of(list);
                let length = int_or(end, size.max).wrapping_sub(int_or(start, 0));
                allocating(1.0, CostRange::fixed(length))
            }
            ("lists_range", None, [end]) => allocating(1.0, CostRange::fixed(int_or(end, u64::MAX))),
            ("list_reverse", Some(list), []) => allocating(1.0, self.sizes.of(list)),
            ("list_flatten" | "list_flatten_int", Some(list), args) => {
                #[expect(clippy::cast_precision_loss, reason = "upstream reckons with floats, too")]
                let depth = args.first().map_or(1.0, |depth| int_or(depth, u64::MAX) as f64);
                allocating(depth, self.sizes.of(list))
            }
            ("list_distinct", Some(list), []) => {
                let size = self.sizes.of(list);
                allocating(2.0, size * size)
            }
            (id, Some(list), []) if id.starts_with("list_") && id.ends_with("_sort") => self.sorting(id, list),
            (id, Some(_), [keys]) if id.ends_with("_sortByAssociatedKeys") => self.sorting(id, keys),
            _ => return None,
        })
    }

    fn sorting(&mut self, id: &str, list: &Expr) -> CallRange {
        let size = self.sizes.of(list);
        let texts = id.starts_with("list_string_") || id.starts_with("list_bytes_");
        allocating(if texts { 2.0 + CHARACTER } else { 2.0 }, size * size)
    }

    /// Kubernetes' libraries, and those of strings.
    fn library(&mut self, function: &str, id: &str, target: Option<&Expr>, args: &[Expr]) -> Option<CallRange> {
        let characters = |size: CostRange| size.scale(CHARACTER);
        Some(match (function, target, args) {
            ("check", ..) => costs(CostRange::fixed(CHECK)),
            (name, ..) if NOMINAL.contains(&name) => costs(ONE),
            ("ip", ..) if id == "cidr_ip" => costs(ONE),
            ("fieldSelector" | "labelSelector", _, [selector]) => {
                let length = self.sizes.of(selector);
                let requirements = length.scale(0.5).scale((LIST + STRUCT) as f64);
                costs(CostRange::fixed(LIST) + characters(length) + requirements)
            }
            ("isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf", Some(list), _) => {
                costs(self.traversal(list))
            }
            ("url" | "jsonpatch.escapeKey", _, [arg]) => {
                let size = self.sizes.of(arg);
                makes(characters(size), size)
            }
            ("lowerAscii" | "upperAscii" | "substring" | "trim", Some(text), _) => {
                let size = self.sizes.of(text);
                makes(characters(size), size)
            }
            ("replace", Some(text), [old, new, ..]) => {
                let size = self.sizes.of(text);
                makes(size.scale(2.0 * CHARACTER), replaced(size, self.sizes.of(old), self.sizes.of(new)))
            }
            ("split", Some(text), args) => {
                let size = self.sizes.of(text);
                let most = match args.get(1).map(|a| &a.kind) {
                    #[expect(clippy::cast_sign_loss, reason = "upstream takes below zero for very many")]
                    Some(Kind::Literal(Val::Int(n))) => *n as u64,
                    _ => size.max,
                };
                makes(size.scale(2.0 * CHARACTER), CostRange::new(0, most))
            }
            ("join", Some(list), args) => {
                let count = self.sizes.of(list);
                let mut size = self.sizes.item_size(list).map_or(CostRange::default(), |item| count * item);
                if let Some(separator) = args.first() {
                    let gaps = CostRange::new(count.min.saturating_sub(1), count.max.saturating_sub(1));
                    size = size + self.sizes.of(separator) * gaps;
                }
                makes(characters(size), size)
            }
            ("find" | "findAll", Some(text), [pattern, ..]) => {
                let size = self.sizes.of(text);
                let cost = characters(size + ONE) * self.sizes.of(pattern).scale(PATTERN);
                makes(cost, CostRange::new(0, size.max))
            }
            ("cidr" | "isIP" | "isCIDR" | "ip" | "quantity" | "isQuantity" | "semver" | "isSemver", _, [arg, ..]) => {
                costs(characters(self.sizes.of(arg)))
            }
            ("ip.isCanonical", _, [arg]) => costs(self.sizes.of(arg).scale(2.0 * CHARACTER)),
            ("containsIP" | "containsCIDR", _, [arg]) => {
                let address = CostRange::new(4, 16);
                let mut cost = characters(address + address);
                if function == "containsCIDR" {
                    cost = cost + characters(address) + ONE;
                }
                if id.ends_with("_string") {
                    cost = cost + characters(self.sizes.of(arg));
                }
                costs(cost)
            }
            ("validate", _, [text]) => costs(characters(self.sizes.of(text)).scale(FORMAT_PATTERN * PATTERN)),
            (op::EQ, _, [left, right]) => return self.equality(left, right),
            _ => return None,
        })
    }

    /// Every item once, and every character of items that have some.
    fn traversal(&mut self, list: &Expr) -> CostRange {
        let size = self.sizes.of(list);
        match self.sizes.ty(list) {
            Type::List(item) if matches!(item.as_ref(), Type::String | Type::Bytes) => {
                let item = self.sizes.item_size(list).unwrap_or(CostRange::UNKNOWN);
                size * (ONE + item.scale(CHARACTER))
            }
            Type::List(_) => size * ONE,
            _ => size.scale(CHARACTER),
        }
    }

    /// Values of libraries that compare at once.
    fn equality(&mut self, left: &Expr, right: &Expr) -> Option<CallRange> {
        let ty = self.sizes.ty(left);
        if ty != self.sizes.ty(right) {
            return None;
        }
        Some(match &ty {
            Type::Opaque(name, _) if matches!(name.as_ref(), opaque::IP | opaque::CIDR) => costs(ONE),
            Type::Object(name) => match name.as_ref() {
                opaque::QUANTITY | opaque::SEMVER => costs(ONE),
                opaque::FORMAT => costs(CostRange::new(1, 64).scale(CHARACTER)),
                opaque::URL => {
                    let size = self.sizes.known(right).map_or(1, |size| size.max);
                    costs(CostRange::new(1, size).scale(CHARACTER))
                }
                name if name.starts_with("kubernetes.authorization.") => costs(ONE),
                _ => return None,
            },
            _ => return None,
        })
    }
}

/// Functions that cost one, whatever they are given.
const NOMINAL: &[&str] = &[
    "serviceAccount",
    "path",
    "group",
    "resource",
    "subresource",
    "namespace",
    "name",
    "allowed",
    "reason",
    "error",
    "errored",
    "masked",
    "prefixLength",
    "family",
    "isUnspecified",
    "isLoopback",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "isGlobalUnicast",
    "format.named",
    "sign",
    "asInteger",
    "isInteger",
    "asApproximateFloat",
    "isGreaterThan",
    "isLessThan",
    "compareTo",
    "add",
    "sub",
    "major",
    "minor",
    "patch",
    "getScheme",
    "getHostname",
    "getHost",
    "getPort",
    "getEscapedPath",
    "getQuery",
];

/// A fold over nothing that only names a value.
fn is_bind(fold: &Fold) -> bool {
    matches!(&fold.range.kind, Kind::List { elements, .. } if elements.is_empty())
        && matches!(&fold.condition.kind, Kind::Literal(Val::Bool(false)))
        && fold.accumulator != OLD_ACCUMULATOR
}

fn allocating(factor: f64, size: CostRange) -> CallRange {
    makes(size.scale(factor) + ONE + CostRange::fixed(LIST), size)
}

/// A literal number, not below zero, or else.
fn int_or(expr: &Expr, otherwise: u64) -> u64 {
    match &expr.kind {
        Kind::Literal(Val::Int(n)) => u64::try_from(*n).unwrap_or(0),
        _ => otherwise,
    }
}

/// How long a text may be after replacements.
fn replaced(size: CostRange, old: CostRange, new: CostRange) -> CostRange {
    let (mut times, mut kept) = (CostRange::default(), CostRange::default());
    if old.min == 0 {
        times.max = size.max.saturating_add(1);
        kept.max = size.max;
    } else if new.max <= old.min {
        kept.max = size.max;
    } else {
        times.max = size.max.div_ceil(old.min);
    }
    if old.max == 0 {
        times.min = size.min.saturating_add(1);
        kept.min = size.min;
    } else if old.max <= new.min {
        kept.min = size.min;
    } else {
        times.min = size.min.div_ceil(old.max);
    }
    times * new + kept
}
