//! Keys that stand more than once in a mapping (`gopkg.in/yaml.v2` `UnmarshalStrict`).

use crate::field::{printed, quoted};
use crate::value::Value;
use serde::de::{self, Deserialize, Deserializer};
use serde_saphyr::Spanned;
use std::fmt;

/// What is said of every key that comes again, in the order of the document, what is inside its value first.
pub(super) struct Repeated(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Repeated {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Reader)
    }
}

struct Reader;

const NOTHING: Repeated = Repeated(Vec::new());

impl<'de> de::Visitor<'de> for Reader {
    type Value = Repeated;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Repeated, E> {
        Ok(NOTHING)
    }

    fn visit_none<E>(self) -> Result<Repeated, E> {
        Ok(NOTHING)
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Repeated, D::Error> {
        d.deserialize_any(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Repeated, E> {
        Ok(NOTHING)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Repeated, E> {
        Ok(NOTHING)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Repeated, E> {
        Ok(NOTHING)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Repeated, E> {
        Ok(NOTHING)
    }

    fn visit_str<E>(self, _: &str) -> Result<Repeated, E> {
        Ok(NOTHING)
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Repeated, A::Error> {
        let mut found = Vec::new();
        while let Some(below) = seq.next_element::<Repeated>()? {
            found.extend(below.0);
        }
        Ok(Repeated(found))
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Repeated, A::Error> {
        let (mut found, mut seen) = (Vec::new(), std::collections::HashSet::new());
        while let Some((key, value)) = map.next_entry::<Value, Spanned<Repeated>>()? {
            let shown = match &key {
                Value::String(text) => quoted(text),
                other => printed(other),
            };
            found.extend(value.value.0);
            if let Some(again) = seen.replace(shown) {
                found.push(format!("line {}: key {again} already set in map", value.referenced.line()));
            }
        }
        Ok(Repeated(found))
    }
}
