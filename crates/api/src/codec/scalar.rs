//! Scalars from JSON tokens to canonical values, and what is wrong with those that are none.

use super::fault::Fault;
use super::time;
use crate::quantity::Quantity;
use crate::schema::{Alternative, Scalar, Shape};
use crate::value::Value;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::borrow::Cow;

/// A JSON token that is neither object, list nor null.
pub(crate) enum Token<'a> {
    String(Cow<'a, str>),
    /// As written.
    Number(&'a str),
    Bool(bool),
}

impl Token<'_> {
    fn name(&self) -> &'static str {
        match self {
            Token::String(_) => "string",
            Token::Number(_) => "number",
            Token::Bool(_) => "bool",
        }
    }

    fn mismatch(&self) -> Fault {
        Fault::Mismatch(self.name().into())
    }

    /// What Go's decoder says inside a type that reads its own text.
    fn refused(&self, go_type: &str) -> Fault {
        Fault::Refused(format!("json: cannot unmarshal {} into Go value of type {go_type}", self.name()))
    }
}

/// Go's decoder for base64 does not mind bits left over.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// A token as a value of that shape.
pub(crate) fn read(token: Token<'_>, shape: Shape<'_>) -> Result<Value, Fault> {
    match (shape, token) {
        (Shape::Scalar(scalar), token) => read_scalar(token, scalar),
        (Shape::Either(_, Alternative::Bool), Token::Bool(b)) => Ok(Value::Bool(b)),
        (Shape::Either(_, Alternative::Bool), _) => Err(Fault::Refused("boolean or JSON schema expected".into())),
        (_, token) => Err(token.mismatch()),
    }
}

fn read_scalar(token: Token<'_>, scalar: Scalar) -> Result<Value, Fault> {
    Ok(match (scalar, token) {
        (Scalar::String, Token::String(s)) => Value::String(s.into()),
        (Scalar::Bool, Token::Bool(b)) => Value::Bool(b),
        (Scalar::Int32, Token::Number(n)) => integer(n, i32::MIN.into(), i32::MAX.into())?,
        (Scalar::Int64, Token::Number(n)) => integer(n, i64::MIN, i64::MAX)?,
        (Scalar::Double, Token::Number(n)) => match n.parse::<f64>() {
            Ok(f) if f.is_finite() => Value::Float(f),
            _ => return Err(Fault::Mismatch(format!("number {n}").into())),
        },
        (Scalar::Bytes, Token::String(s)) => bytes(&s)?,
        (Scalar::Time, Token::String(s)) => time::canonical(&s).map_err(Fault::Refused)?,
        (Scalar::MicroTime, Token::String(s)) => time::canonical_micro(&s).map_err(Fault::Refused)?,
        (Scalar::Duration, Token::String(s)) => Value::from(time::canonical_duration(&s).map_err(Fault::Refused)?),
        (Scalar::Quantity, Token::String(s)) => quantity(&s)?,
        (Scalar::Quantity, Token::Number(n)) => quantity(n)?,
        (Scalar::Quantity, Token::Bool(b)) => quantity(if b { "true" } else { "false" })?,
        (Scalar::IntOrString, Token::String(s)) => Value::String(s.into()),
        (Scalar::IntOrString, Token::Number(n)) => integer(n, i32::MIN.into(), i32::MAX.into())
            .map_err(|_| Fault::Refused(format!("json: cannot unmarshal number {n} into Go value of type int32")))?,
        (Scalar::IntOrString, token) => return Err(token.refused("int32")),
        (Scalar::Time | Scalar::MicroTime | Scalar::Duration, token) => return Err(token.refused("string")),
        (raw, token) if raw.is_raw() => match token {
            Token::String(s) => Value::String(s.into()),
            Token::Number(n) => super::number::untyped(n),
            Token::Bool(b) => Value::Bool(b),
        },
        (_, token) => return Err(token.mismatch()),
    })
}

/// An object or a list where something else belongs.
pub(crate) fn container(what: &'static str, shape: Shape<'_>) -> Fault {
    let inside = |go_type| Fault::Refused(format!("json: cannot unmarshal {what} into Go value of type {go_type}"));
    match shape {
        Shape::Scalar(Scalar::Time | Scalar::MicroTime | Scalar::Duration) => inside("string"),
        Shape::Scalar(Scalar::IntOrString) => inside("int32"),
        Shape::Scalar(Scalar::Quantity) => quantity("{").err().unwrap_or(Fault::Mismatch(what.into())),
        Shape::Either(_, Alternative::Bool) => Fault::Refused("boolean or JSON schema expected".into()),
        _ => Fault::Mismatch(what.into()),
    }
}

fn integer(text: &str, min: i64, max: i64) -> Result<Value, Fault> {
    match text.parse::<i64>() {
        Ok(n) if (min..=max).contains(&n) => Ok(Value::Int(n)),
        _ => Err(Fault::Mismatch(format!("number {text}").into())),
    }
}

fn quantity(text: &str) -> Result<Value, Fault> {
    if is_plain_quantity(text) {
        return Ok(Value::from(text));
    }
    match Quantity::canonical(text) {
        Some(canonical) => Ok(Value::from(canonical)),
        None => Err(Fault::Refused(
            text.parse::<Quantity>().err().unwrap_or("unable to parse quantity's suffix").to_owned(),
        )),
    }
}

/// Most quantities are canonical at sight: up to three digits and a suffix.
fn is_plain_quantity(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let suffixes = ["m", "", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    (1..=3).contains(&digits) && !text.starts_with('0') && suffixes.contains(&&text[digits..])
}

fn bytes(text: &str) -> Result<Value, Fault> {
    let joined: Cow<'_, str> = if text.contains(['\r', '\n']) {
        text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect::<String>().into()
    } else {
        text.into()
    };
    match BASE64.decode(joined.as_bytes()) {
        Ok(raw) => Ok(Value::from(BASE64.encode(raw))),
        Err(why) => Err(Fault::Refused(format!("illegal base64 data at input byte {}", offence(&why, joined.len())))),
    }
}

fn offence(why: &base64::DecodeError, len: usize) -> usize {
    match why {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => *at,
        base64::DecodeError::InvalidLength(_) | base64::DecodeError::InvalidPadding => len / 4 * 4,
    }
}

/// Bytes to the text JSON has for them.
pub(crate) fn encode_bytes(raw: &[u8]) -> String {
    BASE64.encode(raw)
}

/// The bytes of canonical text; none where it is not base64.
pub(crate) fn decode_bytes(text: &str) -> Vec<u8> {
    BASE64.decode(text).unwrap_or_default()
}
