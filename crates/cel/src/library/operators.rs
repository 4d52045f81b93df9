//! What `+`, `<`, `in` and their like do.

use super::Sig::{A, B, Bool, Bytes, Double, Duration, Int, List as L, Map as M, String as Str, Timestamp, Uint};
use super::{Function, Overload, Run, Sig, global, single};
use crate::ast::op;
use crate::value::{EvalError, MapKey, Outcome, Val, compare, equal, fail, no_overload};
use std::cmp::Ordering;

const LIST: Sig = L(&A);
const MAP: Sig = M(&A, &B);

pub(crate) const FUNCTIONS: &[Function] = &[
    single(op::CONDITIONAL, &[global("conditional", &[Bool, A, A], A, planned)]),
    single(op::AND, &[global("logical_and", &[Bool, Bool], Bool, planned)]),
    single(op::OR, &[global("logical_or", &[Bool, Bool], Bool, planned)]),
    single(op::NOT, &[global("logical_not", &[Bool], Bool, not)]),
    single(op::NOT_STRICTLY_FALSE, &[global("not_strictly_false", &[Bool], Bool, planned)]),
    single(op::EQ, &[global("equals", &[A, A], Bool, |args| equal(&args[0], &args[1]).map(Val::Bool))]),
    // What cannot be compared is not equal.
    single(op::NE, &[global("not_equals", &[A, A], Bool, |a| Ok(Val::Bool(equal(&a[0], &a[1]) != Ok(true))))]),
    single(
        op::ADD,
        &[
            global("add_bytes", &[Bytes, Bytes], Bytes, add),
            global("add_double", &[Double, Double], Double, add),
            global("add_duration_duration", &[Duration, Duration], Duration, add),
            global("add_duration_timestamp", &[Duration, Timestamp], Timestamp, add),
            global("add_timestamp_duration", &[Timestamp, Duration], Timestamp, add),
            global("add_int64", &[Int, Int], Int, add),
            global("add_list", &[LIST, LIST], LIST, add),
            global("add_string", &[Str, Str], Str, add),
            global("add_uint64", &[Uint, Uint], Uint, add),
        ],
    ),
    single(
        op::SUB,
        &[
            global("subtract_double", &[Double, Double], Double, subtract),
            global("subtract_duration_duration", &[Duration, Duration], Duration, subtract),
            global("subtract_int64", &[Int, Int], Int, subtract),
            global("subtract_timestamp_duration", &[Timestamp, Duration], Timestamp, subtract),
            global("subtract_timestamp_timestamp", &[Timestamp, Timestamp], Duration, subtract),
            global("subtract_uint64", &[Uint, Uint], Uint, subtract),
        ],
    ),
    single(
        op::MUL,
        &[
            global("multiply_double", &[Double, Double], Double, multiply),
            global("multiply_int64", &[Int, Int], Int, multiply),
            global("multiply_uint64", &[Uint, Uint], Uint, multiply),
        ],
    ),
    single(
        op::DIV,
        &[
            global("divide_double", &[Double, Double], Double, divide),
            global("divide_int64", &[Int, Int], Int, divide),
            global("divide_uint64", &[Uint, Uint], Uint, divide),
        ],
    ),
    single(
        op::REM,
        &[global("modulo_int64", &[Int, Int], Int, modulo), global("modulo_uint64", &[Uint, Uint], Uint, modulo)],
    ),
    single(op::NEG, &[global("negate_double", &[Double], Double, negate), global("negate_int64", &[Int], Int, negate)]),
    single(op::LT, &LESS),
    single(op::LE, &LESS_EQUALS),
    single(op::GT, &GREATER),
    single(op::GE, &GREATER_EQUALS),
    single(
        op::INDEX,
        &[
            global("index_list", &[LIST, Int], A, planned),
            global("index_map", &[MAP, A], B, planned),
            global("optional_list_index_int", &[Sig::Optional(&LIST), Int], Sig::Optional(&A), planned),
            global("optional_map_index_value", &[Sig::Optional(&MAP), A], Sig::Optional(&B), planned),
        ],
    ),
    single(
        op::OPT_INDEX,
        &[
            global("list_optindex_optional_int", &[LIST, Int], Sig::Optional(&A), planned),
            global("optional_list_optindex_optional_int", &[Sig::Optional(&LIST), Int], Sig::Optional(&A), planned),
            global("map_optindex_optional_value", &[MAP, A], Sig::Optional(&B), planned),
            global("optional_map_optindex_optional_value", &[Sig::Optional(&MAP), A], Sig::Optional(&B), planned),
        ],
    ),
    single(op::IN, &[global("in_list", &[A, LIST], Bool, within), global("in_map", &[A, MAP], Bool, within)]),
];

