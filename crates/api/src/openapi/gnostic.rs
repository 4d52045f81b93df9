//! Documents as protobuf: the messages of gnostic (`openapi.v2.Document`, `openapi.v3.Document`), which older
//! clients ask for as `application/com.github.proto-openapi.spec.v2@v1.0+protobuf`.
//!
//! Tables say which JSON field goes where; one function writes them all.

use crate::value::Value;

/// How a JSON value becomes a message.
enum Shape {
    /// Fields by name; those that begin with `x-` go to the numbered field as named values.
    Fields(&'static [Field], u32),
    /// Every field goes to the numbered one, as a pair of its name (1) and its value (2).
    Entries(u32, &'static Shape),
    /// One of several messages.
    Choice(fn(&Value) -> (u32, &'static Shape)),
    /// The value in the numbered field.
    Wrapped(u32, &'static Shape),
    /// A text or several.
    Texts,
    /// Any value, as YAML; JSON is that, too.
    Any,
    /// A number, a boolean or a text; nothing for anything else.
    Plain,
    /// A message in field 1, or true or false in field 2 (`additionalProperties`).
    OrFlag(&'static Shape),
}

/// JSON name, number, and what stands there.
type Field = (&'static str, u32, Kind);

/// What a field holds.
enum Kind {
    Text,
    Texts,
    Flag,
    Int,
    Double,
    One(&'static Shape),
    Many(&'static Shape),
}

/// A v2 document.
pub(super) fn v2(document: &Value) -> Vec<u8> {
    message(&v2::DOCUMENT, document)
}

/// A v3 document.
pub(super) fn v3(document: &Value) -> Vec<u8> {
    message(&v3::DOCUMENT, document)
}

fn message(shape: &Shape, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    match shape {
        Shape::Fields(fields, extensions) => {
            for (name, number, kind) in *fields {
                if let Some(value) = value.get(name) {
                    field(&mut out, *number, kind, value);
                }
            }
            for (name, value) in value.entries().filter(|(name, _)| name.starts_with("x-")) {
                bytes(&mut out, *extensions, &named(name, &message(&Shape::Any, value)));
            }
        }
        Shape::Entries(number, inner) => {
            for (name, value) in value.entries() {
                bytes(&mut out, *number, &named(name, &message(inner, value)));
            }
        }
        Shape::Choice(choose) => {
            let (number, inner) = choose(value);
            bytes(&mut out, number, &message(inner, value));
        }
        Shape::Wrapped(number, inner) => bytes(&mut out, *number, &message(inner, value)),
        Shape::Texts => texts(&mut out, 1, value),
        Shape::Any => {
            let mut yaml = Vec::new();
            crate::codec::write_json(value, &mut yaml);
            yaml.push(b'\n');
            bytes(&mut out, 2, &yaml);
        }
        Shape::Plain => plain(&mut out, value),
        Shape::OrFlag(inner) => match value {
            // One of several: false is told, too.
            Value::Bool(b) => out.extend([2 << 3, u8::from(*b)]),
            _ => bytes(&mut out, 1, &message(inner, value)),
        },
    }
    out
}

fn named(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    bytes(&mut out, 1, name.as_bytes());
    bytes(&mut out, 2, value);
    out
}

fn field(out: &mut Vec<u8>, number: u32, kind: &Kind, value: &Value) {
    match kind {
        Kind::Text => bytes(out, number, value.str().as_bytes()),
        Kind::Texts => texts(out, number, value),
        Kind::Flag => flag(out, number, value.bool()),
        Kind::Int => {
            varint(out, u64::from(number) << 3);
            varint(out, value.as_i64().unwrap_or_default().cast_unsigned());
        }
        Kind::Double => double(out, number, value),
        Kind::One(shape) => bytes(out, number, &message(shape, value)),
        Kind::Many(shape) => value.items().iter().for_each(|item| bytes(out, number, &message(shape, item))),
    }
}

fn texts(out: &mut Vec<u8>, number: u32, value: &Value) {
    let one = value.as_str().into_iter();
    for text in one.chain(value.items().iter().map(Value::str)) {
        bytes(out, number, text.as_bytes());
    }
}

fn plain(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Int(_) | Value::Float(_) => double(out, 1, value),
        Value::Bool(b) => out.extend([2 << 3, u8::from(*b)]),
        Value::String(s) => bytes(out, 3, s.as_bytes()),
        _ => {}
    }
}

fn double(out: &mut Vec<u8>, number: u32, value: &Value) {
    let n = match value {
        Value::Float(f) => *f,
        #[expect(clippy::cast_precision_loss, reason = "limits of schemas are doubles on the wire")]
        other => other.as_i64().unwrap_or_default() as f64,
    };
    varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&n.to_le_bytes());
}

/// False is what absence means.
fn flag(out: &mut Vec<u8>, number: u32, value: bool) {
    if value {
        varint(out, u64::from(number) << 3);
        out.push(1);
    }
}

fn bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    varint(out, u64::from(number) << 3 | 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// What both versions' requirements of security look like.
static REQUIREMENT: Shape = Shape::Entries(1, &Shape::Texts);

mod v2 {
    use super::Kind::{Double, Flag, Int, Many, One, Text, Texts};
    use super::{REQUIREMENT, Shape, Value};

    pub(super) static DOCUMENT: Shape = Shape::Fields(
        &[
            ("swagger", 1, Text),
            ("info", 2, One(&INFO)),
            ("paths", 8, One(&PATHS)),
            ("definitions", 9, One(&DEFINITIONS)),
            ("parameters", 10, One(&PARAMETERS)),
            ("security", 12, Many(&REQUIREMENT)),
            ("securityDefinitions", 13, One(&SECURITY_DEFINITIONS)),
        ],
        16,
    );
    static INFO: Shape = Shape::Fields(&[("title", 1, Text), ("version", 2, Text), ("description", 3, Text)], 7);
    static PATHS: Shape = Shape::Entries(2, &PATH);
    static DEFINITIONS: Shape = Shape::Entries(1, &SCHEMA);
    static PARAMETERS: Shape = Shape::Entries(1, &PARAMETER);
    static SECURITY_DEFINITIONS: Shape = Shape::Entries(1, &Shape::Wrapped(2, &API_KEY));
    static API_KEY: Shape =
        Shape::Fields(&[("type", 1, Text), ("name", 2, Text), ("in", 3, Text), ("description", 4, Text)], 5);
    static PATH: Shape = Shape::Fields(
        &[
            ("get", 2, One(&OPERATION)),
            ("put", 3, One(&OPERATION)),
            ("post", 4, One(&OPERATION)),
            ("delete", 5, One(&OPERATION)),
            ("options", 6, One(&OPERATION)),
            ("head", 7, One(&OPERATION)),
            ("patch", 8, One(&OPERATION)),
            ("parameters", 9, Many(&PARAMETER_ITEM)),
        ],
        10,
    );
    static OPERATION: Shape = Shape::Fields(
        &[
            ("tags", 1, Texts),
            ("description", 3, Text),
            ("operationId", 5, Text),
            ("produces", 6, Texts),
            ("consumes", 7, Texts),
            ("parameters", 8, Many(&PARAMETER_ITEM)),
            ("responses", 9, One(&RESPONSES)),
            ("schemes", 10, Texts),
            ("deprecated", 11, Flag),
        ],
        13,
    );
    static RESPONSES: Shape = Shape::Entries(1, &Shape::Wrapped(1, &RESPONSE));
    static RESPONSE: Shape =
        Shape::Fields(&[("description", 1, Text), ("schema", 2, One(&Shape::Wrapped(1, &SCHEMA)))], 5);

    static PARAMETER_ITEM: Shape = Shape::Choice(|value| match value.get("$ref") {
        Some(_) => (2, &REFERENCE),
        None => (1, &PARAMETER),
    });
    static REFERENCE: Shape = Shape::Fields(&[("$ref", 1, Text), ("description", 2, Text)], 0);
    static PARAMETER: Shape = Shape::Choice(|value: &Value| match value["in"].str() {
        "body" => (1, &BODY),
        _ => (2, &NON_BODY),
    });
    static BODY: Shape = Shape::Fields(
        &[
            ("description", 1, Text),
            ("name", 2, Text),
            ("in", 3, Text),
            ("required", 4, Flag),
            ("schema", 5, One(&SCHEMA)),
        ],
        6,
    );
    static NON_BODY: Shape = Shape::Choice(|value: &Value| match value["in"].str() {
        "path" => (4, &IN_PATH),
        _ => (3, &IN_QUERY),
    });
    static IN_PATH: Shape = Shape::Fields(
        &[
            ("required", 1, Flag),
            ("in", 2, Text),
            ("description", 3, Text),
            ("name", 4, Text),
            ("type", 5, Text),
            ("format", 6, Text),
            ("uniqueItems", 19, Flag),
        ],
        22,
    );
    static IN_QUERY: Shape = Shape::Fields(
        &[
            ("required", 1, Flag),
            ("in", 2, Text),
            ("description", 3, Text),
            ("name", 4, Text),
            ("type", 6, Text),
            ("format", 7, Text),
            ("uniqueItems", 20, Flag),
        ],
        23,
    );

    static SCHEMA: Shape = Shape::Fields(
        &[
            ("$ref", 1, Text),
            ("format", 2, Text),
            ("title", 3, Text),
            ("description", 4, Text),
            ("default", 5, One(&Shape::Any)),
            ("multipleOf", 6, Double),
            ("maximum", 7, Double),
            ("exclusiveMaximum", 8, Flag),
            ("minimum", 9, Double),
            ("exclusiveMinimum", 10, Flag),
            ("maxLength", 11, Int),
            ("minLength", 12, Int),
            ("pattern", 13, Text),
            ("maxItems", 14, Int),
            ("minItems", 15, Int),
            ("uniqueItems", 16, Flag),
            ("maxProperties", 17, Int),
            ("minProperties", 18, Int),
            ("required", 19, Texts),
            ("enum", 20, Many(&Shape::Any)),
            ("additionalProperties", 21, One(&ADDITIONAL)),
            ("type", 22, One(&Shape::Texts)),
            ("items", 23, One(&Shape::Wrapped(1, &SCHEMA))),
            ("allOf", 24, Many(&SCHEMA)),
            ("properties", 25, One(&DEFINITIONS)),
            ("example", 30, One(&Shape::Any)),
        ],
        31,
    );
    static ADDITIONAL: Shape = Shape::OrFlag(&SCHEMA);
}

mod v3 {
    use super::Kind::{Double, Flag, Int, Many, One, Text, Texts};
    use super::{REQUIREMENT, Shape, Value};

    pub(super) static DOCUMENT: Shape = Shape::Fields(
        &[
            ("openapi", 1, Text),
            ("info", 2, One(&INFO)),
            ("paths", 4, One(&PATHS)),
            ("components", 5, One(&COMPONENTS)),
            ("security", 6, Many(&REQUIREMENT)),
        ],
        9,
    );
    static INFO: Shape = Shape::Fields(&[("title", 1, Text), ("description", 2, Text), ("version", 6, Text)], 7);
    static PATHS: Shape = Shape::Entries(1, &PATH);
    static COMPONENTS: Shape =
        Shape::Fields(&[("schemas", 1, One(&SCHEMAS)), ("securitySchemes", 7, One(&SECURITY_SCHEMES))], 10);
    static SCHEMAS: Shape = Shape::Entries(1, &SCHEMA_OR_REFERENCE);
    static SECURITY_SCHEMES: Shape = Shape::Entries(1, &Shape::Wrapped(1, &SECURITY_SCHEME));
    static SECURITY_SCHEME: Shape =
        Shape::Fields(&[("type", 1, Text), ("description", 2, Text), ("name", 3, Text), ("in", 4, Text)], 9);
    static PATH: Shape = Shape::Fields(
        &[
            ("get", 4, One(&OPERATION)),
            ("put", 5, One(&OPERATION)),
            ("post", 6, One(&OPERATION)),
            ("delete", 7, One(&OPERATION)),
            ("options", 8, One(&OPERATION)),
            ("head", 9, One(&OPERATION)),
            ("patch", 10, One(&OPERATION)),
            ("parameters", 13, Many(&Shape::Wrapped(1, &PARAMETER))),
        ],
        14,
    );
    static OPERATION: Shape = Shape::Fields(
        &[
            ("tags", 1, Texts),
            ("description", 3, Text),
            ("operationId", 5, Text),
            ("parameters", 6, Many(&Shape::Wrapped(1, &PARAMETER))),
            ("requestBody", 7, One(&Shape::Wrapped(1, &BODY))),
            ("responses", 8, One(&RESPONSES)),
            ("deprecated", 10, Flag),
        ],
        13,
    );
    static PARAMETER: Shape = Shape::Fields(
        &[
            ("name", 1, Text),
            ("in", 2, Text),
            ("description", 3, Text),
            ("required", 4, Flag),
            ("schema", 10, One(&SCHEMA_OR_REFERENCE)),
        ],
        14,
    );
    static BODY: Shape =
        Shape::Fields(&[("description", 1, Text), ("content", 2, One(&CONTENT)), ("required", 3, Flag)], 4);
    static RESPONSES: Shape = Shape::Entries(2, &Shape::Wrapped(1, &RESPONSE));
    static RESPONSE: Shape = Shape::Fields(&[("description", 1, Text), ("content", 3, One(&CONTENT))], 5);
    static CONTENT: Shape = Shape::Entries(1, &MEDIA);
    static MEDIA: Shape = Shape::Fields(&[("schema", 1, One(&SCHEMA_OR_REFERENCE))], 5);

    static SCHEMA_OR_REFERENCE: Shape = Shape::Choice(|value| match value.get("$ref") {
        Some(Value::String(_)) => (2, &REFERENCE),
        _ => (1, &SCHEMA),
    });
    static REFERENCE: Shape = Shape::Fields(&[("$ref", 1, Text)], 0);
    static SCHEMA: Shape = Shape::Fields(
        &[
            ("nullable", 1, Flag),
            ("example", 7, One(&Shape::Any)),
            ("deprecated", 8, Flag),
            ("title", 9, Text),
            ("multipleOf", 10, Double),
            ("maximum", 11, Double),
            ("exclusiveMaximum", 12, Flag),
            ("minimum", 13, Double),
            ("exclusiveMinimum", 14, Flag),
            ("maxLength", 15, Int),
            ("minLength", 16, Int),
            ("pattern", 17, Text),
            ("maxItems", 18, Int),
            ("minItems", 19, Int),
            ("uniqueItems", 20, Flag),
            ("maxProperties", 21, Int),
            ("minProperties", 22, Int),
            ("required", 23, Texts),
            ("enum", 24, Many(&Shape::Any)),
            ("type", 25, Text),
            ("allOf", 26, Many(&SCHEMA_OR_REFERENCE)),
            ("oneOf", 27, Many(&SCHEMA_OR_REFERENCE)),
            ("anyOf", 28, Many(&SCHEMA_OR_REFERENCE)),
            ("not", 29, One(&SCHEMA)),
            ("items", 30, One(&Shape::Wrapped(1, &SCHEMA_OR_REFERENCE))),
            ("properties", 31, One(&SCHEMAS)),
            ("additionalProperties", 32, One(&ADDITIONAL)),
            ("default", 33, One(&Shape::Plain)),
            ("description", 34, Text),
            ("format", 35, Text),
        ],
        36,
    );
    static ADDITIONAL: Shape = Shape::OrFlag(&SCHEMA_OR_REFERENCE);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value;

    /// Fields of a message: number and content; for those that are no bytes, the number alone.
    fn fields(mut message: &[u8]) -> Vec<(u64, Vec<u8>)> {
        let mut out = Vec::new();
        let number = |message: &mut &[u8]| {
            let (mut n, mut shift) = (0, 0);
            loop {
                let byte = message[0];
                *message = &message[1..];
                n |= u64::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    return n;
                }
            }
        };
        while !message.is_empty() {
            let key = number(&mut message);
            let content = match key & 7 {
                0 => vec![u8::try_from(number(&mut message)).unwrap()],
                1 => message.split_off(..8).unwrap().to_vec(),
                _ => {
                    let length = usize::try_from(number(&mut message)).unwrap();
                    message.split_off(..length).unwrap().to_vec()
                }
            };
            out.push((key >> 3, content));
        }
        out
    }

    /// The content at a path of numbers, the first of each.
    fn at(message: &[u8], path: &[u64]) -> Vec<u8> {
        path.iter().fold(message.to_vec(), |m, number| {
            fields(&m).into_iter().find(|(n, _)| n == number).unwrap_or_else(|| panic!("no {number}")).1
        })
    }

    #[test]
    fn v2_messages() {
        let document = value!({
            "swagger": "2.0",
            "definitions": {"A": {"type": "object", "additionalProperties": false, "x-a": {"b": 1}}},
            "paths": {"/a": {"get": {"parameters": [{"in": "path", "name": "n"}], "responses": {"200": {"schema": {"$ref": "#/A"}}}}}}
        });
        let out = v2(&document);
        assert_eq!(at(&out, &[1]), b"2.0");
        assert_eq!(at(&out, &[9, 1, 1]), b"A");
        assert_eq!(at(&out, &[9, 1, 2, 22, 1]), b"object");
        assert_eq!(at(&out, &[9, 1, 2, 21, 2]), [0]);
        assert_eq!(at(&out, &[9, 1, 2, 31, 2, 2]), b"{\"b\":1}\n");
        assert_eq!(at(&out, &[8, 2, 2, 2, 8, 1, 2, 4, 4]), b"n");
        assert_eq!(at(&out, &[8, 2, 2, 2, 9, 1, 2, 1, 2, 1, 1]), b"#/A");
    }

    #[test]
    fn v3_messages() {
        let document = value!({
            "openapi": "3.0.0",
            "components": {"schemas": {"A": {"oneOf": [{"type": "string"}], "default": 1, "maximum": 2}}}
        });
        let out = v3(&document);
        let schema = [5, 1, 1, 2, 1];
        assert_eq!(at(&out, &[&schema[..], &[27, 1, 25]].concat()), b"string");
        assert_eq!(at(&out, &[&schema[..], &[33, 1]].concat()), 1f64.to_le_bytes());
        assert_eq!(at(&out, &[&schema[..], &[11]].concat()), 2f64.to_le_bytes());
    }
}
