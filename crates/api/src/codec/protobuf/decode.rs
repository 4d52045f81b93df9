//! Messages to values.

use super::wire::{FIXED64, LEN, Reader, VARINT, WireType};
use super::{DecodeError, embedded};
use crate::codec::time::{self, Instant};
use crate::codec::{MAX_DEPTH, json, lossy, scalar};
use crate::quantity::Quantity;
use crate::schema::canonical::{self, Frame};
use crate::schema::{Alternative, FieldRef, ListRef, MapRef, Scalar, Shape, TypeRef};
use crate::value::{Key, Value};
use std::borrow::Cow;

/// An object's own message, and the type that its envelope names; `depth` objects and lists are around it.
pub(super) fn object(
    ty: TypeRef<'_>,
    raw: &[u8],
    api_version: &str,
    kind: &str,
    depth: usize,
) -> Result<Value, DecodeError> {
    let mut decoder = Decoder { frame: Frame::default(), depth };
    decoder.deeper()?;
    let start = decoder.frame.open();
    for (name, word) in [("kind", kind), ("apiVersion", api_version)] {
        if let Some((place, _)) = ty.find(name, 0).filter(|_| !word.is_empty()) {
            decoder.frame.put(start, place, Some(Value::from(word)));
        }
    }
    decoder.fields(ty, raw, start, 0)?;
    Ok(Value::Object(decoder.frame.close(ty, start)))
}

struct Decoder {
    frame: Frame,
    /// Objects and lists around the place at hand, as JSON has them: what is read here must be readable there.
    depth: usize,
}

impl Decoder {
    /// The fields of a message into the frame; those of an inline struct into its holder's, from `base` on.
    fn fields(&mut self, ty: TypeRef<'_>, raw: &[u8], start: usize, base: usize) -> Result<(), DecodeError> {
        let mut reader = Reader::new(raw);
        let mut unsorted = Vec::new();
        while let Some((number, wire)) = reader.tag()? {
            let Some(field) = ty.wire().find(|f| u64::from(f.number()) == number) else {
                reader.skip(wire)?;
                continue;
            };
            let place = base + usize::from(field.def().place);
            match field.shape() {
                Shape::Struct(inner) if field.is_inline() => {
                    self.fields(inner, message(&mut reader, wire)?, start, place)?;
                }
                _ if field.is_proto_only() => reader.skip(wire)?,
                Shape::Map(map) => {
                    if !self.map_entry(map, message(&mut reader, wire)?, start, place)? && !unsorted.contains(&place) {
                        unsorted.push(place);
                    }
                }
                shape => self.field(field, shape, &mut reader, wire, start, place)?,
            }
        }
        for place in unsorted {
            if let Value::Object(o) = self.frame.place(start, place, Value::object) {
                canonical::sort(&mut o.0, |_| {});
            }
        }
        Ok(())
    }

