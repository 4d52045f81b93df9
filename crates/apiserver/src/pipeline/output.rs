//! Writing answers: objects, lists, statuses, in the form that was negotiated.

use super::negotiate::{Format, Media, Shape};
use super::protobuf;
use super::table::{self, TableOptions};
use super::timing::{Phase, timed_now};
use crate::cache::Entry;
use crate::registry::convert;
use crate::row::Row;
use crate::server::body::{Body, Response};
use crate::spans;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use kaji_api::{Status, Value, codec, schema, value};
use std::sync::Arc;

/// Pieces of a list are gathered to about this size.
const PIECE: usize = 128 << 10;

/// How the objects of a request are shown.
#[derive(Clone)]
pub(crate) struct Presenter {
    /// The row of the version asked for.
    pub(crate) row: Row,
    /// The row of the version stored.
    pub(crate) stored: Row,
    /// The form.
    pub(crate) format: Format,
    /// What a table shows beside cells.
    pub(crate) table: TableOptions,
}

/// The metadata of a list.
pub(crate) struct ListHead {
    pub(crate) revision: u64,
    pub(crate) continue_: String,
    pub(crate) remaining: Option<usize>,
}

impl ListHead {
    pub(crate) fn to_value(&self) -> Value {
        let mut metadata = value!({"resourceVersion": (self.revision.to_string())});
        if !self.continue_.is_empty() {
            metadata.set("continue", self.continue_.as_str());
        }
        if let Some(remaining) = self.remaining {
            metadata.set("remainingItemCount", i64::try_from(remaining).unwrap_or(i64::MAX));
        }
        metadata
    }
}

impl ListHead {
    /// As lists of custom resources show it: always with a continuation.
    fn to_custom_value(&self) -> Value {
        let mut sorted = value!({"continue": (self.continue_.as_str())});
        self.to_value()
            .entries()
            .filter(|(k, _)| *k == "remainingItemCount")
            .for_each(|(_, v)| sorted.set("remainingItemCount", v.clone()));
        sorted.set("resourceVersion", self.revision.to_string());
        sorted
    }
}

impl Presenter {
    /// Whether stored bytes can go out as they are.
    pub(crate) fn passes_bytes(&self) -> bool {
        let plain = self.format.media == Media::Json && self.format.shape == Shape::Whole && !self.format.pretty;
        plain && convert::is_same(&self.row, &self.stored)
    }

    /// The object in the version asked for; those of custom resources come in it.
    pub(crate) fn value(&self, entry: &Entry) -> Value {
        let mut object = entry.decode();
        convert::built_in_from_storage(&self.row, &self.stored, &mut object);
        object
    }

    /// One object's bytes, as it stands alone or inside a watch event.
    pub(crate) fn encode(&self, entry: &Entry) -> Bytes {
        match self.passes_bytes() {
            true => entry.json.clone(),
            false => self.encode_value(&self.value(entry)),
        }
    }

    /// An object in the version asked for, shaped and encoded.
    pub(crate) fn encode_value(&self, object: &Value) -> Bytes {
        match self.format.shape {
            Shape::Whole => encode(object, self.format),
            Shape::Partial(version) => encode(&partial(object, version), self.format),
            Shape::Table(version) => {
                let mut head = Value::object();
                head.set("resourceVersion", object.resource_version());
                let rows = table::rows(&self.row, std::iter::once(object), self.table, version);
                encode(&table::document(&self.row, version, head, rows, self.table), self.format)
            }
        }
    }

    /// The answer with one object.
    pub(crate) fn object(&self, code: u16, entry: &Entry) -> Response {
        let body = encoding(self.format, || with_newline(self.encode(entry), self.format));
        respond(code, self.format.media, body)
    }

    /// The answer with a list.
    pub(crate) fn list(&self, entries: Vec<Arc<Entry>>, head: &ListHead) -> Response {
        encoding(self.format, || self.list_now(entries, head))
    }

    fn list_now(&self, entries: Vec<Arc<Entry>>, head: &ListHead) -> Response {
        if self.passes_bytes() {
            return self.list_of_bytes(entries, head);
        }
        let body = match self.format.shape {
            Shape::Whole if self.format.media == Media::Protobuf => self.protobuf_list(&entries, head),
            _ => encode(&self.list_value(&entries, head), self.format),
        };
        respond(200, self.format.media, with_newline(body, self.format))
    }

