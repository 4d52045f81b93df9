//! `/openapi/v2` and `/openapi/v3`: packed documents, built at the first request for them.

use super::super::route::Asked;
use super::super::{output, version};
use crate::server::body::{Body, Response};
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use kaji_api::Status;
use kaji_api::openapi::{Documents, Packed};
use std::sync::LazyLock;

const JSON: &str = "application/json";
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const V3_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
const V3_PROTOBUF_DOTTED: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

static DOCUMENTS: LazyLock<Documents> = LazyLock::new(|| Documents::built_in(&version::git_version()));

/// The document at a path below `/openapi`; none: no such path.
pub(super) fn serve(asked: &Asked<'_>, rest: &[&str]) -> Result<Option<Response>, Status> {
    match rest {
        ["v2"] => {
            let table = asked.api.custom().load();
            let local = table.open_api_v2(asked.api).unwrap_or_else(|| DOCUMENTS.v2());
            let merged = asked.api.aggregation().openapi.v2(local);
            Ok(Some(packed(asked, merged.as_deref().unwrap_or(local), &[V2_PROTOBUF])))
        }
        ["v3"] => {
            let mut index = DOCUMENTS.v3_index();
            let table = asked.api.custom().load();
            let own = table.open_api_v3(asked.api).iter().map(|(name, d)| (name.as_str(), d.etag.trim_matches('"')));
            let own = kaji_api::openapi::v3_index(own);
            own["paths"].entries().for_each(|(name, entry)| index.entry("paths").set(name.to_owned(), entry.clone()));
            let aggregation = asked.api.aggregation();
            aggregation.openapi.add_to_index(&mut index, &aggregation.snapshot(asked.api).services);
            super::plain(asked, &index).map(Some)
        }
        ["v3", name @ ..] => {
            let name = name.join("/");
            let table = asked.api.custom().load();
            let document = table.open_api_v3(asked.api).get(&name).or_else(|| DOCUMENTS.v3(&name));
            Ok(document.map(|d| packed(asked, d, &[V3_PROTOBUF, V3_PROTOBUF_DOTTED])))
        }
        _ => Ok(None),
    }
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
