//! OpenAPI of remote servers: what of their v2 documents belongs to a registration, merged into this server's, and
//! where their v3 documents are. Those of v3 are never merged: each group version has its own, which is passed on
//! like any other path.

mod merge;

use super::service::Behind;
use super::{Service, availability};
use crate::remote::read;
use http::header::{ACCEPT, ETAG, HeaderValue, IF_NONE_MATCH};
use kaji_api::Value;
use kaji_api::codec::parse_json;
use kaji_api::openapi::Packed;
use parking_lot::{Mutex, RwLock};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// How long a server may take to send a document.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long it may be.
const MOST: usize = 64 << 20;

/// What one registration adds.
#[derive(Clone, Default)]
struct Part {
    v2: Option<Arc<Value>>,
    /// The server's tag for its v2 document.
    tag: Option<HeaderValue>,
    /// `serverRelativeURL` of its v3 document.
    v3: Option<String>,
}

/// What remote servers add, by registration.
#[derive(Default)]
pub(crate) struct Parts {
    by_name: RwLock<BTreeMap<String, Part>>,
    /// This server's tag, the parts, and the document of both.
    merged: Mutex<Option<(String, Vec<Arc<Value>>, Arc<Packed>)>>,
}

impl Parts {
    /// A registration is gone.
    pub(super) fn forget(&self, name: &str) {
        self.by_name.write().remove(name);
    }

    /// Asks a server for its documents. One that has none adds none; one that fails adds what it did before.
    pub(super) async fn fetch(&self, service: &Service, behind: &Behind) {
        let mut part = self.by_name.read().get(&service.name).cloned().unwrap_or_default();
        let fetched = tokio::time::timeout(PATIENCE, async {
            fetch_v2(service, behind, &mut part).await?;
            fetch_v3(service, behind, &mut part).await
        });
        match fetched.await.unwrap_or_else(|_| Err("request timed out".to_owned())) {
            Ok(()) => drop(self.by_name.write().insert(service.name.clone(), part)),
            Err(why) => tracing::debug!(name = service.name, why, "could not fetch the OpenAPI documents"),
        }
    }

    /// The v2 document with what remote servers add; none: they add nothing.
    pub(crate) fn v2(&self, local: &Packed) -> Option<Arc<Packed>> {
        let parts: Vec<Arc<Value>> = self.by_name.read().values().filter_map(|part| part.v2.clone()).collect();
        if parts.is_empty() {
            return None;
        }
        let mut merged = self.merged.lock();
        let same = |known: &[Arc<Value>]| {
            known.len() == parts.len() && known.iter().zip(&parts).all(|(a, b)| Arc::ptr_eq(a, b))
        };
        if let Some((tag, known, document)) = merged.as_ref()
            && *tag == local.etag
            && same(known)
        {
            return Some(document.clone());
        }
        let mut document = parse_json(&local.json().plain()).ok()?;
        parts.iter().for_each(|part| merge::merge(&mut document, part));
        let document = Arc::new(Packed::v2(&document));
        *merged = Some((local.etag.clone(), parts, document.clone()));
        Some(document)
    }

    /// Adds the places of remote documents to the index of v3.
    pub(crate) fn add_to_index(&self, index: &mut Value, services: &BTreeMap<String, Arc<Service>>) {
        for (name, part) in self.by_name.read().iter() {
            let (Some(service), Some(url)) = (services.get(name), &part.v3) else { continue };
            let root = service.root();
            let place = kaji_api::value!({"serverRelativeURL": (url.as_str())});
            index.entry("paths").set(root.trim_start_matches('/').to_owned(), place);
        }
    }
}

async fn fetch_v2(service: &Service, behind: &Behind, part: &mut Part) -> Result<(), String> {
    let mut request = availability::request("/openapi/v2");
    request.headers_mut().insert(ACCEPT, JSON);
    if let Some(tag) = &part.tag {
        request.headers_mut().insert(IF_NONE_MATCH, tag.clone());
    }
    let answer = behind.remote.send(request).await.map_err(|e| e.to_string())?;
    match answer.status().as_u16() {
        304 => Ok(()),
        404 => {
            (part.v2, part.tag) = (None, None);
            Ok(())
        }
        200 => {
            let tag = answer.headers().get(ETAG).cloned();
            let body = read(answer.into_body(), MOST).await.map_err(|e| e.to_string())?;
            let spec = parse_json(&body).map_err(|e| e.to_string())?;
            let below = merge::below(&spec, &service.root());
            // The same again keeps what was merged from it.
            if part.v2.as_deref() != Some(&below) {
                part.v2 = Some(Arc::new(below));
            }
            part.tag = tag;
            Ok(())
        }
        code => Err(format!("/openapi/v2 answered with status {code}")),
    }
}

async fn fetch_v3(service: &Service, behind: &Behind, part: &mut Part) -> Result<(), String> {
    let mut request = availability::request("/openapi/v3");
    request.headers_mut().insert(ACCEPT, JSON);
    let answer = behind.remote.send(request).await.map_err(|e| e.to_string())?;
    if answer.status() != http::StatusCode::OK {
        part.v3 = None;
        return Ok(());
    }
    let body = read(answer.into_body(), MOST).await.map_err(|e| e.to_string())?;
    let index = parse_json(&body).map_err(|e| e.to_string())?;
    let root = service.root();
    let place = &index["paths"][root.trim_start_matches('/')]["serverRelativeURL"];
    part.v3 = place.as_str().map(str::to_owned);
    Ok(())
}
