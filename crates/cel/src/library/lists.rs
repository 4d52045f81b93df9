//! Lists: sums, extremes and positions (Kubernetes' library), and slicing, sorting and the like (cel-go's, version 3).

use super::Sig::{A, Bool, Bytes, Double, Duration, Dyn, Int, List as L, String as Str, Timestamp, Uint};
use super::{Function, Sig, function, global, int_of, list_of, member, operators, single};
use crate::value::{EvalError, List, MapKey, Outcome, Val, compare, equal, fail};
use std::cmp::Ordering;
use std::collections::HashSet;

const LIST: Sig = L(&A);

/// A row for each type that has an order.
macro_rules! each {
    ($row:ident) => {
        &[
            $row!("int", Int),
            $row!("uint", Uint),
            $row!("double", Double),
            $row!("bool", Bool),
            $row!("duration", Duration),
            $row!("timestamp", Timestamp),
            $row!("string", Str),
            $row!("bytes", Bytes),
        ]
    };
}

macro_rules! is_sorted_row {
    ($name:literal, $ty:ident) => {
        member(concat!("list_", $name, "_is_sorted_bool"), &[L(&$ty)], Bool, is_sorted)
    };
}

macro_rules! max_row {
    ($name:literal, $ty:ident) => {
        member(concat!("list_", $name, "_max_", $name), &[L(&$ty)], $ty, |a| extreme(a, "max", Ordering::Less))
    };
}

macro_rules! min_row {
    ($name:literal, $ty:ident) => {
        member(concat!("list_", $name, "_min_", $name), &[L(&$ty)], $ty, |a| extreme(a, "min", Ordering::Greater))
    };
}

macro_rules! sort_row {
    ($name:literal, $ty:ident) => {
        member(concat!("list_", $name, "_sort"), &[L(&$ty)], L(&$ty), |a| sort_by(list_of(&a[0])?, list_of(&a[0])?))
    };
}

macro_rules! sort_by_row {
    ($name:literal, $ty:ident) => {
        member(concat!("list_", $name, "_sortByAssociatedKeys"), &[LIST, L(&$ty)], LIST, |a| {
            sort_by(list_of(&a[0])?, list_of(&a[1])?)
        })
    };
}

pub(crate) const FUNCTIONS: &[Function] = &[
    function("isSorted", each!(is_sorted_row)),
    function(
        "sum",
        &[
            member("list_int_sum_int", &[L(&Int)], Int, |a| sum(a, Val::Int(0))),
            member("list_uint_sum_uint", &[L(&Uint)], Uint, |a| sum(a, Val::Uint(0))),
            member("list_double_sum_double", &[L(&Double)], Double, |a| sum(a, Val::Double(0.0))),
            member("list_duration_sum_duration", &[L(&Duration)], Duration, |a| sum(a, Val::Duration(0))),
        ],
    ),
    function("max", each!(max_row)),
    function("min", each!(min_row)),
    function("indexOf", &[member("list_a_index_of_int", &[LIST, A], Int, |a| position(a, false))]),
    function("lastIndexOf", &[member("list_a_last_index_of_int", &[LIST, A], Int, |a| position(a, true))]),
    function("slice", &[member("list_slice", &[LIST, Int, Int], LIST, slice)]),
    single(
        "flatten",
        &[
            member("list_flatten", &[L(&LIST)], LIST, |a| flatten(list_of(&a[0])?, 1)),
            member("list_flatten_int", &[L(&Dyn), Int], L(&Dyn), |a| flatten(list_of(&a[0])?, int_of(&a[1])?)),
        ],
    ),
    function("sort", each!(sort_row)),
    function(crate::parser::SORT_BY_KEYS, each!(sort_by_row)),
    function("lists.range", &[global("lists_range", &[Int], L(&Int), range)]),
    function("reverse", &[member("list_reverse", &[LIST], LIST, reverse)]),
    function("distinct", &[member("list_distinct", &[LIST], LIST, distinct)]),
];

fn is_sorted<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let mut before: Option<Val<'a>> = None;
    for item in list_of(&args[0])?.iter() {
        let item = item?;
        // What has no order is neither before nor behind.
        if before.is_some_and(|b| compare(&b, &item) == Ok(Ordering::Greater)) {
            return Ok(Val::Bool(false));
        }
        before = Some(item);
    }
    Ok(Val::Bool(true))
}

