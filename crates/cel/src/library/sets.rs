//! Lists as sets.

use super::Sig::{A, Bool, List as L};
use super::{Function, Sig, function, global, list_of, operators::contains};
use crate::value::{EvalError, List, MapKey, Outcome, Val};
use std::collections::HashSet;

const LIST: Sig = L(&A);

pub(crate) const FUNCTIONS: &[Function] = &[
    function(
        "sets.contains",
        &[global("list_sets_contains_list", &[LIST, LIST], Bool, |args| {
            Ok(Val::Bool(includes(list_of(&args[0])?, list_of(&args[1])?)?))
        })],
    ),
    function(
        "sets.equivalent",
        &[global("list_sets_equivalent_list", &[LIST, LIST], Bool, |args| {
            let (a, b) = (list_of(&args[0])?, list_of(&args[1])?);
            Ok(Val::Bool(includes(a, b)? && includes(b, a)?))
        })],
    ),
    function("sets.intersects", &[global("list_sets_intersects_list", &[LIST, LIST], Bool, intersects)]),
];

/// Every item of the second list is in the first.
fn includes(list: &List<'_>, sub: &List<'_>) -> Result<bool, EvalError> {
    if let Some(keys) = keys(list)? {
        let mut all = true;
        for item in sub.iter() {
            all &= MapKey::of(&item?).is_some_and(|key| keys.contains(&key));
        }
        return Ok(all);
    }
    let container = Val::List(list.clone());
    for item in sub.iter() {
        if !contains(&container, &item?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The items as keys, if all are scalars.
fn keys(list: &List<'_>) -> Result<Option<HashSet<MapKey>>, EvalError> {
    let mut keys = HashSet::with_capacity(list.len());
    for item in list.iter() {
        match MapKey::of(&item?) {
            Some(MapKey::Double(bits)) if f64::from_bits(bits).is_nan() => return Ok(None),
            Some(key) => keys.insert(key),
            None => return Ok(None),
        };
    }
    Ok(Some(keys))
}

fn intersects<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    for item in list_of(&args[0])?.iter() {
        if contains(&args[1], &item?) == Ok(true) {
            return Ok(Val::Bool(true));
        }
    }
    Ok(Val::Bool(false))
}