    /// Goes into an object or a list.
    fn deeper(&mut self) -> Result<(), DecodeError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(DecodeError("exceeded max depth".into())) } else { Ok(()) }
    }

    /// Adds an entry to a map; false if it is out of order there.
    fn map_entry(&mut self, map: MapRef<'_>, raw: &[u8], start: usize, place: usize) -> Result<bool, DecodeError> {
        self.deeper()?;
        let (key, value) = self.entry(map, raw)?;
        self.depth -= 1;
        let Value::Object(o) = self.frame.place(start, place, Value::object) else { return Ok(true) };
        let sorted = o.0.last().is_none_or(|(last, _)| *last < key);
        o.0.push((key, value));
        Ok(sorted)
    }

    fn field(
        &mut self,
        field: FieldRef<'_>,
        shape: Shape<'_>,
        reader: &mut Reader<'_>,
        wire: WireType,
        start: usize,
        place: usize,
    ) -> Result<(), DecodeError> {
        match shape {
            Shape::List(list) if !list.wrapped => {
                self.deeper()?;
                let item = self.value(list.item(), reader, wire)?;
                self.depth -= 1;
                if let Value::Array(items) = self.frame.place(start, place, || Value::Array(vec![])) {
                    items.push(item);
                }
            }
            shape => {
                let value = self.value(shape, reader, wire)?;
                self.frame.put(start, place, canonical::kept(field, value));
            }
        }
        Ok(())
    }

    fn entry(&mut self, map: MapRef<'_>, raw: &[u8]) -> Result<(Key, Value), DecodeError> {
        let (mut key, mut value) = (String::new(), None);
        let mut reader = Reader::new(raw);
        while let Some((number, wire)) = reader.tag()? {
            match (number, wire) {
                (1, LEN) => key = reader.string()?,
                (2, wire) => value = Some(self.value(map.item(), &mut reader, wire)?),
                (_, wire) => reader.skip(wire)?,
            }
        }
        Ok((Cow::Owned(key), value.unwrap_or_else(|| canonical::zero(map.item()))))
    }

    fn value(&mut self, shape: Shape<'_>, reader: &mut Reader<'_>, wire: WireType) -> Result<Value, DecodeError> {
        match shape {
            Shape::Scalar(kind) => scalar_value(kind, reader, wire, self.depth),
            Shape::Struct(ty) => self.object(ty, message(reader, wire)?),
            Shape::Either(ty, alternative) => self.either(ty, alternative, message(reader, wire)?),
            Shape::List(list) => self.wrapped(list, message(reader, wire)?),
            Shape::Map(_) => Err(DecodeError("proto: a map inside a list or map".into())),
        }
    }

    fn object(&mut self, ty: TypeRef<'_>, raw: &[u8]) -> Result<Value, DecodeError> {
        self.deeper()?;
        let start = self.frame.open();
        self.fields(ty, raw, start, 0)?;
        self.depth -= 1;
        Ok(Value::Object(self.frame.close(ty, start)))
    }

    fn wrapped(&mut self, list: ListRef<'_>, raw: &[u8]) -> Result<Value, DecodeError> {
        self.deeper()?;
        let mut items = vec![];
        let mut reader = Reader::new(raw);
        while let Some((number, wire)) = reader.tag()? {
            match number {
                1 => items.push(self.value(list.item(), &mut reader, wire)?),
                _ => reader.skip(wire)?,
            }
        }
        self.depth -= 1;
        Ok(Value::Array(items))
    }

    fn either(&mut self, ty: TypeRef<'_>, alternative: Alternative, raw: &[u8]) -> Result<Value, DecodeError> {
        let (mut object, mut allows, mut items) = (None, false, vec![]);
        let mut reader = Reader::new(raw);
        while let Some((number, wire)) = reader.tag()? {
            match (alternative, number, wire) {
                (Alternative::Bool, 1, VARINT) => allows = reader.varint()? != 0,
                (Alternative::Bool, 2, LEN) | (Alternative::List | Alternative::Strings, 1, LEN) => {
                    object = Some(self.object(ty, reader.bytes()?)?);
                }
                (Alternative::List, 2, LEN) => {
                    self.deeper()?;
                    items.push(self.object(ty, reader.bytes()?)?);
                    self.depth -= 1;
                }
                (Alternative::Strings, 2, LEN) => items.push(Value::from(reader.string()?)),
                (_, _, wire) => reader.skip(wire)?,
            }
        }
        Ok(match (alternative, object) {
            (Alternative::Bool, Some(object)) => object,
            (Alternative::Bool, None) => Value::Bool(allows),
            (_, _) if !items.is_empty() => Value::Array(items),
            (_, object) => object.unwrap_or_default(),
        })
    }
}

fn expect(wire: WireType, expected: WireType) -> Result<(), DecodeError> {
    if wire == expected { Ok(()) } else { Err(DecodeError(format!("proto: wrong wireType = {wire}"))) }
}

fn message<'b>(reader: &mut Reader<'b>, wire: WireType) -> Result<&'b [u8], DecodeError> {
    expect(wire, LEN)?;
    reader.bytes()
}

