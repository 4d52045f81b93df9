//! Discovery and OpenAPI: documents derived from the tables.

mod openapi;
mod published;

pub(crate) use published::{Kept, Published};

use super::negotiate::{self, Offer};
use super::output;
use super::route::Asked;
use crate::aggregation::Snapshot;
use crate::aggregation::discovery::{merge_group, merge_groups};
use crate::row::Table;
use crate::server::body::Response;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH, VARY};
use kaji_api::{Status, Value};

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// An aggregated document: its bytes and their hash, as a quoted entity tag.
pub(crate) struct Aggregated {
    json: Bytes,
    tag: String,
}

impl Aggregated {
    /// Writes a document.
    pub(crate) fn of(document: &Value) -> Self {
        let mut json = Vec::new();
        kaji_api::codec::write_json(document, &mut json);
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, &json);
        let hex: String = digest.as_ref().iter().map(|b| format!("{b:02X}")).collect();
        Aggregated { json: json.into(), tag: format!("\"{hex}\"") }
    }
}

/// The document at a path; none: no such path.
pub(super) async fn serve(asked: &Asked<'_>, path: &str) -> Result<Option<Response>, Status> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (table, served) = (asked.api.custom().load(), asked.api.served());
    match parts.as_slice() {
        ["api"] if wants_aggregated(asked) => return Ok(Some(aggregated(asked, table.core(served)))),
        ["apis"] if wants_aggregated(asked) => return Ok(Some(groups(asked, &table))),
        ["openapi", rest @ ..] => return openapi::serve(asked, rest).await,
        _ => {}
    }
    let discovery = table.discovery(served);
    let document = match parts.as_slice() {
        ["api"] => Some(kaji_api::discovery::api_versions(&server_address(asked))),
        ["api", version] => discovery.resources("", version),
        ["apis"] => Some(with_remote(asked, merge_groups, discovery.api_groups())),
        ["apis", group] => {
            let local = discovery.api_group(group);
            let snapshot = asked.api.aggregation().snapshot(asked.api);
            if snapshot.has_remote { merge_group(&snapshot, group, local) } else { local }
        }
        ["apis", group, version] => discovery.resources(group, version),
        _ => None,
    };
    document.map(|document| plain(asked, &document)).transpose()
}

/// All groups in the aggregated form, those that others answer among them.
fn groups(asked: &Asked<'_>, table: &Table) -> Response {
    let (aggregation, served) = (asked.api.aggregation(), asked.api.served());
    let snapshot = aggregation.snapshot(asked.api);
    if !snapshot.has_remote {
        return aggregated(asked, table.groups(served));
    }
    let merged = aggregation
        .documents
        .merged(&snapshot, &table.groups(served).tag, || table.discovery(served).aggregated(false));
    aggregated(asked, &merged)
}

fn with_remote(asked: &Asked<'_>, merge: fn(&Snapshot, Value) -> Value, local: Value) -> Value {
    let snapshot = asked.api.aggregation().snapshot(asked.api);
    if snapshot.has_remote { merge(&snapshot, local) } else { local }
}

fn plain(asked: &Asked<'_>, document: &Value) -> Result<Response, Status> {
    let format = negotiate::format(&asked.parts.headers, &asked.query, Offer::Plain)?;
    Ok(output::document(200, document, format))
}

/// Upstream serves the aggregated form to clients that prefer it by naming it.
fn wants_aggregated(asked: &Asked<'_>) -> bool {
    let accept = asked.parts.headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok());
    accept.flat_map(|v| v.split(',')).any(|clause| {
        let mut words = clause.split(';').map(str::trim);
        let rest: Vec<&str> = words.by_ref().skip(1).collect();
        clause.trim().starts_with("application/json")
            && ["g=apidiscovery.k8s.io", "v=v2", "as=APIGroupDiscoveryList"].iter().all(|w| rest.contains(w))
    })
}

fn aggregated(asked: &Asked<'_>, document: &Aggregated) -> Response {
    let known = asked.parts.headers.get(IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let mut response = if known == Some(document.tag.as_str()) {
        output::answer(304, AGGREGATED, crate::server::body::Body::empty())
    } else {
        output::answer(200, AGGREGATED, document.json.clone().into())
    };
    let headers = response.headers_mut();
    headers.insert(ETAG, HeaderValue::from_str(&document.tag).expect("hexadecimal digits"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
    response
}

/// Where clients find this server.
fn server_address(asked: &Asked<'_>) -> String {
    asked.api.config().outside_address()
}
