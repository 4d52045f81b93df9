//! Resource quantities.

use super::Sig::{Bool, Double, Int, Object as O, String as Str};
use super::{Function, Opaque, Sig, function, global, int_of, member, opaque, opaque_of, str_of};
use crate::value::{EvalError, Outcome, Val, fail, no_overload};
use kaji_api::quantity::{Format, Quantity};
use std::cmp::Ordering;

const QUANTITY: Sig = O(super::opaque::QUANTITY);

pub(crate) const FUNCTIONS: &[Function] = &[
    function("quantity", &[global("string_to_quantity", &[Str], QUANTITY, make)]),
    function(
        "isQuantity",
        &[global("is_quantity_string", &[Str], Bool, |a| Ok(Val::Bool(str_of(&a[0])?.parse::<Quantity>().is_ok())))],
    ),
    // Upstream declares this one without a target.
    function("sign", &[global("quantity_sign", &[QUANTITY], Int, |a| Ok(Val::Int(of(&a[0])?.signum().into())))]),
    function(
        "isGreaterThan",
        &[member("quantity_is_greater_than", &[QUANTITY, QUANTITY], Bool, |a| {
            Ok(Val::Bool(order(a)? == Ordering::Greater))
        })],
    ),
    function(
        "isLessThan",
        &[member("quantity_is_less_than", &[QUANTITY, QUANTITY], Bool, |a| Ok(Val::Bool(order(a)? == Ordering::Less)))],
    ),
    function(
        "compareTo",
        &[member("quantity_compare_to", &[QUANTITY, QUANTITY], Int, |a| Ok(Val::Int(order(a)? as i64)))],
    ),
    function(
        "asApproximateFloat",
        &[member("quantity_get_float", &[QUANTITY], Double, |a| Ok(Val::Double(of(&a[0])?.as_f64())))],
    ),
    function(
        "asInteger",
        &[member("quantity_get_int", &[QUANTITY], Int, |a| match of(&a[0])?.as_i64() {
            Some(n) => Ok(Val::Int(n)),
            None => fail("cannot convert value to integer"),
        })],
    ),
    function(
        "isInteger",
        &[member("quantity_is_integer", &[QUANTITY], Bool, |a| Ok(Val::Bool(of(&a[0])?.as_i64().is_some())))],
    ),
    function(
        "add",
        &[
            member("quantity_add", &[QUANTITY, QUANTITY], QUANTITY, |a| combine(a, Quantity::add)),
            member("quantity_add_int", &[QUANTITY, Int], QUANTITY, |a| combine(a, Quantity::add)),
        ],
    ),
    function(
        "sub",
        &[
            member("quantity_sub", &[QUANTITY, QUANTITY], QUANTITY, |a| combine(a, Quantity::sub)),
            member("quantity_sub_int", &[QUANTITY, Int], QUANTITY, |a| combine(a, Quantity::sub)),
        ],
    ),
];

fn of<'v>(value: &'v Val<'_>) -> Result<&'v Quantity, EvalError> {
    match opaque_of(value)? {
        Opaque::Quantity(q) => Ok(q),
        _ => no_overload(),
    }
}

fn make<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    match str_of(&args[0])?.parse() {
        Ok(quantity) => Ok(opaque(Opaque::Quantity(quantity))),
        Err(error) => fail(error.to_string()),
    }
}

fn order(args: &[Val<'_>]) -> Result<Ordering, EvalError> {
    Ok(of(&args[0])?.cmp(of(&args[1])?))
}

fn combine<'a>(args: &[Val<'a>], run: fn(&Quantity, &Quantity) -> Quantity) -> Outcome<'a> {
    let other = match &args[1] {
        Val::Int(_) => Quantity::scaled(int_of(&args[1])?, 0, Format::DecimalExponent),
        quantity => of(quantity)?.clone(),
    };
    Ok(opaque(Opaque::Quantity(run(of(&args[0])?, &other))))
}
