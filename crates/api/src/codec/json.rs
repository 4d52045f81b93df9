//! JSON to values in one pass, with or without a schema.

use super::fault::{Faults, Step};
use super::number;
use super::reader::{Reader, Syntax};
use super::scalar::{self, Token};
use super::{DecodeError, Strict};
use crate::schema::canonical::{self, Frame};
use crate::schema::{Alternative, FieldRef, Scalar, Shape, TypeRef};
use crate::value::{Key, Object, Value};
use std::borrow::Cow;

/// JSON of a known type. Unknown fields are dropped and reported; `null` counts as absent.
pub fn decode_json(ty: TypeRef<'_>, bytes: &[u8]) -> Result<(Value, Strict), DecodeError> {
    let text = super::lossy(bytes);
    let mut decoder =
        Decoder { reader: Reader::new(&text), faults: Faults::default(), path: Vec::new(), frame: Frame::default() };
    let shape = Shape::Struct(ty);
    let value = decoder.value(shape, ty.is_custom())?;
    decoder.reader.finish()?;
    let strict = decoder.faults.done()?;
    let value = if value.is_null() { canonical::zero(shape) } else { value };
    Ok((value, strict))
}

/// JSON of no known type: no order, no checks but syntax; duplicate keys take the last.
pub fn parse_json(bytes: &[u8]) -> Result<Value, DecodeError> {
    parse_json_below(0, bytes)
}

/// The same inside something that is so deep already.
pub(super) fn parse_json_below(depth: usize, bytes: &[u8]) -> Result<Value, DecodeError> {
    let text = super::lossy(bytes);
    let mut reader = Reader::below(depth, &text);
    let value = untyped(&mut reader, &mut |_| {})?;
    reader.finish()?;
    Ok(value)
}

/// JSON of which only the text will be wanted, so deep inside something.
pub(super) fn parse_raw_below(depth: usize, bytes: &[u8]) -> Result<Value, DecodeError> {
    let text = super::lossy(bytes);
    let mut reader = Reader::below(depth, &text);
    let value = if reader.peek()? == b'{' { raw_text(&mut reader)? } else { untyped(&mut reader, &mut |_| {})? };
    reader.finish()?;
    Ok(value)
}

fn raw_text(reader: &mut Reader<'_>) -> Result<Value, Syntax> {
    let mut text = Vec::with_capacity(128);
    compact(reader, &mut text)?;
    Ok(Value::Raw(String::from_utf8(text).expect("made of text").into()))
}

/// Writes the value to come as [`write_json`](super::write_json) would, its entries in the order they stand in.
fn compact(reader: &mut Reader<'_>, out: &mut Vec<u8>) -> Result<(), Syntax> {
    if reader.peek()? != b'{' {
        super::write_json(&untyped(reader, &mut |_| {})?, out);
        return Ok(());
    }
    out.push(b'{');
    let mut more = reader.enter(b'}')?;
    while more {
        super::write_json_string(&reader.key()?, out);
        out.push(b':');
        compact(reader, out)?;
        more = reader.more(b'}')?;
        if more {
            out.push(b',');
        }
    }
    out.push(b'}');
    Ok(())
}

/// A value whose schema is not known; `duplicate` is told of repeated keys.
fn untyped(reader: &mut Reader<'_>, duplicate: &mut dyn FnMut(&str)) -> Result<Value, Syntax> {
    Ok(match reader.peek()? {
        b'{' => {
            let mut entries: Vec<(Key, Value)> = Vec::new();
            let mut more = reader.enter(b'}')?;
            while more {
                let key = reader.key()?.into_owned();
                entries.push((Cow::Owned(key), untyped(reader, duplicate)?));
                more = reader.more(b'}')?;
            }
            keep_last(&mut entries, duplicate);
            Value::Object(Object(entries))
        }
        b'[' => {
            let mut items = Vec::new();
            let mut more = reader.enter(b']')?;
            while more {
                items.push(untyped(reader, duplicate)?);
                more = reader.more(b']')?;
            }
            Value::Array(items)
        }
        b'"' => Value::String(reader.string()?.into()),
        b't' => reader.word("true").map(|()| Value::Bool(true))?,
        b'f' => reader.word("false").map(|()| Value::Bool(false))?,
        b'n' => reader.word("null").map(|()| Value::Null)?,
        b'-' | b'0'..=b'9' => number::untyped(reader.number()?),
        _ => return Err(reader.no_value()),
    })
}