/// Overloads of a comparison: every pair of types that has an order.
const fn comparison(ids: &'static [&'static str; 14], run: Run) -> [Overload; 14] {
    [
        global(ids[0], &[Bool, Bool], Bool, run),
        global(ids[1], &[Int, Int], Bool, run),
        global(ids[2], &[Int, Double], Bool, run),
        global(ids[3], &[Int, Uint], Bool, run),
        global(ids[4], &[Uint, Uint], Bool, run),
        global(ids[5], &[Uint, Double], Bool, run),
        global(ids[6], &[Uint, Int], Bool, run),
        global(ids[7], &[Double, Double], Bool, run),
        global(ids[8], &[Double, Int], Bool, run),
        global(ids[9], &[Double, Uint], Bool, run),
        global(ids[10], &[Str, Str], Bool, run),
        global(ids[11], &[Bytes, Bytes], Bool, run),
        global(ids[12], &[Timestamp, Timestamp], Bool, run),
        global(ids[13], &[Duration, Duration], Bool, run),
    ]
}

macro_rules! comparisons {
    ($($name:ident = $prefix:literal, $run:expr;)*) => {$(
        static $name: [Overload; 14] = comparison(
            &[
                concat!($prefix, "_bool"),
                concat!($prefix, "_int64"),
                concat!($prefix, "_int64_double"),
                concat!($prefix, "_int64_uint64"),
                concat!($prefix, "_uint64"),
                concat!($prefix, "_uint64_double"),
                concat!($prefix, "_uint64_int64"),
                concat!($prefix, "_double"),
                concat!($prefix, "_double_int64"),
                concat!($prefix, "_double_uint64"),
                concat!($prefix, "_string"),
                concat!($prefix, "_bytes"),
                concat!($prefix, "_timestamp"),
                concat!($prefix, "_duration"),
            ],
            $run,
        );
    )*};
}

comparisons! {
    LESS = "less", |args| compare(&args[0], &args[1]).map(|o| Val::Bool(o == Ordering::Less));
    LESS_EQUALS = "less_equals", |args| compare(&args[0], &args[1]).map(|o| Val::Bool(o != Ordering::Greater));
    GREATER = "greater", |args| compare(&args[0], &args[1]).map(|o| Val::Bool(o == Ordering::Greater));
    GREATER_EQUALS = "greater_equals", |args| compare(&args[0], &args[1]).map(|o| Val::Bool(o != Ordering::Less));
}

/// Operators that the plan knows and never calls.
fn planned<'a>(_: &[Val<'a>]) -> Outcome<'a> {
    no_overload()
}

fn not<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    match &args[0] {
        Val::Bool(b) => Ok(Val::Bool(!b)),
        _ => no_overload(),
    }
}

fn or_overflow<'a>(value: Option<Val<'a>>, what: &str) -> Outcome<'a> {
    value.map_or_else(|| fail(format!("{what} overflow")), Ok)
}

const INTEGER: &str = "integer";
const UNSIGNED: &str = "unsigned integer";
const DURATION: &str = "duration";
const TIMESTAMP: &str = "timestamp";

fn unsupported<'a>(name: &str, left: &Val<'_>, supported: fn(&Val<'_>) -> bool) -> Outcome<'a> {
    if supported(left) { no_overload() } else { fail(format!("no such overload: {name}")) }
}

fn add<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    match (&args[0], &args[1]) {
        (Val::Int(a), Val::Int(b)) => or_overflow(a.checked_add(*b).map(Val::Int), INTEGER),
        (Val::Uint(a), Val::Uint(b)) => or_overflow(a.checked_add(*b).map(Val::Uint), UNSIGNED),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a + b)),
        (Val::String(a), Val::String(b)) => Ok(Val::from([a.as_str(), b.as_str()].concat())),
        (Val::Bytes(a), Val::Bytes(b)) => Ok(Val::Bytes([&a[..], &b[..]].concat().into())),
        (Val::List(a), Val::List(b)) => a.clone().join(b.clone()),
        (Val::Duration(a), Val::Duration(b)) => or_overflow(a.checked_add(*b).map(Val::Duration), DURATION),
        (Val::Duration(d), Val::Timestamp(t)) | (Val::Timestamp(t), Val::Duration(d)) => {
            or_overflow(t.add(*d).map(Val::Timestamp), TIMESTAMP)
        }
        (left, _) => unsupported(op::ADD, left, |v| {
            matches!(
                v,
                Val::Int(_)
                    | Val::Uint(_)
                    | Val::Double(_)
                    | Val::String(_)
                    | Val::Bytes(_)
                    | Val::List(_)
                    | Val::Duration(_)
                    | Val::Timestamp(_)
            )
        }),
    }
}

