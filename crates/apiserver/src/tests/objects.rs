//! What the server's own parts see, restarts, and secrets at rest.

use super::Server;
use crate::context::RequestContext;
use crate::registry::Mode;
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
        .update(Mode::Main, &cx, &MAPS, &key, &|old| {
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_end_by_themselves() {
    let s = Server::with_namespace("ns").await;
    let events = "/api/v1/namespaces/ns/events";
    let event = json!({"metadata": {"name": "e"}, "involvedObject": {"kind": "Pod", "namespace": "ns", "name": "p"}});
    s.post(events, &event).await.ok();
    let mut watch = s.watch(&format!("{events}?watch=true&fieldSelector=involvedObject.name%3Dp")).await;
    assert_eq!(watch.told().await.0, "ADDED");
    tokio::spawn(crate::registry::expiry::run(s.api.clone(), std::time::Duration::from_millis(100)));
    assert_eq!(watch.told().await, ("DELETED".to_owned(), "e".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_show_in_both_their_versions() {
    let s = Server::with_namespace("ns").await;
    let new = "/apis/events.k8s.io/v1/namespaces/ns/events";
    let event = json!({
        "metadata": {"name": "e"}, "regarding": {"kind": "Pod", "namespace": "ns", "name": "p"}, "note": "hello",
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "example.org/c", "reportingInstance": "i",
        "action": "Test", "reason": "Because", "type": "Normal"
    });
    let made = s.post(new, &event).await.ok();
    assert_eq!((&made["apiVersion"], &made["note"]), (&json!("events.k8s.io/v1"), &json!("hello")));
    let old = s.get("/api/v1/namespaces/ns/events/e").await.ok();
    assert_eq!(old["message"], "hello");
    assert_eq!(old["involvedObject"]["name"], "p");
    let list = s.get(&format!("{new}?fieldSelector=regarding.name%3Dp")).await.ok();
    assert_eq!(list["kind"], "EventList");
    assert_eq!(list["items"][0]["regarding"]["name"], "p");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn autoscalers_show_in_both_their_versions() {
    let s = Server::with_namespace("ns").await;
    let hpa = json!({
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 70,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}
    });
    s.post("/apis/autoscaling/v1/namespaces/ns/horizontalpodautoscalers", &hpa).await.ok();
    let v2 = s.get("/apis/autoscaling/v2/namespaces/ns/horizontalpodautoscalers/h").await.ok();
    assert_eq!(v2["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 70);
    let v1 = s.get("/apis/autoscaling/v1/namespaces/ns/horizontalpodautoscalers/h").await.ok();
    assert_eq!(v1["spec"]["targetCPUUtilizationPercentage"], 70);
    assert!(v1["spec"].get("metrics").is_none());
}

/// What the in-process client asks of the service it is given.
#[test]
fn the_local_service_suits_clients() {
    fn suits<S, B>()
    where
        S: tower::Service<http::Request<http_body_util::Full<bytes::Bytes>>, Response = http::Response<B>>,
        S: Send + Sync + Clone + 'static,
        S::Future: Send + 'static,
        S::Error: Into<crate::server::body::BoxError>,
        B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<crate::server::body::BoxError>,
    {
    }
    suits::<crate::server::Local, crate::server::body::Body>();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_to_keys_of_others_hold_no_reader_up() {
    let s = Server::with_namespace("ns").await;
    let begun = std::time::Instant::now();
    for _ in 0..3 {
        let change = kaji_store::Change::Put("/elsewhere/x".to_owned(), bytes::Bytes::new());
        s.api.caches().store().commit(Vec::new(), vec![change]).await.unwrap();
        s.get("/api/v1/namespaces/ns").await.ok();
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
}