/// Drops all but the last entry of each key.
pub(crate) fn keep_last(entries: &mut Vec<(Key, Value)>, duplicate: &mut dyn FnMut(&str)) {
    if entries.len() < 2 {
        return;
    }
    let mut order: Vec<usize> = (0..entries.len()).collect();
    order.sort_by(|a, b| entries[*a].0.cmp(&entries[*b].0));
    let mut dropped = vec![];
    for pair in order.windows(2) {
        if entries[pair[0]].0 == entries[pair[1]].0 {
            duplicate(&entries[pair[0]].0);
            dropped.push(pair[0]);
        }
    }
    if dropped.is_empty() {
        return;
    }
    dropped.sort_unstable();
    let (mut at, mut dropped) = (0.., dropped.into_iter().peekable());
    entries.retain(|_| dropped.next_if_eq(&at.next().unwrap_or_default()).is_none());
}

struct Decoder<'a, 'b> {
    reader: Reader<'b>,
    faults: Faults,
    path: Vec<Step<'a>>,
    frame: Frame,
}

impl<'a> Decoder<'a, '_> {
    /// A value of a shape; `null` for what is `null` or does not fit. In custom resources (`custom`) values that
    /// do not fit stay as they are: validation refuses them later.
    fn value(&mut self, shape: Shape<'a>, custom: bool) -> Result<Value, Syntax> {
        match self.reader.peek()? {
            b'{' => match shape {
                Shape::Struct(ty) | Shape::Either(ty, _) if ty.is_custom() => self.custom(ty),
                Shape::Struct(ty) | Shape::Either(ty, _) => self.object(ty),
                Shape::Map(map) => self.map(map.item(), custom, !custom || map.keeps_null()),
                _ if custom => self.free(),
                Shape::Scalar(Scalar::FieldsV1) => raw_text(&mut self.reader),
                Shape::Scalar(s) if s.is_raw() => self.raw(),
                _ => self.misfit("object", shape),
            },
            b'[' => match shape {
                Shape::List(list) => self.list(list.item(), custom),
                Shape::Either(ty, Alternative::List) => self.list(Shape::Struct(ty), false),
                Shape::Either(_, Alternative::Strings) => self.list(Shape::Scalar(Scalar::String), false),
                _ if custom => self.free(),
                Shape::Scalar(s) if s.is_raw() => self.raw(),
                _ => self.misfit("array", shape),
            },
            b'n' => self.reader.word("null").map(|()| Value::Null),
            _ if custom => self.raw(),
            b'"' => {
                let text = self.reader.string()?;
                Ok(self.scalar(Token::String(text), shape))
            }
            b't' => self.reader.word("true").map(|()| self.scalar(Token::Bool(true), shape)),
            b'f' => self.reader.word("false").map(|()| self.scalar(Token::Bool(false), shape)),
            b'-' | b'0'..=b'9' => {
                let text = self.reader.number()?;
                Ok(self.scalar(Token::Number(text), shape))
            }
            _ => Err(self.reader.no_value()),
        }
    }

    fn raw(&mut self) -> Result<Value, Syntax> {
        untyped(&mut self.reader, &mut |_| {})
    }

    /// A part of a custom resource that its schema says nothing of.
    fn free(&mut self) -> Result<Value, Syntax> {
        let mut value = self.raw()?;
        canonical::sort_deep(&mut value);
        Ok(value)
    }

    fn misfit(&mut self, what: &'static str, shape: Shape<'a>) -> Result<Value, Syntax> {
        self.reader.skip()?;
        self.faults.save(scalar::container(what, shape), &self.path, shape);
        Ok(Value::Null)
    }

    fn scalar(&mut self, token: Token<'_>, shape: Shape<'a>) -> Value {
        scalar::read(token, shape).unwrap_or_else(|fault| {
            self.faults.save(fault, &self.path, shape);
            Value::Null
        })
    }

    fn object(&mut self, ty: TypeRef<'a>) -> Result<Value, Syntax> {
        let start = self.frame.open();
        let (mut next, mut highest) = (0, None);
        let mut more = self.reader.enter(b'}')?;
        while more {
            let key = self.reader.key()?;
            if let Some((place, field)) = ty.find(&key, next) {
                next = place + 1;
                let first = highest < Some(place);
                if !first && self.frame.has(start, place) {
                    self.faults.duplicate(&self.path, field.name());
                }
                let value = self.field(ty, field)?;
                if first {
                    highest = Some(place);
                    self.frame.push(place, value);
                } else {
                    self.frame.put(start, place, value);
                }
            } else {
                self.faults.unknown(&self.path, &key);
                self.reader.skip()?;
            }
            more = self.reader.more(b'}')?;
        }
        Ok(Value::Object(self.frame.close(ty, start)))
    }

    fn field(&mut self, ty: TypeRef<'a>, field: FieldRef<'a>) -> Result<Option<Value>, Syntax> {
        self.path.push(Step::Field(ty, field.name()));
        let value = self.value(field.shape(), false)?;
        self.path.pop();
        Ok(canonical::kept(field, value))
    }

    fn map(&mut self, item: Shape<'a>, custom: bool, nulls: bool) -> Result<Value, Syntax> {
        let mut entries: Vec<(Key, Value)> = Vec::new();
        let mut sorted = true;
        let mut more = self.reader.enter(b'}')?;
        while more {
            let key = self.reader.key()?;
            let value = self.entry(&key, item, custom)?;
            if nulls || !value.is_null() {
                sorted = sorted && entries.last().is_none_or(|(last, _)| last.as_ref() < key.as_ref());
                entries.push((Cow::Owned(key.into_owned()), value));
            }
            more = self.reader.more(b'}')?;
        }
        if !sorted {
            let (faults, path) = (&mut self.faults, &self.path);
            canonical::sort(&mut entries, |key| faults.duplicate(path, key));
        }
        Ok(Value::Object(Object(entries)))
    }

    /// The value of a map's entry. Keys need a place in the path only where something below can be at fault.
    fn entry(&mut self, key: &str, item: Shape<'a>, custom: bool) -> Result<Value, Syntax> {
        let deep = !matches!(item, Shape::Scalar(_));
        if deep {
            self.path.push(Step::Key(key.into()));
        }
        let value = self.value(item, custom)?;
        if deep {
            self.path.pop();
        }
        Ok(if value.is_null() && !custom { canonical::zero(item) } else { value })
    }

    /// Part of a custom resource: known entries by their shapes, sorted by name; without those that are `null`
    /// where that is no value and nothing can be filled in.
    fn custom(&mut self, ty: TypeRef<'a>) -> Result<Value, Syntax> {
        let mut entries: Vec<(Key, Value)> = Vec::new();
        let mut next = 0;
        let mut more = self.reader.enter(b'}')?;
        while more {
            let key = self.reader.key()?;
            match ty.find(&key, next) {
                Some((place, field)) => {
                    next = place + 1;
                    self.path.push(Step::Field(ty, field.name()));
                    // Metadata is of a built-in type and is held to it.
                    let custom = !matches!(field.shape(), Shape::Struct(ty) if !ty.is_custom());
                    let value = self.value(field.shape(), custom)?;
                    self.path.pop();
                    if !value.is_null() || field.keeps_null() {
                        entries.push((ty.key(place), value));
                    }
                }
                None if ty.keeps_unknown() => entries.push((Cow::Owned(key.into_owned()), self.free()?)),
                None => {
                    self.faults.unknown(&self.path, &key);
                    self.reader.skip()?;
                }
            }
            more = self.reader.more(b'}')?;
        }
        let (faults, path) = (&mut self.faults, &self.path);
        canonical::sort(&mut entries, |key| faults.duplicate(path, key));
        Ok(Value::Object(Object(entries)))
    }

    fn list(&mut self, item: Shape<'a>, custom: bool) -> Result<Value, Syntax> {
        let mut items = Vec::new();
        let mut more = self.reader.enter(b']')?;
        while more {
            self.path.push(Step::Index(items.len()));
            let value = self.value(item, custom)?;
            self.path.pop();
            items.push(if value.is_null() && !custom { canonical::zero(item) } else { value });
            more = self.reader.more(b']')?;
        }
        Ok(Value::Array(items))
    }
}
