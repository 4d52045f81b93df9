//! Equality and order of values.

use super::list::key_of;
use super::map::entry_schema;
use super::number::{int_double, int_uint, uint_double};
use super::{EvalError, List, Map, MapKey, Val, fail, no_overload};
use crate::schema::ListKind;
use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

/// Whether two values are equal. Values of different types are not, numbers apart; data of a schema does not compare
/// with values of other types at all.
pub(crate) fn equal(a: &Val<'_>, b: &Val<'_>) -> Result<bool, EvalError> {
    Ok(match (a, b) {
        (Val::Null, _) | (_, Val::Null) => matches!((a, b), (Val::Null, Val::Null)),
        (Val::Bool(a), Val::Bool(b)) => a == b,
        (Val::String(a), Val::String(b)) => a.as_str() == b.as_str(),
        (Val::Bytes(a), Val::Bytes(b)) => a == b,
        (Val::Duration(a), Val::Duration(b)) => a == b,
        (Val::Timestamp(a), Val::Timestamp(b)) => a == b,
        (Val::Type(a), Val::Type(b)) => a.name() == b.name(),
        (Val::Optional(a), Val::Optional(b)) => match (a, b) {
            (Some(a), Some(b)) => return equal(a, b),
            (None, None) => true,
            _ => false,
        },
        (Val::Opaque(a), Val::Opaque(b)) => a.equals(b),
        (Val::List(a), Val::List(b)) => return lists_equal(a, b),
        (Val::Map(a), Val::Map(b)) => return maps_equal(a, b),
        (Val::Struct(a), Val::Struct(b)) => {
            if a.name != b.name || a.fields.len() != b.fields.len() {
                return Ok(false);
            }
            for (name, value) in &a.fields {
                match b.fields.iter().find(|(n, _)| n == name) {
                    Some((_, other)) if equal(value, other)? => {}
                    _ => return Ok(false),
                }
            }
            true
        }
        (Val::Unknown(a), Val::Unknown(b)) => a == b,
        (Val::List(list), _) if list.is_typed() => return no_overload(),
        (Val::Map(map), _) if map.schema().is_some() => return no_overload(),
        _ => numbers(a, b) == Some(Ordering::Equal),
    })
}

fn lists_equal(a: &List<'_>, b: &List<'_>) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match a.kind() {
        Some(ListKind::Set) => {
            let set: HashSet<MapKey> = a.to_vec()?.iter().map(MapKey::any).collect();
            for item in b.iter() {
                if !set.contains(&MapKey::any(&item?)) {
                    return Ok(false);
                }
            }
        }
        Some(ListKind::Map(keys)) => {
            let items = a.to_vec()?;
            let by_key: HashMap<_, &Val<'_>> = items.iter().map(|item| (key_of(item, keys), item)).collect();
            for item in b.iter() {
                let item = item?;
                match by_key.get(&key_of(&item, keys)) {
                    Some(other) if equal(other, &item)? => {}
                    _ => return Ok(false),
                }
            }
        }
        _ => {
            for (x, y) in a.iter().zip(b.iter()) {
                if !equal(&x?, &y?)? {
                    return Ok(false);
                }
            }
        }
    }
    Ok(true)
}

fn maps_equal(a: &Map<'_>, b: &Map<'_>) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    if let (Map::Data(object, Some(schema)), Map::Data(other, _)) = (a, b) {
        // What the schema does not know compares as plain data; where the other lacks it, it does not count.
        let unknown = object.0.iter().filter(|(k, _)| entry_schema(schema, k).is_none());
        for (key, value) in unknown {
            if other.get(key).is_some_and(|o| o != value) {
                return Ok(false);
            }
        }
    }
    for key in a.keys() {
        match (a.find(&key)?, b.find(&key)?) {
            (Some(x), Some(y)) if equal(&x, &y)? => {}
            (None, None) => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// The order of two numbers; `None` for other values and NaN.
fn numbers(a: &Val<'_>, b: &Val<'_>) -> Option<Ordering> {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => Some(a.cmp(b)),
        (Val::Uint(a), Val::Uint(b)) => Some(a.cmp(b)),
        (Val::Double(a), Val::Double(b)) => a.partial_cmp(b),
        (Val::Int(a), Val::Uint(b)) => Some(int_uint(*a, *b)),
        (Val::Uint(a), Val::Int(b)) => Some(int_uint(*b, *a).reverse()),
        (Val::Int(a), Val::Double(b)) => int_double(*a, *b),
        (Val::Double(a), Val::Int(b)) => int_double(*b, *a).map(Ordering::reverse),
        (Val::Uint(a), Val::Double(b)) => uint_double(*a, *b),
        (Val::Double(a), Val::Uint(b)) => uint_double(*b, *a).map(Ordering::reverse),
        _ => None,
    }
}

/// The order of two values that have one.
pub(crate) fn compare(a: &Val<'_>, b: &Val<'_>) -> Result<Ordering, EvalError> {
    match (a, b) {
        (Val::Bool(a), Val::Bool(b)) => Ok(a.cmp(b)),
        (Val::String(a), Val::String(b)) => Ok(a.as_str().cmp(b.as_str())),
        (Val::Bytes(a), Val::Bytes(b)) => Ok(a.cmp(b)),
        (Val::Duration(a), Val::Duration(b)) => Ok(a.cmp(b)),
        (Val::Timestamp(a), Val::Timestamp(b)) => Ok(a.cmp(b)),
        _ => {
            let is_nan = |v: &Val<'_>| matches!(v, Val::Double(f) if f.is_nan());
            let is_number = |v: &Val<'_>| matches!(v, Val::Int(_) | Val::Uint(_) | Val::Double(_));
            if is_number(a) && is_number(b) && (is_nan(a) || is_nan(b)) {
                return fail("NaN values cannot be ordered");
            }
            numbers(a, b).map_or_else(no_overload, Ok)
        }
    }
}