fn scalar_value(kind: Scalar, reader: &mut Reader<'_>, wire: WireType, depth: usize) -> Result<Value, DecodeError> {
    Ok(match kind {
        Scalar::Bool | Scalar::Int32 | Scalar::Int64 => {
            expect(wire, VARINT)?;
            let n = reader.int()?;
            match kind {
                Scalar::Bool => Value::Bool(n != 0),
                #[expect(clippy::cast_possible_truncation, reason = "protobuf keeps the low 32 bits")]
                Scalar::Int32 => Value::Int(i64::from(n as i32)),
                _ => Value::Int(n),
            }
        }
        Scalar::Double => {
            expect(wire, FIXED64)?;
            Value::Float(f64::from_bits(reader.fixed64()?))
        }
        _ => {
            let raw = message(reader, wire)?;
            match kind {
                Scalar::String => Value::from(lossy(raw).as_ref()),
                Scalar::Bytes => Value::from(scalar::encode_bytes(raw)),
                Scalar::Time => instant(raw)?.map_or(Value::Null, time::show),
                Scalar::MicroTime => instant(raw)?.map_or(Value::Null, time::show_micro),
                Scalar::Duration => Value::from(time::show_duration(first_int(raw)?)),
                Scalar::Quantity => quantity(raw)?,
                Scalar::IntOrString => int_or_string(raw)?,
                kind => match first_bytes(raw)? {
                    Some(json) if kind == Scalar::FieldsV1 => json::parse_raw_below(depth, json)?,
                    Some(json) => embedded(json, depth)?,
                    None => Value::Null,
                },
            }
        }
    })
}

fn first_bytes(raw: &[u8]) -> Result<Option<&[u8]>, DecodeError> {
    let (mut reader, mut found) = (Reader::new(raw), None);
    while let Some((number, wire)) = reader.tag()? {
        match (number, wire) {
            (1, LEN) => found = Some(reader.bytes()?),
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(found)
}

fn first_int(raw: &[u8]) -> Result<i64, DecodeError> {
    let (mut reader, mut found) = (Reader::new(raw), 0);
    while let Some((number, wire)) = reader.tag()? {
        match (number, wire) {
            (1, VARINT) => found = reader.int()?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(found)
}

/// Seconds and nanoseconds; none in an empty message, which is the zero time.
fn instant(raw: &[u8]) -> Result<Option<Instant>, DecodeError> {
    if raw.is_empty() {
        return Ok(None);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut reader = Reader::new(raw);
    while let Some((number, wire)) = reader.tag()? {
        match (number, wire) {
            (1, VARINT) => seconds = reader.int()?,
            (2, VARINT) => nanos = reader.int()?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Instant::of(seconds, nanos).map(Some).map_err(DecodeError)
}

/// One without a text is zero; a text that is no quantity is refused (apimachinery `resource/quantity_proto.go`).
fn quantity(raw: &[u8]) -> Result<Value, DecodeError> {
    let Some(text) = first_bytes(raw)?.map(lossy) else { return Ok(Value::from("0")) };
    match Quantity::canonical(&text) {
        Some(canonical) => Ok(Value::from(canonical)),
        None => {
            Err(DecodeError(text.parse::<Quantity>().err().unwrap_or("unable to parse quantity's suffix").to_owned()))
        }
    }
}

fn int_or_string(raw: &[u8]) -> Result<Value, DecodeError> {
    let (mut is_string, mut n, mut text) = (false, 0, String::new());
    let mut reader = Reader::new(raw);
    while let Some((number, wire)) = reader.tag()? {
        match (number, wire) {
            (1, VARINT) => is_string = reader.varint()? != 0,
            (2, VARINT) => n = reader.int()?,
            (3, LEN) => text = reader.string()?,
            (_, wire) => reader.skip(wire)?,
        }
    }
    Ok(if is_string { Value::from(text) } else { Value::Int(n) })
}
