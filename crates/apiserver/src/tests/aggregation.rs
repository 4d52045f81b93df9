//! Groups that other servers answer: another Kaji, and one made up here.

use super::extension::{Extension, reply};
use super::tls::client_tls;
use super::{Server, answer, ask, request};
use base64::prelude::*;
use hyper_util::rt::TokioIo;
use kaji_pki::{Authority, Certificate, Subject, Usage};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

pub(super) const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// A certificate and its key as files.
fn issue(authority: &Authority, dir: &Path, name: &str, dns: &[&str], usage: Usage) {
    let certificate = Certificate {
        subject: Subject::new(name, &[]),
        dns: dns.iter().map(ToString::to_string).collect(),
        ips: Vec::new(),
        usage,
        lifetime: Duration::from_secs(1800),
    };
    let (cert, key) = authority.issue_with_key(&certificate).unwrap();
    std::fs::write(dir.join(format!("{name}.crt")), cert).unwrap();
    std::fs::write(dir.join(format!("{name}.key")), key).unwrap();
}

/// A front server with an identity of its own, and what believes it.
async fn front() -> (Server, Authority) {
    let authority = Authority::generate("front-proxy-ca", Duration::from_secs(3600)).unwrap();
    let s = Server::start_with(|c| {
        let dir = c.tls_cert.parent().unwrap().to_owned();
        issue(&authority, &dir, "front-proxy-client", &[], Usage::Client);
        c.proxy_client_cert = Some(dir.join("front-proxy-client.crt"));
        c.proxy_client_key = Some(dir.join("front-proxy-client.key"));
    })
    .await;
    s.post("/api/v1/namespaces", &json!({"metadata": {"name": "ns"}})).await.ok();
    (s, authority)
}

/// A service that leads to this machine.
pub(super) async fn service(s: &Server, name: &str) {
    let service = json!({"metadata": {"name": name}, "spec": {"type": "ExternalName", "externalName": "localhost"}});
    s.post("/api/v1/namespaces/ns/services", &service).await.ok();
}

pub(super) fn registration(group: &str, port: u16, name: &str, ca_bundle: &str) -> Json {
    json!({"metadata": {"name": format!("v1.{group}")}, "spec": {"group": group, "version": "v1",
        "groupPriorityMinimum": 2000, "versionPriority": 20, "caBundle": ca_bundle,
        "service": {"namespace": "ns", "name": name, "port": port}}})
}

