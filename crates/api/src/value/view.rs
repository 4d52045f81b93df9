//! Typed views: any serde type (a k8s-openapi struct, say) from a [`Value`], and back.

use super::{Object, Value};
use serde::de::{
    self, DeserializeOwned, IntoDeserializer,
    value::{MapDeserializer, SeqDeserializer},
};
use serde::{Deserialize, Deserializer, Serialize, ser::SerializeMap, ser::SerializeSeq};
use std::borrow::Cow;
use std::fmt;

/// The value does not have the shape of the type.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct FromViewError(String);

/// The type does not serialise to a JSON-shaped value.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ToViewError(#[from] serde_json::Error);

impl Value {
    /// This value as `T`, without going through text.
    pub fn view<T: DeserializeOwned>(&self) -> Result<T, FromViewError> {
        T::deserialize(self)
    }

    /// A value from anything that serialises.
    pub fn from_view<T: Serialize>(view: &T) -> Result<Self, ToViewError> {
        Ok(serde_json::from_slice(&serde_json::to_vec(view)?)?)
    }
}

impl de::Error for FromViewError {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        FromViewError(msg.to_string())
    }
}

impl<'de> Deserializer<'de> for &'de Value {
    type Error = FromViewError;

    fn deserialize_any<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Value::Null => visitor.visit_unit(),
            Value::Bool(b) => visitor.visit_bool(*b),
            Value::Int(n) => visitor.visit_i64(*n),
            Value::Float(f) => visitor.visit_f64(*f),
            Value::String(s) => visitor.visit_borrowed_str(s),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.iter())),
            Value::Object(o) => visitor.visit_map(MapDeserializer::new(o.0.iter().map(|(k, v)| (k.as_ref(), v)))),
            Value::Raw(text) => serde_json::Deserializer::from_str(text)
                .deserialize_any(visitor)
                .map_err(|why| FromViewError(why.to_string())),
        }
    }

    fn deserialize_option<V: de::Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Value::Null => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    fn deserialize_newtype_struct<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        match self {
            Value::String(s) => visitor.visit_enum(s.as_ref().into_deserializer()),
            _ => Err(de::Error::custom("expected a string")),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, FromViewError> for &'de Value {
    type Deserializer = &'de Value;

    fn into_deserializer(self) -> &'de Value {
        self
    }
}

impl Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => s.serialize_unit(),
            Value::Bool(b) => s.serialize_bool(*b),
            Value::Int(n) => s.serialize_i64(*n),
            Value::Float(f) => s.serialize_f64(*f),
            Value::String(v) => s.serialize_str(v),
            Value::Array(items) => {
                let mut seq = s.serialize_seq(Some(items.len()))?;
                for item in items {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
            Value::Object(o) => {
                let mut map = s.serialize_map(Some(o.len()))?;
                for (k, v) in &o.0 {
                    map.serialize_entry(k.as_ref(), v)?;
                }
                map.end()
            }
            Value::Raw(_) => self.opened().serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Untyped)
    }
}

/// Builds a value from self-describing input, without a schema.
struct Untyped;

impl<'de> de::Visitor<'de> for Untyped {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(Value::Int(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        #[expect(clippy::cast_precision_loss, reason = "beyond 64 signed bits JSON numbers are floats")]
        Ok(i64::try_from(v).map_or(Value::Float(v as f64), Value::Int))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        Ok(Value::Float(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(Value::from(v))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((k, v)) = map.next_entry::<String, Value>()? {
            entries.push((Cow::Owned(k), v));
        }
        crate::codec::keep_last(&mut entries, &mut |_| {});
        Ok(Value::Object(Object(entries)))
    }
}
