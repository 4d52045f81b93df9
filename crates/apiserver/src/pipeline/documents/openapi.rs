//! `/openapi/v2` and `/openapi/v3`: packed documents, built at the first request for them.

use super::super::route::Asked;
use super::super::{output, version};
use crate::server::body::{Body, Response};
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH, LOCATION, VARY};
use kaji_api::Status;
use kaji_api::openapi::{Documents, Packed, v3_index, v3_place};
use std::sync::LazyLock;

const JSON: &str = "application/json";
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const V3_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
const V3_PROTOBUF_DOTTED: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

pub(super) static BUILT_IN: LazyLock<Documents> = LazyLock::new(|| Documents::built_in(&version::git_version()));

/// The document at a path below `/openapi`; none: no such path.
pub(super) fn serve(asked: &Asked<'_>, rest: &[&str]) -> Result<Option<Response>, Status> {
    let (custom, aggregation) = (asked.api.custom(), asked.api.aggregation());
    let table = custom.load();
    match rest {
        ["v2"] => {
            let own = custom.documents.v2(&table);
            let local = own.as_deref().unwrap_or_else(|| BUILT_IN.v2());
            let merged = aggregation.openapi.v2(local);
            Ok(Some(packed(asked, merged.as_deref().unwrap_or(local), &[V2_PROTOBUF])))
        }
        ["v3"] => {
            let tags = table.v3_tags();
            custom.documents.forget_others(&tags);
            let (mut index, own) = (BUILT_IN.v3_index(), v3_index(tags));
            own["paths"].entries().for_each(|(name, entry)| index.entry("paths").set(name.to_owned(), entry.clone()));
            aggregation.openapi.add_to_index(&mut index, &aggregation.snapshot(asked.api).services);
            super::plain(asked, &index).map(Some)
        }
        ["v3", name @ ..] => {
            let name = name.join("/");
            let own = custom.documents.v3(&table, &name);
            let document = own.as_deref().or_else(|| BUILT_IN.v3(&name));
            Ok(document.map(|document| of_v3(asked, &name, document)))
        }
        _ => Ok(None),
    }
}

/// A document of v3, at the address that the index names: it never changes there.
fn of_v3(asked: &Asked<'_>, name: &str, document: &Packed) -> Response {
    let hash = asked.query.get("hash");
    if !hash.is_empty() && hash != document.etag.trim_matches('"') {
        let mut response = output::answer(301, JSON, Body::empty());
        if let Ok(place) = HeaderValue::from_str(&v3_place(name, &document.etag)) {
            response.headers_mut().insert(LOCATION, place);
        }
        return response;
    }
    let mut response = packed(asked, document, &[V3_PROTOBUF, V3_PROTOBUF_DOTTED]);
    if !hash.is_empty() {
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    }
    response
}

fn header<'a>(asked: &'a Asked<'_>, name: &http::HeaderName) -> &'a str {
    asked.parts.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// JSON unless a protobuf form is named first; gzip as it is kept, to those who take it.
fn packed(asked: &Asked<'_>, document: &Packed, protobuf: &[&'static str]) -> Response {
    if header(asked, &IF_NONE_MATCH) == document.etag {
        return marked(output::answer(304, JSON, Body::empty()), document, JSON);
    }
    let wanted = header(asked, &ACCEPT).split(',').map(|c| c.split(';').next().unwrap_or_default().trim());
    let named = wanted.filter_map(|w| protobuf.iter().copied().chain([JSON]).find(|m| *m == w)).next().unwrap_or(JSON);
    if named != JSON {
        return marked(output::answer(200, named, document.protobuf().into()), document, named);
    }
    if !header(asked, &ACCEPT_ENCODING).contains("gzip") {
        return marked(output::answer(200, JSON, document.json().into()), document, JSON);
    }
    let mut response = output::answer(200, JSON, document.gzip.clone().into());
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    marked(response, document, JSON)
}

fn marked(mut response: Response, document: &Packed, media: &'static str) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Ok(tag) = HeaderValue::from_str(&document.etag) {
        headers.insert(ETAG, tag);
    }
    response
}