    /// Lists by joining bytes that exist, a piece at a time, so that a list costs no memory of its size.
    fn list_of_bytes(&self, entries: Vec<Arc<Entry>>, head: &ListHead) -> Response {
        let (mut first, last) = self.list_frame(head);
        let row = self.row.clone();
        let items: usize = entries.iter().map(|e| e.item(&row).len() + 2).sum();
        let length = first.len() + items.saturating_sub(1) + last.len();
        if length <= PIECE {
            entries.iter().enumerate().for_each(|(i, e)| push_item(&mut first, i, e.item(&row)));
            first.extend_from_slice(&last);
            return respond(200, Media::Json, first);
        }
        let mut source = entries.into_iter().enumerate();
        let mut piece = Some(first);
        let pieces = std::iter::from_fn(move || {
            let mut out = piece.take()?;
            for (i, entry) in source.by_ref() {
                push_item(&mut out, i, entry.item(&row));
                if out.len() >= PIECE {
                    piece = Some(Vec::with_capacity(PIECE + PIECE / 8));
                    return Some(Bytes::from(out));
                }
            }
            out.extend_from_slice(&last);
            Some(Bytes::from(out))
        });
        let body = Body::stream(futures::stream::iter(pieces), Some(length as u64));
        answer(200, Media::Json.name(), body)
    }

