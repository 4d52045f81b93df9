//! What is refused before anything is done, and what stands beside resources.

use super::Server;
use super::harness::{answer, ask, request};
use serde_json::json;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_have_a_limit() {
    let s = Server::start().await;
    let body = vec![b' '; (3 << 20) + 1];
    let status = s.request("POST", "/api/v1/namespaces", &[], &body).await.fails(413);
    assert_eq!(status["message"], "Request entity too large: limit is 3145728");
    assert_eq!(status["reason"], "RequestEntityTooLarge");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_refused() {
    let s = Server::start().await;
    let jane = s.as_user("jane", &["system:authenticated"]);
    let status = answer(ask(&jane, request("GET", "/api/v1/namespaces/ns/pods", &[], b"")).await).await.fails(403);
    assert!(status["message"].as_str().unwrap().starts_with(
        "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"ns\""
    ));
    assert_eq!(status["details"], json!({"kind": "pods"}));
    let status =
        answer(ask(&jane, request("DELETE", "/apis/apps/v1/namespaces/ns/deployments/d", &[], b"")).await).await;
    assert!(status.message(403).starts_with(
        "deployments.apps \"d\" is forbidden: User \"jane\" cannot delete resource \"deployments\" in API group \"apps\" \
         in the namespace \"ns\""
    ));
    let status = answer(ask(&jane, request("GET", "/metrics", &[], b"")).await).await;
    assert!(status.message(403).starts_with("forbidden: User \"jane\" cannot get path \"/metrics\""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn masters_may_be_somebody_else() {
    let s = Server::start().await;
    let as_jane = [("impersonate-user", "jane"), ("impersonate-group", "devs")];
    let status = s.request("GET", "/api/v1/nodes", &as_jane, b"").await.message(403);
    assert!(status.starts_with("nodes is forbidden: User \"jane\" cannot list resource \"nodes\""), "{status}");
    let status = s.request("GET", "/api/v1/nodes", &[("impersonate-group", "devs")], b"").await;
    assert_eq!(status.code, 400);
    let jane = s.as_user("jane", &[]);
    let status = answer(ask(&jane, request("GET", "/api/v1/nodes", &[("impersonate-user", "joe")], b"")).await).await;
    assert!(
        status
            .message(403)
            .starts_with("users \"joe\" is forbidden: User \"jane\" cannot impersonate resource \"users\"")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_version_and_metrics() {
    let s = Server::start().await;
    for path in ["/healthz", "/livez", "/readyz", "/readyz/ping", "/healthz/etcd"] {
        assert_eq!(s.get(path).await.text(), "ok", "{path}");
    }
    let verbose = s.get("/readyz?verbose").await.text();
    assert!(verbose.starts_with("[+]ping ok\n"), "{verbose}");
    assert!(verbose.ends_with("readyz check passed\n"));
    assert!(s.get("/livez?verbose&exclude=etcd").await.text().contains("[+]etcd excluded: ok"));
    assert_eq!(s.get("/healthz/nothing").await.code, 404);
    let version = s.get("/version").await.ok();
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.36.2+kaji."));
    assert_eq!((version["major"].as_str(), version["minor"].as_str()), (Some("1"), Some("36")));
    s.get("/api/v1/namespaces").await.ok();
    let mut watching = s.watch("/api/v1/namespaces?watch=1").await;
    for _ in 0..4 {
        watching.told().await;
    }
    let metrics = s.get("/metrics").await.text();
    for line in [
        "apiserver_request_total{code=\"200\",component=\"apiserver\",group=\"\",resource=\"namespaces\"",
        "version=\"v1\",dry_run=\"\"} ",
        "apiserver_request_sli_duration_seconds_bucket{component=\"apiserver\",group=\"\",resource=\"namespaces\"",
        "apiserver_response_sizes_bucket{component=\"apiserver\",group=\"\",resource=\"namespaces\"",
        "apiserver_resource_objects{group=\"\",resource=\"pods\"} 0",
        "apiserver_resource_size_estimate_bytes{group=\"\",resource=\"namespaces\"} ",
        "etcd_request_duration_seconds_count{group=\"\",operation=\"create\",resource=\"namespaces\"} ",
        "apiserver_admission_step_admission_duration_seconds_count{operation=\"CREATE\",rejected=\"false\",type=\"admit\"} ",
        "apiserver_watch_events_total{group=\"\",resource=\"namespaces\",version=\"v1\"} 4",
        "apiserver_request_duration_seconds_bucket{",
        "apiserver_storage_objects{resource=\"pods\"} 0",
        "process_resident_memory_bytes ",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_paths_and_methods() {
    let s = Server::start().await;
    for path in ["/nothing", "/api/v1/nothings", "/apis/x.y/v1/things", "/api/v1/namespaces/x/pods/p/nothing"] {
        let answer = s.get(path).await;
        assert_eq!((answer.code, answer.text().as_str()), (404, "404 page not found\n"), "{path}");
    }
    let answer = s.post("/api/v1/namespaces/x", &json!({})).await;
    assert_eq!(answer.code, 405);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_an_id() {
    let s = Server::start().await;
    let answer = s.request("GET", "/version", &[("audit-id", "mine")], b"").await;
    assert_eq!(answer.headers["audit-id"], "mine");
    assert_eq!(answer.headers["cache-control"], "no-cache, private");
    assert_eq!(s.get("/version").await.headers["audit-id"].len(), 36);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_says_come_back() {
    let s = Server::start_with(|config| config.limits.fairness = false).await;
    let _full = s.api.inflight().fill();
    let jane = s.as_user("jane", &["system:authenticated"]);
    for method in ["GET", "DELETE"] {
        let refused = answer(ask(&jane, request(method, "/api/v1/namespaces/x", &[], b"")).await).await;
        assert_eq!(refused.code, 429);
        assert_eq!(refused.headers["retry-after"], "1");
        assert_eq!(refused.text(), "Too many requests, please try again later.\n");
    }
    s.get("/api/v1/namespaces").await.ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timeout_must_be_a_duration() {
    let s = Server::start().await;
    s.get("/api/v1/namespaces?timeout=5s").await.ok();
    let status = s.get("/api/v1/namespaces?timeout=soon").await.message(400);
    assert_eq!(status, "invalid timeout specified in the request URL - time: invalid duration \"soon\"");
}
