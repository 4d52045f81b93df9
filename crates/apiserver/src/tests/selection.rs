//! Lists: selectors, chunks, revisions.

use super::Server;
use serde_json::{Value as Json, json};

const MAPS: &str = "/api/v1/namespaces/ns/configmaps";

fn names(list: &Json) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].as_str().unwrap()).collect()
}

async fn some(count: usize) -> Server {
    let s = Server::with_namespace("ns").await;
    for i in 0..count {
        let map = json!({"metadata": {"name": format!("m{i}"), "labels": {"odd": format!("{}", i % 2 == 1)}}});
        s.post(MAPS, &map).await.ok();
    }
    s
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_select_by_labels_and_fields() {
    let s = some(4).await;
    let all = s.get(MAPS).await.ok();
    assert_eq!(all["kind"], "ConfigMapList");
    assert_eq!(all["apiVersion"], "v1");
    assert_eq!(names(&all), ["m0", "m1", "m2", "m3"]);
    assert!(all["items"][0].get("kind").is_none());
    let odd = s.get(&format!("{MAPS}?labelSelector=odd%3Dtrue")).await.ok();
    assert_eq!(names(&odd), ["m1", "m3"]);
    let one = s.get(&format!("{MAPS}?fieldSelector=metadata.name%3Dm2")).await.ok();
    assert_eq!(names(&one), ["m2"]);
    let but = s.get(&format!("{MAPS}?fieldSelector=metadata.name!%3Dm2")).await.ok();
    assert_eq!(names(&but), ["m0", "m1", "m3"]);
    let elsewhere = s.get("/api/v1/configmaps?fieldSelector=metadata.namespace%3Dns").await.ok();
    assert_eq!(names(&elsewhere).iter().filter(|n| n.starts_with('m')).count(), 4);
    assert_eq!(
        s.get(&format!("{MAPS}?fieldSelector=data.x%3Dy")).await.message(400),
        "\"data.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
    );
    assert_eq!(s.get("/api/v1/pods?fieldSelector=spec.x%3Dy").await.message(400), "field label not supported: spec.x");
    s.get(&format!("{MAPS}?labelSelector=%3D%3D")).await.fails(400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_come_in_chunks_of_one_state() {
    let s = some(5).await;
    let first = s.get(&format!("{MAPS}?limit=2")).await.ok();
    assert_eq!(names(&first), ["m0", "m1"]);
    assert_eq!(first["metadata"]["remainingItemCount"], 3);
    let token = first["metadata"]["continue"].as_str().unwrap();
    // What happens between chunks doesn't show.
    s.delete(&format!("{MAPS}/m3")).await.ok();
    s.post(MAPS, &json!({"metadata": {"name": "m22"}})).await.ok();
    let second = s.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&second), ["m2", "m3"]);
    assert_eq!(second["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"]);
    let token = second["metadata"]["continue"].as_str().unwrap();
    let third = s.get(&format!("{MAPS}?limit=2&continue={token}")).await.ok();
    assert_eq!(names(&third), ["m4"]);
    assert!(third["metadata"].get("continue").is_none());
    s.get(&format!("{MAPS}?continue=garbage")).await.fails(400);
    let both = s.get(&format!("{MAPS}?limit=2&continue={token}&resourceVersion=5")).await.message(400);
    assert_eq!(both, "specifying resource version is not allowed when using continue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_outlive_compaction_inconsistently() {
    // Whether the change was one of the list's own or not.
    for (changed, rest) in [("configmaps/m3", &["m2"][..]), ("secrets/other", &["m2", "m3"][..])] {
        let s = some(4).await;
        s.post("/api/v1/namespaces/ns/secrets", &json!({"metadata": {"name": "other"}})).await.ok();
        let first = s.get(&format!("{MAPS}?limit=2")).await.ok();
        let token = first["metadata"]["continue"].as_str().unwrap();
        s.delete(&format!("/api/v1/namespaces/ns/{changed}")).await.ok();
        let store = s.api.caches().store();
        store.compact(store.revision().await.unwrap()).await.unwrap();
        let gone = s.get(&format!("{MAPS}?limit=2&continue={token}")).await.fails(410);
        assert_eq!(gone["reason"], "Expired");
        assert!(gone["message"].as_str().unwrap().starts_with("The provided continue parameter is too old"));
        let token = gone["metadata"]["continue"].as_str().unwrap();
        assert_eq!(names(&s.get(&format!("{MAPS}?continue={token}")).await.ok()), rest, "{changed}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_show_the_revision_asked_for() {
    let s = some(2).await;
    let before = s.get(MAPS).await.ok();
    let revision = before["metadata"]["resourceVersion"].as_str().unwrap();
    s.post(MAPS, &json!({"metadata": {"name": "m9"}})).await.ok();
    let exact = format!("{MAPS}?resourceVersion={revision}&resourceVersionMatch=Exact");
    assert_eq!(names(&s.get(&exact).await.ok()), ["m0", "m1"]);
    let newer = format!("{MAPS}?resourceVersion={revision}&resourceVersionMatch=NotOlderThan");
    // Any state since then will do: so the newest is asked for first.
    s.get(MAPS).await.ok();
    assert_eq!(names(&s.get(&newer).await.ok()), ["m0", "m1", "m9"]);
    assert_eq!(names(&s.get(&format!("{MAPS}?resourceVersion=0&limit=1")).await.ok()), ["m0", "m1", "m9"]);
    for (query, message) in [
        (
            "resourceVersionMatch=Exact",
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is \
             forbidden unless resourceVersion is provided",
        ),
        (
            "resourceVersion=0&resourceVersionMatch=Exact",
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch \"exact\" \
             is forbidden for resourceVersion \"0\"",
        ),
    ] {
        assert_eq!(s.get(&format!("{MAPS}?{query}")).await.message(422), message);
    }
    let future = s.get(&format!("{MAPS}?resourceVersion=1000000")).await.fails(504);
    assert!(future["message"].as_str().unwrap().starts_with("Timeout: Too large resource version: 1000000, current: "));
    assert_eq!(future["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_lists_are_streamed_whole() {
    let s = Server::with_namespace("ns").await;
    let text = "x".repeat(40_000);
    for i in 0..10 {
        s.post(MAPS, &json!({"metadata": {"name": format!("m{i}")}, "data": {"t": text}})).await.ok();
    }
    assert_eq!(names(&s.get(MAPS).await.ok()).len(), 10);
    let zipped = s.request("GET", MAPS, &[("accept-encoding", "gzip")], b"").await;
    assert_eq!(zipped.headers["content-encoding"], "gzip");
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&zipped.body[..]), &mut plain).unwrap();
    assert_eq!(names(&serde_json::from_str(&plain).unwrap()).len(), 10);
}