    /// What stands before and behind the items of a list; those of custom resources have their names sorted.
    fn list_frame(&self, head: &ListHead) -> (Vec<u8>, Vec<u8>) {
        let (kind, version) = (self.row.list_kind(), self.row.api_version());
        let (mut first, mut last) = (Vec::with_capacity(256), Vec::with_capacity(64));
        match self.row.custom() {
            None => {
                first
                    .extend_from_slice(format!(r#"{{"kind":"{kind}","apiVersion":"{version}","metadata":"#).as_bytes());
                codec::write_json(&head.to_value(), &mut first);
                first.extend_from_slice(b",\"items\":[");
                last.extend_from_slice(b"]}\n");
            }
            Some(_) => {
                first.extend_from_slice(format!(r#"{{"apiVersion":"{version}","items":["#).as_bytes());
                last.extend_from_slice(format!(r#"],"kind":"{kind}","metadata":"#).as_bytes());
                codec::write_json(&head.to_custom_value(), &mut last);
                last.extend_from_slice(b"}\n");
            }
        }
        (first, last)
    }

    fn list_value(&self, entries: &[Arc<Entry>], head: &ListHead) -> Value {
        let objects = entries.iter().map(|e| self.value(e));
        match self.format.shape {
            Shape::Table(version) => {
                let objects: Vec<Value> = objects.collect();
                let rows = table::rows(&self.row, objects.iter(), self.table, version);
                table::document(&self.row, version, head.to_value(), rows, self.table)
            }
            Shape::Partial(version) => {
                let items: Vec<Value> = objects.map(|o| partial(&o, version)).collect();
                let kind = "PartialObjectMetadataList";
                list_of(kind, &format!("meta.k8s.io/{version}"), head.to_value(), items)
            }
            Shape::Whole => {
                let bare = self.row.custom().is_none();
                let items = objects.map(|mut o| {
                    if bare {
                        o.remove("kind");
                        o.remove("apiVersion");
                    }
                    o
                });
                list_of(&self.row.list_kind(), &self.row.api_version(), head.to_value(), items.collect())
            }
        }
    }

    /// A list message is put together from its items' messages, one decoded object at a time.
    fn protobuf_list(&self, entries: &[Arc<Entry>], head: &ListHead) -> Bytes {
        let ty = self.row.ty();
        let mut list = protobuf::list_head(head);
        let mut buffer = Vec::new();
        for entry in entries {
            buffer.clear();
            codec::write_protobuf(ty, &self.value(entry), &mut buffer);
            let raw = codec::open_protobuf(&buffer).expect("just written").raw;
            protobuf::field(&mut list, 2, raw);
        }
        protobuf::envelope(&self.row.api_version(), &format!("{}List", self.row.kind), &list).into()
    }

    /// The answer with items that are values already (virtual resources).
    pub(crate) fn list_values(&self, items: Vec<Value>) -> Response {
        let head = ListHead { revision: 0, continue_: String::new(), remaining: None };
        let kind = format!("{}List", self.row.kind);
        let body = match self.format.shape {
            Shape::Table(version) => {
                let rows = table::rows(&self.row, items.iter(), self.table, version);
                table::document(&self.row, version, head.to_value(), rows, self.table)
            }
            _ => list_of(&kind, &self.row.api_version(), Value::object(), items),
        };
        respond(200, self.format.media, with_newline(encode(&body, self.format), self.format))
    }
}

/// Encodes an answer: counted in its phase, and a span.
fn encoding<T>(format: Format, work: impl FnOnce() -> T) -> T {
    let _span = spans::encoding(format.media.name());
    timed_now(Phase::Encode, work)
}

fn push_item(out: &mut Vec<u8>, index: usize, item: &[u8]) {
    out.extend_from_slice(if index > 0 { b",{" } else { b"{" });
    out.extend_from_slice(item);
}

fn list_of(kind: &str, api_version: &str, metadata: Value, items: Vec<Value>) -> Value {
    let mut list = value!({"kind": (kind), "apiVersion": (api_version)});
    list.set("metadata", metadata);
    list.set("items", Value::Array(items));
    list
}

/// An object's metadata alone.
pub(super) fn partial(object: &Value, version: &str) -> Value {
    let api_version = format!("meta.k8s.io/{version}");
    let mut partial = value!({"kind": "PartialObjectMetadata", "apiVersion": (api_version)});
    partial.set("metadata", object["metadata"].clone());
    partial
}

/// A value in a medium; protobuf by its own kind, JSON where it has no schema.
pub(crate) fn encode(object: &Value, format: Format) -> Bytes {
    let mut out = Vec::with_capacity(1024);
    match format.media {
        Media::Yaml => return codec::write_yaml(object).into(),
        Media::Protobuf => match kind_of(object) {
            Some(ty) => codec::write_protobuf(ty, object, &mut out),
            None => codec::write_json(object, &mut out),
        },
        Media::Json if format.pretty => {
            let mut serializer = serde_json::Serializer::pretty(&mut out);
            serde::Serialize::serialize(object, &mut serializer).expect("values have string keys");
        }
        Media::Json => codec::write_json(object, &mut out),
    }
    out.into()
}

fn kind_of(object: &Value) -> Option<schema::TypeRef<'static>> {
    let (group, version) = object.api_version().split_once('/').unwrap_or(("", object.api_version()));
    schema::kind(group, version, object.kind()).or_else(|| schema::kind("meta.k8s.io", version, object.kind()))
}

fn with_newline(body: Bytes, format: Format) -> Bytes {
    if format.media != Media::Json {
        return body;
    }
    let mut out = Vec::with_capacity(body.len() + 1);
    out.extend_from_slice(&body);
    out.push(b'\n');
    out.into()
}

fn respond(code: u16, media: Media, body: impl Into<Bytes>) -> Response {
    answer(code, media.name(), body.into().into())
}

/// An answer of any content type.
pub(crate) fn answer(code: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A value of no resource: a `Status`, a `Scale`, a review.
pub(crate) fn document(code: u16, object: &Value, format: Format) -> Response {
    let format = Format { shape: Shape::Whole, ..format };
    let body = encoding(format, || with_newline(encode(object, format), format));
    respond(code, format.media, body)
}

/// Like [`document`], but for what has object metadata and is shown by it alone when asked to.
pub(crate) fn metadata_or_document(code: u16, object: &Value, format: Format) -> Response {
    match format.shape {
        Shape::Partial(version) => document(code, &partial(object, version), format),
        Shape::Whole | Shape::Table(_) => document(code, object, format),
    }
}

/// A failure; the form falls back to JSON.
pub(crate) fn failure(status: &Status, format: Format) -> Response {
    let mut object = status.to_value();
    // An expired list carries the token to go on with in its own metadata.
    if let Some(token) = status.details.get("continue") {
        object.entry("metadata").set("continue", token.clone());
        object.remove("details");
    }
    let mut response = document(status.code, &object, format);
    if let Some(seconds) = status.details["retryAfterSeconds"].as_i64() {
        response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Plain text.
pub(crate) fn text(code: u16, body: impl Into<Bytes>) -> Response {
    let mut response = answer(code, "text/plain; charset=utf-8", body.into().into());
    let nosniff = HeaderName::from_static("x-content-type-options");
    response.headers_mut().insert(nosniff, HeaderValue::from_static("nosniff"));
    response
}
