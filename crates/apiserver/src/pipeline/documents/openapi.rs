//! `/openapi/v2` and `/openapi/v3`: packed documents, built at the first request for them.

use super::super::negotiate::{self, Format, Offer};
use super::super::route::Asked;
use super::super::{output, version};
use crate::served::Served;
use crate::server::Api;
use crate::server::body::{Body, Response};
use http::header::{ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use http::header::{ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH, LOCATION, VARY};
use kaji_api::Status;
use kaji_api::openapi::{Documents, Packed, v3_index, v3_place};
use std::sync::LazyLock;
use tokio::sync::Semaphore;

const JSON: &str = "application/json";
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const V3_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
const V3_PROTOBUF_DOTTED: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

/// Of what is served by default.
static BUILT_IN: LazyLock<Documents> = LazyLock::new(|| Documents::built_in(&version::git_version()));

/// Of the built-in resources that are served.
pub(super) fn built_in(served: &Served) -> &Documents {
    match served.is_usual() {
        true => &BUILT_IN,
        false => {
            served.documents.get_or_init(|| Documents::new(served.rows(), &version::git_version(), served.options))
        }
    }
}

/// How many requests for documents are worked at. To build one takes a second, to unpack one takes milliseconds, and
/// who waits for the same one has nothing to do meanwhile.
static AT_WORK: Semaphore = Semaphore::const_new(2);

/// What is asked for, apart from the request.
struct Wanted {
    api: Api,
    /// Below `/openapi`.
    path: String,
    headers: HeaderMap,
    /// The document's hash, as the client knows it.
    hash: String,
    /// Of the index.
    format: Format,
}

/// The document at a path below `/openapi`; none: no such path. It is looked up beside the requests, which go on.
pub(super) async fn serve(asked: &Asked<'_>, rest: &[&str]) -> Result<Option<Response>, Status> {
    let wanted = Wanted {
        api: asked.api.clone(),
        path: rest.join("/"),
        headers: asked.parts.headers.clone(),
        hash: asked.query.get("hash").to_owned(),
        format: match rest {
            ["v3"] => negotiate::format(&asked.parts.headers, &asked.query, Offer::Plain)?,
            _ => Format::JSON,
        },
    };
    let _permit = AT_WORK.acquire().await.expect("the semaphore is never closed");
    match tokio::task::spawn_blocking(move || wanted.find()).await {
        Ok(found) => Ok(found),
        Err(broken) => std::panic::resume_unwind(broken.into_panic()),
    }
}

impl Wanted {
    fn find(&self) -> Option<Response> {
        let (custom, aggregation) = (self.api.custom(), self.api.aggregation());
        let (served, table) = (self.api.served(), custom.load());
        let built_in = built_in(served);
        match self.path.split_once('/').unwrap_or((&self.path, "")) {
            ("v2", "") => {
                let own = custom.documents.v2(served, &table);
                let local = own.as_deref().unwrap_or_else(|| built_in.v2());
                let merged = aggregation.openapi.v2(local);
                Some(self.packed(merged.as_deref().unwrap_or(local), &[V2_PROTOBUF]))
            }
            ("v3", "") => {
                let tags = table.v3_tags(served);
                custom.documents.forget_others(&tags);
                let (mut index, own) = (built_in.v3_index(), v3_index(tags));
                let paths = own["paths"].entries();
                paths.for_each(|(name, entry)| index.entry("paths").set(name.to_owned(), entry.clone()));
                aggregation.openapi.add_to_index(&mut index, &aggregation.snapshot(&self.api).services);
                Some(output::document(200, &index, self.format))
            }
            ("v3", name) => {
                let own = custom.documents.v3(served, &table, name);
                let document = own.as_deref().or_else(|| built_in.v3(name));
                document.map(|document| self.of_v3(name, document))
            }
            _ => None,
        }
    }

    /// A document of v3, at the address that the index names: it never changes there.
    fn of_v3(&self, name: &str, document: &Packed) -> Response {
        if !self.hash.is_empty() && self.hash != document.etag.trim_matches('"') {
            let mut response = output::answer(301, JSON, Body::empty());
            if let Ok(place) = HeaderValue::from_str(&v3_place(name, &document.etag)) {
                response.headers_mut().insert(LOCATION, place);
            }
            return response;
        }
        let mut response = self.packed(document, &[V3_PROTOBUF, V3_PROTOBUF_DOTTED]);
        if !self.hash.is_empty() {
            response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        }
        response
    }

    fn header(&self, name: &http::HeaderName) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// JSON unless a protobuf form is named first; gzip as it is kept, to those who take it.
    fn packed(&self, document: &Packed, protobuf: &[&'static str]) -> Response {
        if self.header(&IF_NONE_MATCH) == document.etag {
            return marked(output::answer(304, JSON, Body::empty()), document, JSON);
        }
        let mut wanted = self.header(&ACCEPT).split(',').map(|c| c.split(';').next().unwrap_or_default().trim());
        let named = wanted.find_map(|w| protobuf.iter().copied().chain([JSON]).find(|m| *m == w)).unwrap_or(JSON);
        let form = if named == JSON { document.json() } else { document.protobuf() };
        if !self.header(&ACCEPT_ENCODING).contains("gzip") {
            return marked(output::answer(200, named, form.plain().into()), document, named);
        }
        let mut response = output::answer(200, named, form.gzip().into());
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        marked(response, document, named)
    }
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
