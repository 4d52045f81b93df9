//! The language's own functions: sizes, conversions, and the simple ones on strings.

use super::Sig::{
    A, B, Bool, Bytes, Double, Duration, Dyn, Int, List as L, Map as M, Opaque as O, String as Str, Timestamp, TypeOf,
    Uint,
};
use super::{Function, Sig, function, global, member, opaque, pattern, single, str_of};
use crate::types::Type;
use crate::value::{Outcome, Val, convert, no_overload};

const LIST: Sig = L(&A);
const MAP: Sig = M(&A, &B);

pub(crate) const FUNCTIONS: &[Function] = &[
    single(
        "size",
        &[
            global("size_bytes", &[Bytes], Int, size),
            member("bytes_size", &[Bytes], Int, size),
            global("size_list", &[LIST], Int, size),
            member("list_size", &[LIST], Int, size),
            global("size_map", &[MAP], Int, size),
            member("map_size", &[MAP], Int, size),
            global("size_string", &[Str], Int, size),
            member("string_size", &[Str], Int, size),
        ],
    ),
    single("type", &[global("type", &[A], TypeOf(&A), |args| Ok(Val::Type(args[0].type_of())))]),
    single("dyn", &[global("to_dyn", &[A], Dyn, |args| Ok(args[0].clone()))]),
    function(
        "bool",
        &[global("bool_to_bool", &[Bool], Bool, to_bool), global("string_to_bool", &[Str], Bool, to_bool)],
    ),
    function(
        "bytes",
        &[global("bytes_to_bytes", &[Bytes], Bytes, to_bytes), global("string_to_bytes", &[Str], Bytes, to_bytes)],
    ),
    function(
        "double",
        &[
            global("double_to_double", &[Double], Double, to_double),
            global("int64_to_double", &[Int], Double, to_double),
            global("string_to_double", &[Str], Double, to_double),
            global("uint64_to_double", &[Uint], Double, to_double),
        ],
    ),
    function(
        "duration",
        &[
            global("duration_to_duration", &[Duration], Duration, to_duration),
            global("int64_to_duration", &[Int], Duration, to_duration),
            global("string_to_duration", &[Str], Duration, to_duration),
        ],
    ),
    function(
        "int",
        &[
            global("int64_to_int64", &[Int], Int, to_int),
            global("double_to_int64", &[Double], Int, to_int),
            global("duration_to_int64", &[Duration], Int, to_int),
            global("string_to_int64", &[Str], Int, to_int),
            global("timestamp_to_int64", &[Timestamp], Int, to_int),
            global("uint64_to_int64", &[Uint], Int, to_int),
        ],
    ),
    function(
        "string",
        &[
            global("string_to_string", &[Str], Str, to_string),
            global("bool_to_string", &[Bool], Str, to_string),
            global("bytes_to_string", &[Bytes], Str, to_string),
            global("double_to_string", &[Double], Str, to_string),
            global("duration_to_string", &[Duration], Str, to_string),
            global("int64_to_string", &[Int], Str, to_string),
            global("timestamp_to_string", &[Timestamp], Str, to_string),
            global("uint64_to_string", &[Uint], Str, to_string),
            global("ip_to_string", &[O(opaque::IP)], Str, to_string),
            global("cidr_to_string", &[O(opaque::CIDR)], Str, to_string),
        ],
    ),
    function(
        "timestamp",
        &[
            global("timestamp_to_timestamp", &[Timestamp], Timestamp, to_timestamp),
            global("int64_to_timestamp", &[Int], Timestamp, to_timestamp),
            global("string_to_timestamp", &[Str], Timestamp, to_timestamp),
        ],
    ),
    function(
        "uint",
        &[
            global("uint64_to_uint64", &[Uint], Uint, to_uint),
            global("double_to_uint64", &[Double], Uint, to_uint),
            global("int64_to_uint64", &[Int], Uint, to_uint),
            global("string_to_uint64", &[Str], Uint, to_uint),
        ],
    ),
    single(
        "contains",
        &[member("contains_string", &[Str, Str], Bool, |a| Ok(Val::Bool(str_of(&a[0])?.contains(str_of(&a[1])?))))],
    ),
    single(
        "endsWith",
        &[member("ends_with_string", &[Str, Str], Bool, |a| Ok(Val::Bool(str_of(&a[0])?.ends_with(str_of(&a[1])?))))],
    ),
    single(
        "startsWith",
        &[member("starts_with_string", &[Str, Str], Bool, |a| {
            Ok(Val::Bool(str_of(&a[0])?.starts_with(str_of(&a[1])?)))
        })],
    ),
    single(
        "matches",
        &[
            global("matches", &[Str, Str], Bool, pattern::matches),
            member("matches_string", &[Str, Str], Bool, pattern::matches),
        ],
    ),
];

/// Functions whose calls on constants are worked out when the program is made.
pub(crate) const CONVERSIONS: &[&str] =
    &["bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type", "uint"];

fn size<'a>(args: &[Val<'a>]) -> Outcome<'a> {
    match (args[0].size(), &args[0]) {
        (Some(size), Val::String(_) | Val::Bytes(_) | Val::List(_) | Val::Map(_)) => {
            Ok(Val::Int(i64::try_from(size).unwrap_or(i64::MAX)))
        }
        _ => no_overload(),
    }
}

macro_rules! conversions {
    ($($name:ident: $ty:expr;)*) => {$(
        fn $name<'a>(args: &[Val<'a>]) -> Outcome<'a> {
            convert(&args[0], &$ty)
        }
    )*};
}

conversions! {
    to_bool: Type::Bool;
    to_bytes: Type::Bytes;
    to_double: Type::Double;
    to_duration: Type::Duration;
    to_int: Type::Int;
    to_string: Type::String;
    to_timestamp: Type::Timestamp;
    to_uint: Type::Uint;
}