/// Waits for the registration's condition.
pub(super) async fn until(s: &Server, name: &str, wanted: (&str, &str)) -> Json {
    let path = format!("{SERVICES}?watch=true&fieldSelector=metadata.name%3D{name}");
    let mut watch = s.watch(&path).await;
    loop {
        let event = watch.next().await.expect("the watch goes on");
        let condition = event["object"]["status"]["conditions"][0].clone();
        if condition["status"] == wanted.0 && condition["reason"] == wanted.1 {
            return condition;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_group_behaves_like_a_local_one() {
    let (s, authority) = front().await;
    let serving = Authority::generate("serving-ca", Duration::from_secs(3600)).unwrap();
    let behind = Server::start_with(|c| {
        let dir = c.tls_cert.parent().unwrap().to_owned();
        std::fs::write(dir.join("front-proxy-ca.crt"), authority.certificate_pem()).unwrap();
        c.front_proxy = Some(crate::config::FrontProxy::new(dir.join("front-proxy-ca.crt")));
        issue(&serving, &dir, "aggregated", &["other.ns.svc"], Usage::Server);
        (c.tls_cert, c.tls_key) = (dir.join("aggregated.crt"), dir.join("aggregated.key"));
    })
    .await;
    behind.post("/api/v1/namespaces", &json!({"metadata": {"name": "ns"}})).await.ok();
    let listener = behind.api.bind().await.unwrap();
    let port = listener.address().port();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (api, shutdown) = (behind.api.clone(), shutdown.clone());
        async move { api.serve_on(listener, shutdown).await }
    });
    let bundle = BASE64_STANDARD.encode(serving.certificate_pem());
    for group in ["batch", "authentication.k8s.io"] {
        s.delete(&format!("{SERVICES}/v1.{group}")).await.ok();
        s.post(SERVICES, &registration(group, port, "other", &bundle)).await.ok();
        until(&s, &format!("v1.{group}"), ("False", "ServiceNotFound")).await;
    }
    let unavailable = s.get("/apis/batch/v1/jobs").await;
    assert_eq!((unavailable.code, unavailable.text().as_str()), (503, "service unavailable\n"));
    service(&s, "other").await;
    for group in ["batch", "authentication.k8s.io"] {
        let condition = until(&s, &format!("v1.{group}"), ("True", "Passed")).await;
        assert_eq!(condition["message"], "all checks passed");
    }
    // Written through the front, stored behind it.
    let job = json!({"metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Never",
        "containers": [{"name": "c", "image": "i"}]}}}});
    let jobs = "/apis/batch/v1/namespaces/ns/jobs";
    let mut watch = s.watch(&format!("{jobs}?watch=true")).await;
    s.post(jobs, &job).await.ok();
    assert_eq!(watch.told().await, ("ADDED".to_owned(), "j".to_owned()));
    assert_eq!(behind.get(&format!("{jobs}/j")).await.ok()["metadata"]["name"], "j");
    s.merge(&format!("{jobs}/j"), &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    assert_eq!(watch.told().await.0, "MODIFIED");
    assert_eq!(s.get(&format!("{jobs}/none")).await.message(404), "jobs.batch \"none\" not found");
    let table = s.accepting(jobs, "application/json;as=Table;v=v1;g=meta.k8s.io").await.ok();
    assert_eq!(table["kind"], "Table");
    // The server behind knows who asks.
    let jane = s.as_user("jane", &["dev", "system:masters", "system:authenticated"]);
    let review = request(
        "POST",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        &[("content-type", "application/json"), ("x-remote-user", "liar")],
        br#"{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}"#,
    );
    let me = answer(ask(&jane, review).await).await.ok();
    assert_eq!(me["status"]["userInfo"]["username"], "jane");
    assert_eq!(me["status"]["userInfo"]["groups"][0], "dev");
    // And what may not be is refused in front.
    let nobody = s.as_user("nobody", &["system:authenticated"]);
    let refused = answer(ask(&nobody, request("GET", jobs, &[], b"")).await).await.message(403);
    assert!(refused.contains("User \"nobody\" cannot list resource \"jobs\""), "{refused}");
    // OpenAPI, too.
    let index = s.get("/openapi/v3").await.ok();
    let place = index["paths"]["apis/batch/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    assert!(place.starts_with("/openapi/v3/apis/batch/v1?hash="), "{place}");
    assert_eq!(s.get(&place).await.ok()["openapi"], "3.0.0");
    // Discovery shows what the other serves.
    let groups = s.accepting("/apis", AGGREGATED).await;
    let tag = groups.headers["etag"].to_str().unwrap().to_owned();
    let groups = groups.ok();
    let batch = groups["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "batch").unwrap().clone();
    assert_eq!(batch["versions"][0]["freshness"], "Current");
    assert!(batch["versions"][0]["resources"].as_array().unwrap().iter().any(|r| r["resource"] == "jobs"), "{batch}");
    let same = s.request("GET", "/apis", &[("accept", AGGREGATED), ("if-none-match", &tag)], b"").await;
    assert_eq!(same.code, 304);
    assert_eq!(s.get("/apis/batch").await.ok()["preferredVersion"]["version"], "v1");
    assert_eq!(s.get("/apis/batch/v1").await.ok()["kind"], "APIResourceList");
    shutdown.cancel();
    running.await.unwrap();
    // Gone, and said so.
    let condition = s.get(&format!("{SERVICES}/v1.batch")).await.ok()["status"]["conditions"][0].clone();
    assert_eq!(condition["type"], "Available");
    s.delete(&format!("{SERVICES}/v1.batch")).await.ok();
    s.api.fresh().await.unwrap();
    assert_eq!(s.get(jobs).await.ok()["items"], json!([]), "the local group is back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_of_others_is_merged_in_either_form() {
    let (s, _) = front().await;
    let e = Extension::start(|request| {
        let aggregated = request.headers().get("accept").is_some_and(|v| v.to_str().unwrap().contains("apidiscovery"));
        let old = request.headers().get("x-forwarded-uri").is_some();
        Box::pin(async move {
            match request.uri().path() {
                "/apis/metrics.example.org/v1" => reply(200, json!({"kind": "APIResourceList", "apiVersion": "v1",
                    "groupVersion": "metrics.example.org/v1", "resources": [{"name": "nodes", "singularName": "node",
                    "namespaced": false, "kind": "NodeMetrics", "verbs": ["get", "list"]}]}).to_string()),
                "/openapi/v2" => reply(200, json!({"swagger": "2.0", "paths": {"/apis/metrics.example.org/v1/nodes":
                    {"get": {"responses": {"200": {"schema": {"$ref": "#/definitions/example.NodeMetrics"}}}}}},
                    "definitions": {"example.NodeMetrics": {"type": "object"}}}).to_string()),
                "/apis" if aggregated => reply(404, "{}"),
                "/apis/metrics.example.org/v1/moved" => http::Response::builder().status(302)
                    .header("location", "https://elsewhere/").body(bytes::Bytes::new().into()).unwrap(),
                path => reply(200, json!({"path": path, "forwarded": old, "user": request.headers()["x-remote-user"].to_str().unwrap()}).to_string()),
            }
        })
    })
    .await;
    service(&s, "hook").await;
    s.post(SERVICES, &registration("metrics.example.org", e.address.port(), "hook", &e.ca_bundle())).await.ok();
    until(&s, "v1.metrics.example.org", ("True", "Passed")).await;
    let shown = s.get("/apis/metrics.example.org/v1/nodes?x=1").await.ok();
    assert_eq!(
        shown,
        json!({"path": "/apis/metrics.example.org/v1/nodes", "forwarded": true, "user": "system:apiserver"})
    );
    let moved = s.get("/apis/metrics.example.org/v1/moved").await;
    assert_eq!(
        (moved.code, moved.text().as_str()),
        (502, "the backend attempted to redirect this request, which is not permitted\n")
    );
    let old = s.get("/apis").await.ok();
    let groups: Vec<&str> = old["groups"].as_array().unwrap().iter().map(|g| g["name"].as_str().unwrap()).collect();
    assert_eq!((groups[0], *groups.last().unwrap()), ("apiregistration.k8s.io", "metrics.example.org"));
    assert_eq!(s.get("/apis/metrics.example.org").await.ok()["versions"][0]["groupVersion"], "metrics.example.org/v1");
    // The old form is read where the new one is not known; it may come a moment after the condition.
    let entry = loop {
        let groups = s.accepting("/apis", AGGREGATED).await.ok();
        let group = groups["items"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(group["metadata"]["name"], "metrics.example.org");
        if group["versions"][0]["freshness"] == "Current" {
            break group["versions"][0].clone();
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(entry["resources"][0]["resource"], "nodes");
    assert_eq!(entry["resources"][0]["scope"], "Cluster");
    let openapi = loop {
        let document = s.get("/openapi/v2").await.ok();
        if !document["definitions"]["example.NodeMetrics"].is_null() {
            break document;
        }
        tokio::task::yield_now().await;
    };
    assert!(openapi["paths"]["/apis/metrics.example.org/v1/nodes"].is_object());
    assert!(openapi["paths"]["/api/v1/pods"].is_object());
    let metrics = s.get("/metrics").await.text();
    assert!(metrics.contains("aggregator_unavailable_apiservice{name=\"v1.metrics.example.org\"} 0"), "{metrics}");
    drop(e);
    // Requests under way when it went may still be answered.
    let failed = loop {
        let answer = s.get("/apis/metrics.example.org/v1/nodes").await;
        if answer.code != 200 {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(failed.code, 503);
    assert!(failed.text().starts_with("error trying to reach service: "), "{}", failed.text());
}

/// Sends back what it is sent, once the connection is upgraded.
async fn echo(upgrade: hyper::upgrade::OnUpgrade) {
    let mut stream = TokioIo::new(upgrade.await.unwrap());
    let mut word = [0; 4];
    stream.read_exact(&mut word).await.unwrap();
    stream.write_all(&word).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_are_passed_on() {
    let (s, _) = front().await;
    let e = Extension::start(|mut request| {
        let upgrade = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>();
        Box::pin(async move {
            let (true, Some(upgrade)) = (request.headers().contains_key("upgrade"), upgrade) else {
                return reply(200, "{}");
            };
            if request.uri().path().ends_with("/refused") {
                return reply(403, "no");
            }
            assert_eq!(request.headers()["x-remote-user"], "admin");
            tokio::spawn(echo(upgrade));
            let answer =
                http::Response::builder().status(101).header("connection", "Upgrade").header("upgrade", "echo");
            answer.body(bytes::Bytes::new().into()).unwrap()
        })
    })
    .await;
    service(&s, "hook").await;
    s.post(SERVICES, &registration("streams.example.org", e.address.port(), "hook", &e.ca_bundle())).await.ok();
    until(&s, "v1.streams.example.org", ("True", "Passed")).await;
    let listener = s.api.bind().await.unwrap();
    let address = listener.address();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let (api, shutdown) = (s.api.clone(), shutdown.clone());
        async move { api.serve_on(listener, shutdown).await }
    });
    let mut tls = client_tls(&s, true);
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    let tls = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
    for (path, code) in [("stream", 101), ("refused", 403)] {
        let tcp = tokio::net::TcpStream::connect(("127.0.0.1", address.port())).await.unwrap();
        let stream = tls.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        let request = http::Request::get(format!("/apis/streams.example.org/v1/things/x/{path}"))
            .header("host", "localhost")
            .header("connection", "Upgrade")
            .header("upgrade", "echo")
            .body(http_body_util::Empty::<bytes::Bytes>::new())
            .unwrap();
        let mut answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), code, "{path}");
        if code == 101 {
            let mut stream = TokioIo::new(hyper::upgrade::on(&mut answer).await.unwrap());
            stream.write_all(b"ping").await.unwrap();
            let mut word = [0; 4];
            stream.read_exact(&mut word).await.unwrap();
            assert_eq!(&word, b"ping");
        }
    }
    shutdown.cancel();
    running.await.unwrap();
}
