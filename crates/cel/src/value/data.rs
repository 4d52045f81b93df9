//! Reading API data: what a [`Value`] is to an expression, with or without a schema.

use super::time::{parse_date, parse_date_time, parse_format_duration};
use super::{List, Map, Outcome, Text, Val, fail};
use crate::schema::{Form, Format, Schema};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kaji_api::Value;

impl<'a> Val<'a> {
    /// Data as it is: objects are maps, whole numbers integers.
    pub fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Val::Null,
            Value::Bool(b) => Val::Bool(*b),
            Value::Int(n) => Val::Int(*n),
            Value::Float(f) => Val::Double(*f),
            Value::String(s) => Val::String(Text::Ref(s)),
            Value::Array(items) => Val::List(List::of(items, None)),
            Value::Object(object) => Val::Map(Map::Data(object, None)),
            // No expression gets to see what is in a set of fields.
            Value::Raw(_) => Val::Unknown(value),
        }
    }

    /// Data as a schema describes it; fails where it does not fit.
    pub fn typed(value: &'a Value, schema: &'a Schema) -> Outcome<'a> {
        if value.is_null() {
            if schema.nullable {
                return Ok(Val::Null);
            }
            return fail("invalid data, got null for schema with nullable=false");
        }
        match (&schema.form, value) {
            (Form::IntOrString { .. }, Value::Int(n)) => Ok(Val::Int(*n)),
            (Form::IntOrString { .. }, Value::String(s)) => Ok(Val::String(Text::Ref(s))),
            (Form::IntOrString { .. }, _) => {
                fail("invalid data, expected XIntOrString value to be either a string or integer")
            }
            (Form::Object { .. }, Value::Object(object)) => Ok(Val::Map(Map::Data(object, Some(schema)))),
            (Form::Object { .. }, _) => fail("invalid data, expected a map for the provided schema with type=object"),
            (Form::Array { items: None, .. }, Value::Array(_)) => {
                fail("invalid array type, expected Items with a non-empty Schema")
            }
            (Form::Array { .. }, Value::Array(items)) => Ok(Val::List(List::of(items, Some(schema)))),
            (Form::Array { .. }, _) => fail("invalid data, expected an array for the provided schema with type=array"),
            (Form::String { format, .. }, Value::String(s)) => formatted(s, *format),
            (Form::String { .. }, other) => fail(format!("invalid data, expected string, got {}", go_type(other))),
            #[expect(clippy::cast_precision_loss, reason = "numbers of a schema are 64-bit floats")]
            (Form::Number, Value::Int(n)) => Ok(Val::Double(*n as f64)),
            (Form::Number, Value::Float(f)) => Ok(Val::Double(*f)),
            (Form::Number, other) => fail(format!("invalid data, expected float, got {}", go_type(other))),
            (Form::Integer, Value::Int(n)) => Ok(Val::Int(*n)),
            (Form::Integer, other) => fail(format!("invalid data, expected int, got {}", go_type(other))),
            (Form::Bool, Value::Bool(b)) => Ok(Val::Bool(*b)),
            (Form::Bool, other) => fail(format!("invalid data, expected bool, got {}", go_type(other))),
            (Form::Unknown, other) if schema.preserves_unknown => Ok(Val::Unknown(other)),
            (Form::Unknown, _) => fail(
                "invalid type, expected object, array, number, integer, boolean or string, or no type with \
                 x-kubernetes-int-or-string or x-kubernetes-preserve-unknown-fields is true, got ",
            ),
        }
    }

    /// With a schema where there is one.
    pub(crate) fn read(value: &'a Value, schema: Option<&'a Schema>) -> Outcome<'a> {
        match schema {
            Some(schema) => Val::typed(value, schema),
            None => Ok(Val::of(value)),
        }
    }
}

fn formatted(text: &str, format: Format) -> Result<Val<'_>, super::EvalError> {
    match format {
        Format::None => Ok(Val::String(Text::Ref(text))),
        Format::Duration => match parse_format_duration(text) {
            Some(nanos) => Ok(Val::Duration(nanos)),
            None => fail(format!("Invalid duration {text}: unable to parse {text} as duration")),
        },
        Format::Date => match parse_date(text) {
            Some(time) => Ok(Val::Timestamp(time)),
            None => fail(format!("Invalid date formatted string {text}: cannot parse it as \"2006-01-02\"")),
        },
        Format::DateTime => match parse_date_time(text) {
            Some(time) => Ok(Val::Timestamp(time)),
            None => fail(format!("Invalid date-time formatted string {text}: cannot parse it as RFC 3339")),
        },
        Format::Byte => match STANDARD.decode(text) {
            Ok(bytes) => Ok(Val::Bytes(bytes.into())),
            Err(cause) => fail(format!("Invalid byte formatted string {text}: {cause}")),
        },
    }
}

/// How upstream names what it holds.
fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int64",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) | Value::Raw(_) => "map[string]interface {}",
    }
}
