//! Optional values, and what the macros that make maps run on.

use super::Sig::{A, B, Bool, Dyn, List as L, Map as M, Optional as O, String as Str};
use super::{Function, Sig, function, global, list_of, map_of, member, single};
use crate::ast::op;
use crate::value::{Outcome, Val, fail, no_overload};

const OPTIONAL: Sig = O(&A);
const MAP: Sig = M(&A, &B);

pub(crate) const FUNCTIONS: &[Function] = &[
    function("optional.of", &[global("optional_of", &[A], OPTIONAL, |args| Ok(Val::some(args[0].clone())))]),
    function(
        "optional.ofNonZeroValue",
        &[global("optional_ofNonZeroValue", &[A], OPTIONAL, |args| {
            Ok(if args[0].is_zero() { Val::Optional(None) } else { Val::some(args[0].clone()) })
        })],
    ),
    function("optional.none", &[global("optional_none", &[], OPTIONAL, |_| Ok(Val::Optional(None)))]),
    function("value", &[member("optional_value", &[OPTIONAL], A, value)]),
    function(
        "hasValue",
        &[member("optional_hasValue", &[OPTIONAL], Bool, |args| match &args[0] {
            Val::Optional(inner) => Ok(Val::Bool(inner.is_some())),
            _ => no_overload(),
        })],
    ),
    // The plan runs these two itself: the second argument counts only if the first is none.
    single("or", &[member("optional_or_optional", &[OPTIONAL, OPTIONAL], OPTIONAL, |_| no_overload())]),
    single("orValue", &[member("optional_orValue_value", &[OPTIONAL, A], A, |_| no_overload())]),
    single(op::OPT_SELECT, &[global("select_optional_field", &[Dyn, Str], OPTIONAL, |_| no_overload())]),
    function("last", &[member("list_last", &[L(&A)], OPTIONAL, |args| at_end(args, true))]),
    function("first", &[member("list_first", &[L(&A)], OPTIONAL, |args| at_end(args, false))]),
    function("optional.unwrap", &[global("optional_unwrap", &[L(&OPTIONAL)], L(&A), unwrap)]),
    function("unwrapOpt", &[member("optional_unwrapOpt", &[L(&OPTIONAL)], L(&A), unwrap)]),
    function(
        crate::parser::MAP_INSERT,
        &[
            global("@mapInsert_map_key_value", &[MAP, A, B], MAP, |args| {
                map_of(&args[0])?.clone().insert(args[1].clone(), args[2].clone())
            }),
            global("@mapInsert_map_map", &[MAP, MAP], MAP, insert_all),
        ],
    ),
];

fn value<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    match &args[0] {
        Val::Optional(Some(inner)) => Ok(inner.as_ref().clone()),
        Val::Optional(None) => fail("optional.none() dereference"),
        _ => no_overload(),
    }
}

fn at_end<'a>(args: &[Val<'a>], last: bool) -> Outcome<'a> {
    let list = list_of(&args[0])?;
    match list.len().checked_sub(1) {
        None => Ok(Val::Optional(None)),
        Some(end) => list.get(if last { end } else { 0 }).map(Val::some),
    }
}

fn unwrap<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let mut values = Vec::new();
    for item in list_of(&args[0])?.iter() {
        match item? {
            Val::Optional(Some(value)) => values.push(value.as_ref().clone()),
            Val::Optional(None) => {}
            other => return fail(format!("value {other} is not optional")),
        }
    }
    Ok(Val::list(values))
}

fn insert_all<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    let more = map_of(&args[1])?;
    let mut map = map_of(&args[0])?.clone();
    for key in more.keys() {
        let value = more.find(&key)?.unwrap_or(Val::Null);
        match map.insert(key, value)? {
            Val::Map(grown) => map = grown,
            _ => return no_overload(),
        }
    }
    Ok(Val::Map(map))
}
