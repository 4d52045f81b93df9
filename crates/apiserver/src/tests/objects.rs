//! What the server's own parts see, restarts, and secrets at rest.

use super::Server;
use crate::context::RequestContext;
use kaji_api::{GroupResource, ObjectKey, Value, value};
use serde_json::json;

const MAPS: GroupResource = GroupResource::of("", "configmaps");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_read_write_and_follow() {
    let s = Server::with_namespace("ns").await;
    let (before, mut changes) = s.api.subscribe(&MAPS).unwrap();
    let known = before.len();
    let cx = RequestContext::system();
    let map: Value = value!({"metadata": {"name": "a", "namespace": "ns"}});
    let made = s.api.create(&cx, &MAPS, map).await.unwrap();
    assert_eq!(made.kind(), "ConfigMap");
    let change = changes.next().await.unwrap().remove(0);
    assert_eq!(change.key, ObjectKey::new("ns", "a"));
    assert_eq!(change.object.unwrap().uid(), made.uid());
    s.api.fresh().await.unwrap();
    assert_eq!(s.api.list_cached(&MAPS, "").len(), known + 1);
    assert_eq!(s.api.get_cached(&MAPS, "ns", "a").unwrap().uid(), made.uid());
    let key = ObjectKey::new("ns", "a");
    let changed = s
        .api
        .update(&cx, &MAPS, &key, &|old| {
            let mut new = old.clone();
            new.entry("data").set("k", "v");
            Ok(new)
        })
        .await
        .unwrap();
    assert_eq!(changed["data"]["k"].str(), "v");
    s.api.delete(&cx, &MAPS, &key).await.unwrap();
    assert_eq!(s.get("/api/v1/namespaces/ns/configmaps/a").await.code, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_sealed_at_rest() {
    let s = Server::with_namespace("ns").await;
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"password": "correct horse"}});
    s.post("/api/v1/namespaces/ns/secrets", &secret).await.ok();
    s.post("/api/v1/namespaces/ns/configmaps", &json!({"metadata": {"name": "c"}})).await.ok();
    let store = s.api.caches().store();
    let sealed = store.get("/registry/secrets/ns/s").await.unwrap().unwrap().value;
    let plain = store.get("/registry/configmaps/ns/c").await.unwrap().unwrap().value;
    let shows = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|w| w == text.as_bytes());
    assert!(shows(&plain, "metadata"));
    assert!(!shows(&sealed, "metadata"));
    let read = s.get("/api/v1/namespaces/ns/secrets/s").await.ok();
    assert_eq!(read["data"]["password"], "Y29ycmVjdCBob3JzZQ==");
}
