//! Discovery documents of remote servers, and merging them with this server's own
//! (kube-aggregator `handler_discovery`, `handler_apis`).

mod legacy;

use super::service::Behind;
use super::{Service, Snapshot, availability};
use crate::pipeline::documents::Aggregated;
use crate::remote::read;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderValue, IF_NONE_MATCH};
use kaji_api::codec::parse_json;
use kaji_api::discovery::maturity;
use kaji_api::{Value, value};
use parking_lot::{Mutex, RwLock};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const AGGREGATED: HeaderValue =
    HeaderValue::from_static("application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// How long a server may take to send its documents.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long they may be.
const MOST: usize = 32 << 20;
/// Registrations come before everything else.
const FIRST: (&str, i64) = ("apiregistration.k8s.io", 20_001);
/// The priorities of groups without a registration, custom resources mostly.
const UNREGISTERED: (i64, i64) = (1000, 100);

/// What one remote group version serves.
#[derive(Clone, Default)]
struct Document {
    /// Resources, as in `APIVersionDiscovery`.
    resources: Value,
    /// The server's tag for all of its documents.
    tag: Option<HeaderValue>,
    /// It was fetched when it was last tried.
    current: bool,
}

/// What remote servers serve, by registration.
#[derive(Default)]
pub(crate) struct Documents {
    by_name: RwLock<BTreeMap<String, Document>>,
    changes: AtomicU64,
    merged: Mutex<Option<Merged>>,
}

/// The document of all groups, and what it was made of.
struct Merged {
    snapshot: Arc<Snapshot>,
    changes: u64,
    local: String,
    document: Arc<Aggregated>,
}

impl Merged {
    fn fits(&self, snapshot: &Arc<Snapshot>, changes: u64, local: &str) -> bool {
        Arc::ptr_eq(&self.snapshot, snapshot) && self.changes == changes && self.local == local
    }
}

/// What a server sent.
enum Fetched {
    /// The same as before.
    Same,
    New(Value, Option<HeaderValue>),
}

impl Documents {
    /// Grows whenever a document changes.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The document of all groups in the aggregated form; made anew when something has changed. `tag` is that of
    /// this server's own.
    pub(crate) fn merged(&self, snapshot: &Arc<Snapshot>, tag: &str, local: impl FnOnce() -> Value) -> Arc<Aggregated> {
        let changes = self.changes();
        let mut merged = self.merged.lock();
        if let Some(kept) = merged.as_ref().filter(|m| m.fits(snapshot, changes, tag)) {
            return kept.document.clone();
        }
        let document = Arc::new(Aggregated::of(&merge_aggregated(snapshot, self, local())));
        let (snapshot, local) = (snapshot.clone(), tag.to_owned());
        *merged = Some(Merged { snapshot, changes, local, document: document.clone() });
        document
    }

    /// A registration is gone.
    pub(super) fn forget(&self, name: &str) {
        self.by_name.write().remove(name);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// A server is not there: what it said last may not hold any more.
    pub(super) fn stale(&self, service: &Service) {
        self.change(&service.name, |document| document.current = false);
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Document)) {
        let mut all = self.by_name.write();
        let known = all.contains_key(name);
        let document = all.entry(name.to_owned()).or_default();
        let before = document.clone();
        change(document);
        let same = known && before.current == document.current && before.resources == document.resources;
        drop(all);
        if !same {
            self.changes.fetch_add(1, Ordering::Release);
        }
    }

    /// Asks a server what it serves; says whether it answered.
    pub(super) async fn fetch(&self, service: &Service, behind: &Behind) -> bool {
        let tag = self.by_name.read().get(&service.name).filter(|d| d.current).and_then(|d| d.tag.clone());
        let fetched = tokio::time::timeout(PATIENCE, fetch(service, behind, tag)).await;
        match fetched.unwrap_or_else(|_| Err("request timed out".to_owned())) {
            Ok(Fetched::Same) => true,
            Ok(Fetched::New(resources, tag)) => {
                self.change(&service.name, |d| *d = Document { resources, tag, current: true });
                true
            }
            Err(why) => {
                tracing::warn!(name = service.name, why, "could not fetch the discovery documents of an API service");
                self.stale(service);
                false
            }
        }
    }

    /// A group version's entry in the aggregated form.
    fn entry(&self, service: &Service) -> Value {
        let all = self.by_name.read();
        let document = all.get(&service.name);
        let mut entry = value!({"version": (service.version.as_str())});
        if let Some(document) = document.filter(|d| !d.resources.items().is_empty()) {
            entry.set("resources", document.resources.clone());
        }
        entry.set("freshness", if document.is_some_and(|d| d.current) { "Current" } else { "Stale" });
        entry
    }
}

async fn fetch(service: &Service, behind: &Behind, tag: Option<HeaderValue>) -> Result<Fetched, String> {
    let mut request = availability::request("/apis");
    request.headers_mut().insert(ACCEPT, AGGREGATED);
    if let Some(tag) = tag {
        request.headers_mut().insert(IF_NONE_MATCH, tag);
    }
    let answer = behind.remote.send(request).await.map_err(|e| e.to_string())?;
    let media = answer.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    match answer.status().as_u16() {
        304 => Ok(Fetched::Same),
        503 => Err("it answered with status 503".to_owned()),
        200 if media.contains("g=apidiscovery.k8s.io") => {
            let tag = answer.headers().get(ETAG).cloned();
            let body = read(answer.into_body(), MOST).await.map_err(|e| e.to_string())?;
            let list = parse_json(&body).map_err(|e| e.to_string())?;
            Ok(Fetched::New(resources_of(&list, service), tag))
        }
        _ => fetch_legacy(service, behind).await,
    }
}

/// Servers that know only the old form are asked for one version.
async fn fetch_legacy(service: &Service, behind: &Behind) -> Result<Fetched, String> {
    let mut request = availability::request(&service.root());
    request.headers_mut().insert(ACCEPT, JSON);
    let answer = behind.remote.send(request).await.map_err(|e| e.to_string())?;
    if answer.status() != http::StatusCode::OK {
        return Err(format!("{} answered with status {}", service.root(), answer.status().as_u16()));
    }
    let body = read(answer.into_body(), MOST).await.map_err(|e| e.to_string())?;
    let list = parse_json(&body).map_err(|e| e.to_string())?;
    Ok(Fetched::New(legacy::resources(&list), None))
}

/// The resources of a registration's version in a list of groups; null where it is not in there.
fn resources_of(list: &Value, service: &Service) -> Value {
    let group = list["items"].items().iter().find(|g| g.name() == service.group);
    let versions = group.map_or(&[][..], |g| g["versions"].items());
    versions.iter().find(|v| v["version"].str() == service.version).map_or(Value::Null, |v| v["resources"].clone())
}

/// Where a group and its versions stand.
fn priorities(snapshot: &Snapshot, group: &str) -> i64 {
    if group == FIRST.0 {
        return FIRST.1;
    }
    let of_group = snapshot.services.values().filter(|s| s.group == group).map(|s| s.group_priority);
    of_group.max().unwrap_or(UNREGISTERED.0)
}

fn version_priority(snapshot: &Snapshot, group: &str, version: &str) -> i64 {
    snapshot.get(group, version).map_or(UNREGISTERED.1, |s| s.version_priority)
}

/// This server's groups (`APIGroupDiscoveryList`) with those of others among them.
pub(crate) fn merge_aggregated(snapshot: &Snapshot, documents: &Documents, mut local: Value) -> Value {
    let mut groups: Vec<Value> = take_list(&mut local, "items");
    for service in snapshot.remote().filter(|s| !s.group.is_empty()) {
        let at = groups.iter().position(|g| g.name() == service.group).unwrap_or_else(|| {
            groups.push(value!({"metadata": {"name": (service.group.as_str())}}));
            groups.len() - 1
        });
        let mut versions = take_list(&mut groups[at], "versions");
        versions.retain(|v| v["version"].str() != service.version);
        versions.push(documents.entry(service));
        groups[at].set("versions", Value::Array(versions));
    }
    for group in &mut groups {
        let name = group.name().to_owned();
        let mut versions = take_list(group, "versions");
        sort_versions(snapshot, &name, "version", &mut versions);
        group.set("versions", Value::Array(versions));
    }
    groups.sort_by_cached_key(|g| (Reverse(priorities(snapshot, g.name())), g.name().to_owned()));
    local.set("items", Value::Array(groups));
    local
}

/// This server's groups (`APIGroupList`) with those of others among them.
pub(crate) fn merge_groups(snapshot: &Snapshot, mut local: Value) -> Value {
    let mut groups: Vec<Value> = take_list(&mut local, "groups");
    for service in snapshot.remote().filter(|s| !s.group.is_empty()) {
        if !groups.iter().any(|g| g["name"].str() == service.group) {
            groups.push(value!({"name": (service.group.as_str())}));
        }
    }
    groups = groups.into_iter().map(|group| merge_versions(snapshot, group)).collect();
    groups.sort_by_cached_key(|g| (Reverse(priorities(snapshot, g["name"].str())), g["name"].str().to_owned()));
    local.set("groups", Value::Array(groups));
    local
}

/// One group (`APIGroup`), as this server has it if it does, with the versions of others; none: nobody serves it.
pub(crate) fn merge_group(snapshot: &Snapshot, name: &str, local: Option<Value>) -> Option<Value> {
    if !snapshot.remote().any(|s| s.group == name) {
        return local;
    }
    let group = local.unwrap_or_else(|| value!({"kind": "APIGroup", "apiVersion": "v1", "name": name}));
    Some(merge_versions(snapshot, group))
}

/// A group of the old form with all versions; the first is preferred.
fn merge_versions(snapshot: &Snapshot, mut group: Value) -> Value {
    let name = group["name"].str().to_owned();
    let mut versions = take_list(&mut group, "versions");
    for service in snapshot.remote().filter(|s| s.group == name) {
        if !versions.iter().any(|v| v["version"].str() == service.version) {
            let group_version = format!("{name}/{}", service.version);
            versions.push(value!({"groupVersion": group_version, "version": (service.version.as_str())}));
        }
    }
    sort_versions(snapshot, &name, "version", &mut versions);
    let preferred = versions.first().cloned().unwrap_or_default();
    group.set("versions", Value::Array(versions));
    group.set("preferredVersion", preferred);
    group
}

fn sort_versions(snapshot: &Snapshot, group: &str, key: &str, versions: &mut [Value]) {
    versions.sort_by_cached_key(|v| {
        let version = v[key].str();
        (Reverse(version_priority(snapshot, group, version)), Reverse(maturity(version)), version.to_owned())
    });
}

fn take_list(of: &mut Value, key: &'static str) -> Vec<Value> {
    match of.get_mut(key).map(std::mem::take) {
        Some(Value::Array(items)) => items,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
