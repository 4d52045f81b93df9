//! Watches: resume, initial events, bookmarks, 410.

use super::Server;
use serde_json::json;

const MAPS: &str = "/api/v1/namespaces/ns/configmaps";

fn told(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_tells_every_change_once() {
    let s = Server::with_namespace("ns").await;
    s.post(MAPS, &json!({"metadata": {"name": "a"}})).await.ok();
    let list = s.get(MAPS).await.ok();
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut from_start = s.watch(&format!("{MAPS}?watch=true")).await;
    let mut from_list = s.watch(&format!("{MAPS}?watch=true&resourceVersion={revision}")).await;
    assert_eq!(from_start.told().await, told("ADDED", "a"));
    s.merge(&format!("{MAPS}/a"), &json!({"data": {"k": "v"}})).await.ok();
    s.post(MAPS, &json!({"metadata": {"name": "b"}})).await.ok();
    s.delete(&format!("{MAPS}/a")).await.ok();
    for watch in [&mut from_start, &mut from_list] {
        assert_eq!(watch.told().await, told("MODIFIED", "a"));
        assert_eq!(watch.told().await, told("ADDED", "b"));
        let last = watch.next().await.unwrap();
        assert_eq!(last["type"], "DELETED");
        assert_eq!(last["object"]["data"]["k"], "v");
        assert!(last["object"]["metadata"]["resourceVersion"].as_str().unwrap() > revision);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_enter_and_leave_a_selection() {
    let s = Server::with_namespace("ns").await;
    let mut watch = s.watch(&format!("{MAPS}?watch=1&labelSelector=on%3Dyes")).await;
    s.post(MAPS, &json!({"metadata": {"name": "a"}})).await.ok();
    s.merge(&format!("{MAPS}/a"), &json!({"metadata": {"labels": {"on": "yes"}}})).await.ok();
    s.merge(&format!("{MAPS}/a"), &json!({"data": {"k": "v"}})).await.ok();
    let out = s.merge(&format!("{MAPS}/a"), &json!({"metadata": {"labels": {"on": "no"}}})).await.ok();
    assert_eq!(watch.told().await, told("ADDED", "a"));
    assert_eq!(watch.told().await, told("MODIFIED", "a"));
    let left = watch.next().await.unwrap();
    assert_eq!(left["type"], "DELETED");
    assert_eq!(left["object"]["metadata"]["labels"]["on"], "yes");
    assert_eq!(left["object"]["metadata"]["resourceVersion"], out["metadata"]["resourceVersion"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn initial_events_end_in_a_bookmark() {
    let s = Server::with_namespace("ns").await;
    s.post(MAPS, &json!({"metadata": {"name": "a"}})).await.ok();
    let query = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = s.watch(&format!("{MAPS}?{query}")).await;
    assert_eq!(watch.told().await, told("ADDED", "a"));
    let bookmark = watch.next().await.unwrap();
    assert_eq!(bookmark["type"], "BOOKMARK");
    assert_eq!(bookmark["object"]["kind"], "ConfigMap");
    assert_eq!(bookmark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    s.post(MAPS, &json!({"metadata": {"name": "b"}})).await.ok();
    assert_eq!(watch.told().await, told("ADDED", "b"));
    let refused = s.get(&format!("{MAPS}?watch=true&sendInitialEvents=true")).await.message(422);
    assert!(refused.contains("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_ends_in_time_with_a_bookmark() {
    let s = Server::with_namespace("ns").await;
    let mut watch =
        s.watch(&format!("{MAPS}?watch=true&timeoutSeconds=1&allowWatchBookmarks=true&resourceVersion=0")).await;
    let mut last = None;
    while let Some(event) = watch.next().await {
        last = Some(event);
    }
    assert_eq!(last.unwrap()["type"], "BOOKMARK");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_old_a_start_is_gone() {
    let s = Server::with_namespace("ns").await;
    let mut old = s.watch(&format!("{MAPS}?watch=true&resourceVersion=1")).await;
    let event = old.next().await.unwrap();
    assert_eq!(event["type"], "ERROR");
    assert_eq!(event["object"]["code"], 410);
    assert_eq!(event["object"]["reason"], "Expired");
    assert!(event["object"]["message"].as_str().unwrap().starts_with("too old resource version: 1 ("));
    assert!(old.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_end_when_the_server_stops() {
    let s = Server::with_namespace("ns").await;
    let mut watch = s.watch(&format!("{MAPS}?watch=true&resourceVersion=0")).await;
    s.api.stop();
    while watch.next().await.is_some() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_watched_with_one_heading() {
    let s = Server::with_namespace("ns").await;
    s.post(MAPS, &json!({"metadata": {"name": "a"}})).await.ok();
    s.post(MAPS, &json!({"metadata": {"name": "b"}})).await.ok();
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let path = format!("{MAPS}?watch=true&timeoutSeconds=1");
    let answer = s.request("GET", &path, &[("accept", accept)], b"").await;
    let events: Vec<serde_json::Value> = answer
        .text()
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .filter(|e: &serde_json::Value| e["type"] == "ADDED")
        .collect();
    assert!(events[0]["object"]["columnDefinitions"].is_array());
    assert!(events[1]["object"]["columnDefinitions"].is_null());
    assert_eq!(events[1]["object"]["rows"].as_array().unwrap().len(), 1);
}
