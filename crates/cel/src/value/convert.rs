//! Conversions: between types of the language, and back to data.

use super::time::{Timestamp, parse_duration, parse_rfc3339};
use super::{EvalError, Outcome, Val, fail, float_text};
use crate::types::Type;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kaji_api::{Object, Value};

/// A span of time as `string` writes it: seconds.
pub(crate) fn duration_text(nanos: i64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "Go writes seconds as a float, too")]
    let seconds = (nanos / 1_000_000_000) as f64 + (nanos % 1_000_000_000) as f64 / 1e9;
    format!("{seconds}s")
}

/// `int(x)`, `string(x)` and their like.
pub(crate) fn convert<'a>(value: &Val<'a>, to: &Type) -> Outcome<'a> {
    let converted = match to {
        Type::Int => to_int(value)?,
        Type::Uint => to_uint(value)?,
        Type::Double => to_double(value),
        Type::Bool => match value {
            Val::Bool(_) => Some(value.clone()),
            Val::String(s) => parse_bool(s).map(Val::Bool),
            _ => None,
        },
        Type::String => to_string(value)?,
        Type::Bytes => match value {
            Val::Bytes(_) => Some(value.clone()),
            Val::String(s) => Some(Val::Bytes(s.as_str().as_bytes().into())),
            _ => None,
        },
        Type::Duration => match value {
            Val::Duration(_) => Some(value.clone()),
            Val::Int(n) => Some(Val::Duration(*n)),
            Val::String(s) => parse_duration(s).map(Val::Duration),
            _ => None,
        },
        Type::Timestamp => to_timestamp(value)?,
        _ => None,
    };
    match converted {
        Some(converted) => Ok(converted),
        None => fail(format!("type conversion error from '{}' to '{}'", value.type_of().name(), to.name())),
    }
}

fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A number of Go's syntax.
fn parse_digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

#[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
fn to_int<'a>(value: &Val<'a>) -> Result<Option<Val<'a>>, EvalError> {
    Ok(Some(match value {
        Val::Int(_) => value.clone(),
        Val::Uint(n) => match i64::try_from(*n) {
            Ok(n) => Val::Int(n),
            Err(_) => return fail("integer overflow"),
        },
        // The limits themselves are out: as floats they stand for more than they can hold.
        Val::Double(f) if f.is_finite() && *f > -9_223_372_036_854_775_808.0 && *f < 9_223_372_036_854_775_807.0 => {
            Val::Int(*f as i64)
        }
        Val::Double(_) => return fail("integer overflow"),
        Val::String(s) => return Ok(parse_digits(s).map(Val::Int)),
        Val::Timestamp(t) => Val::Int(t.seconds),
        Val::Duration(n) => Val::Int(*n),
        _ => return Ok(None),
    }))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
fn to_uint<'a>(value: &Val<'a>) -> Result<Option<Val<'a>>, EvalError> {
    Ok(Some(match value {
        Val::Uint(_) => value.clone(),
        Val::Int(n) => match u64::try_from(*n) {
            Ok(n) => Val::Uint(n),
            Err(_) => return fail("unsigned integer overflow"),
        },
        Val::Double(f) if *f >= 0.0 && *f < 18_446_744_073_709_551_615.0 => Val::Uint(*f as u64),
        Val::Double(_) => return fail("unsigned integer overflow"),
        Val::String(s) if !s.starts_with('+') => return Ok(parse_digits(s).map(Val::Uint)),
        _ => return Ok(None),
    }))
}

#[expect(clippy::cast_precision_loss, reason = "what the conversion is for")]
fn to_double<'a>(value: &Val<'a>) -> Option<Val<'a>> {
    Some(match value {
        Val::Double(_) => value.clone(),
        Val::Int(n) => Val::Double(*n as f64),
        Val::Uint(n) => Val::Double(*n as f64),
        Val::String(s) => {
            let text = s.trim_start_matches(['+', '-']).to_ascii_lowercase();
            // Out of range is an error in Go, infinity in Rust.
            let f: f64 = s.parse().ok()?;
            let named = matches!(text.as_str(), "inf" | "infinity" | "nan");
            return (named || f.is_finite()).then_some(Val::Double(f));
        }
        _ => return None,
    })
}