fn sum<'a>(args: &[Val<'a>], zero: Val<'a>) -> Outcome<'a> {
    list_of(&args[0])?.iter().try_fold(zero, |total, item| operators::add_values(total, item?))
}

/// The item that all others are on one side of.
fn extreme<'a>(args: &[Val<'a>], name: &str, give_way: Ordering) -> Outcome<'a> {
    let mut best: Option<Val<'a>> = None;
    for item in list_of(&args[0])?.iter() {
        let item = item?;
        match &best {
            Some(so_far) if compare(so_far, &item) != Ok(give_way) => {}
            _ => best = Some(item),
        }
    }
    best.map_or_else(|| fail(format!("{name} called on empty list")), Ok)
}

fn position<'a>(args: &[Val<'a>], last: bool) -> Outcome<'a> {
    let list = list_of(&args[0])?;
    let is = |at: &usize| list.get(*at).and_then(|item| equal(&item, &args[1])) == Ok(true);
    let at = if last { (0..list.len()).rev().find(is) } else { (0..list.len()).find(is) };
    Ok(Val::Int(at.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1)))
}

fn slice<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let (list, start, end) = (list_of(&args[0])?, int_of(&args[1])?, int_of(&args[2])?);
    let call = format!("cannot slice({start}, {end})");
    let (Ok(from), Ok(to)) = (usize::try_from(start), usize::try_from(end)) else {
        return fail(format!("{call}, negative indexes not supported"));
    };
    if from > to {
        return fail(format!("{call}, start index must be less than or equal to end index"));
    }
    if to > list.len() {
        return fail(format!("{call}, list is length {}", list.len()));
    }
    Ok(Val::list((from..to).map(|at| list.get(at)).collect::<Result<_, _>>()?))
}

fn flatten<'a>(list: &List<'a>, depth: i64) -> Outcome<'a> {
    if depth < 0 {
        return fail("level must be non-negative");
    }
    let mut flat = Vec::with_capacity(list.len());
    flatten_into(list, depth, &mut flat)?;
    Ok(Val::list(flat))
}

fn flatten_into<'a>(list: &List<'a>, depth: i64, into: &mut Vec<Val<'a>>) -> Result<(), EvalError> {
    for item in list.iter() {
        match item? {
            Val::List(nested) if depth > 0 => flatten_into(&nested, depth - 1, into)?,
            other => into.push(other),
        }
    }
    Ok(())
}

fn sort_by<'a>(list: &List<'a>, keys: &List<'a>) -> Outcome<'a> {
    if list.len() != keys.len() {
        let (n, m) = (list.len(), keys.len());
        return fail(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {n} and {m} \
             elements respectively"
        ));
    }
    let mut pairs: Vec<(Val<'a>, Val<'a>)> = keys.to_vec()?.into_iter().zip(list.to_vec()?).collect();
    let Some((first, _)) = pairs.first() else { return Ok(Val::List(list.clone())) };
    if compare(first, first).is_err() && !matches!(first, Val::Double(_)) {
        return fail("list elements must be comparable");
    }
    let ty = first.type_of();
    if pairs.iter().any(|(key, _)| key.type_of() != ty) {
        return fail("list elements must have the same type");
    }
    pairs.sort_by(|(a, _), (b, _)| compare(a, b).unwrap_or(Ordering::Equal));
    Ok(Val::list(pairs.into_iter().map(|(_, item)| item).collect()))
}

/// A list longer than the limit of a call would be over budget once it is there; it is not made in the first place.
fn range<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let end = int_of(&args[0])?;
    if u64::try_from(end).is_ok_and(|end| end > crate::PER_CALL_LIMIT) {
        return Err(EvalError::OverBudget);
    }
    Ok(Val::list((0..end).map(Val::Int).collect()))
}

fn reverse<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let mut items = list_of(&args[0])?.to_vec()?;
    items.reverse();
    Ok(Val::list(items))
}

/// Keeps the first of equal items. Scalars are told apart by key, the rest one by one.
fn distinct<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let mut seen = HashSet::new();
    let mut kept: Vec<Val<'a>> = Vec::new();
    for item in list_of(&args[0])?.iter() {
        let item = item?;
        let new = match MapKey::of(&item) {
            // NaN equals nothing, itself included.
            Some(MapKey::Double(bits)) if f64::from_bits(bits).is_nan() => true,
            Some(key) => seen.insert(key),
            None => !kept.iter().any(|k| equal(&item, k) == Ok(true)),
        };
        if new {
            kept.push(item);
        }
    }
    Ok(Val::list(kept))
}