/// The same as `a + b`, for sums.
pub(super) fn add_values<'a>(a: Val<'a>, b: Val<'a>) -> Outcome<'a> {
    add(&[a, b])
}

fn subtract<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    match (&args[0], &args[1]) {
        (Val::Int(a), Val::Int(b)) => or_overflow(a.checked_sub(*b).map(Val::Int), INTEGER),
        (Val::Uint(a), Val::Uint(b)) => or_overflow(a.checked_sub(*b).map(Val::Uint), UNSIGNED),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a - b)),
        (Val::Duration(a), Val::Duration(b)) => or_overflow(a.checked_sub(*b).map(Val::Duration), DURATION),
        (Val::Timestamp(t), Val::Duration(d)) => {
            or_overflow(d.checked_neg().and_then(|d| t.add(d)).map(Val::Timestamp), TIMESTAMP)
        }
        (Val::Timestamp(a), Val::Timestamp(b)) => or_overflow(a.since(*b).map(Val::Duration), DURATION),
        (left, _) => unsupported(op::SUB, left, |v| {
            matches!(v, Val::Int(_) | Val::Uint(_) | Val::Double(_) | Val::Duration(_) | Val::Timestamp(_))
        }),
    }
}

fn is_number(value: &Val<'_>) -> bool {
    matches!(value, Val::Int(_) | Val::Uint(_) | Val::Double(_))
}

fn multiply<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    match (&args[0], &args[1]) {
        (Val::Int(a), Val::Int(b)) => or_overflow(a.checked_mul(*b).map(Val::Int), INTEGER),
        (Val::Uint(a), Val::Uint(b)) => or_overflow(a.checked_mul(*b).map(Val::Uint), UNSIGNED),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a * b)),
        (left, _) => unsupported(op::MUL, left, is_number),
    }
}

fn divide<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    match (&args[0], &args[1]) {
        (Val::Int(_), Val::Int(0)) | (Val::Uint(_), Val::Uint(0)) => fail("division by zero"),
        (Val::Int(a), Val::Int(b)) => or_overflow(a.checked_div(*b).map(Val::Int), INTEGER),
        (Val::Uint(a), Val::Uint(b)) => Ok(Val::Uint(a / b)),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a / b)),
        (left, _) => unsupported(op::DIV, left, is_number),
    }
}

fn modulo<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    match (&args[0], &args[1]) {
        (Val::Int(_), Val::Int(0)) | (Val::Uint(_), Val::Uint(0)) => fail("modulus by zero"),
        (Val::Int(a), Val::Int(b)) => or_overflow(a.checked_rem(*b).map(Val::Int), INTEGER),
        (Val::Uint(a), Val::Uint(b)) => Ok(Val::Uint(a % b)),
        (left, _) => unsupported(op::REM, left, |v| matches!(v, Val::Int(_) | Val::Uint(_))),
    }
}

fn negate<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    match &args[0] {
        Val::Int(n) => or_overflow(n.checked_neg().map(Val::Int), INTEGER),
        Val::Double(f) => Ok(Val::Double(-f)),
        Val::Duration(n) => or_overflow(n.checked_neg().map(Val::Duration), DURATION),
        other => unsupported(op::NEG, other, |_| false),
    }
}

/// `x in list` and `key in map`.
fn within<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    contains(&args[1], &args[0]).map(Val::Bool)
}

/// Whether a list has an equal item or a map the key.
pub(super) fn contains(container: &Val<'_>, value: &Val<'_>) -> Result<bool, EvalError> {
    match container {
        Val::List(list) => {
            let mut fault = None;
            for item in list.iter() {
                match equal(&item?, value) {
                    Ok(true) => return Ok(true),
                    Ok(false) => {}
                    Err(error) if list.is_typed() => fault = fault.or(Some(error)),
                    Err(_) => {}
                }
            }
            fault.map_or(Ok(false), Err)
        }
        Val::Map(map) if map.schema().is_some() || MapKey::of(value).is_some() => Ok(map.find(value)?.is_some()),
        Val::Map(_) => Ok(false),
        _ => no_overload(),
    }
}