fn to_string<'a>(value: &Val<'a>) -> Result<Option<Val<'a>>, EvalError> {
    Ok(Some(match value {
        Val::String(_) => value.clone(),
        Val::Bool(b) => Val::from(b.to_string()),
        Val::Int(n) => Val::from(n.to_string()),
        Val::Uint(n) => Val::from(n.to_string()),
        Val::Double(f) => Val::from(float_text(*f)),
        Val::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Val::from(text.to_owned()),
            Err(_) => return fail("invalid UTF-8 in bytes, cannot convert to string"),
        },
        Val::Duration(n) => Val::from(duration_text(*n)),
        Val::Timestamp(t) => Val::from(t.text()),
        Val::Null => Val::from("null"),
        Val::Type(ty) => Val::from(ty.name().to_owned()),
        Val::Opaque(opaque) => return Ok(opaque.to_text().map(Val::from)),
        _ => return Ok(None),
    }))
}

fn to_timestamp<'a>(value: &Val<'a>) -> Result<Option<Val<'a>>, EvalError> {
    let time = match value {
        Val::Timestamp(_) => return Ok(Some(value.clone())),
        Val::Int(n) => Timestamp::new(*n, 0),
        Val::String(s) => match parse_rfc3339(s) {
            Some(time) => time.ok(),
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    time.map_or_else(|| fail("timestamp overflow"), |t| Ok(Some(Val::Timestamp(t))))
}

/// A result that has no form as data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToValueError {
    /// No data is like this.
    #[error("unsupported type '{0}' in result")]
    Type(String),
    /// It could not be read to the end.
    #[error(transparent)]
    Read(#[from] EvalError),
}

impl Val<'_> {
    /// The value as data: what a mutation writes into an object. Bytes become base64, times text.
    pub fn to_value(&self) -> Result<Value, ToValueError> {
        Ok(match self {
            Val::Null => Value::Null,
            Val::Bool(b) => Value::Bool(*b),
            Val::Int(n) => Value::Int(*n),
            #[expect(clippy::cast_precision_loss, reason = "beyond 64 signed bits JSON numbers are floats")]
            Val::Uint(n) => i64::try_from(*n).map_or(Value::Float(*n as f64), Value::Int),
            Val::Double(f) => Value::Float(*f),
            Val::String(s) => Value::from(s.as_str()),
            Val::Bytes(b) => Value::from(STANDARD.encode(b)),
            Val::Duration(n) => Value::from(duration_text(*n)),
            Val::Timestamp(t) => Value::from(t.text()),
            Val::List(list) => {
                let items = list.iter().map(|i| i?.to_value());
                Value::Array(items.collect::<Result<_, _>>()?)
            }
            Val::Map(super::Map::Data(object, _)) => Value::Object((*object).clone()),
            Val::Map(map) => {
                let mut entries = Vec::with_capacity(map.len());
                for key in map.keys() {
                    let Some(name) = key.as_str() else { return Err(ToValueError::Type(key.type_of().to_string())) };
                    let value = map.find(&key)?.unwrap_or(Val::Null).to_value()?;
                    entries.push((name.to_owned().into(), value));
                }
                Value::Object(Object(entries))
            }
            Val::Struct(s) => {
                let fields = s.fields.iter().map(|(name, value)| Ok((name.clone().into(), value.to_value()?)));
                Value::Object(Object(fields.collect::<Result<_, ToValueError>>()?))
            }
            Val::Unknown(value) => (*value).clone(),
            Val::Opaque(opaque) => match opaque.to_text() {
                Some(text) => Value::from(text),
                None => return Err(ToValueError::Type(self.type_of().to_string())),
            },
            Val::Optional(Some(inner)) => inner.to_value()?,
            Val::Type(_) | Val::Optional(None) => return Err(ToValueError::Type(self.type_of().to_string())),
        })
    }
}
