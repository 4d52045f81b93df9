//! Objects for the server's own parts: reads from the caches, changes as they come, and writes.

use super::Api;
use crate::cache::{Cache, ChangeKind, Cursor, Entry, store_status};
use crate::context::{RequestContext, Target};
use crate::registry::options::DeleteOptions;
use crate::registry::{Mode, Scope, Transform};
use crate::row::Row;
use kaji_api::{GroupResource, ObjectKey, Status, Value};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

/// A change of an object.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Which object.
    pub key: ObjectKey,
    /// Its new state; none: deleted.
    pub object: Option<Value>,
}

/// Changes of a resource, in order.
pub struct Changes {
    row: Row,
    cursor: Cursor,
}

impl Changes {
    /// The next ones; none: too far behind, or the store was loaded anew: subscribe again.
    pub async fn next(&mut self) -> Option<Vec<Changed>> {
        let changes = self.cursor.next().await.ok()?;
        let one = |c: &Arc<crate::cache::Change>| {
            let (namespace, name) = c.entry.names(&self.row);
            let object = (c.kind == ChangeKind::Put).then(|| c.entry.decode());
            Changed { key: ObjectKey::new(namespace, name), object }
        };
        Some(changes.iter().map(one).collect())
    }
}

/// Where the objects of a built-in resource are, by group and plural.
static PREFIXES: LazyLock<HashMap<(&str, &str), &str>> = LazyLock::new(|| {
    // In reverse, so that the first version wins.
    let enabled = kaji_api::resource::all().iter().rev().filter(|r| r.enabled);
    enabled.map(|r| ((r.group, r.plural), r.prefix)).collect()
});

impl Api {
    /// The row a resource is stored by.
    pub(crate) fn stored(&self, resource: &GroupResource) -> Option<Row> {
        self.cache(resource).map(|cache| cache.row.clone())
    }

    /// The resource in a version that is served; custom resources, too.
    pub(crate) fn row(&self, group: &str, version: &str, plural: &str) -> Option<Row> {
        self.served().row(group, version, plural).or_else(|| self.custom().row(group, version, plural))
    }

    fn cache(&self, resource: &GroupResource) -> Option<Arc<Cache>> {
        match PREFIXES.get(&(&*resource.group, &*resource.resource)) {
            Some(prefix) => self.caches().get(prefix),
            None => self.caches().get(&format!("{}/{}", resource.group, resource.resource)),
        }
    }

    /// An object as the cache has it; nothing acknowledged long ago is missing.
    pub fn get_cached(&self, resource: &GroupResource, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let cache = self.cache(resource)?;
        Some(cache.object(&*cache.get(&cache.key(namespace, name))?))
    }

    /// All objects of a resource in a namespace (empty: in all), as the cache has them.
    pub fn list_cached(&self, resource: &GroupResource, namespace: &str) -> Vec<Arc<Value>> {
        let Some(cache) = self.cache(resource) else { return Vec::new() };
        let prefix = cache.scope(namespace);
        cache.snapshot(&prefix, &prefix).entries.iter().map(|entry| cache.object(entry)).collect()
    }

    /// Some labels of an object as the cache has it, where the object is too large to be decoded for them.
    pub(crate) fn labels_cached<const N: usize>(
        &self,
        resource: &GroupResource,
        name: &str,
        keys: [&str; N],
    ) -> [Option<String>; N] {
        let found = self.cache(resource).and_then(|cache| Some((cache.get(&cache.key("", name))?, cache)));
        let label = |key| found.as_ref().and_then(|(entry, cache)| entry.selected(&cache.row).label(key));
        keys.map(|key| label(key).map(str::to_owned))
    }

    /// The cached entry of an object, and its store key.
    pub(crate) fn entry(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Option<(String, Option<Arc<Entry>>)> {
        let cache = self.cache(resource)?;
        let key = cache.key(namespace, name);
        let entry = cache.get(&key);
        Some((key, entry))
    }

    /// An object as it is in the store at this moment.
    pub(crate) async fn get_stored(
        &self,
        resource: &GroupResource,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Entry>>, Status> {
        let Some((key, _)) = self.entry(resource, namespace, name) else { return Ok(None) };
        let record = self.caches().store().get(&key).await.map_err(store_status)?;
        Ok(record.and_then(|r| self.caches().found(&r)))
    }

    /// Waits until the caches show everything acknowledged before the call.
    pub async fn fresh(&self) -> Result<(), Status> {
        self.caches().fresh().await.map(drop)
    }

    /// All objects of a resource, and every change from then on.
    pub fn subscribe(&self, resource: &GroupResource) -> Option<(Vec<Value>, Changes)> {
        let cache = self.cache(resource)?;
        let (snapshot, cursor) = cache.snapshot_and_follow(&cache.root);
        let objects = snapshot.entries.iter().map(|e| e.decode()).collect();
        Some((objects, Changes { row: cache.row.clone(), cursor }))
    }

    fn scope<'a>(
        &'a self,
        cx: &'a RequestContext,
        resource: &GroupResource,
        namespace: &'a str,
        name: &'a str,
    ) -> Result<Scope<'a>, Status> {
        let row = self.stored(resource);
        row.and_then(|resource| Scope::new(self, cx, &Target { resource, sub: None }, namespace, name))
            .ok_or_else(|| Status::not_found(resource, name))
    }

    /// Creates an object (in its storage version), through admission and validation.
    pub async fn create(&self, cx: &RequestContext, resource: &GroupResource, object: Value) -> Result<Value, Status> {
        let (namespace, name) = (object.namespace().to_owned(), object.name().to_owned());
        let mut object = object;
        let scope = self.scope(cx, resource, &namespace, &name)?;
        scope.stamp(&mut object);
        Ok(scope.create(object).await?.decode())
    }

    /// Changes an object by a function of its present state (null: it doesn't exist), by the rules of a mode; repeated
    /// on conflict.
    pub(crate) async fn update(
        &self,
        mode: Mode,
        cx: &RequestContext,
        resource: &GroupResource,
        key: &ObjectKey,
        change: Transform<'_>,
    ) -> Result<Value, Status> {
        let scope = self.scope(cx, resource, &key.namespace, &key.name)?;
        Ok(scope.update(mode, change).await?.0.decode())
    }

    /// Deletes an object, as a request without options would.
    pub async fn delete(&self, cx: &RequestContext, resource: &GroupResource, key: &ObjectKey) -> Result<(), Status> {
        let scope = self.scope(cx, resource, &key.namespace, &key.name)?;
        scope.delete(&DeleteOptions::default()).await.map(drop)
    }

    /// Deletes an object if it is the one with this uid.
    pub(crate) async fn delete_uid(
        &self,
        cx: &RequestContext,
        resource: &GroupResource,
        key: &ObjectKey,
        uid: &str,
    ) -> Result<(), Status> {
        let scope = self.scope(cx, resource, &key.namespace, &key.name)?;
        let options = DeleteOptions { uid: Some(uid.to_owned()), ..DeleteOptions::default() };
        scope.delete(&options).await.map(drop)
    }
}
