//! Checks of single values: what each demands, and whether a value meets it.

use super::{Node, NodeId, Span, Tree, types};
use kaji_api::Value;

/// One demand of a schema.
#[derive(Clone, Debug)]
pub(super) enum Check {
    AnyOf(Span),
    OneOf(Span),
    AllOf(Span),
    Not(NodeId),
    MaxLength(i64),
    MinLength(i64),
    /// Of `Tree::patterns`.
    Pattern(u32),
    MultipleOf(f64),
    Minimum(f64, Bound),
    Maximum(f64, Bound),
    MinItems(i64),
    MaxItems(i64),
    UniqueItems,
    /// Of `Tree::values`.
    Enum(Span),
    MinProperties(i64),
    MaxProperties(i64),
}

/// Whether a limit is itself within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Inclusive,
    Exclusive,
}

impl Tree {
    /// Whether the value meets a check that looks at the value alone. Checks of other kinds of values are met, and
    /// so are those of alternatives, which `fits` and `report` look at.
    pub(super) fn holds(&self, node: &Node, check: &Check, value: &Value) -> bool {
        match (check, value) {
            (Check::Enum(values), value) => self.values[values.range()].iter().any(|one| equals_member(value, one)),
            (Check::MaxLength(max), Value::String(s)) => length(s) <= *max,
            (Check::MinLength(min), Value::String(s)) => length(s) >= *min,
            (Check::Pattern(at), Value::String(s)) => self.patterns[*at as usize].matches(s),
            (Check::MultipleOf(_) | Check::Minimum(..) | Check::Maximum(..), Value::Int(_) | Value::Float(_)) => {
                number(node, check, value)
            }
            (Check::MaxItems(max), Value::Array(items)) => count(items.len()) <= *max,
            (Check::MinItems(min), Value::Array(items)) => count(items.len()) >= *min,
            (Check::UniqueItems, Value::Array(items)) => super::lists::repeated(items.iter()).is_empty(),
            (Check::MaxProperties(max), Value::Object(o)) => count(o.len()) <= *max,
            (Check::MinProperties(min), Value::Object(o)) => count(o.len()) >= *min,
            _ => true,
        }
    }
}

/// Characters, since that is what users count.
pub(super) fn length(s: &str) -> i64 {
    count(s.chars().count())
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Equal, as Go's conversion between number types has it: a member that is an integer takes any number that is
/// rounded to it. `null` is never a member.
fn equals_member(value: &Value, member: &Value) -> bool {
    match (value, member) {
        (Value::Null, _) => false,
        (Value::Int(n), Value::Float(m)) => as_float(*n) == *m,
        (Value::Float(f), Value::Int(m)) => as_int(*f) == *m,
        (value, member) => same(value, member),
    }
}

/// Deep equality; the order of entries does not matter.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) if a.len() != b.len() => false,
        (Value::Object(a), Value::Object(b)) => {
            // Mostly both are in the same order.
            let mut pairs = a.0.iter().zip(&b.0);
            if a.0.iter().zip(&b.0).all(|((a, _), (b, _))| a == b) {
                pairs.all(|((_, a), (_, b))| same(a, b))
            } else {
                a.0.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
            }
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (a, b) => a == b,
    }
}

#[expect(clippy::cast_precision_loss, reason = "as Go converts")]
pub(super) fn as_float(n: i64) -> f64 {
    n as f64
}

#[expect(clippy::cast_possible_truncation, reason = "as Go converts; saturation for what does not fit")]
pub(super) fn as_int(f: f64) -> i64 {
    f as i64
}

/// The number as a float.
pub(super) fn float(value: &Value) -> f64 {
    match value {
        Value::Int(n) => as_float(*n),
        Value::Float(f) => *f,
        _ => 0.0,
    }
}

/// Whether a schema speaks of integers alone, or of numbers alone.
fn only(node: &Node, ty: u8) -> bool {
    node.types == ty
}

/// Whether a number has a place in the type and format that the node names. Limits are held to that, too.
pub(super) fn in_range(node: &Node, value: &Value) -> bool {
    if only(node, types::INTEGER) {
        let fits = |n: i64| node.format != super::Format::Int32 || i32::try_from(n).is_ok();
        return match value {
            Value::Int(n) => fits(*n),
            other => {
                let f = float(other);
                f.fract() == 0.0 && f.abs() < 9.223_372_036_854_776e18 && fits(as_int(f))
            }
        };
    }
    let single = only(node, types::NUMBER) && node.format == super::Format::Float;
    !single || float(value).abs() <= f64::from(f32::MAX)
}

/// A number against a limit: integers as integers where the limit is one that the type can have.
fn number(node: &Node, check: &Check, value: &Value) -> bool {
    let (Check::MultipleOf(limit) | Check::Minimum(limit, _) | Check::Maximum(limit, _)) = check else { return true };
    if !in_range(node, &Value::Float(*limit)) {
        // Upstream reports the limit itself, whatever the value.
        return false;
    }
    let whole = match value {
        Value::Int(n) => Some(*n),
        _ => None,
    };
    match (check, whole) {
        (Check::MultipleOf(factor), Some(n)) => {
            let factor = as_int(*factor);
            factor > 0 && n % factor == 0
        }
        (Check::MultipleOf(factor), None) => {
            let f = float(value);
            *factor > 0.0 && is_whole(if *factor < 1.0 { 1.0 / factor * f } else { f / factor })
        }
        (Check::Minimum(min, bound), Some(n)) => match bound {
            Bound::Inclusive => n >= as_int(*min),
            Bound::Exclusive => n > as_int(*min),
        },
        (Check::Minimum(min, bound), None) => match bound {
            Bound::Inclusive => float(value) >= *min,
            Bound::Exclusive => float(value) > *min,
        },
        (Check::Maximum(max, bound), Some(n)) => match bound {
            Bound::Inclusive => n <= as_int(*max),
            Bound::Exclusive => n < as_int(*max),
        },
        (Check::Maximum(max, bound), None) => match bound {
            Bound::Inclusive => float(value) <= *max,
            Bound::Exclusive => float(value) < *max,
        },
        _ => true,
    }
}

/// A float that JSON could have written as an integer, up to rounding (go-openapi/swag `IsFloat64AJSONInteger`).
pub(super) fn is_whole(f: f64) -> bool {
    const MAX: f64 = 9_007_199_254_740_991.0;
    if !f.is_finite() || f.abs() > MAX {
        return false;
    }
    let nearest = f.trunc();
    f == nearest || (nearest != 0.0 && (f - nearest).abs() / (f.abs() + nearest.abs()) < 1e-9)
}
